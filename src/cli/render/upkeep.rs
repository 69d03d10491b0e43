//! What guestd does by itself to keep a guest up, for `guestctl status NAME`.

use std::time::{Duration, SystemTime};

use crate::dbus::describe::{Guest, GuestDetails, Health};

/// How often it was started again, and how many more failures its policy bears: `2; on-failure: 1 of 5 within 5m`.
pub(super) fn restarts(details: &GuestDetails<'_>, now: SystemTime) -> String {
    let count = details.guest.restarts;
    let policy = match (&*details.restart_policy, details.restart_limit.split_once('/')) {
        // Those that were not seen to count are not told: an ephemeral guest is never started again.
        ("" | "never", _) | (_, None) => details.restart_policy.to_string(),
        (policy, Some((limit, window))) => {
            format!("{policy}: {} of {limit} within {window}", within(window, &details.failures, now))
        }
    };
    match (count, policy.is_empty()) {
        (0, true) => String::new(),
        (_, true) => count.to_string(),
        _ => format!("{count}; {policy}"),
    }
}

/// How many of these moments lie no further back than the window.
fn within<T: AsRef<str>>(window: &str, moments: &[T], now: SystemTime) -> usize {
    let window = humantime::parse_duration(window).unwrap_or(Duration::MAX);
    let moments = moments.iter().filter_map(|at| humantime::parse_rfc3339_weak(at.as_ref()).ok());
    moments.filter(|at| now.duration_since(*at).unwrap_or_default() < window).count()
}

/// When it serves, and whether it does; empty where that is as soon as it runs.
pub(super) fn readiness(details: &GuestDetails<'_>) -> String {
    let guest = &details.guest;
    let when = match &*details.ready_when {
        "" | "started" => return String::new(),
        "notify" => "once it says READY=1",
        probe => probe,
    };
    match (&*guest.phase, guest.ready) {
        ("up", true) => format!("yes; {when}"),
        ("up", false) => format!("no; {when}"),
        _ => when.to_owned(),
    }
}

/// What its health is found out by, and how it is where that is asked.
pub(super) fn health(guest: &Guest<'_>, health: &Health<'_>) -> String {
    let Health { probe, interval, threshold, action, failed } = health;
    let interval = humantime::format_duration(Duration::try_from_secs_f64(*interval).unwrap_or_default());
    let asked = format!("{probe} every {interval}; {action} after {threshold} failures in a row");
    match (&*guest.phase, guest.ready, failed) {
        ("up", true, 0) => format!("good; {asked}"),
        ("up", true, _) => format!("good, but for the last {failed}; {asked}"),
        ("up", false, 1..) => format!("bad, {failed} failures in a row; {asked}"),
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_too_far_back_does_not_count() {
        let now = humantime::parse_rfc3339("2026-11-21T12:00:00Z").unwrap();
        let failures =
            ["2026-11-21T11:54:59Z", "2026-11-21T11:55:00Z", "2026-11-21T11:55:01Z", "2026-11-21T12:00:01Z"];
        assert_eq!(within("5m", &failures, now), 2);
        assert_eq!(within("1h", &failures, now), 4);
        assert_eq!(within("nonsense", &["nonsense"], now), 0);
    }
}
