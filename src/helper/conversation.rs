//! The reporter's end of `helper.sock`: one request, one answer, and a deadline over all of it.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt},
        time::{TimeVal, TimeValLike},
    },
};

use super::wire::{PACKET_MAX, Reply, ReplyError};

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nobody listens, or the connection was cut: the daemon is down.
    #[error("guestd is not running")]
    Away {
        /// What the connection failed with.
        #[source]
        source: io::Error,
    },
    /// It hung up without an answer: it is going down.
    #[error("guestd ended the connection without an answer")]
    HungUp,
    /// It listens, and says nothing.
    #[error("guestd did not answer in time")]
    TimedOut,
    /// It said something that is no answer.
    #[error("guestd answered something that cannot be read")]
    Garbled {
        /// What is wrong with it.
        #[source]
        source: ReplyError,
    },
    /// The socket may not be used by this user.
    #[error("only root may report")]
    Denied,
}

/// A connection with the daemon.
struct Conversation {
    socket: OwnedFd,
}

/// Sends a request and waits for its reply, at most for `patience`; each interim packet grants the same time again.
///
/// # Errors
/// [`Silence`] says why there is no answer.
pub fn ask(path: &Path, request: &[u8], patience: Duration) -> Result<Reply, Silence> {
    let mut deadline = Instant::now() + patience;
    let conversation = Conversation::open(path, deadline)?;
    conversation.send(request)?;
    loop {
        match conversation.receive(deadline)? {
            Reply::Progress(_) => deadline = Instant::now() + patience,
            reply => return Ok(reply),
        }
    }
}

/// The time left until a deadline; none of it is [`Silence::TimedOut`], since a timeout of zero would mean none.
fn left(deadline: Instant) -> Result<TimeVal, Silence> {
    let left = deadline.saturating_duration_since(Instant::now()).as_micros();
    match i64::try_from(left) {
        Ok(0) => Err(Silence::TimedOut),
        Ok(micros) => Ok(TimeVal::microseconds(micros)),
        Err(_) => Ok(TimeVal::seconds(i64::from(i32::MAX))),
    }
}

fn silence(error: Errno) -> Silence {
    match error {
        Errno::EAGAIN => Silence::TimedOut,
        Errno::EACCES | Errno::EPERM => Silence::Denied,
        error => Silence::Away { source: error.into() },
    }
}

impl Conversation {
    fn open(path: &Path, deadline: Instant) -> Result<Self, Silence> {
        let address = UnixAddr::new(path).map_err(silence)?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket =
            socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(silence)?;
        loop {
            // The send timeout also bounds connect, which waits while the daemon's queue is full (unix(7)).
            socket::setsockopt(&socket, sockopt::SendTimeout, &left(deadline)?).map_err(silence)?;
            match socket::connect(socket.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self { socket }),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(silence(error)),
            }
        }
    }

    fn send(&self, packet: &[u8]) -> Result<(), Silence> {
        loop {
            match socket::send(self.socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                // A peer that refused us may have hung up already; what it said is still there to be read.
                Err(Errno::EPIPE) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(silence(error)),
            }
        }
    }

    fn receive(&self, deadline: Instant) -> Result<Reply, Silence> {
        // One byte more than a packet may have, so that a longer one is noticed.
        let mut buffer = [0; PACKET_MAX + 1];
        loop {
            socket::setsockopt(&self.socket, sockopt::ReceiveTimeout, &left(deadline)?).map_err(silence)?;
            match socket::recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => return Err(Silence::HungUp),
                Ok(length) => {
                    return Reply::decode(&buffer[..length]).map_err(|source| Silence::Garbled { source });
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(silence(error)),
            }
        }
    }
}
