//! `[ready]` and `[health]`: when a guest serves, and whether it still does.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// A question to a guest, answered by yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Somebody takes connections there.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: Box<str>,
        /// Its port; never 0.
        port: u16,
    },
    /// Somebody takes connections at this unix stream socket inside the guest.
    Socket(PathBuf),
    /// This command, run inside the guest, ends with status 0. Not empty; the program is an absolute path.
    Exec(Vec<String>),
    /// There is something at this path inside the guest.
    File(PathBuf),
}

impl Probe {
    /// Its key in `[ready]` and `[health]`.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Tcp { .. } => "tcp",
            Self::Socket(_) => "socket",
            Self::Exec(_) => "exec",
            Self::File(_) => "file",
        }
    }

    /// What it asks, without its key.
    pub fn target(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Socket(path) | Self::File(path) => path.display().to_string(),
            Self::Exec(argv) => argv.join(" "),
        }
    }

    /// Whether a path can be asked for inside a guest: absolute, and without `..`, which would lead elsewhere once a
    /// symbolic link stands before it.
    pub fn takes(path: &Path) -> bool {
        path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir)
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key(), self.target())
    }
}

/// When a guest serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Condition {
    /// As soon as it runs.
    #[default]
    Started,
    /// Once its init says `READY=1` (sd_notify(3)).
    Notify,
    /// Once this is answered by yes.
    Probe(Probe),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.pad("started"),
            Self::Notify => f.pad("notify"),
            Self::Probe(probe) => probe.fmt(f),
        }
    }
}

/// What becomes of a guest that is not ready in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTimeout {
    /// It stays up and not ready; later tiers and those `after` it go on, those that require it fail.
    #[default]
    Continue,
    /// It is stopped, and has failed to start.
    Fail,
}

impl OnTimeout {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Continue, Self::Fail];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for OnTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `[ready]`: when a guest serves, and how long that may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// The condition.
    pub when: Condition,
    /// Longest time from the running init to the condition; longer than zero.
    pub timeout: Duration,
    /// What follows when it is over.
    pub on_timeout: OnTimeout,
    /// From one probe's answer to the next probe; at least [`Ready::SHORTEST`].
    pub interval: Duration,
}

impl Ready {
    /// The shortest interval of probes; more often would only keep the host busy.
    pub const SHORTEST: Duration = Duration::from_millis(10);
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            when: Condition::Started,
            timeout: Duration::from_secs(60),
            on_timeout: OnTimeout::Continue,
            interval: Duration::from_secs(1),
        }
    }
}

/// What becomes of a guest that is found ill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HealthAction {
    /// It is stopped, and started again as after a crash.
    Restart,
    /// It is told, and nothing is done.
    #[default]
    Report,
}

impl HealthAction {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Restart, Self::Report];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for HealthAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `[health]`: whether a guest that is ready still serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it is asked.
    pub probe: Probe,
    /// From one probe's answer to the next probe; at least [`Ready::SHORTEST`].
    pub interval: Duration,
    /// Longest time of one probe; then the answer is no. Longer than zero.
    pub timeout: Duration,
    /// So many noes in a row make it ill; at least 1.
    pub threshold: u32,
    /// What follows then.
    pub action: HealthAction,
}

impl Health {
    /// Asks this, with everything else as it is where nothing is said.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            threshold: 3,
            action: HealthAction::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_shown_by_their_key() {
        let tcp = |host: &str| Probe::Tcp { host: host.into(), port: 22 };
        for (probe, text) in [
            (tcp("10.0.3.5"), "tcp 10.0.3.5:22"),
            (tcp("fe80::1"), "tcp [fe80::1]:22"),
            (Probe::Socket("/run/x".into()), "socket /run/x"),
            (Probe::File("/run/x".into()), "file /run/x"),
            (Probe::Exec(vec!["/bin/test".into(), "-e".into()]), "exec /bin/test -e"),
        ] {
            assert_eq!(Condition::Probe(probe).to_string(), text);
        }
        assert_eq!(
            (Condition::Started.to_string(), Condition::Notify.to_string()),
            ("started".into(), "notify".into())
        );
    }

    #[test]
    fn paths_inside_a_guest_are_absolute_and_lead_nowhere_else() {
        for (path, takes) in [
            ("/run/x", true),
            ("/", true),
            ("/run/..x", true),
            ("run/x", false),
            ("/run/../x", false),
            ("", false),
        ] {
            assert_eq!(Probe::takes(Path::new(path)), takes, "{path}");
        }
    }
}
