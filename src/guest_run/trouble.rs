//! What goes wrong in a monitor.

use std::{fmt, io};

use super::fault;
use super::spec::Trouble;
use crate::helper::record::RecordError;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system refused it.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried, as a verb phrase.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// The guest's process said so before it became its init.
    #[error("{0}")]
    Inside(String),
    /// The guest's configuration cannot work.
    #[error("{0}")]
    Configuration(String),
    /// A step of the guest's own.
    #[error("{name}: {reason}")]
    Step {
        /// Which.
        name: String,
        /// What happened.
        reason: String,
    },
    /// Another monitor has the guest.
    #[error("it has a monitor already")]
    Busy,
    /// A file of the engine.
    #[error("{}", crate::helper::in_full(.0))]
    Record(#[from] RecordError),
}

/// A result of a monitor.
pub type Run<T> = Result<T, RunError>;

impl RunError {
    /// As it is left for the engine.
    pub fn trouble(&self) -> Trouble {
        let is_permanent = match self {
            Self::Configuration(_) => true,
            Self::System { .. } | Self::Inside(_) | Self::Step { .. } | Self::Busy | Self::Record(_) => false,
        };
        Trouble { reason: self.to_string().replace('\n', "; "), is_permanent }
    }
}

/// Says what was tried.
pub trait Doing<T> {
    /// The error with what was tried, as a verb phrase.
    ///
    /// # Errors
    /// That of `self`.
    fn doing(self, what: impl fmt::Display) -> Run<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Run<T> {
        let done = self.map_err(Into::into).and_then(|value| fault::pass().map(|()| value));
        done.map_err(|source| RunError::System { doing: what.to_string(), source })
    }
}
