//! Programs of the host that a monitor runs, and how the kernel treats them beside itself.

use std::{
    ffi::OsStr,
    fs, io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Command, ExitStatus},
    sync::OnceLock,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

/// How much less than others a monitor is killed for want of memory: without it its guest ends. It may be the largest process of a
/// small one, and its memory counts towards the guest's.
const SPARED: &str = "-900";
const SCORE: &str = "/proc/self/oom_score_adj";

/// What the score was before, which is that of everything but the monitor.
static ORDINARY: OnceLock<String> = OnceLock::new();

/// Has this process, a monitor, spared by the kernel where somebody has to be killed (`/proc/PID/oom_score_adj`).
pub fn spare_monitor() {
    if let Ok(score) = fs::read_to_string(SCORE)
        && fs::write(SCORE, SPARED).is_ok()
    {
        let _ = ORDINARY.set(score.trim().to_owned());
    }
}

/// What the score of everything else is; none where the monitor's is no other.
pub fn ordinary_score() -> Option<&'static str> {
    ORDINARY.get().map(String::as_str)
}

/// Takes the ordinary score on, in a process that a monitor has made.
pub fn be_ordinary() -> io::Result<()> {
    ordinary_score().map_or(Ok(()), |score| fs::write(SCORE, score))
}

/// A program to be run, with the score of everything but the monitor.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if ordinary_score().is_some() {
        // SAFETY: a monitor has one thread, so that its copy may do what it does itself.
        unsafe { command.pre_exec(be_ordinary) };
    }
    command
}

/// Runs one that may take no longer than this, since the monitor can do nothing else meanwhile; in a process group of its own,
/// which is killed when the time is over.
///
/// # Errors
/// When it cannot be run; of the kind `TimedOut` when it was killed.
pub fn run(command: &mut Command, within: Duration) -> io::Result<ExitStatus> {
    let mut child = command.process_group(0).spawn()?;
    // Where it cannot be waited for with a limit, it is without.
    let pid = Pid::from_raw(child.id().cast_signed());
    let pidfd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if pidfd.is_none_or(|pidfd| ends(pidfd, within).unwrap_or(true)) {
        return child.wait();
    }
    if let Some(group) = pid {
        // Not waited for yet, it still has its number.
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait()?;
    let text = format!("it had not ended after {}, and was killed", humantime::format_duration(within));
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Whether the process of a pidfd ends in time.
///
/// # Errors
/// When it cannot be waited for.
pub fn ends(pidfd: impl AsFd, within: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            result => return Ok(result? > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_too_long_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("child");
        let mut quick = Command::new("/bin/sh");
        assert_eq!(run(quick.args(["-c", "exit 3"]), Duration::from_secs(30)).unwrap().code(), Some(3));
        let line = format!("sleep 1000 & echo $! > {}; wait", path.display());
        let mut slow = Command::new("/bin/sh");
        let error = run(slow.args(["-c", &line]), Duration::from_millis(300)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let child: i32 = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        // It may still wait to be reaped.
        let is_alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while is_alive() {
            assert!(std::time::Instant::now() < until, "its child lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
