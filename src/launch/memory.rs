//! Whether guests have been short of memory, on hosts of every layout.
//!
//! The kernel's log names each process that the kernel kills for want of memory, before it dies. A cgroup only counts
//! them, until LXC removes it, which may be too soon to look.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use super::{Cgroups, cgroup, hierarchy};

/// The file of v1 that counts what was killed in a cgroup, and that of v2, which counts what is below it too.
const V1: &str = "memory.oom_control";
const V2: &str = "memory.events";

/// The largest record of the kernel's log, in bytes.
const RECORD_MAX: usize = 8 * 1024;
/// How many of the last kills are remembered.
const KILLS_MAX: usize = 256;
/// The PID namespace that the kernel begins with, whose number is the same everywhere (PROC_PID_INIT_INO in its
/// linux/proc_ns.h).
const FIRST_NAMESPACE: &str = "pid:[4026531836]";
/// How long after its kill a process may die that somebody else waits for: later its number may be another's.
pub const RECENT: Duration = Duration::from_secs(60);

/// How many processes the kernel has killed for want of memory in these cgroups and below them, since they were made. None
/// where nobody counts.
pub fn kills(cgroups: &Cgroups) -> Option<u64> {
    let mut kills = None;
    let hierarchies = hierarchy::hierarchies().ok()?;
    for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.may_have("memory")) {
        let file = if hierarchy.is_v2() { V2 } else { V1 };
        let counter = |path: &Path| hierarchy.mount.join(path).join(file);
        let counting = cgroups.0.iter().filter(|path| counter(path).exists()).cloned().collect();
        let paths = if hierarchy.is_v2() { counting } else { cgroup::below(hierarchy, &Cgroups(counting)) };
        let said = paths.iter().map(|path| fs::read_to_string(counter(path)).unwrap_or_default());
        kills = said.map(|said| counted(&said)).fold(kills, |sum, one| Some(sum.unwrap_or(0) + one));
    }
    kills
}

/// Lines are `KEY VALUE`.
fn counted(said: &str) -> u64 {
    let value = said.lines().find_map(|line| line.strip_prefix("oom_kill "));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// What the kernel's log says from now on of whom it killed for want of memory. It is only read when that is asked for.
#[derive(Debug)]
pub struct KernelLog {
    /// None where it cannot be read.
    file: Option<File>,
    /// Processes, and when each was killed since boot.
    killed: VecDeque<(i32, Duration)>,
}

impl KernelLog {
    /// Begins behind what the log holds already.
    pub fn open() -> Self {
        let mut log = Self::whole();
        let end = log.file.as_mut().map(|file| file.seek(SeekFrom::End(0)));
        if let Some(Err(error)) = end {
            tracing::debug!("cannot read the kernel's log from now on: {error}");
            log.file = None;
        }
        log
    }

    /// Begins with the oldest that the log holds.
    pub fn whole() -> Self {
        let open = || {
            // The log has the numbers of the first namespace, and of no other.
            if fs::read_link("/proc/self/ns/pid")? != Path::new(FIRST_NAMESPACE) {
                return Err(io::Error::other("this is not the host's PID namespace"));
            }
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")
        };
        let file = open().inspect_err(|error| tracing::debug!("cannot read the kernel's log: {error}"));
        Self { file: file.ok(), killed: VecDeque::new() }
    }

    /// Whether it can be read.
    pub fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the kernel has killed this process for want of memory, no longer ago than this. None when that cannot be read.
    pub fn has_killed(&mut self, pid: i32, within: Duration) -> Option<bool> {
        self.read()?;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = Duration::try_from(now).unwrap_or_default();
        Some(self.killed.iter().any(|(killed, at)| *killed == pid && now.saturating_sub(*at) < within))
    }

    fn read(&mut self) -> Option<()> {
        let mut buffer = [0; RECORD_MAX];
        loop {
            // Each read hands out one record.
            match self.file.as_mut()?.read(&mut buffer) {
                Ok(length) => self.killed.extend(killed(&String::from_utf8_lossy(&buffer[..length]))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(()),
                // Some were overwritten before they were read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => {
                    tracing::debug!("cannot read the kernel's log any more: {error}");
                    self.file = None;
                }
            }
            let surplus = self.killed.len().saturating_sub(KILLS_MAX);
            self.killed.drain(..surplus);
        }
    }
}

/// Reads a record, `PRIORITY,NUMBER,MICROSECONDS,FLAGS;MESSAGE` and more lines. What a process has written into the log has
/// a priority above the kernel's own, and what is in parentheses is a process's own choice.
fn killed(record: &str) -> Option<(i32, Duration)> {
    let (head, message) = record.split_once(';')?;
    let mut head = head.split(',');
    head.next()?.parse::<u32>().ok().filter(|priority| *priority < 8)?;
    let at = Duration::from_micros(head.nth(1)?.parse().ok()?);
    let (cause, victim) = message.split_once(": Killed process ")?;
    let is_memory = ["Memory cgroup out of memory", "Out of memory"].iter().any(|it| cause.starts_with(it));
    is_memory.then_some(())?;
    Some((victim.split_once(' ')?.0.parse().ok()?, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counters_are_read() {
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 1\noom_kill 3\n"), 3);
        assert_eq!(counted("low 0\nhigh 0\nmax 9\noom 7\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(counted(""), 0);
    }

    #[test]
    fn the_kernels_own_words_count_and_nobody_elses() {
        let words = "Memory cgroup out of memory: Killed process 4833 (busybox) total-vm:978840kB, UID:0";
        let at = Duration::from_micros(5_847_297_894);
        assert_eq!(killed(&format!("3,812,5847297894,-;{words}\n")), Some((4833, at)));
        let global = "3,1,7,-;Out of memory: Killed process 12 (a: Killed process 13 (b)) total-vm:1kB\n";
        assert_eq!(killed(global), Some((12, Duration::from_micros(7))));
        for other in [
            format!("11,812,5847297894,-;{words}\n"),
            "6,1,2,-;usb 1-1: Killed process 5 (x)\n".to_owned(),
            "3,1,2,-;Out of memory: Killed process x (y)\n".to_owned(),
            "3,1,2\n".to_owned(),
            String::new(),
        ] {
            assert_eq!(killed(&other), None, "{other}");
        }
    }
}
