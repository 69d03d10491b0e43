//! What comes back on `helper.sock`.

use serde::{Deserialize, Serialize};

use super::{PACKET_MAX, starts_object};

/// The longest text in a reply, in bytes; longer ones are cut. Even with every byte escaped a reply fits a packet.
pub const REASON_MAX: usize = 1024;

/// The supervisor's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Carry the reboot out.
    Restart,
    /// Leave the guest down.
    Stop,
    /// Nothing is to be done, or the guest is not known.
    Ignore,
}

impl Decision {
    /// The word in packets and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Ignore => "ignore",
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What to do.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
    /// With `restart`: the daemon starts the guest anew itself (its configuration changed), so the engine's own
    /// reboot must be cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}

/// A packet from the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The decision; the conversation is over.
    Answer(Answer),
    /// No guest has the id asked for, in words; the conversation is over. On the wire an `ignore` with
    /// `"unknown": true`, because vshelper's exit status tells the two apart.
    Unknown(String),
    /// The decision takes longer, and why; more follows. Sent only to those who asked for it.
    Progress(String),
    /// The request was refused, and why; the conversation is over.
    Refused(String),
}

/// Why a packet is no reply.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// It is longer than a packet may be.
    #[error("the reply is larger than {max} bytes, the most that is allowed")]
    TooLarge {
        /// The most that is allowed, in bytes.
        max: usize,
    },
    /// It is not a JSON object with fields as they should be.
    #[error("the reply is not JSON as it should be")]
    NotJson {
        /// What the parser says, with the column.
        #[source]
        source: serde_json::Error,
    },
    /// It is JSON, but none of the replies.
    #[error("the reply holds no decision")]
    NoDecision,
}

/// A reply as it stands in the packet.
#[derive(Default, Serialize, Deserialize)]
struct RawReply {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    anew: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unknown: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Reply {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`ReplyError`] says what is wrong with it.
    pub fn decode(packet: &[u8]) -> Result<Self, ReplyError> {
        if packet.len() > PACKET_MAX {
            return Err(ReplyError::TooLarge { max: PACKET_MAX });
        }
        let raw: RawReply =
            serde_json::from_slice(packet).map_err(|source| ReplyError::NotJson { source })?;
        if !starts_object(packet) {
            return Err(ReplyError::NoDecision);
        }
        let reason = raw.reason.unwrap_or_default();
        match (raw.decision, raw.progress, raw.error) {
            (Some(Decision::Ignore), None, None) if raw.unknown => Ok(Self::Unknown(reason)),
            (Some(decision), None, None) => Ok(Self::Answer(Answer { decision, reason, anew: raw.anew })),
            (None, Some(progress), None) => Ok(Self::Progress(progress)),
            (None, None, Some(error)) => Ok(Self::Refused(error)),
            _ => Err(ReplyError::NoDecision),
        }
    }

    /// Writes the packet. Texts longer than [`REASON_MAX`] are cut, so that it always fits.
    pub fn encode(&self) -> Vec<u8> {
        let raw = match self {
            Self::Answer(answer) => RawReply {
                decision: Some(answer.decision),
                reason: Some(cut(&answer.reason)),
                anew: answer.anew,
                ..RawReply::default()
            },
            Self::Unknown(reason) => RawReply {
                decision: Some(Decision::Ignore),
                reason: Some(cut(reason)),
                unknown: true,
                ..RawReply::default()
            },
            Self::Progress(text) => RawReply { progress: Some(cut(text)), ..RawReply::default() },
            Self::Refused(text) => RawReply { error: Some(cut(text)), ..RawReply::default() },
        };
        serde_json::to_vec(&raw).expect("text and booleans are always JSON")
    }
}

/// At most [`REASON_MAX`] bytes of a text, whole characters, with a mark where something was left out.
fn cut(text: &str) -> String {
    const MARK: char = '…';
    if text.len() <= REASON_MAX {
        return text.to_owned();
    }
    let room = REASON_MAX - MARK.len_utf8();
    let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut out = text[..end].to_owned();
    out.push(MARK);
    out
}
