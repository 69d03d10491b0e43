//! A host on which is measured, and what is measured of processes there.
#![allow(dead_code, reason = "each benchmark uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::host::{self, Host};

/// A host whose runtime directory is in memory, as a real host's /run is.
pub struct Bench {
    pub host: Host,
    _runtime: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let host = Host::new("order = \"lowest-first\"\n[defaults.reboot]\nlimit = \"100000/1s\"");
        let runtime = in_memory();
        fs::remove_dir(host.at("run")).expect("an empty folder");
        std::os::unix::fs::symlink(runtime.path(), host.at("run")).expect("a link");
        Self { host, _runtime: runtime }
    }
}

/// A folder in memory, as those below a real host's /run are.
pub fn in_memory() -> tempfile::TempDir {
    let memory = ["/run", "/dev/shm"].map(Path::new).into_iter().find(|path| is_tmpfs(path));
    let memory = memory.expect("neither /run nor /dev/shm is a tmpfs");
    tempfile::Builder::new().prefix("guestd-bench-").tempdir_in(memory).expect("a folder")
}

fn is_tmpfs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
}

/// How long a program takes, in milliseconds.
pub fn timed(command: &mut Command) -> f64 {
    let began = Instant::now();
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it runs");
    let took = began.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    milliseconds(took)
}

pub fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// The proportional set size of a process, in megabytes.
pub fn proportional_megabytes(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("its memory");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a line \"Pss\"");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes * 1024.0 / 1e6
}

/// The processor time that a process has used, in milliseconds.
pub fn processor_time(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("its times");
    // utime and stime, the fields 14 and 15, in ticks (proc(5)).
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("a number")).sum();
    let each = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().expect("a tick");
    ticks * 1000.0 / each as f64
}

/// The threads of a process, as folders below `/proc`.
fn threads(pid: u32) -> Vec<PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads").flatten();
    threads.map(|thread| thread.path()).collect()
}

/// How often the threads of a process went to sleep: each time they had been woken.
fn wakeups(pid: u32) -> u64 {
    let count = |status: String| -> u64 {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.map(|(_, count)| count.trim().parse::<u64>().expect("a number")).sum()
    };
    threads(pid).iter().filter_map(|thread| fs::read_to_string(thread.join("status")).ok()).map(count).sum()
}

/// How often a daemon wakes up while nothing happens for so long.
pub fn wakeups_in(pid: u32, idle: Duration) -> u64 {
    // Tokio keeps threads for blocking calls for ten seconds more. Another one, which writes what outlives a boot, stays.
    host::wait_for("the daemon's last helping thread to end", || (threads(pid).len() <= 2).then_some(()));
    let before = wakeups(pid);
    std::thread::sleep(idle);
    wakeups(pid) - before
}
