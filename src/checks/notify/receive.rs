//! Datagrams with their senders. What a sender passes along is closed once its datagram has been handled, which is what a
//! sender waits for that says `BARRIER=1` (sd_notify_barrier(3)).

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg},
};
use tokio::{io::Interest, net::UnixDatagram};

/// The longest datagram that is taken, in bytes.
const LONGEST: usize = 4096;
/// The most files that a datagram carries (`SCM_MAX_FD`): with room for all of them none can be left open.
const FILES: usize = 253;

/// A datagram.
pub(super) struct Datagram {
    /// What it says; none of one that is too long.
    pub(super) text: Option<Vec<u8>>,
    /// Who sent it: process and user, as this host counts them. The kernel vouches for it.
    pub(super) sender: Option<(i32, u32)>,
    /// What was passed along, kept until it has been handled.
    pub(super) _files: Vec<OwnedFd>,
}

/// Takes the next datagram.
///
/// # Errors
/// `WouldBlock` when there is none.
pub(super) fn receive(socket: &UnixDatagram) -> io::Result<Datagram> {
    socket.try_io(Interest::READABLE, || Ok(take(socket.as_raw_fd())?))
}

fn take(socket: RawFd) -> nix::Result<Datagram> {
    let mut buffer = [0; LONGEST];
    let mut vectors = [IoSliceMut::new(&mut buffer)];
    let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; FILES]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket, &mut vectors, Some(&mut space), flags)?;
    let (mut sender, mut files) = (None, Vec::new());
    match message.cmsgs() {
        Ok(parts) => {
            for part in parts {
                match part {
                    ControlMessageOwned::ScmCredentials(of) => sender = Some((of.pid(), of.uid())),
                    ControlMessageOwned::ScmRights(passed) => {
                        // SAFETY: the kernel has just made these descriptors for us, and nobody else knows of them.
                        let own = |file| unsafe { OwnedFd::from_raw_fd(file) };
                        files.extend(passed.into_iter().map(own));
                    }
                    _ => {}
                }
            }
        }
        // This process can have no more open files. Nothing is believed without a sender.
        Err(Errno::ENOBUFS) => {}
        Err(error) => return Err(error),
    }
    let (length, is_whole) = (message.bytes, !message.flags.contains(MsgFlags::MSG_TRUNC));
    let text = is_whole.then(|| buffer[..length].to_vec());
    Ok(Datagram { text, sender, _files: files })
}

#[cfg(test)]
mod tests {
    use std::{
        io::IoSlice,
        os::{fd::AsFd, unix::net::UnixDatagram as Plain},
    };

    use nix::sys::socket::{ControlMessage, sendmsg, setsockopt, sockopt::PassCred};

    use super::*;

    fn pair() -> (UnixDatagram, Plain) {
        let (ours, theirs) = Plain::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = UnixDatagram::from_std(ours).unwrap();
        setsockopt(&ours, PassCred, &true).unwrap();
        (ours, theirs)
    }

    async fn next(socket: &UnixDatagram) -> Datagram {
        loop {
            socket.readable().await.unwrap();
            match receive(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                datagram => return datagram.unwrap(),
            }
        }
    }

    #[tokio::test]
    async fn a_datagram_comes_with_its_sender_and_at_most_so_long() {
        let (ours, theirs) = pair();
        theirs.send(b"READY=1").unwrap();
        theirs.send(&[b'x'; LONGEST + 1]).unwrap();
        theirs.send(&[b'x'; LONGEST]).unwrap();
        theirs.send(b"").unwrap();
        let first = next(&ours).await;
        let own = (std::process::id().cast_signed(), nix::unistd::getuid().as_raw());
        assert_eq!((first.text.as_deref(), first.sender), (Some(&b"READY=1"[..]), Some(own)));
        assert_eq!(next(&ours).await.text, None);
        assert_eq!(next(&ours).await.text.map(|text| text.len()), Some(LONGEST));
        assert_eq!(next(&ours).await.text, Some(Vec::new()));
        assert!(receive(&ours).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
    }

    #[tokio::test]
    async fn what_is_passed_along_is_closed_behind_it() {
        let (ours, theirs) = pair();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let many = vec![writer.as_raw_fd(); FILES];
        let passed = [ControlMessage::ScmRights(&many)];
        sendmsg::<()>(theirs.as_raw_fd(), &[IoSlice::new(b"BARRIER=1")], &passed, MsgFlags::empty(), None)
            .unwrap();
        drop(writer);
        let datagram = next(&ours).await;
        assert_eq!(datagram._files.len(), FILES);
        drop(datagram);
        // All other ends are closed: the pipe is at its end, and nobody waits.
        assert_eq!(nix::unistd::read(reader.as_fd(), &mut [0; 1]).unwrap(), 0);
    }
}
