//! `guestctl unit-session`: what guestd runs for somebody's session in a guest. It leads a session of processes, on the
//! terminal where there is one, and ends all of it on a signal, also what runs in the guest: that is in the guest's cgroup,
//! so that nobody else finds it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    time::Duration,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, ioctl_tiocsctty, pidfd_open, pidfd_send_signal, setsid,
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::cli::{error::Error, exit::GuestctlExit};

/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;
/// How often it is tried to end what is left, and the time between two tries.
const ROUNDS: u32 = 100;
const ROUND: Duration = Duration::from_millis(10);

/// Runs a program as the leader of a session, and exits as it does.
pub(super) async fn run(program: &[OsString]) -> Result<GuestctlExit, Error> {
    let failed = |operation| move |source| Error::Setup { operation, source };
    // Whoever was forked by PID 1 leads one already.
    let _ = setsid();
    let input = io::stdin();
    if input.is_terminal() {
        // The signals of the terminal come here: that it is gone, and that its size has changed.
        let _ = ioctl_tiocsctty(&input);
    }
    let listen = |kind| signal(kind).map_err(failed("listen for signals"));
    let mut told = listen(SignalKind::terminate())?;
    let mut hung_up = listen(SignalKind::hangup())?;
    let mut interrupted = listen(SignalKind::interrupt())?;
    let (first, arguments) = program.split_first().ok_or(Error::NoTerminal)?;
    let mut child =
        Command::new(first).args(arguments).spawn().map_err(failed("run what gets into the guest"))?;
    let signal = tokio::select! {
        status = child.wait() => return Ok(exit(status.map_err(failed("wait"))?)),
        _ = told.recv() => Signal::TERM,
        _ = hung_up.recv() => Signal::HUP,
        _ = interrupted.recv() => Signal::INT,
    };
    end_all(child.id().map(u32::cast_signed)).await;
    Ok(exit(ExitStatus::from_raw(signal.as_raw())))
}

fn exit(status: ExitStatus) -> GuestctlExit {
    let number = status.code().or(status.signal().map(|signal| signal + SIGNALLED));
    GuestctlExit::Command(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX))
}

/// Kills everything in the session that this process leads, and in the one that the program which gets into the guest has
/// begun there. A session that somebody else leads is left alone: the one this process was started in, where it could not
/// begin its own, and with it every session led from outside the PID namespace, which all have the number 0 inside.
async fn end_all(entering: Option<i32>) {
    let own = own_pid();
    let mut sessions = HashSet::from([own]);
    let inside = processes().filter(|process| Some(process.parent) == entering);
    // A process that has begun none is in this one.
    sessions.extend(inside.filter(|process| process.session == process.pid).map(|process| process.pid));
    // Nothing more gets in.
    if let Some(entering) = entering {
        kill(entering, |process| process.parent == own);
    }
    let is_one = |process: &Process| sessions.contains(&process.session) && process.pid != own;
    for _ in 0..ROUNDS {
        let left: Vec<Process> = processes().filter(is_one).filter(|process| !process.is_dead).collect();
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| kill(process.pid, is_one));
        sleep(ROUND).await;
    }
}

fn own_pid() -> i32 {
    getpid().as_raw_pid()
}

/// A process, as far as it matters here.
struct Process {
    pid: i32,
    parent: i32,
    session: i32,
    is_dead: bool,
}

fn processes() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
}

fn process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `PID (NAME) STATE PARENT GROUP SESSION …` (proc(5)); the name is the process's own choice.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, session: fields.nth(1)?.parse().ok()?, is_dead })
}

/// Kills a process if it is still the one that is meant: it is held before it is looked at.
fn kill(pid: i32, is_it: impl Fn(&Process) -> bool) {
    let held = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    if let Some(held) = held.filter(|_| process(pid).is_some_and(|process| is_it(&process))) {
        // It may have ended in this moment.
        let _ = pidfd_send_signal(held, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_field() {
        let found = parse(7, "7 (a) S 1 1) R 4 5 6 0 -1 4194560\n").unwrap();
        assert_eq!((found.parent, found.session, found.is_dead), (4, 6, false));
        assert!(parse(7, "7 (a) Z 4 5 6 0").unwrap().is_dead);
        assert!(parse(7, "").is_none());
        let parent = std::os::unix::process::parent_id();
        assert_eq!(process(own_pid()).unwrap().parent.cast_unsigned(), parent);
    }

    #[test]
    fn a_signal_is_told_as_a_shell_does() {
        assert_eq!(exit(ExitStatus::from_raw(9)).status(), 137);
        assert_eq!(exit(ExitStatus::from_raw(7 << 8)).status(), 7);
    }
}
