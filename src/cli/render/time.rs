//! Times and lengths of time for people.

use std::time::{Duration, SystemTime};

/// How long ago a moment was: `12s`, `5min`, `2h 13min`, `4d 2h`, `93d`. A moment to come is `0s`; text that is no
/// RFC 3339 stays as it is.
pub fn since(at: &str, now: SystemTime) -> String {
    match humantime::parse_rfc3339_weak(at) {
        Ok(moment) => length(now.duration_since(moment).unwrap_or_default()),
        Err(_) => super::plain(at),
    }
}

/// How far a moment lies ahead, rounded up to seconds: `in 12s`; `now` when it has come. Text that is no RFC 3339 stays as it is.
pub fn until(at: &str, now: SystemTime) -> String {
    let Ok(moment) = humantime::parse_rfc3339_weak(at) else { return super::plain(at) };
    match moment.duration_since(now).unwrap_or_default() {
        Duration::ZERO => "now".to_owned(),
        ahead => format!("in {}", length(Duration::from_secs_f64(ahead.as_secs_f64().ceil()))),
    }
}

/// A moment to the second: `2026-11-21 09:47:00 UTC`. Text that is no RFC 3339 stays as it is.
pub fn moment(at: &str) -> String {
    match humantime::parse_rfc3339_weak(at) {
        Ok(moment) => {
            let told = humantime::format_rfc3339_seconds(moment).to_string();
            told.replace('T', " ").replace('Z', " UTC")
        }
        Err(_) => super::plain(at),
    }
}

/// A length of time with at most two units.
pub fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}min"),
        (0, hours, minutes) => format!("{hours}h {}min", minutes % 60),
        (days @ 1..=29, hours, _) => format!("{days}d {}h", hours % 24),
        (days, ..) => format!("{days}d"),
    }
}

/// A delay as settings write it; empty when there is none.
pub fn delay(delay: Duration) -> String {
    if delay.is_zero() { String::new() } else { humantime::format_duration(delay).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_by_their_age() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (ago, words) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1min"),
            (3599, "59min"),
            (3600, "1h 0min"),
            (2 * 3600 + 13 * 60, "2h 13min"),
            (86400 * 4 + 7200, "4d 2h"),
            (86400 * 93, "93d"),
        ] {
            let at = humantime::format_rfc3339(now - Duration::from_secs(ago)).to_string();
            assert_eq!(since(&at, now), words, "{ago}");
        }
        assert_eq!(moment("2026-11-21T09:47:00.123456Z"), "2026-11-21 09:47:00 UTC");
        assert_eq!(moment("yester\u{1b}day"), "yester\\u{1b}day");
        assert_eq!(since("2999-01-01T00:00:00Z", now), "0s");
        assert_eq!(since("yester\u{1b}day", now), "yester\\u{1b}day");
    }

    #[test]
    fn moments_to_come_are_told_by_how_far_they_are() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (ahead, words) in [(0, "now"), (1, "in 1s"), (11_500, "in 12s"), (60_000, "in 1min")] {
            let at = humantime::format_rfc3339_millis(now + Duration::from_millis(ahead)).to_string();
            assert_eq!(until(&at, now), words, "{ahead}");
        }
        assert_eq!(until("1970-01-01T00:00:00Z", now), "now");
        assert_eq!(until("to\u{1b}morrow", now), "to\\u{1b}morrow");
    }

    #[test]
    fn delays_are_printed_as_settings_write_them() {
        assert_eq!(delay(Duration::ZERO), "");
        assert_eq!(delay(Duration::from_secs(90)), "1m 30s");
    }
}
