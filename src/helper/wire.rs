//! The packets on `helper.sock`: one JSON object each, at most 8 KiB.
//!
//! A request names a guest, or for vshelper's dialect the numeric id of a context; exactly one reply ends the
//! conversation. Unknown fields are tolerated in both directions, so that either end may be newer.

use serde::{Deserialize, Serialize};

mod environment;
mod reply;
#[cfg(test)]
mod tests;

pub use environment::{Environment, EnvironmentError};
pub use reply::{Answer, Decision, REASON_MAX, Reply, ReplyError};

use crate::model::{GuestName, NameError, name::shown};

/// The largest packet in either direction, in bytes.
pub const PACKET_MAX: usize = 8 * 1024;

/// What a guest did or asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// It asked to reboot (`restart` in vshelper's words; both are read).
    #[serde(alias = "restart")]
    Reboot,
    /// It asked to reboot, and its own helper, as of util-vserver, is against it.
    Declined,
    /// It asked to halt.
    Halt,
    /// It asked to power off.
    Poweroff,
    /// It has ended, without the reporter knowing why (LXC's post-stop hook).
    Stop,
}

impl Event {
    /// The word in packets, files and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Declined => "declined",
            Self::Halt => "halt",
            Self::Poweroff => "poweroff",
            Self::Stop => "stop",
        }
    }

    /// Reads the word; `restart` is read as `reboot`.
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "reboot" | "restart" => Self::Reboot,
            "declined" => Self::Declined,
            "halt" => Self::Halt,
            "poweroff" => Self::Poweroff,
            "stop" => Self::Stop,
            _ => return None,
        })
    }
}

/// What the VServer kernel reports of a context: the first argument of vshelper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContextEvent {
    /// reboot(2) with RESTART.
    Restart,
    /// reboot(2) with HALT.
    Halt,
    /// reboot(2) with POWER_OFF.
    Poweroff,
    /// reboot(2) with SW_SUSPEND.
    Swsusp,
    /// The context ran out of memory.
    Oom,
    /// The context is being created; the kernel waits, and a failure forbids it.
    Startup,
    /// The context is gone; the kernel waits.
    Shutdown,
    /// A network context is being created; the id is its own.
    Netup,
    /// A network context is gone.
    Netdown,
}

impl ContextEvent {
    /// Every event, in vshelper's order.
    pub const ALL: [Self; 9] = [
        Self::Restart,
        Self::Halt,
        Self::Poweroff,
        Self::Swsusp,
        Self::Oom,
        Self::Startup,
        Self::Shutdown,
        Self::Netup,
        Self::Netdown,
    ];

    /// The kernel's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Halt => "halt",
            Self::Poweroff => "poweroff",
            Self::Swsusp => "swsusp",
            Self::Oom => "oom",
            Self::Startup => "startup",
            Self::Shutdown => "shutdown",
            Self::Netup => "netup",
            Self::Netdown => "netdown",
        }
    }

    /// Reads the kernel's word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == word)
    }

    /// What it means for a guest, where it asks for a decision.
    pub fn guest_event(self) -> Option<Event> {
        match self {
            Self::Restart => Some(Event::Reboot),
            Self::Halt => Some(Event::Halt),
            Self::Poweroff => Some(Event::Poweroff),
            Self::Shutdown => Some(Event::Stop),
            Self::Swsusp | Self::Oom | Self::Startup | Self::Netup | Self::Netdown => None,
        }
    }
}

/// Whom a request is about, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A guest, by its name.
    Guest {
        /// Its name.
        guest: GuestName,
        /// What happened.
        event: Event,
    },
    /// A VServer context, by its number.
    Context {
        /// The number: of the context, or of the network context for `netup` and `netdown`.
        id: u32,
        /// What happened.
        event: ContextEvent,
        /// What the kernel said besides.
        environment: Environment,
    },
}

/// A request: the packet a reporter sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom it is about, and what happened.
    pub about: About,
    /// The reporter understands interim packets ([`Reply::Progress`]).
    pub progress: bool,
}

