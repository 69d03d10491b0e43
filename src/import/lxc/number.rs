//! Numbers and signals as LXC reads them: C's strtoul and strtol with base 0, and the whole text must be the number.

use crate::model::end::signal_number;

/// The blanks that C's number readers skip in front of a number (isspace in the C locale).
const SPACES: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// An unsigned number as LXC reads it: decimal, `0x` hexadecimal, `0` octal, with an optional plus sign.
pub fn unsigned(text: &str) -> Option<u32> {
    let (negative, magnitude) = magnitude(text)?;
    if negative { None } else { u32::try_from(magnitude).ok() }
}

/// A signed number as LXC reads it.
pub fn signed(text: &str) -> Option<i32> {
    let (negative, magnitude) = magnitude(text)?;
    let magnitude = i64::try_from(magnitude).ok()?;
    i32::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn magnitude(text: &str) -> Option<(bool, u64)> {
    let text = text.trim_start_matches(SPACES);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        (16, hex)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    // Rust's reader would take a second sign.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some((negative, u64::from_str_radix(digits, radix).ok()?))
}

/// What a signal setting says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// This one; none for 0, which LXC takes as "not set".
    Number(Option<i32>),
    /// This one, but LXC does not know the spelling.
    Misspelt(i32),
}

/// A signal as LXC reads it: a number, or `SIGxxx` in any case, `SIGRTMIN+n`, `SIGRTMAX-n`.
pub fn signal(text: &str) -> Option<Signal> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return match unsigned(text)? {
            0 => Some(Signal::Number(None)),
            number => Some(Signal::Number(Some(signal_number(&number.to_string())?))),
        };
    }
    let known = |text: &str| signal_number(text).filter(|_| !text.starts_with(['+', '-']));
    match known(text) {
        Some(number) if ["SIGRTMIN", "SIGRTMAX"].iter().any(|bare| text.eq_ignore_ascii_case(bare)) => {
            Some(Signal::Misspelt(number))
        }
        Some(number) => Some(Signal::Number(Some(number))),
        None => known(&format!("SIG{text}")).map(Signal::Misspelt),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_strtol_with_base_0() {
        for (text, as_unsigned, as_signed) in [
            ("0", Some(0), Some(0)),
            ("5", Some(5), Some(5)),
            ("+5", Some(5), Some(5)),
            ("-5", None, Some(-5)),
            ("0x1F", Some(31), Some(31)),
            ("0X1f", Some(31), Some(31)),
            ("-0x10", None, Some(-16)),
            ("010", Some(8), Some(8)),
            ("00", Some(0), Some(0)),
            ("-00", None, Some(0)),
            ("08", None, None),
            ("0x", None, None),
            ("0b1", None, None),
            ("", None, None),
            (" ", None, None),
            (" 7", Some(7), Some(7)),
            ("7 ", None, None),
            ("1 # x", None, None),
            ("abc", None, None),
            ("+-5", None, None),
            ("++5", None, None),
            ("0x-5", None, None),
            ("5s", None, None),
            ("1.5", None, None),
            ("2147483647", Some(2_147_483_647), Some(i32::MAX)),
            ("2147483648", Some(2_147_483_648), None),
            ("-2147483648", None, Some(i32::MIN)),
            ("4294967295", Some(u32::MAX), None),
            ("4294967296", None, None),
            ("99999999999999999999", None, None),
            ("١", None, None),
        ] {
            assert_eq!(unsigned(text), as_unsigned, "{text:?}");
            assert_eq!(signed(text), as_signed, "{text:?}");
        }
    }

    #[test]
    fn signals_follow_lxc() {
        for (text, expected) in [
            ("SIGPWR", Some(Signal::Number(Some(30)))),
            ("sigpwr", Some(Signal::Number(Some(30)))),
            ("30", Some(Signal::Number(Some(30)))),
            ("0x1e", Some(Signal::Number(Some(30)))),
            ("036", Some(Signal::Number(Some(30)))),
            ("0", Some(Signal::Number(None))),
            ("SIGRTMIN+3", Some(Signal::Number(Some(37)))),
            ("SIGRTMIN", Some(Signal::Misspelt(34))),
            ("PWR", Some(Signal::Misspelt(30))),
            ("RTMIN+3", Some(Signal::Misspelt(37))),
            ("65", None),
            ("-9", None),
            ("+9", None),
            ("SIGFOO", None),
            ("", None),
        ] {
            assert_eq!(signal(text), expected, "{text:?}");
        }
    }
}
