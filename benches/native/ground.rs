//! What guests are made of: a busybox root with the measured init, and what it says.

use std::{
    fs,
    io::Read,
    os::{fd::AsFd, unix::fs::chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use guestd::{
    guest_run,
    launch::{Cgroups, Direct, Launcher, cgroup},
    model::GuestName,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        stat::Mode,
    },
    unistd::Pid,
};
use rustix::time::{ClockId, clock_gettime};

use crate::{busybox, host};

/// CLOCK_MONOTONIC, in nanoseconds.
pub fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// A root file system, and the FIFO by which its inits speak.
pub struct Root {
    pub path: PathBuf,
    said: fs::File,
}

impl Root {
    /// Makes one, whose files belong to this user and group.
    pub fn make(path: PathBuf, owner: u32) -> Self {
        busybox::make_root(&path);
        // systemd-nspawn wants one.
        fs::create_dir(path.join("usr")).expect("a folder");
        equip(&path);
        let own = |path: &Path| chown(path, Some(owner), Some(owner)).expect("its owner");
        ["", "init", "stamp", "wanted", "etc", "dev", "proc", "sys", "run", "tmp"]
            .iter()
            .for_each(|name| own(&path.join(name)));
        Self::of(path)
    }

    /// One that has a measured init already.
    pub fn of(path: PathBuf) -> Self {
        // For reading and writing: then it never ends, and opening it never waits.
        let said = fs::File::options().read(true).write(true).open(path.join("stamp")).expect("the FIFO");
        Self { path, said }
    }

    /// Waits for an init to say this; when it did, in nanoseconds of CLOCK_MONOTONIC.
    pub fn hear(&self, word: char) -> i64 {
        let mut fds = [PollFd::new(self.said.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(10_000u16)).expect("a poll");
        assert_eq!(ready, 1, "waited in vain for '{word}'");
        let mut said = [0; 16];
        (&self.said).read_exact(&mut said).expect("two numbers");
        let number = |at: usize| i64::from_ne_bytes(std::array::from_fn(|byte| said[at + byte]));
        assert_eq!(u32::try_from(number(0)).ok().and_then(char::from_u32), Some(word));
        number(8)
    }

    /// Has its init reboot; how long that took from the call to the new init, in milliseconds.
    pub fn reboot(&self) -> f64 {
        fs::write(self.path.join("wanted"), "x").expect("the word");
        let called = self.hear('r');
        milliseconds(self.hear('u') - called)
    }
}

pub fn milliseconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Puts the measured init and its FIFOs into a root.
pub fn equip(root: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/native/init.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-static", "-nostdlib", "-fno-stack-protector", "-O2", "-o"]);
    let status = compiler.arg(root.join("init")).arg(source).status().expect("a C compiler");
    assert!(status.success(), "init.c: {status}");
    for fifo in ["stamp", "wanted"] {
        nix::unistd::mkfifo(&root.join(fifo), Mode::S_IRWXU).expect("a FIFO");
    }
    host::open_to_all(root);
}

/// Native guests by their names: whatever is left of them is ended with this.
pub struct Natives(pub Vec<GuestName>);

impl Natives {
    /// So many names that nobody else has.
    pub fn named(count: usize) -> Self {
        let name = |number| GuestName::new(&format!("bench{}x{number:03}", std::process::id()));
        Self((0..count).map(|number| name(number).expect("a name")).collect())
    }
}

impl Drop for Natives {
    fn drop(&mut self) {
        for name in &self.0 {
            let top = Cgroups(vec![guest_run::top(name).into()]);
            for pid in cgroup::processes(&top).unwrap_or_default() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let until = Instant::now() + host::SOON;
            while Direct::default().remove(&top).is_err() || is_there(name) {
                if Instant::now() > until {
                    eprintln!("cgroups of {name} are left");
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn is_there(name: &GuestName) -> bool {
    cgroup::top_level(|found| found == guest_run::top(name)).is_ok_and(|found| !found.is_empty())
}

/// Whether only cgroups of v2 are mounted.
pub fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Where the cgroups of v2 are mounted beside others.
pub const HYBRID: &str = "/sys/fs/cgroup/unified";