/// Why a packet is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It is longer than a packet may be.
    #[error("the packet is larger than {max} bytes, the most that is allowed")]
    TooLarge {
        /// The most that is allowed, in bytes.
        max: usize,
    },
    /// It is not JSON text.
    #[error("the packet is not JSON")]
    NotJson {
        /// What the parser says, with the column.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but not an object.
    #[error("the packet is not a JSON object")]
    NotAnObject,
    /// A field has a value of the wrong kind, or stands there twice.
    #[error("a field of the packet cannot be read")]
    BadField {
        /// What the parser says, with the column.
        #[source]
        source: serde_json::Error,
    },
    /// The event is missing.
    #[error("the packet names no event")]
    NoEvent,
    /// The event is none of those known for a guest, or for an id.
    #[error("the event \"{shown}\" is not known")]
    UnknownEvent {
        /// The beginning of the word.
        shown: String,
    },
    /// The guest's name is not a name.
    #[error("the packet names no guest")]
    BadGuest {
        /// Which rule is broken.
        #[source]
        source: NameError,
    },
    /// Whom it is about is missing.
    #[error("the packet names neither a guest nor an id")]
    NeitherGuestNorId,
    /// Two are named.
    #[error("the packet names both a guest and an id")]
    BothGuestAndId,
    /// The environment breaks a rule.
    #[error("the environment is refused")]
    BadEnvironment {
        /// Which.
        #[source]
        source: EnvironmentError,
    },
}

/// A request as it stands in the packet.
#[derive(Serialize, Deserialize)]
struct RawRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    progress: bool,
}

impl Request {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`RequestError`] says what is wrong with it.
    pub fn decode(packet: &[u8]) -> Result<Self, RequestError> {
        if packet.len() > PACKET_MAX {
            return Err(RequestError::TooLarge { max: PACKET_MAX });
        }
        let raw: RawRequest = object(packet)?;
        let word = raw.event.ok_or(RequestError::NoEvent)?;
        let unknown = || RequestError::UnknownEvent { shown: shown(&word) };
        let about = match (raw.guest, raw.id) {
            (Some(guest), None) => About::Guest {
                guest: GuestName::new(&guest).map_err(|source| RequestError::BadGuest { source })?,
                event: Event::parse(&word).ok_or_else(unknown)?,
            },
            (None, Some(id)) => About::Context {
                id,
                event: ContextEvent::parse(&word).ok_or_else(unknown)?,
                environment: Environment::checked(raw.environment.unwrap_or_default())
                    .map_err(|source| RequestError::BadEnvironment { source })?,
            },
            (None, None) => return Err(RequestError::NeitherGuestNorId),
            (Some(_), Some(_)) => return Err(RequestError::BothGuestAndId),
        };
        Ok(Self { about, progress: raw.progress })
    }

    /// Writes the packet. It always fits: every part of a request is bounded.
    pub fn encode(&self) -> Vec<u8> {
        let (guest, id, event, environment) = match &self.about {
            About::Guest { guest, event } => (Some(guest.to_string()), None, event.as_str(), None),
            About::Context { id, event, environment } => {
                let listed = (!environment.is_empty()).then(|| environment.clone().into_map());
                (None, Some(*id), event.as_str(), listed)
            }
        };
        let raw =
            RawRequest { guest, id, event: Some(event.to_owned()), environment, progress: self.progress };
        serde_json::to_vec(&raw).expect("text, numbers and a map with text keys are always JSON")
    }
}

/// Reads an object. Arrays are refused by hand: serde would take one for a struct, field by field.
fn object(packet: &[u8]) -> Result<RawRequest, RequestError> {
    match serde_json::from_slice::<RawRequest>(packet) {
        Ok(raw) if starts_object(packet) => Ok(raw),
        Ok(_) => Err(RequestError::NotAnObject),
        Err(source) if !source.is_data() => Err(RequestError::NotJson { source }),
        Err(_) if !starts_object(packet) => Err(RequestError::NotAnObject),
        Err(source) => Err(RequestError::BadField { source }),
    }
}

fn starts_object(packet: &[u8]) -> bool {
    packet.trim_ascii_start().first() == Some(&b'{')
}
