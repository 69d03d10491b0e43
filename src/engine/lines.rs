//! What a guest writes on its console, as lines: without what steers a terminal, and none without an end. Pure.

/// The longest line in bytes; what is longer is told in pieces.
const LONGEST: usize = 2048;
/// So much is taken for one line, most of which then steers a terminal.
const TAKEN: u64 = 8192;

/// What the next byte belongs to (ECMA-48).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// What ESC has begun.
    Escape,
    /// A control sequence: parameters, then a letter.
    Sequence,
    /// A control string, such as a window's title.
    Words,
}

/// Where one line goes.
pub type Tell<'a> = &'a mut dyn FnMut(&str);

/// Makes lines of bytes. A line feed ends a line and whatever steered the terminal: so garbage hides one line at most.
#[derive(Debug, Default)]
pub struct Lines {
    state: State,
    text: Vec<u8>,
    /// The next text replaces what there is, as it would on a screen.
    returned: bool,
    open: u64,
}

impl Lines {
    /// Takes bytes, and tells each line that ends in them.
    pub fn take(&mut self, bytes: &[u8], tell: Tell<'_>) {
        for byte in bytes {
            self.open += 1;
            self.step(*byte, tell);
            if self.state == State::Text && self.text.is_empty() {
                (self.open, self.returned) = (0, false);
            }
            if self.open >= TAKEN {
                self.end(tell);
            }
        }
    }

    /// Tells what there is of a line, such as a prompt.
    pub fn flush(&mut self, tell: Tell<'_>) {
        let state = self.state;
        self.end(tell);
        self.state = state;
    }

    /// How many of the last bytes are told by no line yet.
    pub(super) fn open(&self) -> u64 {
        self.open
    }

    /// Whether there is something of a line.
    pub(super) fn is_partial(&self) -> bool {
        !self.text.is_empty()
    }

    fn step(&mut self, byte: u8, tell: Tell<'_>) {
        if byte == b'\n' {
            return self.end(tell);
        }
        self.state = match (self.state, byte) {
            (_, 0x1b) => State::Escape,
            (State::Escape, b'[') => State::Sequence,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::Words,
            (State::Escape, 0x20..=0x2f) => State::Escape,
            (State::Sequence, 0x20..=0x3f) => State::Sequence,
            (State::Escape, 0x30..=0x7e) | (State::Sequence, 0x40..=0x7e) => State::Text,
            (State::Words, 0x07 | 0x18 | 0x1a) => State::Text,
            (State::Words, _) => State::Words,
            _ => {
                self.put(byte, tell);
                State::Text
            }
        };
    }

    fn put(&mut self, byte: u8, tell: Tell<'_>) {
        match byte {
            b'\r' => self.returned = true,
            b'\t' | 0x20..=0x7e | 0x80.. => {
                if self.returned {
                    self.text.clear();
                }
                // Not in the middle of a character, unless it is none.
                let splits = (0x80..0xc0).contains(&byte) && self.text.len() < LONGEST + 3;
                if self.text.len() >= LONGEST && !splits {
                    self.end(tell);
                }
                if self.text.is_empty() {
                    (self.open, self.returned) = (1, false);
                }
                self.text.push(byte);
            }
            _ => {}
        }
    }

    /// Ends the line here, whatever has begun in it.
    pub(super) fn end(&mut self, tell: Tell<'_>) {
        let text = String::from_utf8_lossy(&self.text);
        let line = if text.contains(is_harmful) { text.replace(is_harmful, "").into() } else { text };
        // An empty line says nothing in a journal.
        if !line.trim().is_empty() {
            tell(line.trim_end());
        }
        self.text.clear();
        (self.state, self.returned, self.open) = (State::Text, false, 0);
    }
}

