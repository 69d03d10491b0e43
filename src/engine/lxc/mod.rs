//! The host's own LXC (5.0 and newer), observed without polling and without its library.
//!
//! Three of LXC's interfaces are used: each monitor's command socket (`command`), the monitor FIFO of each lxcpath
//! (`fifo`, `monitord`), and its programs `lxc-start`, `lxc-freeze` and `lxc-unfreeze`. `watch` brings what they and
//! the pidfds tell into one order; `kill` needs none of them to work.

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::{Notify, mpsc, watch as channel};

mod cgroup;
mod command;
mod fifo;
mod freeze;
mod kill;
mod locate;
mod monitord;
mod probe;
mod process;
mod reason;
mod record;
mod request;
mod run;
mod socket;
mod start;
mod table;
mod task;
mod watch;

pub use socket::running;

use self::{
    record::{News, State},
    socket::Address,
    task::Task,
    watch::Watch,
};
use super::{
    BoxFuture, Capabilities, Engine, EngineError, EngineResult, Epoch, ErrorKind, Observation, Observed,
    Probe, Request, Sink,
};
use crate::{
    launch::{Launcher, memory::KernelLog},
    model::{EngineSpec, Guest, GuestName, LxcSpec, Resources, WaitStatus},
    systemd::fdstore::{self, Kept},
};

/// How many news a watch may be behind; a guest has no way to write more than a few.
const NEWS_MAX: usize = 64;

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
    sink: Sink,
    kernel: Arc<Mutex<KernelLog>>,
    runs: Mutex<HashMap<Key, OwnRun>>,
    readers: Mutex<HashMap<Arc<Path>, Reading>>,
}

/// The news of an lxcpath are read.
struct Reading {
    _task: Task,
    recheck: Arc<Notify>,
}

/// A container that runs, as far as is known.
enum OwnRun {
    /// Nobody watches it yet.
    Unwatched {
        /// This daemon starts it: news of it are no surprise.
        ours: bool,
        /// How its init ended, if a record said so already.
        exit: Option<WaitStatus>,
        /// A look has told that. A watch that is about to begin tells it too.
        told: bool,
    },
    /// News of it go to its watch.
    Watched { epoch: Epoch, news: mpsc::Sender<News>, monitor: channel::Receiver<Option<i32>>, _task: Task },
}

impl OwnRun {
    fn unwatched(ours: bool) -> Self {
        Self::Unwatched { ours, exit: None, told: false }
    }
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
        let engine = Self(Arc::new(Lxc { launcher, hook, sink, kernel, runs, readers }));
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
        Box::pin(async move {
            let result = self.0.launcher.adjust(&guest.name, resources).await;
            result.map_err(|error| EngineError {
                operation: "set its [resources]",
                kind: match error.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::Missing,
                    _ => ErrorKind::Failed,
                },
                reason: error.to_string(),
            })
        })
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

fn spec(guest: &Guest) -> &LxcSpec {
    match &guest.engine {
        EngineSpec::Lxc(spec) => spec,
    }
}

fn key(spec: &LxcSpec, guest: &Guest) -> Key {
    (socket::trimmed(&spec.lxcpath).into(), guest.name.clone())
}

/// What a panic elsewhere left behind is still whole: every change is a single insertion or removal.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A start of ours is under way, so news of it are no surprise. They stay expected once it came true.
struct Expected<'a> {
    lxc: &'a Lxc,
    key: Option<Key>,
}

impl Expected<'_> {
    fn came_true(mut self) {
        self.key = None;
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.lxc.forget(&key);
        }
    }
}

