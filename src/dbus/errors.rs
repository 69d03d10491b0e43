//! The errors on the bus: `org.guestd1.Error.*`, each with a message that says what to do.

use std::fmt;

use super::value;
use crate::daemon::handle::Rejection;

/// What a call can fail with. Servers answer with it, and the proxies give it back to clients, by name.
#[derive(Debug, Clone, PartialEq, zbus::DBusError)]
#[zbus(prefix = "org.guestd1.Error", impl_display = false)]
pub enum Error {
    /// Anything that is not guestd's own: the bus, the connection, a standard D-Bus error.
    #[zbus(error)]
    Bus(zbus::Error),
    /// No guest has this name.
    NoSuchGuest(String),
    /// No job has this number any more.
    NoSuchJob(String),
    /// The guest's settings or its state forbid it just now.
    Refused(String),
    /// An argument or an option cannot be used; the message names it.
    InvalidArgument(String),
    /// The lxcpath is none of those that guestd manages.
    NotManaged(String),
    /// The daemon is going down.
    Stopping(String),
    /// The caller may not do this; the message names the polkit action.
    NotAuthorized(String),
    /// Too many calls are under way.
    LimitsExceeded(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(zbus::Error::MethodError(name, text, _)) => match text {
                Some(text) => write!(f, "{text} ({name})"),
                None => write!(f, "{name}"),
            },
            Self::Bus(error) => write!(f, "{error}"),
            Self::NoSuchGuest(text)
            | Self::NoSuchJob(text)
            | Self::Refused(text)
            | Self::InvalidArgument(text)
            | Self::NotManaged(text)
            | Self::Stopping(text)
            | Self::NotAuthorized(text)
            | Self::LimitsExceeded(text) => f.write_str(text),
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        let text = value::text(&rejection.to_string());
        match rejection {
            Rejection::NoSuchGuest(_) => Self::NoSuchGuest(text),
            Rejection::NoSuchJob(_) => Self::NoSuchJob(text),
            Rejection::Refused { .. } => Self::Refused(text),
            Rejection::ForeignPath { .. } => Self::NotManaged(text),
            Rejection::Stopping => Self::Stopping(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::DBusError;

    use super::*;
    use crate::model::{GuestName, JobId};

    #[test]
    fn every_rejection_has_its_name_and_keeps_its_words() {
        let guest = GuestName::new("web").unwrap();
        for (rejection, name, part) in [
            (Rejection::NoSuchGuest("nix".into()), "NoSuchGuest", "\"nix\""),
            (Rejection::NoSuchJob(JobId(4)), "NoSuchJob", "number 4"),
            (Rejection::Refused { guest, reason: "it is held".into() }, "Refused", "web: it is held"),
            (Rejection::ForeignPath { path: "/a".into(), managed: "/b".into() }, "NotManaged", "/a"),
            (Rejection::Stopping, "Stopping", "stopping"),
        ] {
            let error = Error::from(rejection);
            assert_eq!(error.name().as_str(), format!("org.guestd1.Error.{name}"));
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(error.description(), Some(error.to_string().as_str()));
        }
    }
}
