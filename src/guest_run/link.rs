//! The line between a monitor and the process that becomes its guest's init: packets with files, until the latter executes
//! its program, which closes it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The most files in one packet.
const FILES_MAX: usize = 8;
/// The largest packet, in bytes.
const PACKET_MAX: usize = 2048;

/// Closes every file of the process but the first three and this one: whoever has them in variables never uses them again.
pub fn close_all_but(kept: RawFd) {
    let kept = kept.cast_unsigned();
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, libc::c_uint::MAX)] {
        // SAFETY: it takes numbers; a range that is none is refused.
        unsafe { libc::close_range(first, last, 0) };
    }
}

/// One end.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Both ends.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Sends a packet, with files.
    pub fn send(&self, packet: &[u8], files: &[OwnedFd]) -> io::Result<()> {
        let raw: Vec<RawFd> = files.iter().map(|file| file.as_fd().as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let packet = [IoSlice::new(&packet[..packet.len().min(PACKET_MAX)])];
        sendmsg::<()>(self.0.as_raw_fd(), &packet, control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// Whether the other end is closed.
    pub fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&self.0, PollFlags::HUP)];
        poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Closes every file of the process but the first three and this end: whoever has them in variables never uses them again.
    pub fn keep_alone(&self) {
        close_all_but(self.0.as_raw_fd());
    }

    /// Waits for a packet; none when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut buffer = [0; PACKET_MAX];
        let mut control = nix::cmsg_space!([RawFd; FILES_MAX]);
        let (length, mut files) = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            let received =
                recvmsg::<()>(self.0.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
            let received = match received {
                // The latter, once, where the other end is closed with something unread: what it has said is still there.
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => continue,
                received => received?,
            };
            let mut files = Vec::new();
            for message in received.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = message {
                    // SAFETY: the kernel has just made these for us, and nobody else knows them.
                    files.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            break (received.bytes, files);
        };
        if length == 0 {
            files.clear();
            return Ok(None);
        }
        Ok(Some((buffer[..length].to_vec(), files)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_heard() {
        let (own, other) = Link::pair().unwrap();
        own.send(b"unread", &[]).unwrap();
        other.send(b"why", &[]).unwrap();
        drop(other);
        assert_eq!(own.receive().unwrap().unwrap().0, b"why");
        assert!(own.receive().unwrap().is_none());
    }
}
