//! The program that decides about a reboot: what it is run with, and how `guest-helper` itself runs it when the daemon
//! is away.

use std::{
    io,
    os::fd::AsFd,
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
};

use super::wire::Event;
use crate::{
    launch::{self, Group, HookEnd, Program},
    model::GuestName,
};

/// A guest's script as a program: `SCRIPT EVENT NAME`, with the same as `GUESTD_EVENT` and `GUESTD_GUEST` in its
/// environment.
///
/// # Errors
/// When its path is not absolute.
pub fn program(script: &Path, guest: &GuestName, event: Event, timeout: Duration) -> io::Result<Program> {
    if !script.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not absolute"));
    }
    let (event, guest) = (event.as_str(), guest.as_str());
    Ok(Program {
        argv: vec![script.into(), event.into(), guest.into()],
        environment: vec![("GUESTD_GUEST".into(), guest.into()), ("GUESTD_EVENT".into(), event.into())],
        timeout,
    })
}

/// Runs a script without a daemon until it ends, or for so long. What it prints is dropped: nobody may be waiting for
/// the end of our own output, and a log is not a script's to fill.
pub fn run(script: &Path, guest: &GuestName, event: Event, within: Duration) -> HookEnd {
    let deadline = Instant::now() + within;
    let spawned =
        program(script, guest, event, within).and_then(|program| launch::command(&program)?.spawn());
    match spawned {
        Ok(mut child) => watch(&mut child, deadline).unwrap_or_else(HookEnd::Failed),
        Err(error) => HookEnd::Failed(error),
    }
}

fn watch(child: &mut Child, deadline: Instant) -> io::Result<HookEnd> {
    let group = Group::of(Some(child.id()));
    let own = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: poll counts whole milliseconds, and must not be called over and over in the last one.
        let millis = u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut fds, PollTimeout::from(millis)) {
            Ok(0) if left.is_zero() => {
                // Not waited for: a process in the kernel's hands may take its time to die, and init reaps it.
                drop(group);
                return Ok(HookEnd::TimedOut);
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                group.spare();
                return Ok(HookEnd::Exited(child.wait()?));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
