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
const FILES_MAX: usize = 128;
/// The largest packet, in bytes.
const PACKET_MAX: usize = 2048;

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

    /// Waits for a packet; none when the other end is closed.
    pub fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut buffer = [0; PACKET_MAX];
        let mut control = nix::cmsg_space!([RawFd; FILES_MAX]);
        let (length, mut files) = loop {
            let mut into = [IoSliceMut::new(&mut buffer)];
            let received =
                recvmsg::<()>(self.0.as_raw_fd(), &mut into, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC);
            let received = match received {
                Err(nix::errno::Errno::EINTR) => continue,
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
