//! Throw-away LXC containers on this host, in an lxcpath of their own: root and an installed LXC are needed.
//!
//! A container is a statically linked busybox and nothing else, made in a few milliseconds. Everything is ended and
//! removed when the [`Host`] is dropped.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub mod bench;
#[path = "../executable/mod.rs"]
pub mod executable;
pub mod layout;
#[path = "../observed/mod.rs"]
pub mod observed;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use guestd::model::{EngineSpec, Guest, GuestName, LxcSpec, Start, Stop, end::signal_number};

/// The cgroup folders in which LXC's top-level cgroups can lie.
const CGROUP_MOUNTS: &str = "/sys/fs/cgroup";
/// Whatever a test waits for happens within this time, or never.
pub const SOON: Duration = Duration::from_secs(10);

/// An lxcpath with one root file system that all its containers share, read-only in spirit.
pub struct Host {
    folder: tempfile::TempDir,
    lxcpath: PathBuf,
    names: Mutex<Vec<String>>,
}

impl Host {
    /// A host with an lxcpath `lxc` in a temporary folder.
    pub fn new() -> Self {
        Self::with_path("lxc")
    }

    /// A host whose lxcpath has this path below a temporary folder.
    pub fn with_path(below: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "LXC tests need root");
        let folder = tempfile::Builder::new().prefix("guestd-lxc-").tempdir().unwrap();
        let lxcpath = folder.path().join(below);
        fs::create_dir_all(&lxcpath).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        make_root(&folder.path().join("root"));
        Self { folder, lxcpath, names: Mutex::default() }
    }

    /// The lxcpath.
    pub fn lxcpath(&self) -> &Path {
        &self.lxcpath
    }

    /// A folder for a daemon's run-time files.
    pub fn runtime_dir(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A folder for the test's own files, outside the lxcpath.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a container under a name that no other test uses, with more lines for its configuration.
    pub fn create(&self, name: &str, more: &str) -> String {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}{}x{number}", std::process::id());
        self.create_named(&name, more);
        name
    }

    /// Makes a container under exactly this name.
    pub fn create_named(&self, name: &str, more: &str) {
        let folder = self.lxcpath.join(name);
        fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "lxc.uts.name = {name}\n\
             lxc.rootfs.path = dir:{root}\n\
             lxc.init.cmd = /sbin/init\n\
             lxc.net.0.type = empty\n\
             lxc.apparmor.profile = unconfined\n\
             lxc.mount.auto = proc:mixed\n\
             lxc.tty.max = 0\n\
             lxc.signal.halt = SIGUSR1\n\
             lxc.signal.reboot = SIGTERM\n\
             {more}\n",
            root = self.folder.path().join("root").display(),
        );
        fs::write(folder.join("config"), config).unwrap();
        self.names.lock().unwrap().push(name.to_owned());
    }

    /// The guest that a daemon would make of a container made here.
    pub fn guest(&self, name: &str) -> Guest {
        let engine = EngineSpec::Lxc(LxcSpec {
            halt_signal: signal_number("SIGUSR1"),
            reboot_signal: signal_number("SIGTERM"),
            rootfs: Some(format!("dir:{}", self.folder.path().join("root").display()).into()),
            ..LxcSpec::new(self.lxcpath.clone().into())
        });
        Guest {
            start: Start { timeout: Duration::from_secs(20), ..Start::default() },
            stop: Stop { timeout: Duration::from_secs(5) },
            ..Guest::new(GuestName::new(name).unwrap(), engine)
        }
    }

    /// Makes a container and the guest of it.
    pub fn new_guest(&self, name: &str, more: &str) -> Arc<Guest> {
        let name = self.create(name, more);
        Arc::new(self.guest(&name))
    }

    /// Runs one of LXC's programs on a container.
    pub fn lxc(&self, program: &str, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(["-n", name, "-P"]).arg(&self.lxcpath).args(arguments);
        command.output().unwrap()
    }

    /// Runs busybox inside a container.
    pub fn inside(&self, name: &str, arguments: &[&str]) -> Output {
        self.lxc("lxc-attach", name, &[&["--", "/bin/busybox"], arguments].concat())
    }

    /// The process of a container's init as LXC knows it.
    pub fn init(&self, name: &str) -> Option<i32> {
        let output = self.lxc("lxc-info", name, &["-pH"]);
        String::from_utf8(output.stdout).unwrap().trim().parse().ok()
    }

    /// The process that runs a container.
    pub fn monitor(&self, name: &str) -> Option<i32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.init(name)?)).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    }

    /// LXC's cgroups that bear a container's name.
    pub fn cgroups(&self, name: &str) -> Vec<PathBuf> {
        cgroups(name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for name in self.names.lock().unwrap().iter() {
            // A monitor that a test stopped cannot be told to end.
            if let Some(monitor) = running_monitors(&self.lxcpath, name).first() {
                let _ = Command::new("kill").args(["-CONT", &monitor.to_string()]).output();
            }
            let _ = Command::new("timeout")
                .args(["5", "lxc-stop", "-k", "-n", name, "-P"])
                .arg(&self.lxcpath)
                .output();
            for monitor in running_monitors(&self.lxcpath, name) {
                let _ = Command::new("kill").args(["-KILL", &monitor.to_string()]).output();
            }
            wait_until(|| running_monitors(&self.lxcpath, name).is_empty());
        }
        let left: Vec<PathBuf> =
            self.names.lock().unwrap().iter().flat_map(|name| numbered_cgroups(name)).collect();
        for cgroup in &left {
            let _ = fs::remove_dir(cgroup);
        }
        let below = self.folder.path().strip_prefix("/").unwrap();
        for run in ["/run/lxc", "/run/lxc/lock"] {
            let _ = fs::remove_dir_all(Path::new(run).join(below));
        }
        // What failed for another reason shall say that one.
        assert!(left.is_empty() || std::thread::panicking(), "cgroups were left: {left:?}");
    }
}

