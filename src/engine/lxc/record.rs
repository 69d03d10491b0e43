//! LXC's states, and the record in which monitors tell about them, on the monitor FIFO and to state clients.

use crate::model::{GuestName, WaitStatus};

/// The size of a record: type (i32), name (256 bytes, NUL-terminated), value (i32), in the host's byte order.
pub(super) const SIZE: usize = 264;
const NAME: std::ops::Range<usize> = 4..260;

/// A state of a container, by LXC's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Stopped = 0,
    Starting = 1,
    Running = 2,
    Stopping = 3,
    Aborting = 4,
    Freezing = 5,
    Frozen = 6,
    Thawed = 7,
}

/// How many states there are.
pub(super) const STATES: usize = 8;

impl State {
    pub(super) fn of(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Stopped,
            1 => Self::Starting,
            2 => Self::Running,
            3 => Self::Stopping,
            4 => Self::Aborting,
            5 => Self::Freezing,
            6 => Self::Frozen,
            7 => Self::Thawed,
            _ => return None,
        })
    }
}

/// What is told of a container: by a record, where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its state is this now.
    State(State),
    /// Its init ended so.
    Exit(WaitStatus),
    /// We have thawed it ourselves. No record says that, since its monitor does not know.
    Thawed,
}

impl News {
    /// How an init ended, as far as is known with these news, and was known before them.
    pub(super) fn exit(self, before: Option<WaitStatus>) -> Option<WaitStatus> {
        match self {
            Self::Exit(status) => Some(status),
            // What earlier records said is over.
            Self::State(State::Starting) => None,
            Self::State(_) | Self::Thawed => before,
        }
    }
}

/// Reads a record. None for types, states and names that are not known.
pub(super) fn parse(bytes: &[u8; SIZE]) -> Option<(GuestName, News)> {
    let number = |at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        i32::from_ne_bytes(word)
    };
    let name = bytes[NAME].split(|byte| *byte == 0).next()?;
    let name = GuestName::new(std::str::from_utf8(name).ok()?).ok()?;
    let value = number(NAME.end);
    let news = match number(0) {
        0 => News::State(State::of(value.into())?),
        2 => News::Exit(WaitStatus(value)),
        _ => return None,
    };
    Some((name, news))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: i32, name: &[u8], value: i32) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..4 + name.len()].copy_from_slice(name);
        bytes[260..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }

    #[test]
    fn records_are_read_and_garbage_is_not() {
        let web = GuestName::new("web").unwrap();
        assert_eq!(parse(&record(0, b"web", 2)), Some((web.clone(), News::State(State::Running))));
        assert_eq!(parse(&record(2, b"web", 0x1)), Some((web, News::Exit(WaitStatus(1)))));
        for garbage in [
            record(1, b"web", 2),
            record(0, b"web", 8),
            record(0, b"web", -1),
            record(0, b"", 2),
            record(0, b"../x", 2),
            record(0, &[b'n'; 256], 2),
            [0xff; SIZE],
        ] {
            assert_eq!(parse(&garbage), None);
        }
    }
}
