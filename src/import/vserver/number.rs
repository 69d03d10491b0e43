//! Numbers as util-vserver writes them.

/// A number, perhaps with one of K and M (1024 and its square) or k and m (1000 and its square) behind it.
pub(super) fn scaled(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(['K', 'M', 'k', 'm']);
    let factor = match &text[number.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "k" => 1000,
        "m" => 1_000_000,
        _ => return None,
    };
    unsigned(number)?.checked_mul(factor)
}

/// A limit: a number as [`scaled`] reads it, or `inf`, which is none.
pub(super) fn limit(text: &str) -> Option<Option<u64>> {
    if matches!(text, "inf" | "INF") { Some(None) } else { scaled(text).map(Some) }
}

/// Decimal digits and nothing else.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Decimal digits with a sign or without, within bounds.
pub(super) fn signed(text: &str, bounds: std::ops::RangeInclusive<i32>) -> Option<i32> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    unsigned(digits)?;
    text.parse().ok().filter(|number| bounds.contains(number))
}

/// A set of bits: decimal, or hexadecimal behind `0x`.
pub(super) fn bits(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u64::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => unsigned(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_bounds() {
        for (text, expected) in [
            ("100", Some(Some(100))),
            ("2K", Some(Some(2048))),
            ("2k", Some(Some(2000))),
            ("1M", Some(Some(1 << 20))),
            ("1m", Some(Some(1_000_000))),
            ("inf", Some(None)),
            ("", None),
            ("K", None),
            ("1KK", None),
            ("-1", None),
            ("+1", None),
            ("18446744073709551615", Some(Some(u64::MAX))),
            ("18446744073709551615K", None),
        ] {
            assert_eq!(limit(text), expected, "{text:?}");
        }
        for (text, expected) in [("-20", Some(-20)), ("+5", Some(5)), ("20", None), ("--5", None), ("", None)]
        {
            assert_eq!(signed(text, -20..=19), expected, "{text:?}");
        }
        for (text, expected) in
            [("0x1f", Some(31)), ("12", Some(12)), ("0x", None), ("0x+1", None), ("x", None)]
        {
            assert_eq!(bits(text), expected, "{text:?}");
        }
    }
}