/// The monitors of a container, by the title that LXC gives them.
pub fn running_monitors(lxcpath: &Path, name: &str) -> Vec<i32> {
    let title = format!("[lxc monitor] {} {name}", lxcpath.display());
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).trim_end_matches('\0') == title
    };
    pids.filter(is_it).collect()
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let own = ["lxc.monitor.", "lxc.payload."].map(|prefix| format!("{prefix}{name}"));
    all_cgroups()
        .filter(|path| path.file_name().is_some_and(|file| own.iter().any(|own| file == &own[..])))
        .collect()
}

/// The same, with those that LXC has numbered because the name was taken.
fn numbered_cgroups(name: &str) -> Vec<PathBuf> {
    let is_own = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str()).unwrap_or_default();
        let rest = ["lxc.monitor.", "lxc.payload."]
            .iter()
            .find_map(|prefix| file.strip_prefix(prefix)?.strip_prefix(name));
        rest.is_some_and(|rest| rest.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()).is_empty())
    };
    all_cgroups().filter(is_own).collect()
}

/// The top-level cgroups of every hierarchy: one is mounted on the folder itself, or several below it.
fn all_cgroups() -> impl Iterator<Item = PathBuf> {
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let top = folders(Path::new(CGROUP_MOUNTS));
    let below: Vec<PathBuf> = top.iter().flat_map(|path| folders(path)).collect();
    top.into_iter().chain(below)
}

/// Whether a process runs. A zombie does not: it may have been left to an init that is slow to wait for it.
pub fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Waits for a condition; returns whether it came true.
pub fn wait_until(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// The same for a test that must let others run on its thread meanwhile.
pub async fn eventually(condition: impl Fn() -> bool) -> bool {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.is_ok()
}

fn make_root(root: &Path) {
    for folder in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "run", "root"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    executable::copy("/bin/busybox", &root.join("bin/busybox"));
    for program in ["sh", "sleep", "kill", "reboot", "poweroff", "true"] {
        symlink("busybox", root.join("bin").join(program)).unwrap();
    }
    symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    fs::write(root.join("etc/inittab"), "::sysinit:/bin/true\n::ctrlaltdel:/bin/reboot\n").unwrap();
}
