//! The host's own LXC (5.0 and newer), observed without polling and without its library.
//!
//! Three of LXC's interfaces are used: each monitor's command socket (`command`), the monitor FIFO of each lxcpath
//! (`fifo`, `monitord`), and its programs `lxc-start`, `lxc-freeze` and `lxc-unfreeze`. `watch` brings what they and
//! the pidfds tell into one order; `kill` needs none of them to work.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

mod attach;
mod cgroup;
mod command;
mod console;
mod fifo;
mod foreground;
mod freeze;
mod ground;
mod kill;
mod locate;
mod monitord;
mod notify;
mod probe;
mod reason;
mod record;
mod request;
mod run;
mod runs;
mod socket;
mod start;
mod table;
mod usage;
mod watch;

pub use attach::{attach, enter, enter_console};
pub use socket::running;
pub use usage::usage;

pub use self::console::last_lines;
use self::{console::Console, runs::OwnRun};
use super::{
    BoxFuture, Capabilities, Engine, EngineResult, Epoch, Probe, Request, Sink, process,
    task::{self, Task},
};
use crate::{
    launch::{Launcher, memory::KernelLog},
    model::{EngineSpec, Guest, GuestName, LxcSpec, Resources},
    systemd::fdstore::{self, Kept},
};

/// The post-stop hook that is added to every container that this engine starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The program: `/usr/lib/guestd/guest-helper`. None where it is not installed: a hook that cannot be run would
    /// cancel every reboot, so none is added, and reboots are decided when they are seen.
    pub helper: Option<PathBuf>,
    /// The daemon's runtime directory, told to the helper; temporary logs of starts are written there too.
    pub runtime_dir: PathBuf,
}

/// The engine for LXC containers.
pub struct LxcEngine(Arc<Lxc>);

/// A container: its lxcpath and its name.
type Key = (Arc<Path>, GuestName);

/// What all parts of the engine share.
struct Lxc {
    launcher: Arc<dyn Launcher>,
    hook: Hook,
    console: Option<Console>,
    sink: Sink,
    kernel: Arc<Mutex<KernelLog>>,
    runs: Mutex<HashMap<Key, OwnRun>>,
    readers: Mutex<HashMap<Arc<Path>, Reading>>,
    /// Containers that were started or watched since this engine began: their watches have told how they ended.
    met: Mutex<HashSet<Key>>,
    /// Containers of which a start was interrupted, which may go on: nothing of it need be seen yet.
    interrupted: Mutex<HashSet<Key>>,
}

/// The news of an lxcpath are read.
struct Reading {
    _task: Task,
    recheck: Arc<Notify>,
}

impl LxcEngine {
    /// Makes the engine and begins to read the news of `paths`; the runtime directory is its own, and `kept` what the
    /// engine before it left with systemd. Needs a running Tokio runtime.
    pub fn new(
        paths: Vec<Arc<Path>>,
        launcher: Arc<dyn Launcher>,
        hook: Hook,
        sink: Sink,
        kept: Kept,
    ) -> Self {
        start::remove_old_logs(&hook.runtime_dir);
        let kernel = Arc::new(Mutex::new(KernelLog::open()));
        let (runs, readers) = (Mutex::default(), Mutex::default());
        let (met, interrupted) = (Mutex::default(), Mutex::default());
        let console = Console::new(&hook.runtime_dir, paths.clone());
        let engine =
            Self(Arc::new(Lxc { launcher, hook, console, sink, kernel, runs, readers, met, interrupted }));
        engine.listen(paths, kept);
        engine
    }

    /// Reads the news of these lxcpaths from now on, and of no other; makes sure that those that are read are the right
    /// ones. Containers that are watched stay watched.
    pub fn set_paths(&self, paths: Vec<Arc<Path>>) {
        self.listen(paths, Kept::new());
    }

    fn listen(&self, paths: Vec<Arc<Path>>, mut kept: Kept) {
        let paths: BTreeSet<Arc<Path>> = paths.iter().map(|path| socket::trimmed(path).into()).collect();
        let mut readers = locked(&self.0.readers);
        readers.retain(|path, _| {
            let stays = paths.contains(path);
            if !stays {
                fifo::kept_name(path).into_iter().for_each(|name| fdstore::forget(&name));
            }
            stays
        });
        for path in paths {
            let read = || {
                let name = fifo::kept_name(&path);
                let found = kept.iter().position(|(kept, _)| Some(kept) == name.as_ref());
                let kept = found.map(|at| kept.swap_remove(at).1);
                // Known before anybody looks whether it runs.
                let told = kept.as_ref().map(|kept| fifo::backlog(kept.as_fd())).unwrap_or_default();
                told.into_iter().for_each(|(guest, news)| self.0.catch_up(&path, guest, news));
                Self::read(Arc::downgrade(&self.0), path.clone(), kept)
            };
            readers.entry(path.clone()).or_insert_with(read).recheck.notify_one();
        }
        // Of lxcpaths that are none any more, and of FIFOs that were replaced.
        kept.iter().for_each(|(name, _)| fdstore::forget(name));
    }

    fn read(lxc: Weak<Lxc>, lxcpath: Arc<Path>, kept: Option<OwnedFd>) -> Reading {
        let recheck = Arc::new(Notify::new());
        let to_look = lxc.clone();
        let reader = fifo::Reader {
            lxcpath,
            deliver: Box::new(move |lxcpath, guest, news| {
                lxc.upgrade().into_iter().for_each(|lxc| lxc.deliver(lxcpath, guest, news));
            }),
            missed: Box::new(move |lxcpath| {
                to_look.upgrade().into_iter().for_each(|lxc| lxc.look_around(lxcpath))
            }),
            recheck: recheck.clone(),
        };
        Reading { _task: Task::spawn(reader.follow(kept)), recheck }
    }
}

impl Engine for LxcEngine {
    fn capabilities(&self) -> Capabilities {
        Capabilities { reboot_in_place: true, freeze: true }
    }

    fn start<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(start::start(&self.0, guest, spec(guest)))
    }

    fn request<'a>(&'a self, guest: &'a Guest, request: Request) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(request::request(&self.0, guest, spec(guest), request))
    }

    fn adjust<'a>(&'a self, guest: &'a Guest, resources: &'a Resources) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(super::adjust(&*self.0.launcher, &guest.name, resources))
    }

    fn kill<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>> {
        Box::pin(kill::kill(&self.0, guest, spec(guest)))
    }

    fn probe<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<Probe>> {
        Box::pin(probe::probe(&self.0, guest, spec(guest)))
    }

    fn watch(&self, guest: Arc<Guest>, epoch: Epoch) {
        Lxc::watch(&self.0, guest, epoch);
    }
}

/// # Panics
/// For a guest of another engine: which engine a guest has is decided in one place, before any of them is called.
fn spec(guest: &Guest) -> &LxcSpec {
    match &guest.engine {
        EngineSpec::Lxc(spec) => spec,
        EngineSpec::Native(_) => unreachable!("{} is no LXC container", guest.name),
    }
}

fn key(spec: &LxcSpec, guest: &Guest) -> Key {
    (socket::trimmed(&spec.lxcpath).into(), guest.name.clone())
}

/// What a panic elsewhere left behind is still whole: every change is a single insertion or removal.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
