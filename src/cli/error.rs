//! What can go wrong between a command line and its result. The kinds are what exit statuses are made of.

use std::{io, path::PathBuf};

use zbus::fdo;

use super::{arguments::UsageError, log::LogError, offline::OfflineError};
use crate::{
    daemon::{DaemonError, load::Absent},
    dbus::errors as dbus,
    model::JobId,
};

/// Why a command did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line can be parsed, but asks for something that does not exist.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The daemon could not start, or had to end.
    #[error("{}", with_causes(.0))]
    Daemon(#[source] DaemonError),
    /// There is no bus to talk on.
    #[error("cannot connect to the system bus: {source}; is dbus running?")]
    NoBus {
        /// Why.
        source: zbus::Error,
    },
    /// The bus is there, guestd is not.
    #[error("guestd is not running ({reason}); start it with \"systemctl start guestd\"")]
    NotRunning {
        /// What the bus said.
        reason: String,
    },
    /// guestd did not answer in time.
    #[error("guestd does not answer: no reply to {operation} within {seconds} s")]
    NoReply {
        /// What was asked.
        operation: &'static str,
        /// The time it had.
        seconds: u64,
    },
    /// A guest that was named does not exist.
    #[error("{message}")]
    NoSuchGuest {
        /// guestd's words.
        message: String,
    },
    /// The caller may not do that.
    #[error("{message}; run it as root (sudo), or as somebody whom polkit allows it")]
    NotAuthorized {
        /// guestd's words; they name the polkit action.
        message: String,
    },
    /// The lxcpath of the request is none of guestd's.
    #[error("{message}")]
    NotManaged {
        /// guestd's words.
        message: String,
    },
    /// guestd refused the request, or the bus did.
    #[error("{message}")]
    Refused {
        /// Their words.
        message: String,
    },
    /// The answer was not what this version understands.
    #[error("guestd's answer to {operation} cannot be understood: {reason}")]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The object that was asked is not there (any more).
    #[error("guestd has no such object for {operation}; is it another version?")]
    NoObject {
        /// What was asked.
        operation: &'static str,
    },
    /// guestd left the bus while a job ran.
    #[error(
        "guestd went away while job {job} was running, and has not come back; \"systemctl status guestd\" tells why, \
         \"guestctl list\" what became of the guests"
    )]
    Vanished {
        /// The job.
        job: JobId,
    },
    /// The job is no longer known.
    #[error(
        "guestd no longer knows the job, its result is lost; \"guestctl list\" shows what became of the guests"
    )]
    JobLost,
    /// No job has this number.
    #[error("no job has the number {job}; \"guestctl jobs\" shows them")]
    NoSuchJob {
        /// The number.
        job: JobId,
    },
    /// A job that was to be cancelled has ended.
    #[error("job {job} is over already: {state}")]
    JobOver {
        /// The job.
        job: JobId,
        /// How it ended.
        state: String,
    },
    /// Ctrl-C before a job was known.
    #[error("interrupted before guestd answered; \"guestctl jobs\" shows whether it took the request")]
    InterruptedEarly,
    /// Ctrl-C while a job ran.
    #[error("stopped waiting; job {job} goes on, \"guestctl cancel {job}\" cancels it")]
    Interrupted {
        /// The job.
        job: JobId,
    },
    /// guestd left the bus while something ran in a guest.
    #[error(
        "guestd went away; what runs in guest {guest} may go on until its terminal closes, and how it ends is unknown"
    )]
    SessionLost {
        /// The guest.
        guest: String,
    },
    /// Somebody left what ran in a guest by the escape.
    #[error("left guest {guest}: what ran there is ended")]
    Left {
        /// The guest.
        guest: String,
    },
    /// A console needs somebody before it.
    #[error("a console needs a terminal: standard input and output are none")]
    NoTerminal,
    /// Nobody is chosen to run a command.
    #[error("{message}")]
    NobodyRuns {
        /// Who was meant.
        message: String,
    },
    /// The configuration could not be read without guestd's help.
    #[error(transparent)]
    Offline(#[from] OfflineError),
    /// A guest's configuration cannot be shown.
    #[error(transparent)]
    Configuration(#[from] Absent),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Standard output could not be written.
    #[error("cannot write to standard output: {source}")]
    Output {
        /// Why.
        source: io::Error,
    },
    /// A generated file could not be written.
    #[error("cannot write {}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program could not set itself up.
    #[error("cannot {operation}: {source}")]
    Setup {
        /// What.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    /// Sorts a failure on the bus by what it means to the user.
    pub fn of_bus(operation: &'static str, error: impl Into<dbus::Error>) -> Self {
        match error.into() {
            dbus::Error::NoSuchGuest(message) => Self::NoSuchGuest { message },
            dbus::Error::NoSuchJob(message)
            | dbus::Error::Refused(message)
            | dbus::Error::InvalidArgument(message)
            | dbus::Error::Stopping(message)
            | dbus::Error::LimitsExceeded(message) => Self::Refused { message },
            dbus::Error::NotManaged(message) => Self::NotManaged { message },
            dbus::Error::NotAuthorized(message) => Self::NotAuthorized { message },
            dbus::Error::Bus(error) => Self::of_connection(operation, error),
        }
    }

    fn of_connection(operation: &'static str, error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, _) => {
                Self::Refused { message: text.unwrap_or_else(|| name.to_string()) }
            }
            zbus::Error::FDO(error) => Self::of_standard(operation, *error),
            zbus::Error::InputOutput(source) => {
                Self::NotRunning { reason: format!("the connection to the bus broke: {source}") }
            }
            other => Self::Answer { operation, reason: other.to_string() },
        }
    }

    fn of_standard(operation: &'static str, error: fdo::Error) -> Self {
        use fdo::Error as E;
        match error {
            E::ZBus(error) => Self::of_connection(operation, error),
            E::ServiceUnknown(_) | E::NameHasNoOwner(_) => {
                Self::NotRunning { reason: "org.guestd1 is not on the system bus".into() }
            }
            // The bus says so when guestd left with the question open.
            E::NoReply(_) | E::Disconnected(_) => {
                Self::NotRunning { reason: format!("it went away without answering {operation}") }
            }
            E::Timeout(reason) | E::TimedOut(reason) => Self::NotRunning { reason },
            E::UnknownObject(_) | E::UnknownInterface(_) => Self::NoObject { operation },
            E::AccessDenied(message)
            | E::AuthFailed(message)
            | E::InteractiveAuthorizationRequired(message) => Self::Refused { message },
            E::Failed(message)
            | E::InvalidArgs(message)
            | E::NotSupported(message)
            | E::LimitsExceeded(message) => Self::Refused { message },
            spawn if spawn.to_string().contains("DBus.Error.Spawn") => {
                Self::NotRunning { reason: spawn.to_string() }
            }
            other => Self::Answer { operation, reason: other.to_string() },
        }
    }

    /// That no guest is named so, with the name of `known` that was meant; none when no name is near.
    pub fn no_such_guest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        // Short names are all near each other; what has no letter in common was not meant.
        let alike = known.into_iter().filter(|known| known.contains(|c| name.contains(c)));
        let meant = crate::import::nearest(name, alike)?;
        let shown = crate::model::name::shown(name);
        Some(Self::NoSuchGuest {
            message: format!("no guest is named \"{shown}\"; did you mean \"{meant}\"?"),
        })
    }

    /// Whether guestd could not be asked at all, so that the configuration may be read instead.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoBus { .. } | Self::NotRunning { .. })
    }

    /// Whether guestd is not there just now.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }

    /// Whether guestd has nothing to do with the lxcpath of the request.
    pub fn is_foreign_path(&self) -> bool {
        matches!(self, Self::NotManaged { .. })
    }

    /// Whether it says what became of the wait for a job, and names no guest.
    pub fn is_about_the_wait(&self) -> bool {
        matches!(self, Self::Vanished { .. } | Self::JobLost) || self.is_interruption()
    }

    /// Whether Ctrl-C ended it.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. } | Self::InterruptedEarly | Self::Left { .. })
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}
