//! The program that decides about a reboot: run by the daemon, and by `guest-helper` itself when the daemon is away.

use std::{
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::wire::Event;
use crate::model::GuestName;

/// How a script ended.
#[derive(Debug)]
pub enum ScriptEnd {
    /// With exit status 0.
    Agreed,
    /// With another status, or by a signal.
    Declined,
    /// Not within its time. It has been killed, with everything it started.
    NotFinished,
    /// It could not be run or watched.
    Failed(io::Error),
}

/// A guest's script as a command: `SCRIPT EVENT NAME`, with the same as `GUESTD_EVENT` and `GUESTD_GUEST` and nothing
/// else of the environment but a search path. The daemon runs it in the same way.
pub fn command(script: &Path, guest: &GuestName, event: Event) -> Command {
    let mut command = Command::new(script);
    command
        .args([event.as_str(), guest.as_str()])
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("GUESTD_GUEST", guest.as_str())
        .env("GUESTD_EVENT", event.as_str())
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// Runs a script until it ends, or until the deadline. What it prints is dropped, because nobody may be waiting for the
/// end of our own output.
pub fn run(script: &Path, guest: &GuestName, event: Event, deadline: Instant) -> ScriptEnd {
    if !script.is_absolute() {
        return ScriptEnd::Failed(io::Error::new(io::ErrorKind::InvalidInput, "its path is not absolute"));
    }
    let spawned = command(script, guest, event).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    match spawned {
        Ok(mut child) => watch(&mut child, deadline).unwrap_or_else(ScriptEnd::Failed),
        Err(error) => ScriptEnd::Failed(error),
    }
}

fn watch(child: &mut Child, deadline: Instant) -> io::Result<ScriptEnd> {
    let pid = Pid::from_raw(child.id().cast_signed());
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
                let _ = killpg(pid, Signal::SIGKILL);
                return Ok(ScriptEnd::NotFinished);
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) if child.wait()?.success() => return Ok(ScriptEnd::Agreed),
            Ok(_) => return Ok(ScriptEnd::Declined),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

    use super::*;

    fn ended(text: &str, within: Duration) -> ScriptEnd {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let guest = GuestName::new("web").unwrap();
        loop {
            // Another test's fork may still hold the file open for writing for a moment.
            match run(&path, &guest, Event::Reboot, Instant::now() + within) {
                ScriptEnd::Failed(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                end => return end,
            }
        }
    }

    #[test]
    fn the_exit_status_decides() {
        let long = Duration::from_secs(60);
        let told = "test \"$GUESTD_GUEST:$GUESTD_EVENT\" = web:reboot";
        assert!(matches!(ended(told, long), ScriptEnd::Agreed));
        assert!(matches!(ended("exit 1", long), ScriptEnd::Declined));
        assert!(matches!(ended("kill -9 $$", long), ScriptEnd::Declined));
        assert!(matches!(ended("test -n \"$HOME\"", long), ScriptEnd::Declined), "the environment is empty");
    }

    #[test]
    fn a_script_that_takes_too_long_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The open of a FIFO for reading ends when a writer is there; its reads end when all writers are dead.
        let path = fifo.clone();
        let reader = std::thread::spawn(move || fs::read_to_string(path).unwrap());
        let text = format!("exec 3>{}; echo up >&3; sleep 600 & wait", fifo.display());
        let begun = Instant::now();
        assert!(matches!(ended(&text, Duration::from_secs(2)), ScriptEnd::NotFinished));
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(reader.join().unwrap(), "up\n");
    }

    #[test]
    fn a_script_that_cannot_be_run_says_so() {
        let guest = GuestName::new("web").unwrap();
        let deadline = Instant::now() + Duration::from_secs(1);
        for (path, kind) in
            [("/nonexistent/script", io::ErrorKind::NotFound), ("script", io::ErrorKind::InvalidInput)]
        {
            match run(Path::new(path), &guest, Event::Reboot, deadline) {
                ScriptEnd::Failed(error) => assert_eq!(error.kind(), kind, "{path}"),
                end => panic!("{path}: {end:?}"),
            }
        }
    }
}
