//! What a monitor says: what its guest writes on the console to standard output, and what goes wrong to standard error. In a
//! unit both are the journal. Whoever is slow to read there, or gone, holds up no guest: what is not taken at once is lost.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::{
    errno::Errno,
    sys::socket::{MsgFlags, send},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A pipe that can be written to takes so much at once (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

/// Says a line on standard error.
pub fn say(line: &str) {
    write(rustix::stdio::stderr(), format!("{line}\n").as_bytes());
}

/// Writes as much as is taken without waiting.
pub fn write(to: BorrowedFd<'_>, text: &[u8]) {
    // What a socket does not take is lost.
    if send(to.as_raw_fd(), text, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) != Err(Errno::ENOTSOCK) {
        return;
    }
    for piece in text.chunks(AT_ONCE) {
        let mut waited = [PollFd::new(&to, PollFlags::OUT)];
        let is_free = poll(&mut waited, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
        if !is_free || rustix::io::write(to, piece).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn what_is_not_taken_is_lost() {
        let (socket, mut other) = UnixStream::pair().unwrap();
        let (mut reader, pipe) = std::io::pipe().unwrap();
        let text = [b'x'; 6000];
        for to in [socket.as_fd(), pipe.as_fd()] {
            (0..200).for_each(|_| write(to, &text));
        }
        drop((socket, pipe));
        let mut taken = Vec::new();
        other.read_to_end(&mut taken).unwrap();
        assert!(taken.starts_with(&text) && taken.len() < 200 * text.len(), "{}", taken.len());
        taken.clear();
        reader.read_to_end(&mut taken).unwrap();
        assert!(taken.starts_with(&text) && taken.len() < 200 * text.len(), "{}", taken.len());
    }

    #[test]
    fn nobody_there_is_no_trouble() {
        let (socket, other) = UnixStream::pair().unwrap();
        let (reader, pipe) = std::io::pipe().unwrap();
        drop((other, reader));
        write(socket.as_fd(), b"text");
        write(pipe.as_fd(), b"text");
    }
}
