//! Values that are written as text in TOML: durations and limits.

use std::time::Duration;

use crate::model::Limit;

/// The longest duration that is taken: what LXC's delay can hold, 136 years. Keeps every sum of durations far from
/// overflow.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);

/// A number of seconds.
pub fn seconds(number: i64) -> Option<Duration> {
    u32::try_from(number).ok().map(|seconds| Duration::from_secs(seconds.into()))
}

/// A duration with units: `5s`, `1m 30s`, `100ms`.
pub fn duration(text: &str) -> Option<Duration> {
    if text.len() > 64 {
        return None;
    }
    humantime::parse_duration(text).ok().filter(|duration| *duration <= LONGEST)
}

/// A limit: `5/1m`. The window may be a bare number of seconds.
pub fn limit(text: &str) -> Option<Limit> {
    let (count, window) = text.split_once('/')?;
    let window = window.trim();
    let window = match window.parse::<i64>() {
        Ok(number) => seconds(number)?,
        Err(_) => duration(window)?,
    };
    let count = count.trim().parse().ok().filter(|count| *count > 0)?;
    (!window.is_zero()).then_some(Limit { count, window })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, millis) in [
            ("5s", Some(5_000)),
            ("1m 30s", Some(90_000)),
            ("100ms", Some(100)),
            ("5", None),
            ("", None),
            ("-5s", None),
            ("200years", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(seconds(-1), None);
        assert_eq!(seconds(i64::MAX), None);
        assert_eq!(seconds(90), Some(Duration::from_secs(90)));
    }

    #[test]
    fn limits_are_a_count_and_a_window() {
        let of = |count, seconds| Some(Limit { count, window: Duration::from_secs(seconds) });
        for (text, expected) in [
            ("5/1m", of(5, 60)),
            ("3 / 10s", of(3, 10)),
            ("5/60", of(5, 60)),
            ("0/1m", None),
            ("5/0s", None),
            ("5", None),
            ("-5/1m", None),
            ("5/1m/2", None),
        ] {
            assert_eq!(limit(text), expected, "{text:?}");
        }
    }
}
