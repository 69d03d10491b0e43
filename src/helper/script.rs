//! The program that decides about a reboot: run by the daemon, and by `guest-helper` itself when the daemon is away.

use std::{
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::time::timeout;

use super::wire::Event;
use crate::model::GuestName;

/// How long a killed script is waited for. A process in the kernel's hands may take longer to die.
const DIES_WITHIN: Duration = Duration::from_secs(1);

/// How a script ended.
#[derive(Debug)]
pub enum ScriptEnd {
    /// With exit status 0.
    Agreed,
    /// With another status, or by a signal.
    Declined(ExitStatus),
    /// Not within its time. It has been killed, with everything it started.
    NotFinished,
    /// It could not be run or watched.
    Failed(io::Error),
}

impl From<ExitStatus> for ScriptEnd {
    fn from(status: ExitStatus) -> Self {
        if status.success() { Self::Agreed } else { Self::Declined(status) }
    }
}

/// A guest's script as a command: `SCRIPT EVENT NAME`, with the same as `GUESTD_EVENT` and `GUESTD_GUEST` and nothing
/// else of the environment but a search path. What it prints is dropped: nobody may be waiting for the end of our own
/// output, and a log is not a script's to fill. It leads a process group of its own.
fn command(script: &Path, guest: &GuestName, event: Event) -> io::Result<Command> {
    if !script.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not absolute"));
    }
    let mut command = Command::new(script);
    command
        .args([event.as_str(), guest.as_str()])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("GUESTD_GUEST", guest.as_str())
        .env("GUESTD_EVENT", event.as_str())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    Ok(command)
}

/// Runs a script until it ends, or until the deadline.
pub fn run(script: &Path, guest: &GuestName, event: Event, deadline: Instant) -> ScriptEnd {
    match command(script, guest, event).and_then(|mut command| command.spawn()) {
        Ok(mut child) => watch(&mut child, deadline).unwrap_or_else(ScriptEnd::Failed),
        Err(error) => ScriptEnd::Failed(error),
    }
}

/// The same for the daemon, which goes on meanwhile. Dropping the future kills the script too.
pub async fn run_within(script: &Path, guest: &GuestName, event: Event, within: Duration) -> ScriptEnd {
    let spawned = command(script, guest, event)
        .and_then(|command| tokio::process::Command::from(command).kill_on_drop(true).spawn());
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return ScriptEnd::Failed(error),
    };
    let group = Group(child.id());
    match timeout(within, child.wait()).await {
        Ok(Ok(status)) => {
            group.spare();
            status.into()
        }
        Ok(Err(error)) => ScriptEnd::Failed(error),
        Err(_) => {
            drop(group);
            // Whoever takes longer is waited for by the runtime.
            let _ = timeout(DIES_WITHIN, child.wait()).await;
            ScriptEnd::NotFinished
        }
    }
}

/// The processes of a script, by the number of its first one, which must not have been waited for. Dropped, they are
/// killed.
struct Group(Option<u32>);

impl Group {
    /// The script has ended: what it has left running is meant to.
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // There may be none left.
            let _ = killpg(Pid::from_raw(leader.cast_signed()), Signal::SIGKILL);
        }
    }
}

fn watch(child: &mut Child, deadline: Instant) -> io::Result<ScriptEnd> {
    let group = Group(Some(child.id()));
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
                return Ok(ScriptEnd::NotFinished);
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => {
                group.spare();
                return Ok(child.wait()?.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
