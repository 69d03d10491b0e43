//! A number that stays a guest's own: systemd inside takes it for the guest's machine ID where that has none yet (machine-id(5)).

use std::fs;

use crate::model::GuestName;

/// That of a guest of this host, as a UUID is written.
pub(super) fn of(guest: &GuestName) -> String {
    let host = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    made(host.trim(), guest)
}

/// By the host's own number and the guest's name: FNV-1a, since any hash that stays the same will do,
/// as a UUID of a kind of our own (version 8 of RFC 9562).
fn made(host: &str, guest: &GuestName) -> String {
    let text = format!("guestd {host} {guest}");
    let hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let marked = hash & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    let digits = format!("{marked:032x}");
    let groups = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].map(|(from, to)| &digits[from..to]);
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_one_of_its_own_that_stays() {
        let of = |host: &str, guest: &str| made(host, &GuestName::new(guest).unwrap());
        let web = of("0123", "web");
        assert_eq!(web, of("0123", "web"));
        assert!(web != of("0123", "db") && web != of("4567", "web"), "{web}");
        let is_marked =
            web.len() == 36 && web.as_bytes()[14] == b'8' && b"89ab".contains(&web.as_bytes()[19]);
        assert!(is_marked, "{web}");
    }
}
