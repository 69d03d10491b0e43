//! What a guest says of itself: a datagram of sd_notify(3), of which two things are taken. Pure.

use crate::model::name::clip;

/// The longest status that is told, in characters.
const STATUS_MAX: usize = 200;

/// What a datagram says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Message {
    /// `READY=1`.
    pub(super) ready: bool,
    /// `STATUS=`, escaped and shortened.
    pub(super) status: Option<String>,
}

impl Message {
    /// Reads a datagram; everything else in it is ignored.
    pub(super) fn read(datagram: &[u8]) -> Self {
        let mut message = Self::default();
        for line in datagram.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                message.ready = true;
            } else if let Some(status) = line.strip_prefix(b"STATUS=") {
                message.status = Some(clip(&String::from_utf8_lossy(status), STATUS_MAX, &['"', '\'']));
            }
        }
        message
    }

    /// Whether it says nothing that is taken.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readiness_and_status_are_taken() {
        let read = |text: &str| Message::read(text.as_bytes());
        let status = |text: &str| Some(text.to_owned());
        assert_eq!(read("READY=1"), Message { ready: true, status: None });
        assert_eq!(
            read("READY=1\nSTATUS=Startup finished in 1.2s.\nMAINPID=1\n"),
            Message { ready: true, status: status("Startup finished in 1.2s.") }
        );
        for nothing in ["", "READY=0", "READY=11", "XREADY=1", "BARRIER=1", "STOPPING=1", "STATUS", "\0"] {
            assert!(read(nothing).is_empty(), "{nothing:?}");
        }
        assert_eq!(read("STATUS=").status, status(""));
        assert_eq!(read("STATUS=it's\x1b[2J \u{202e}\"x\"").status, status("it's\\u{1b}[2J \\u{202e}\"x\""));
        let long = Message::read(format!("STATUS={}", "ä".repeat(500)).as_bytes()).status.unwrap();
        assert_eq!(long.chars().count(), STATUS_MAX + 1);
        assert_eq!(Message::read(b"STATUS=\xff").status, status("\u{fffd}"));
    }
}
