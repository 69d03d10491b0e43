//! Why a guest ended. Always classified, always shown (design section 5).

use std::fmt;

use super::{Limit, Timestamp};

/// The raw wait status of a guest's init, as wait(2) gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct WaitStatus(pub i32);

/// SIGHUP on Linux: death of a PID namespace's init by it is reboot(2) with RESTART (kernel/reboot.c).
const SIGHUP: i32 = 1;
/// SIGINT on Linux: likewise for HALT and POWER_OFF.
const SIGINT: i32 = 2;

impl WaitStatus {
    /// The signal that killed init, if one did (`WTERMSIG`).
    pub fn signal(self) -> Option<i32> {
        let signal = self.0 & 0x7f;
        (signal != 0 && signal != 0x7f).then_some(signal)
    }

    /// The exit code, if init exited (`WEXITSTATUS`).
    pub fn code(self) -> Option<i32> {
        (self.0 & 0x7f == 0).then_some((self.0 >> 8) & 0xff)
    }

    /// Whether the guest asked to reboot.
    pub fn is_reboot(self) -> bool {
        self.signal() == Some(SIGHUP)
    }

    /// Whether the guest halted or powered off.
    pub fn is_halt(self) -> bool {
        self.signal() == Some(SIGINT)
    }
}

/// Why a guest ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// An operator asked for it.
    Asked {
        /// A kill was asked for.
        killed: bool,
    },
    /// The host was going down.
    HostStop,
    /// It was asked to stop; it did not in time, and was killed.
    Overdue,
    /// It was ready, and then failed the checks of its health: it was stopped for this reason.
    Ill {
        /// What the last check found.
        why: String,
    },
    /// It halted or powered off from inside.
    GuestHalt,
    /// It asked to reboot, and was not started again.
    GuestReboot {
        /// Why it was not.
        why: String,
    },
    /// Its init exited with status 0.
    CleanExit,
    /// Its init exited with another status, or was killed by a signal.
    Crash(WaitStatus),
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// Nobody saw it end.
    Unknown,
}

impl End {
    /// Classifies the end of a guest that nobody asked to stop.
    pub fn of(status: Option<WaitStatus>) -> Self {
        match status {
            None => Self::Unknown,
            Some(status) if status.is_halt() => Self::GuestHalt,
            Some(status) if status.is_reboot() => Self::GuestReboot { why: "it did not come back".into() },
            Some(status) if status.code() == Some(0) => Self::CleanExit,
            Some(status) => Self::Crash(status),
        }
    }

    /// Whether something went wrong that a person should look at.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Crash(_) | Self::OutOfMemory | Self::Ill { .. })
    }
}

/// One end of a guest, as it is kept for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PastEnd {
    /// When it was seen.
    pub at: Timestamp,
    /// How it ended, or why it could not be started, in words.
    pub how: String,
}

/// What is to follow the end of a run that is on its way down, as one daemon leaves it to the next.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Follows {
    /// It has ended, or is being ended, so: what follows is decided by that.
    End(End),
    /// It stays down: it rebooted too often.
    RebootLoop(Limit),
    /// It is started again.
    Start,
    /// It is being started, and may not have come so far.
    Begin,
    /// It is being ended for this failure: `[restart]` says what follows.
    Recover(String),
    /// It has failed so, and is started again once its pause is over.
    Retry(String),
    /// It has failed so, and somebody should look.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { killed: false } => f.write_str("stopped by request"),
            Self::Asked { killed: true } => f.write_str("killed by request"),
            Self::HostStop => f.write_str("stopped with the host"),
            Self::Ill { why } => write!(f, "stopped: its health was bad: {why}"),
            Self::Overdue => f.write_str("killed: it did not stop in time"),
            Self::GuestHalt => f.write_str("halted by the guest"),
            Self::GuestReboot { why } => write!(f, "rebooted by the guest, not started again: {why}"),
            Self::CleanExit => f.write_str("its init exited with status 0"),
            Self::Crash(status) => match (status.signal(), status.code()) {
                (Some(signal), _) => {
                    write!(f, "crashed: its init was killed by {}", SignalName(signal))
                }
                (None, Some(code)) => write!(f, "crashed: its init exited with status {code}"),
                (None, None) => write!(f, "crashed: wait status {:#x}", status.0),
            },
            Self::OutOfMemory => f.write_str("killed for want of memory"),
            Self::Unknown => f.write_str("ended unobserved"),
        }
    }
}

/// The names of Linux's standard signals, by number from 1.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];
/// The first real-time signal a C library leaves to programs (glibc and musl keep two for themselves).
const SIGRTMIN: i32 = 34;
/// The last real-time signal.
const SIGRTMAX: i32 = 64;

/// Shows a signal number by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignalName(pub i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n @ 1..=31 => f.write_str(SIGNALS[n as usize - 1]),
            n if n >= SIGRTMIN => write!(f, "SIGRTMIN+{}", n - SIGRTMIN),
            n => write!(f, "signal {n}"),
        }
    }
}

/// The number of a signal written as LXC takes it: a number, or `SIGxxx` in any case, `SIGRTMIN+n`, `SIGRTMAX-n`.
pub fn signal_number(text: &str) -> Option<i32> {
    let bounded = |n: i32| (1..=SIGRTMAX).contains(&n).then_some(n);
    if let Ok(number) = text.parse::<i32>() {
        return bounded(number);
    }
    let upper = text.to_ascii_uppercase();
    if let Some(rest) = upper.strip_prefix("SIGRTMIN") {
        let n = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
        return bounded(SIGRTMIN.checked_add(n)?).filter(|n| *n >= SIGRTMIN);
    }
    if let Some(rest) = upper.strip_prefix("SIGRTMAX") {
        let n = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? };
        return SIGRTMAX.checked_sub(n).filter(|n| (SIGRTMIN..=SIGRTMAX).contains(n));
    }
    let aliases = [("SIGIOT", 6), ("SIGCLD", 17), ("SIGPOLL", 29)];
    aliases
        .iter()
        .find(|(name, _)| *name == upper)
        .map(|(_, n)| *n)
        .or_else(|| SIGNALS.iter().position(|name| *name == upper).map(|at| at as i32 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_classified() {
        for (raw, words) in [
            (0x1, "rebooted by the guest, not started again: it did not come back"),
            (0x2, "halted by the guest"),
            (0x9, "crashed: its init was killed by SIGKILL"),
            (0x8b, "crashed: its init was killed by SIGSEGV"),
            (0x0, "its init exited with status 0"),
            (0x300, "crashed: its init exited with status 3"),
        ] {
            assert_eq!(End::of(Some(WaitStatus(raw))).to_string(), words, "{raw:#x}");
        }
        assert_eq!(End::of(None), End::Unknown);
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGPWR", Some(30)),
            ("sigkill", Some(9)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMIN", Some(34)),
            ("PWR", None),
            ("0", None),
            ("65", None),
            ("SIGRTMIN+99", None),
            ("SIGRTMIN-1", None),
            ("", None),
        ] {
            assert_eq!(signal_number(text), number, "{text:?}");
        }
        assert_eq!(SignalName(37).to_string(), "SIGRTMIN+3");
        assert_eq!(SignalName(30).to_string(), "SIGPWR");
    }
}
