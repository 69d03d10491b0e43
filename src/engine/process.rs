//! Processes, held by pidfd so that a number used again can never be mistaken for them, and what `/proc` says of them.

use std::{
    fs,
    future::pending,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    engine::Init,
    model::{ProcessId, Timestamp, WaitStatus},
};

/// Clock ticks a second in `/proc/PID/stat`: what the kernel calls `USER_HZ`, 100 on every architecture of today.
const TICKS: u64 = 100;
/// SIGKILL.
pub(in crate::engine) const SIGKILL: i32 = 9;

/// A process on this host.
#[derive(Debug)]
pub(in crate::engine) struct Process {
    pid: i32,
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Opens a process by its number. Needs a Tokio runtime.
    pub(in crate::engine) fn open(pid: i32) -> io::Result<Self> {
        let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, fd: watched(pidfd_open(number, PidfdFlags::empty())?)? })
    }

    /// Takes a pidfd that somebody else opened; its number is asked of the kernel.
    pub(in crate::engine) fn of(pidfd: OwnedFd) -> io::Result<Self> {
        let pid = pid_of(pidfd.as_fd())?;
        Ok(Self { pid, fd: watched(pidfd)? })
    }

    /// Its number on the host.
    pub(in crate::engine) fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns when it has ended; at once if it has already.
    pub(in crate::engine) async fn ended(&self) {
        // An error would mean that the runtime is gone. The readiness is never cleared: an end is for ever.
        let _ = self.fd.readable().await;
    }

    /// Sends it a signal. A process that has ended is no error.
    pub(in crate::engine) fn signal(&self, number: i32) -> io::Result<()> {
        if !(1..=64).contains(&number) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the number is a valid signal; it is only handed to the kernel, never to the C library's own signals'
        // handling, which is what the unchecked constructor is careful about.
        let signal = unsafe { Signal::from_raw_unchecked(number) };
        match pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => Ok(result?),
        }
    }

    /// It as a guest's init, whose parent is its monitor. None when it is gone.
    pub(in crate::engine) fn as_init(&self) -> Option<Init> {
        let own = stat(self.pid)?;
        let keeper = identified(own.parent);
        Some(Init { pid: self.pid, since: own.since(), keeper })
    }

    /// How it ended, as far as the kernel still tells: exactly while nobody has waited for it. The kernel looks at the
    /// status after the state; if it was waited for in between, a reboot(2) shows as SIGKILL. So it must still be a
    /// zombie afterwards.
    pub(in crate::engine) fn exit_of_zombie(&self) -> Option<WaitStatus> {
        let zombie = || stat(self.pid).filter(|stat| stat.state == b'Z');
        let status = zombie()?.exit.map(WaitStatus);
        zombie().and(status)
    }

    /// How it ended, by its pidfd (Linux 6.15), after somebody has waited for it. None where that may be wrong: the
    /// kernel shows reboot(2), power-off and SIGKILL of a PID namespace's init alike, as death by SIGKILL.
    pub(in crate::engine) fn exit_by_pidfd(&self) -> Option<WaitStatus> {
        exit_info(self.fd.as_fd()).filter(|status| status.signal() != Some(SIGKILL))
    }
}

fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and the same, until the AsyncFd that owns it drops it.
    Ok(unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?)
}

fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).and_then(|pid| pid.trim().parse().ok());
    // -1 stands for a process that is gone.
    pid.filter(|pid| *pid > 0).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Waits for the end of a process that may not be known: then for ever.
pub(in crate::engine) async fn ended(process: Option<&Process>) {
    match process {
        Some(process) => process.ended().await,
        None => pending().await,
    }
}

fn exit_info(pidfd: BorrowedFd<'_>) -> Option<WaitStatus> {
    /// `struct pidfd_info` in its first size (linux/pidfd.h): mask, cgroup, eleven ids, then the exit status.
    #[repr(C)]
    #[derive(Default)]
    struct PidfdInfo {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit: i32,
    }
    let mut info = PidfdInfo { mask: u64::from(libc::PIDFD_INFO_EXIT), ..PidfdInfo::default() };
    // SAFETY: the request carries the size of the structure in its number, so the kernel writes no more than it has.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    let known = result == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    known.then_some(WaitStatus(info.exit))
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Stat {
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub(in crate::engine) state: u8,
    /// Its parent.
    pub(in crate::engine) parent: i32,
    /// When it started, in clock ticks since boot.
    started: u64,
    /// Its wait status, while it is a zombie.
    exit: Option<i32>,
}

impl Stat {
    /// To the clock tick that the kernel counts in: every daemon that looks must come to the same time.
    pub(in crate::engine) fn since(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = now.saturating_sub(uptime()) + Duration::from_millis(self.started * 1000 / TICKS);
        let tick = 1_000_000 / TICKS;
        let micros = u64::try_from(started.as_micros()).unwrap_or(u64::MAX);
        Timestamp(micros.saturating_add(tick / 2) / tick * tick)
    }
}

/// A process, named for the length of the host's boot; none when there is none of this number.
pub fn identified(pid: i32) -> Option<ProcessId> {
    stat(pid).map(|stat| ProcessId { pid, started: stat.started })
}

/// The time since boot in the clock ticks of [`ProcessId::started`].
pub fn ticks() -> u64 {
    u64::try_from(uptime().as_millis()).unwrap_or(u64::MAX) / (1000 / TICKS)
}

/// The time since boot, with that spent asleep, as start times have it.
fn uptime() -> Duration {
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(uptime).unwrap_or_default()
}

/// Reads `/proc/PID/stat`; none when there is no such process.
pub(in crate::engine) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields are counted from 1 in proc(5); the second, the name, can hold anything, so counting begins behind it.
pub(in crate::engine) fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        state: *field(3)?.as_bytes().first()?,
        parent: field(4)?.parse().ok()?,
        started: field(22)?.parse().ok()?,
        exit: field(52).and_then(|exit| exit.parse().ok()),
    })
}

