//! The part of a file that is kept: guests may own their configuration, so nobody's file costs more than a bound.
//!
//! Of an over-long line only the beginning is kept (one byte more than allowed, so that a reader sees that it is
//! over-long); the lines after it are read as if nothing had happened. Of an over-large file the beginning is kept.

use super::Text;

/// The longest line, in bytes, without its end.
pub const LINE_MAX: usize = 64 * 1024;
/// The most that is kept of one file, in bytes.
pub const FILE_MAX: usize = 1024 * 1024;
/// The most that is looked at of one file, in bytes; the rest of a larger one is not read at all.
pub const LOOK_MAX: u64 = 64 * 1024 * 1024;

/// Takes a file piece by piece and keeps its bounded part.
#[derive(Debug, Default)]
pub struct Excerpt {
    kept: Text,
    /// Length of the line that the next piece goes on with.
    line: usize,
}

impl Excerpt {
    /// Takes the next piece. False when nothing more will be kept, so that reading may end.
    pub fn push(&mut self, piece: &[u8]) -> bool {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (content, end) = match part.split_last() {
                Some((b'\n', content)) => (content, &b"\n"[..]),
                _ => (part, &b""[..]),
            };
            let room = (LINE_MAX + 1).saturating_sub(self.line);
            let content = &content[..content.len().min(room)];
            if self.kept.bytes.len() + content.len() + end.len() > FILE_MAX {
                self.kept.cut = true;
                return false;
            }
            self.kept.bytes.extend_from_slice(content);
            self.kept.bytes.extend_from_slice(end);
            self.line = if end.is_empty() { self.line + content.len() } else { 0 };
        }
        true
    }

    /// What was kept. The last line of a cut file is dropped, since it is not whole.
    pub fn finish(mut self) -> Text {
        if self.kept.cut {
            let whole = self.kept.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            self.kept.bytes.truncate(whole);
        }
        self.kept
    }

    /// What is left to be said of a file that was larger than [`LOOK_MAX`].
    pub fn stopped(&mut self) {
        self.kept.cut = true;
    }
}

/// The bounded part of text that is at hand.
pub fn of(bytes: &[u8]) -> Text {
    let mut excerpt = Excerpt::default();
    excerpt.push(bytes);
    excerpt.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shortened_and_the_next_ones_kept() {
        let mut excerpt = Excerpt::default();
        assert!(excerpt.push(b"a = 1\n"));
        for _ in 0..10 {
            assert!(excerpt.push(&vec![b'x'; 1024 * 1024]));
        }
        assert!(excerpt.push(b"\nb = 2\n"));
        let text = excerpt.finish();
        assert!(!text.cut);
        let lines: Vec<_> = text.bytes.split(|b| *b == b'\n').map(<[u8]>::len).collect();
        assert_eq!(lines, [5, LINE_MAX + 1, 5, 0]);
    }

    #[test]
    fn a_large_file_keeps_its_whole_first_lines() {
        let text = of(&b"lxc.group = web\n".repeat(FILE_MAX / 8));
        assert!(text.cut);
        assert!(text.bytes.len() <= FILE_MAX && text.bytes.len() > FILE_MAX - 16);
        assert!(text.bytes.ends_with(b"web\n"));
    }

    #[test]
    fn an_ordinary_file_is_kept_as_it_is() {
        for bytes in [&b""[..], b"\n\n", b"no end", b"a\r\nb\n"] {
            assert_eq!(of(bytes), Text { bytes: bytes.to_vec(), cut: false });
        }
    }
}
