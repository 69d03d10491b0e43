//! A digest of configuration files. FNV-1a with 64 bits: the same in every build and on every day, unlike the standard
//! library's hasher, since a daemon compares it with what an older one stored. It notices changes; it proves nothing.

/// Takes bytes and makes a digest of them.
#[derive(Debug, Clone, Copy)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Takes more bytes.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The digest of everything taken.
    pub fn finish(self) -> u64 {
        self.0
    }

    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut fingerprint = Self::new();
        fingerprint.write(bytes);
        fingerprint.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two of the test vectors published with the algorithm.
    #[test]
    fn it_is_fnv_1a() {
        assert_eq!(Fingerprint::of(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fingerprint::of(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
