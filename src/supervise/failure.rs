//! What went wrong with a guest.

use std::{fmt, time::Duration};

use crate::model::{End, Limit};

/// Why a guest is `failed`, or is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It could not be started.
    Start(String),
    /// It cannot be started, and trying again would change nothing.
    Broken(String),
    /// It ended so.
    Ended(End),
    /// It ended, and it was not seen how.
    Vanished,
    /// It rebooted too often.
    RebootLoop(Limit),
    /// It would not die.
    Stuck(String),
    /// It rebooted, and its new init did not come.
    NoNewInit,
    /// It was not ready in time, and `on-timeout` says that it has failed then.
    NotReady {
        /// How long it had.
        within: Duration,
        /// What was last found; empty when nothing was.
        words: String,
    },
    /// It was restarted as often as `[restart] limit` allows.
    RestartLimit {
        /// The limit that is used up.
        limit: Limit,
        /// What went wrong last.
        last: Box<Failure>,
    },
    /// It went wrong so while the daemon before this one ran.
    Earlier(String),
    /// Whom it requires is not up, and will not be by itself.
    Required(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(reason) | Self::Broken(reason) => f.write_str(reason),
            Self::Vanished => f.write_str("it ended, and it was not seen how"),
            Self::Ended(end) => write!(f, "{end}"),
            Self::RebootLoop(limit) => write!(
                f,
                "reboot loop: it rebooted more than {} times within {}; \"guestctl start\" tries again",
                limit.count,
                humantime::format_duration(limit.window)
            ),
            Self::Stuck(reason) => write!(f, "it would not die: {reason}"),
            Self::NoNewInit => f.write_str("it rebooted, and no new init came in time"),
            Self::NotReady { within, words } => {
                write!(f, "it was not ready within {}", humantime::format_duration(*within))?;
                if words.is_empty() { Ok(()) } else { write!(f, ": {words}") }
            }
            Self::RestartLimit { limit, last } => write!(
                f,
                "gave up after {} restarts within {} (restart.limit); last: {last}; \"guestctl start\" tries again",
                limit.count,
                humantime::format_duration(limit.window)
            ),
            Self::Required(reason) | Self::Earlier(reason) => f.write_str(reason),
        }
    }
}
