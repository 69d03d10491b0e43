//! The embedded engine: guests in namespaces and cgroups of their own, each with a monitor (`guest_run`).
//!
//! The monitor outlives the daemon. What there is to know of a guest the engine writes into a file before it starts one, and what
//! came of a guest the monitor writes into another; between these two it tells by its socket.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

mod archive;
mod attach;
mod connection;
mod filter;
mod freeze;
mod ids;
mod kill;
mod probe;
mod request;
mod start;
mod usage;
mod uuid;
mod watch;

pub use attach::{SHELL, attach, enter_console};
pub use usage::usage;

use super::{
    BoxFuture, Capabilities, Engine, EngineError, EngineResult, Epoch, ErrorKind, Probe, Request, Sink, tail,
};
use crate::{
    guest_run::{
        self,
        spec::{Ids, Place},
    },
    launch::{Cgroups, Launcher, unit},
    model::{EngineSpec, Guest, GuestName, NativeSpec, Resources},
};

/// What the engine works with.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The daemon's runtime directory.
    pub runtime_dir: PathBuf,
    /// Its state directory, below which archives are unpacked.
    pub state_dir: PathBuf,
    /// `guest-run`; none where it is not installed.
    pub monitor: Option<PathBuf>,
    /// `guest-helper`; without it every reboot is carried out.
    pub helper: Option<PathBuf>,
}

/// The engine for native guests.
pub struct NativeEngine(Arc<Native>);

/// What all parts of the engine share.
struct Native {
    launcher: Arc<dyn Launcher>,
    ground: Ground,
    sink: Sink,
    /// The filters of system calls, once they were needed, by whether a guest may make user namespaces.
    filters: Mutex<HashMap<bool, Arc<[u64]>>>,
    /// The ids of guests' users, as they were given; read from what lies there when the first ones are given.
    ids: Mutex<Option<HashMap<GuestName, Ids>>>,
    /// Guests that were started or watched since this engine began: their watches have told how they ended.
    met: Mutex<HashSet<GuestName>>,
    /// Guests of which a start was interrupted, which may go on.
    interrupted: Mutex<HashSet<GuestName>>,
    /// Whose runs are watched.
    watches: Mutex<HashMap<GuestName, watch::Watch>>,
}

impl NativeEngine {
    /// Makes the engine. Needs a running Tokio runtime.
    pub fn new(launcher: Arc<dyn Launcher>, ground: Ground, sink: Sink) -> Self {
        Self(Arc::new(Native {
            launcher,
            ground,
            sink,
            filters: Mutex::default(),
            ids: Mutex::default(),
            met: Mutex::default(),
            interrupted: Mutex::default(),
            watches: Mutex::default(),
        }))
    }
}

impl Native {
    fn place(&self, guest: &GuestName) -> Place {
        Place::of(&self.ground.runtime_dir, guest)
    }

    /// Everything that a guest's processes and its monitor are in.
    fn cgroups(&self, guest: &GuestName) -> Cgroups {
        let path = match self.launcher.unit(guest) {
            Some(name) => Path::new(unit::SLICE).join(name),
            None => guest_run::top(guest).into(),
        };
        Cgroups(vec![path])
    }

    /// What its own processes are in.
    fn payload(&self, guest: &GuestName) -> Cgroups {
        Cgroups(self.cgroups(guest).0.iter().map(|path| path.join(guest_run::PAYLOAD)).collect())
    }
}

/// Whether a guest runs, by a look from outside the daemon.
pub fn is_running(runtime_dir: &Path, guest: &GuestName) -> bool {
    guest_run::is_kept(&Place::of(runtime_dir, guest))
}

/// The last lines that a guest that runs has written on its console, oldest first, escaped.
pub fn last_lines(runtime_dir: &Path, guest: &GuestName) -> Vec<String> {
    tail::last_lines(&Place::of(runtime_dir, guest).console())
}

impl Engine for NativeEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities { reboot_in_place: true, freeze: true }
    }

    fn start<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(start::start(&self.0, guest, spec(guest)))
    }

    fn request<'a>(&'a self, guest: &'a Guest, request: Request) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(request::request(&self.0, guest, request))
    }

    fn adjust<'a>(&'a self, guest: &'a Guest, resources: &'a Resources) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(super::adjust(&*self.0.launcher, &guest.name, resources))
    }

    fn kill<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(kill::kill(&self.0, guest))
    }

    fn probe<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<Probe>> {
        Box::pin(probe::probe(&self.0, guest))
    }

    fn forget_end(&self, guest: &Guest) {
        // What cannot be removed is told once more, and known again.
        let _ = std::fs::remove_file(self.0.place(&guest.name).outcome());
    }

    fn watch(&self, guest: Arc<Guest>, epoch: Epoch) {
        watch::watch(&self.0, guest, epoch);
    }
}

/// # Panics
/// For a guest of another engine: which engine a guest has is decided in one place, before any of them is called.
fn spec(guest: &Guest) -> &NativeSpec {
    match &guest.engine {
        EngineSpec::Native(spec) => spec,
        EngineSpec::Lxc(_) => unreachable!("{} is an LXC container", guest.name),
    }
}

fn failed(operation: &'static str, error: &io::Error) -> EngineError {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => ErrorKind::TimedOut,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Failed,
    };
    EngineError { operation, kind, reason: error.to_string() }
}

/// What a panic elsewhere left behind is still whole: every change is a single insertion or removal.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
