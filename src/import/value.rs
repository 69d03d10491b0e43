//! Values that are written as text in TOML: durations, limits, addresses, names of hosts and paths.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::model::{Limit, Probe, path};

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

/// A host and a port: `10.0.3.5:5432`, `[fe80::1]:22`, `name:port`. An address of IPv6 is told without its brackets; it
/// may name an interface, as in `[fe80::1%eth0]:22`.
pub fn address(text: &str) -> Option<(Box<str>, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
    let host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').filter(|host| is_ipv6(host))?,
        None => Some(host).filter(|host| is_host(host))?,
    };
    (port != 0).then(|| (host.into(), port))
}

fn is_ipv6(text: &str) -> bool {
    /// The longest name that Linux gives an interface.
    const LONGEST: usize = 15;
    let (address, zone) = text.split_once('%').unwrap_or((text, "lo"));
    address.parse::<core::net::Ipv6Addr>().is_ok()
        && (1..=LONGEST).contains(&zone.len())
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// An address of IPv4, or the name of a host; digits and dots alone are never a name.
fn is_host(text: &str) -> bool {
    /// RFC 1035, as written text.
    const LONGEST: usize = 253;
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.parse::<core::net::Ipv4Addr>().is_ok();
    }
    text.len() <= LONGEST && are_labels(text.strip_suffix('.').unwrap_or(text))
}

/// A name that a host gives itself: at most 64 characters, which is what the kernel keeps.
pub fn is_own_name(text: &str) -> bool {
    text.len() <= 64 && are_labels(text)
}

fn are_labels(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    text.split('.').all(is_label)
}

/// An absolute path without `..`, in its shortest spelling.
pub fn path(text: &str) -> Option<PathBuf> {
    /// The kernel's PATH_MAX, with the zero at the end.
    const LONGEST: usize = 4095;
    let is_clean = text.len() <= LONGEST && !text.contains('\0') && Probe::takes(Path::new(text));
    is_clean.then(|| path::normal(Path::new(text)))
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

    #[test]
    fn paths_are_absolute_and_go_nowhere_else() {
        for (text, expected) in [
            ("/srv/web", Some("/srv/web")),
            ("/srv//web/./", Some("/srv/web")),
            ("/", Some("/")),
            ("srv", None),
            ("", None),
            ("/srv/../etc", None),
            ("/a\0b", None),
        ] {
            assert_eq!(path(text).as_deref(), expected.map(Path::new), "{text:?}");
        }
        assert_eq!(path(&"/a".repeat(3000)), None);
    }

    #[test]
    fn hosts_name_themselves_with_labels() {
        for good in ["web", "web-1.example.org", "42", "a_b"] {
            assert!(is_own_name(good), "{good}");
        }
        for bad in ["", ".", "web.", "-web", "a b", "ü", "a/b", &"x".repeat(65)] {
            assert!(!is_own_name(bad), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for (text, host, port) in [
            ("10.0.3.5:5432", "10.0.3.5", 5432),
            ("[fe80::1]:22", "fe80::1", 22),
            ("[fe80::1%eth0]:22", "fe80::1%eth0", 22),
            ("[::]:65535", "::", 65535),
            ("db:1", "db", 1),
            ("db_1.example-x.org.:80", "db_1.example-x.org.", 80),
        ] {
            assert_eq!(address(text), Some((host.into(), port)), "{text:?}");
        }
        let long = format!("{}:1", "a.".repeat(127));
        let bad = "5432 :5432 db db: db:0 db:65536 db:+1 db:-1 db:http 10.0.3:1 256.0.0.1:1 1:1 .:1 -db:1 a..b:1 .a:1 \
                   a/b:1 tcp://a:1 ü:1 fe80::1:22 [fe80::1] [fe80::1]22 [10.0.3.5]:1 [db]:1 []:1 [::1%]:1 \
                   [::1%a/b]:1 [::1:1";
        for text in bad.split(' ').chain(["", "db: 1", "d b:1", &long]) {
            assert_eq!(address(text), None, "{text:?}");
        }
    }
}