/// Whether an engine's part is played by a user who may: root, or our own.
pub(in crate::engine) fn is_trusted_user(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

/// Whether a process is, in all its user ids, one of those whom we believe.
pub(in crate::engine) fn is_trusted(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| has_trusted_ids(&status))
}

/// `Uid` lists the real, effective, saved and file system's user id.
fn has_trusted_ids(status: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let mut ids = ids.split_ascii_whitespace().map(str::parse).peekable();
    ids.peek().is_some() && ids.all(|id| id.is_ok_and(is_trusted_user))
}

/// Whether a process would hear a signal: it catches it, blocks it, or waits for signals.
///
/// The kernel throws away what a PID namespace's init has no handler for. An init that fetches its signals blocks
/// them (systemd), except while it sits in sigtimedwait(2), where the kernel lifts the block for the time (busybox).
pub(in crate::engine) fn hears(pid: i32, signal: i32) -> bool {
    mask(pid, "SigCgt", signal) || blocks(pid, signal) || waits_for_signals(pid)
}

/// Whether a process blocks a signal.
pub(in crate::engine) fn blocks(pid: i32, signal: i32) -> bool {
    mask(pid, "SigBlk", signal)
}

fn mask(pid: i32, name: &str, signal: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| in_mask(&status, name, signal))
}

fn in_mask(status: &str, name: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).contains(&signal) && mask & (1 << (signal - 1)) != 0
}

/// Whether a process is the init of a PID namespace that lies right in ours.
pub(in crate::engine) fn is_first_inside(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| in_namespaces(&status))
}

/// `NSpid` lists its numbers, from our namespace down to its own.
fn in_namespaces(status: &str) -> bool {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    matches!(numbers.split_ascii_whitespace().collect::<Vec<_>>()[..], [_, "1"])
}

fn waits_for_signals(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|place| place.contains("sigtimedwait"))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn stat_is_read_behind_a_hostile_name() {
        let numbers: Vec<String> = (5..=52).map(|n| n.to_string()).collect();
        let text = format!("7 (a) Z 1 (x) T 42 {}\n", numbers.join(" "));
        assert_eq!(parse_stat(&text), Some(Stat { state: b'T', parent: 42, started: 22, exit: Some(52) }));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn signal_masks_are_read() {
        let status = "Name:\tinit\nSigBlk:\t0000001000000000\nSigCgt:\t0000000000000001\n";
        assert!(in_mask(status, "SigBlk", 37) && !in_mask(status, "SigBlk", 36));
        assert!(in_mask(status, "SigCgt", 1) && !in_mask(status, "SigCgt", 30) && !in_mask("", "SigCgt", 1));
    }

    #[test]
    fn a_program_that_another_user_runs_as_root_is_not_trusted() {
        assert!(has_trusted_ids("Name:\tx\nUid:\t0\t0\t0\t0\nGid:\t5\t5\t5\t5\n"));
        for other in ["Uid:\t65534\t0\t0\t0\n", "Uid:\t0\t65534\t0\t0\n", "Uid:\n", "Name:\tx\n"] {
            assert!(!has_trusted_ids(other), "{other:?}");
        }
    }

    #[test]
    fn only_the_first_namespace_below_counts() {
        assert!(in_namespaces("Name:\tinit\nNSpid:\t4711\t1\n"));
        for other in ["NSpid:\t1\n", "NSpid:\t4711\n", "NSpid:\t4711\t12\n", "NSpid:\t4711\t12\t1\n", ""] {
            assert!(!in_namespaces(other), "{other:?}");
        }
    }

    #[tokio::test]
    async fn an_end_is_seen_and_its_status_known() {
        let mut child =
            Command::new("/bin/sh").args(["-c", "read x; exit 3"]).stdin(Stdio::piped()).spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let age = now.abs_diff(process.as_init().unwrap().since.0.into());
        assert!(age < 5_000_000, "started {age} µs away from now");
        drop(child.stdin.take());
        tokio::time::timeout(Duration::from_secs(5), process.ended()).await.expect("it has not ended");
        assert_eq!(process.exit_of_zombie(), Some(WaitStatus(0x300)));
        child.wait().unwrap();
        assert_eq!(process.exit_of_zombie(), None);
        process.signal(15).unwrap();
    }
}
