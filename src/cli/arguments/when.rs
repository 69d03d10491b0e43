//! Moments to come, as people write them: `2h`, `18:30`, `2026-11-21T18:30:00Z`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::UsageError;
use crate::model::{Timestamp, name::shown};

/// The moment that a text means: so long from now (`90min`, `1day 2h`), a time of the day as the next that comes in the local
/// time zone (`HH:MM`), or a moment as RFC 3339 writes it.
///
/// # Errors
/// [`UsageError::Until`] when it is none of these, or has passed.
pub fn moment(text: &str, now: SystemTime) -> Result<Timestamp, UsageError> {
    let error = |why| UsageError::Until { shown: shown(text), why };
    let meant = if let Ok(after) = humantime::parse_duration(text) {
        now.checked_add(after)
    } else if let Some((hour, minute)) = time_of_day(text) {
        next_local(hour, minute, now)
    } else {
        let Some(moment) = rfc3339(text) else {
            return Err(error("is no length of time (2h), time of the day (18:30) or moment of RFC 3339"));
        };
        Some(moment)
    };
    let since = meant.filter(|meant| *meant > now).and_then(|meant| meant.duration_since(UNIX_EPOCH).ok());
    let micros = since.and_then(|since| u64::try_from(since.as_micros()).ok());
    micros.map(Timestamp).ok_or_else(|| error("is not a moment to come"))
}

/// Reads `HH:MM`.
fn time_of_day(text: &str) -> Option<(u8, u8)> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str, most| {
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number| is_number && *number <= most)
    };
    Some((number(hour, 23)?, number(minute, 59).filter(|_| minute.len() == 2)?))
}

/// Reads a moment of RFC 3339, in any time zone.
fn rfc3339(text: &str) -> Option<SystemTime> {
    if let Ok(moment) = humantime::parse_rfc3339(text) {
        return Some(moment);
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let is_east = match zone.chars().next()? {
        '+' => true,
        '-' => false,
        _ => return None,
    };
    let (hours, minutes) = time_of_day(&zone[1..]).filter(|_| zone.len() == "+00:00".len())?;
    let offset = Duration::from_secs(60 * (60 * u64::from(hours) + u64::from(minutes)));
    let moment = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    if is_east { moment.checked_sub(offset) } else { moment.checked_add(offset) }
}

/// When it is this time of the day next in the local time zone.
fn next_local(hour: u8, minute: u8, now: SystemTime) -> Option<SystemTime> {
    let seconds = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let mut today = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both point to values of this function; localtime_r writes the second, and all zeros are a value of it too.
    let known = unsafe { libc::localtime_r(&raw const seconds, today.as_mut_ptr()) };
    if known.is_null() {
        return None;
    }
    // SAFETY: it was made of zeros and written since.
    let today = unsafe { today.assume_init() };
    let on_day = |later: i32| {
        let mut wanted = today;
        (wanted.tm_hour, wanted.tm_min, wanted.tm_sec) = (hour.into(), minute.into(), 0);
        wanted.tm_mday += later;
        // Whether summer time counts then is not said.
        wanted.tm_isdst = -1;
        // SAFETY: mktime reads and completes a value of this closure.
        let at = unsafe { libc::mktime(&raw mut wanted) };
        Some(UNIX_EPOCH + Duration::from_secs(u64::try_from(at).ok()?))
    };
    // A time that summer time leaves out may lie in the past on the next day, too.
    (0..3).filter_map(on_day).find(|moment| *moment > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 09:47:00 UTC.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_254_420)
    }

    fn after(text: &str) -> Duration {
        let Timestamp(micros) = moment(text, now()).unwrap_or_else(|error| panic!("{error}"));
        (UNIX_EPOCH + Duration::from_micros(micros)).duration_since(now()).unwrap()
    }

    #[test]
    fn lengths_and_moments_are_read() {
        assert_eq!(humantime::format_rfc3339(now()).to_string(), "2026-11-21T09:47:00Z");
        for (text, seconds) in [
            ("2h", 7200),
            ("1day 30min", 88_200),
            ("2026-11-21T09:48:00Z", 60),
            ("2026-11-21T10:48:00+01:00", 60),
            ("2026-11-21T04:18:30-05:30", 90),
        ] {
            assert_eq!(after(text), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn a_time_of_the_day_is_the_next_one() {
        for text in ["09:47", "00:00", "23:59", "9:46"] {
            let after = after(text);
            assert!(after > Duration::ZERO && after <= Duration::from_secs(25 * 3600), "{text}: {after:?}");
        }
        // Whatever the zone is: a minute later comes a minute later.
        let apart = after("12:01").as_secs().abs_diff(after("12:00").as_secs());
        assert!(apart == 60 || apart == 86_340, "{apart}");
    }

    #[test]
    fn what_has_passed_or_means_nothing_is_refused() {
        for text in ["0s", "2026-11-21T09:47:00Z", "1999-01-01T00:00:00Z", "2026-11-21T10:00:00+09:00"] {
            let error = moment(text, now()).unwrap_err().to_string();
            assert_eq!(error, format!("--until: \"{text}\" is not a moment to come"));
        }
        for text in [
            "",
            "soon",
            "24:00",
            "12:60",
            "12:5",
            "1:2:3",
            "2026-11-21",
            "2026-11-21 10:00",
            "-2h",
            "é+00:00",
        ] {
            let error = moment(text, now()).unwrap_err().to_string();
            assert!(error.contains("is no length of time (2h)"), "{text}: {error}");
        }
    }
}
