//! What can be asked of the daemon, and how it answers at once.

use std::{path::PathBuf, time::Duration};

use super::{
    job::JobId,
    name::{GuestName, shown_path},
};

/// How long a guest may take to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopWait {
    /// Its own `stop.timeout`.
    #[default]
    Configured,
    /// Ask only; never kill (`-t 0`).
    AskOnly,
    /// Wait for ever; never kill (negative `-t`).
    Forever,
    /// So long, then kill.
    AtMost(Duration),
}

impl StopWait {
    /// Reads `-t` and the D-Bus option `timeout`: seconds, 0 asks only, negative waits for ever.
    pub fn from_seconds(seconds: i32) -> Self {
        match seconds {
            0 => Self::AskOnly,
            s if s < 0 => Self::Forever,
            s => Self::AtMost(Duration::from_secs(s.unsigned_abs().into())),
        }
    }
}

/// One step of a plan, as `Plan` answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The wave, counted from 1.
    pub wave: u32,
    /// Whom.
    pub guest: GuestName,
    /// Its delay; zero for shutdown and kill.
    pub delay: Duration,
    /// Why it is there and at this place.
    pub reason: String,
}

/// What a bulk request would do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outlook {
    /// The steps, in order.
    pub steps: Vec<PlannedStep>,
    /// Who is selected, or needed, and cannot be started, with the reason: a dependency cycle, or a required guest that
    /// does not exist.
    pub refused: Vec<(GuestName, String)>,
}

/// Why a request was turned down as a whole. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No guest has this name.
    #[error("no guest is named \"{0}\"; \"guestctl list\" shows the names")]
    NoSuchGuest(String),
    /// No job has this number, or it ended so long ago that it was forgotten.
    #[error("no job has the number {0}; \"guestctl jobs\" shows them")]
    NoSuchJob(JobId),
    /// The guest's own settings forbid it just now.
    #[error("guest {guest}: {reason}")]
    Refused {
        /// Whom.
        guest: GuestName,
        /// Why.
        reason: String,
    },
    /// The lxcpath of the request is none of guestd's.
    #[error("lxcpath {} is not managed by guestd; it manages {}", shown_path(.path), .managed)]
    ForeignPath {
        /// The path asked for.
        path: PathBuf,
        /// Those managed, as a list.
        managed: String,
    },
    /// The daemon is going down.
    #[error("guestd is stopping")]
    Stopping,
}