/// What does something to a terminal by itself: control characters of more than one byte, changes of direction.
fn is_harmful(c: char) -> bool {
    c != '\t' && c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of these pieces, and what is left at their end.
    fn lines(pieces: &[&[u8]]) -> (Vec<String>, Lines) {
        let (mut told, mut lines) = (Vec::new(), Lines::default());
        for piece in pieces {
            lines.take(piece, &mut |line| told.push(line.to_owned()));
        }
        (told, lines)
    }

    #[test]
    fn lines_are_what_a_screen_would_show() {
        for (bytes, expected) in [
            (&b"a\r\nb\nc"[..], &["a", "b"][..]),
            (b"\r\n\r\n  \r\n", &[]),
            (b"10%\r20%\r100%\r\n", &["100%"]),
            (b"kept\r\r\n", &["kept"]),
            (
                b"\r\x1b[K[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mit\x1b[0m.\r\n",
                &["[  OK  ] Started it."],
            ),
            (b"\x1b]0;root@web\x07prompt\n", &["prompt"]),
            (b"\x1bP1$r0m\x1b\\\x1b(B\x1b=x\n", &["x"]),
            (b"\x1b[31;1", &[]),
            (b"never ends \x1b]0;x\nnext\n", &["never ends", "next"]),
            (b"\x1b[12\nnext\x1b\n", &["next"]),
            (b"a\x00\x07\x08\x7f\tb  \n", &["a\tb"]),
            ("gr\u{fc}n \u{202e}x\u{85}\u{9b}31m\u{2028}\n".as_bytes(), &["gr\u{fc}n x31m"]),
            (b"\xff\xfe\xc3\n", &["\u{fffd}\u{fffd}\u{fffd}"]),
        ] {
            assert_eq!(lines(&[bytes]).0, expected, "{}", bytes.escape_ascii());
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(lines(&single).0, expected, "{} byte by byte", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_prompt_is_told_once_it_is_waited_for() {
        let (_, mut lines) = lines(&[b"done\nweb login: "]);
        assert!(lines.is_partial());
        let mut told = Vec::new();
        lines.flush(&mut |line| told.push(line.to_owned()));
        lines.flush(&mut |line| told.push(line.to_owned()));
        lines.take(b"root\r\n", &mut |line| told.push(line.to_owned()));
        assert_eq!(told, ["web login:", "root"]);
    }

    #[test]
    fn an_endless_line_is_told_in_pieces_that_keep_characters_whole() {
        let text = "x".to_owned() + &"\u{20ac}".repeat(2000);
        let (mut told, rest) = lines(&[text.as_bytes()]);
        assert!(told.iter().all(|line| (LONGEST..LONGEST + 3).contains(&line.len())), "{told:?}");
        told.push(String::from_utf8(rest.text).unwrap());
        assert_eq!(told.concat(), text);
        // What is no text has no characters to keep.
        let (told, rest) = lines(&[&[0xbf; 10 * LONGEST]]);
        assert!(told.len() >= 9 && rest.text.len() <= LONGEST + 3, "{}", told.len());
    }

    #[test]
    fn what_never_becomes_a_line_is_bounded_too() {
        for (begin, more) in
            [(&b"\x1b]0;"[..], b"0"), (b"\x1b[", b"0"), (b"text\x1b]", b"0"), (b"text", b"\x01")]
        {
            let (_, mut lines) = lines(&[begin]);
            for _ in 0..100_000 {
                lines.take(more, &mut |_| {});
                assert!(lines.open() < TAKEN && lines.text.len() <= LONGEST);
            }
        }
        let (told, lines) = lines(&[&[0; 100_000]]);
        assert_eq!((told.len(), lines.open()), (0, 0), "there is nothing to read again");
    }

    #[test]
    fn what_is_open_is_what_must_be_read_again() {
        let bytes = "one\r\n\x1b[32mtwo\x1b[0m\r\nb\u{fc}r\rlast\x1b[1m ".as_bytes();
        let (all, _) = lines(&[bytes, b"\n"]);
        for at in 0..bytes.len() {
            let (mut told, before) = lines(&[&bytes[..at]]);
            let from = at - usize::try_from(before.open()).unwrap();
            told.extend(lines(&[&bytes[from..], b"\n"]).0);
            assert_eq!(told, all, "cut at {at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_makes_bounded_harmless_lines(bytes: Vec<u8>) {
            let (told, rest) = lines(&[&bytes]);
            let harmless = |line: &String| !line.contains(is_harmful) && line.len() <= 3 * (LONGEST + 3);
            proptest::prop_assert!(told.iter().all(harmless) && rest.open() <= bytes.len() as u64);
        }
    }
}
