//! Throw-away native guests: a busybox root, an engine, and what it reports. Everything is ended and removed when the
//! [`Bench`] is dropped.

// Each test program uses its own part of this.
#![allow(dead_code)]

#[path = "../executable/mod.rs"]
pub mod executable;
#[path = "../observed/mod.rs"]
pub mod observed;

use std::{
    fs,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use guestd::{
    engine::{
        Engine, Epoch, Init,
        native::{Ground, NativeEngine},
    },
    guest_run::{self, spec::Place},
    launch::{Cgroups, Direct, Launcher, cgroup},
    model::{
        EngineSpec, Guest, GuestName, NativeSpec,
        native::{InitProgram, Root},
    },
};
use tokio::sync::mpsc::unbounded_channel;

use self::observed::Reports;
use super::busybox;

/// Whatever a test waits for happens within this time, or never.
pub const SOON: Duration = Duration::from_secs(10);
/// The monitor as it was built.
pub const MONITOR: &str = env!("CARGO_BIN_EXE_guest-run");

/// Guests below one folder, and the engine that runs them.
pub struct Bench {
    folder: Arc<tempfile::TempDir>,
    helper: PathBuf,
    /// The engine.
    pub engine: NativeEngine,
    /// What it reports.
    pub seen: Reports,
    names: Vec<GuestName>,
}

impl Bench {
    /// An engine in a new folder. Its helper writes down what it is called with, and exits with what is in the file `decision`.
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "native guests need root");
        let folder = tempfile::Builder::new().prefix("guestd-native-").tempdir().unwrap();
        busybox::make_root(&folder.path().join("root"));
        fs::create_dir(folder.path().join("run")).unwrap();
        let text = "echo \"$*\" >> \"$2/asked\"; exit \"$(cat \"$2/decision\" 2>/dev/null || echo 0)\"";
        executable::script(&folder.path().join("helper"), text);
        let helper = folder.path().join("helper");
        Self::on(Arc::new(folder), helper)
    }

    /// The same with guestd's own helper.
    pub fn with_guest_helper() -> Self {
        let bench = Self::new();
        Self::on(bench.folder.clone(), env!("CARGO_BIN_EXE_guest-helper").into())
    }

    fn on(folder: Arc<tempfile::TempDir>, helper: PathBuf) -> Self {
        let (sink, seen) = unbounded_channel();
        let ground = Ground {
            runtime_dir: folder.path().join("run"),
            state_dir: folder.path().join("state"),
            monitor: Some(MONITOR.into()),
            helper: Some(helper.clone()),
        };
        let engine = NativeEngine::new(Arc::new(Direct::default()), ground, sink);
        Self { folder, helper, engine, seen: Reports(seen), names: Vec::new() }
    }

    /// Another engine for the same guests, as a daemon that starts later has one.
    pub fn successor(&self) -> Self {
        Self::on(self.folder.clone(), self.helper.clone())
    }

    /// The folder of everything.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The root that guests share, unless they say otherwise.
    pub fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// A guest under a name that no other test uses.
    pub fn guest(&mut self, name: &str, edit: impl FnOnce(&mut NativeSpec)) -> Arc<Guest> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = GuestName::new(&format!("{name}{}x{number}", std::process::id())).unwrap();
        let mut spec = NativeSpec::new(Root::Folder(self.root()));
        edit(&mut spec);
        self.names.push(name.clone());
        let mut guest = Guest::new(name, EngineSpec::Native(Arc::new(spec)));
        guest.stop.timeout = SOON;
        Arc::new(guest)
    }

    /// A guest whose init is a line for the shell.
    pub fn shell(&mut self, name: &str, line: &str) -> Arc<Guest> {
        self.guest(name, |spec| spec.init.program = shell(line))
    }

    /// Its files.
    pub fn place(&self, guest: &Guest) -> Place {
        Place::of(&self.folder().join("run"), &guest.name)
    }

    /// Starts and watches a guest; its first init.
    pub async fn up(&mut self, guest: &Arc<Guest>) -> Init {
        self.engine.start(guest).await.unwrap();
        self.engine.watch(guest.clone(), Epoch(1));
        self.running(guest).await
    }

    /// Runs a line of shell in a guest, as whoever enters it.
    pub fn inside(&self, guest: &Guest, line: &str) -> Output {
        let mut command = Command::new(MONITOR);
        command.arg("attach").arg(self.place(guest).folder()).args(["--", "/bin/sh", "-c", line]);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// What such a line prints; it must succeed.
    pub fn says(&self, guest: &Guest, line: &str) -> String {
        let output = self.inside(guest, line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What the helper was called with.
    pub fn asked(&self) -> String {
        fs::read_to_string(self.folder().join("run/asked")).unwrap_or_default()
    }

    /// What the helper decides from now on.
    pub fn decide(&self, status: u8) {
        fs::write(self.folder().join("run/decision"), status.to_string()).unwrap();
    }

    /// What a guest wrote on its console.
    pub fn console(&self, guest: &Guest) -> String {
        let bytes = fs::read(self.place(guest).console()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Deref for Bench {
    type Target = Reports;

    fn deref(&self) -> &Reports {
        &self.seen
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Reports {
        &mut self.seen
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in &self.names {
            let cgroups = Cgroups(vec![guest_run::top(name).into()]);
            for pid in cgroup::processes(&cgroups).unwrap_or_default() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            let until = Instant::now() + SOON;
            while Direct::default().remove(&cgroups).is_err()
                || cgroup::top_level(|found| found == guest_run::top(name))
                    .is_ok_and(|found| !found.is_empty())
            {
                if Instant::now() > until {
                    eprintln!("cgroups of {name} are left");
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// An init that is a line for the shell.
pub fn shell(line: &str) -> InitProgram {
    InitProgram::Exec(["/bin/sh", "-c", line].map(str::to_owned).to_vec())
}

/// Waits until something holds.
pub async fn eventually(holds: impl Fn() -> bool) -> bool {
    let until = Instant::now() + SOON;
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