impl Lxc {
    fn expect(&self, spec: &LxcSpec, guest: &Guest) -> Expected<'_> {
        let key = key(spec, guest);
        let mut runs = locked(&self.runs);
        if !matches!(runs.get(&key), Some(OwnRun::Watched { .. })) {
            runs.insert(key.clone(), OwnRun::unwatched(true));
        }
        drop(runs);
        Expected { lxc: self, key: Some(key) }
    }

    /// A start is over before anybody watched it.
    fn forget(&self, key: &Key) {
        let mut runs = locked(&self.runs);
        if let Some(OwnRun::Unwatched { .. }) = runs.get(key) {
            runs.remove(key);
        }
    }

    fn is_watched(&self, spec: &LxcSpec, guest: &Guest) -> bool {
        matches!(locked(&self.runs).get(&key(spec, guest)), Some(OwnRun::Watched { .. }))
    }

    fn paths(&self) -> Vec<Arc<Path>> {
        locked(&self.readers).keys().cloned().collect()
    }

    /// The monitor of a watched container.
    fn watched_monitor(&self, spec: &LxcSpec, guest: &Guest) -> Option<i32> {
        match locked(&self.runs).get(&key(spec, guest)) {
            Some(OwnRun::Watched { monitor, .. }) => *monitor.borrow(),
            Some(OwnRun::Unwatched { .. }) | None => None,
        }
    }

    fn deliver(&self, lxcpath: &Path, guest: &GuestName, news: News) {
        let key = (lxcpath.into(), guest.clone());
        let mut runs = locked(&self.runs);
        let begins = matches!(news, News::State(State::Starting | State::Running));
        let appears = match runs.get_mut(&key) {
            Some(OwnRun::Watched { news: watch, .. }) => {
                watch
                    .try_send(news)
                    .unwrap_or_else(|error| tracing::debug!("guest {guest}: news were lost: {error}"));
                false
            }
            Some(OwnRun::Unwatched { ours, exit, told }) => {
                *exit = news.exit(*exit);
                *told &= exit.is_some();
                !*ours && (begins || matches!(news, News::Exit(_)))
            }
            None => begins,
        };
        if appears {
            runs.entry(key).or_insert(OwnRun::unwatched(false));
            // Nobody listens any more when the daemon goes down.
            let _ =
                self.sink.send(Observed { guest: guest.clone(), epoch: None, what: Observation::Appeared });
        }
    }

    /// Takes in what was told while no daemon was there; a look will tell it.
    fn catch_up(&self, lxcpath: &Arc<Path>, guest: GuestName, news: News) {
        let mut runs = locked(&self.runs);
        let run = runs.entry((lxcpath.clone(), guest)).or_insert(OwnRun::unwatched(false));
        if let OwnRun::Unwatched { exit, .. } = run {
            *exit = news.exit(*exit);
        }
    }

    /// News were lost: tells of every container that runs there and is not known to.
    fn look_around(&self, lxcpath: &Path) {
        let listening = socket::listeners().unwrap_or_default();
        let running = listening.iter().filter_map(|listener| match socket::container(&listener.name)? {
            Address::Named(name) => GuestName::new(std::str::from_utf8(name).ok()?).ok(),
            Address::Hashed => None,
        });
        let addresses: BTreeSet<&[u8]> = listening.iter().map(|listener| &*listener.name).collect();
        for guest in running {
            if addresses.contains(&*socket::command(lxcpath, guest.as_str())) {
                self.deliver(lxcpath, &guest, News::State(State::Running));
            }
        }
    }

    /// How a container ended that nobody watched; told once.
    fn unwatched_end(&self, spec: &LxcSpec, guest: &Guest) -> Option<WaitStatus> {
        match locked(&self.runs).get_mut(&key(spec, guest))? {
            OwnRun::Unwatched { ours: false, exit, told } => {
                let is_new = !*told;
                *told = exit.is_some();
                exit.filter(|_| is_new)
            }
            _ => None,
        }
    }

    fn watch(this: &Arc<Self>, guest: Arc<Guest>, epoch: Epoch) {
        let key = key(spec(&guest), &guest);
        let mut runs = locked(&this.runs);
        let (begun, exit) = match runs.get(&key) {
            Some(OwnRun::Unwatched { exit, .. }) => (true, *exit),
            Some(OwnRun::Watched { .. }) | None => (false, None),
        };
        let (news, news_of_it) = mpsc::channel(NEWS_MAX);
        let (told, monitor) = channel::channel(None);
        let watch = Watch {
            guest,
            known: this.paths(),
            epoch,
            sink: this.sink.clone(),
            kernel: this.kernel.clone(),
            begun,
            exit,
            news: news_of_it,
            monitor: told,
        };
        let (lxc, end) = (Arc::downgrade(this), key.clone());
        let task = Task::spawn(async move {
            watch.run().await;
            if let Some(lxc) = lxc.upgrade() {
                // Forgotten first: whoever starts it from now on is somebody else.
                lxc.over(&end, epoch);
            }
        });
        runs.insert(key, OwnRun::Watched { epoch, news, monitor, _task: task });
    }

    fn over(&self, key: &Key, epoch: Epoch) {
        let mut runs = locked(&self.runs);
        let is_it =
            matches!(runs.get(key), Some(OwnRun::Watched { epoch: current, .. }) if *current == epoch);
        // Its task is this one: dropped, it is aborted at a next waiting point, of which there is none.
        let ended = if is_it { runs.remove(key) } else { None };
        drop(runs);
        let _ =
            self.sink.send(Observed { guest: key.1.clone(), epoch: Some(epoch), what: Observation::Gone });
        drop(ended);
    }
}
