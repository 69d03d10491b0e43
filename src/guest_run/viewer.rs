//! Looking at a guest's console, and typing there: from this program's terminal to the monitor's socket and back.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, recv, send};
use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, tcgetwinsize},
};

use super::{
    control::{self, SIZE, TYPED},
    spec::{Ask, PACKET_MAX, Place},
    terminal::{resizes, write_all},
    trouble::{Doing, Run},
};
use crate::terminal::Raw;

/// Shows the console until the guest or the input ends.
///
/// # Errors
/// When the guest does not run.
pub fn console(place: &Place) -> Run<()> {
    let connection = control::dial(place)?;
    control::ask(&connection, &Ask::Console)?;
    let resized = resizes()?;
    let _raw = Raw::begin(OptionalActions::Now);
    let stdin = rustix::stdio::stdin();
    let tell_size = || {
        if let Ok(size) = tcgetwinsize(stdin) {
            let [rows, columns] = [size.ws_row, size.ws_col].map(u16::to_le_bytes);
            let packet = [SIZE, rows[0], rows[1], columns[0], columns[1]];
            let _ = send(connection.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL);
        }
    };
    tell_size();
    let mut buffer = [0; PACKET_MAX];
    loop {
        let files = [stdin, connection.as_fd(), resized.as_fd()];
        let mut polled = files.each_ref().map(|file| PollFd::new(file, PollFlags::IN));
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.doing("wait for its console")?,
        };
        let [typed, shown, size] = polled.map(|file| !file.revents().is_empty());
        if size {
            while let Ok(Some(_)) = resized.read_signal() {
                tell_size();
            }
        }
        if shown && !show(&connection, &mut buffer) || typed && !pass_on(&connection, &mut buffer) {
            return Ok(());
        }
    }
}

/// Whether there is more to show.
fn show(connection: &OwnedFd, buffer: &mut [u8]) -> bool {
    let length = recv(connection.as_raw_fd(), buffer, MsgFlags::empty()).unwrap_or(0);
    write_all(&buffer[..length]);
    length > 0
}

/// Whether more may be typed.
fn pass_on(connection: &OwnedFd, buffer: &mut [u8]) -> bool {
    buffer[0] = TYPED;
    let length = rustix::io::read(rustix::stdio::stdin(), &mut buffer[1..]).unwrap_or(0);
    let _ = send(connection.as_raw_fd(), &buffer[..=length], MsgFlags::MSG_NOSIGNAL);
    length > 0
}
