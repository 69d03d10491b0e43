//! `[restart]`: whether a guest that has ended by itself is started again.

use std::{fmt, time::Duration};

use super::setting::Limit;

/// Which ends are followed by a new start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// None.
    Never,
    /// Crashes, also those for want of memory. What was asked for stays, and so does a halt from inside.
    #[default]
    OnFailure,
    /// Every end but a stop that somebody asked for: also a clean exit of the guest's init, and a halt from inside.
    Always,
}

impl RestartPolicy {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Never, Self::OnFailure, Self::Always];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `[restart]`: whether, how soon and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// Which ends count.
    pub policy: RestartPolicy,
    /// From the end to the first new start; zero is at once. Doubled each time.
    pub delay: Duration,
    /// The delay grows no further than this, which also counts where it is shorter than `delay`.
    pub max_delay: Duration,
    /// `count` restarts within `window` are carried out; where one more is due, the guest has failed.
    pub limit: Limit,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            policy: RestartPolicy::OnFailure,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(60),
            limit: Limit { count: 5, window: Duration::from_secs(5 * 60) },
        }
    }
}
