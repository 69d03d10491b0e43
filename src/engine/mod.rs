//! What really runs guests, behind one small trait.
//!
//! An engine carries out single effects on single guests and reports what it sees. It decides nothing: whether a
//! guest should run, and what an end means, is decided in `supervise`. Every call has a deadline of its own, so that
//! one wedged guest delays nobody.

mod engines;
pub mod entry;
pub mod lines;
pub mod lxc;
pub mod native;
pub mod notify;
mod process;
pub mod tail;
mod task;

pub use engines::Engines;
pub use process::{identified, ticks};

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    launch::Launcher,
    model::{Guest, GuestName, ProcessId, Resources, Timestamp, WaitStatus},
};

/// A boxed future, so that the trait is object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Counts the runs of one guest. Each start and each adoption gets a new one; what is reported of a run carries its
/// number, so that late news of an earlier run is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

/// A running guest's init, as the host sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Init {
    /// Its process id on the host.
    pub pid: i32,
    /// When it started (from its start time in `/proc/PID/stat`).
    pub since: Timestamp,
    /// Who keeps the run going from this init to the next one, such as LXC's monitor: two inits with the same keeper
    /// are of one run. None where that is not known.
    pub keeper: Option<ProcessId>,
}

/// What a look at a guest shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Nothing of it runs.
    Down,
    /// Nothing of it runs any more: its init ended so while nobody watched it.
    Ended {
        /// How it ended.
        status: WaitStatus,
        /// Who kept that run going, where the end is told to every daemon that comes; one that is told once has none.
        keeper: Option<ProcessId>,
    },
    /// It is between down and up: somebody starts or stops it just now.
    Changing,
    /// It runs.
    Up(Init),
    /// It runs, with its processes stopped where they are.
    Frozen(Init),
}

/// What an engine saw of a running guest. In the order in which they happen; a reboot in place is
/// `InitExited`, then `Running` with another init; any other end is `InitExited` or `OutOfMemory`, then `Gone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// It runs, with this init. Also reported first for every guest that is watched while it runs.
    Running(Init),
    /// Its processes were stopped where they are.
    Frozen,
    /// They go on.
    Thawed,
    /// Its init is dead. The status is none when it could not be learned.
    InitExited(Option<WaitStatus>),
    /// Its init is dead: the kernel killed it for want of memory.
    OutOfMemory,
    /// Nothing of it is left: its init, its monitor and their hooks have ended. The watch is over.
    Gone,
    /// Somebody other than this daemon is starting it, or has started it, or it has ended again before anybody watched
    /// it. Carries no epoch: the daemon should probe it.
    Appeared,
}

/// An observation with the guest and the run it belongs to; `epoch` is none for [`Observation::Appeared`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Whom it is about.
    pub guest: GuestName,
    /// Which run.
    pub epoch: Option<Epoch>,
    /// What was seen.
    pub what: Observation,
}

/// Where an engine reports to.
pub type Sink = mpsc::UnboundedSender<Observed>;

/// What can be asked of a running guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Stop cleanly; a frozen guest is thawed. Returns once its init has heard it, or is gone: it is asked again and
    /// again until then, and whoever does not want to wait for ever drops the future.
    Stop,
    /// The same, given up once the guest's `stop.timeout` is over.
    Hint,
    /// Reboot from inside. Returns once its init has heard it; given up once the guest's `stop.timeout` is over.
    Reboot,
    /// Stop its processes where they are. Returns once they are.
    Freeze,
    /// Let them go on. Returns once they do.
    Thaw,
}

/// What an engine is able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A guest that reboots keeps its monitor, and the engine reports its new init.
    pub reboot_in_place: bool,
    /// It can freeze and thaw.
    pub freeze: bool,
}

/// What kind of failure it was. This alone drives decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The guest or a part of it does not exist.
    Missing,
    /// It is in a state in which this cannot be done.
    Busy,
    /// Its configuration is wrong: trying again changes nothing.
    Misconfigured,
    /// The operating system forbids it.
    Denied,
    /// It did not answer in time.
    TimedOut,
    /// The engine itself is not there or does not work.
    Unavailable,
    /// It was tried and did not work.
    Failed,
}

/// Why an engine could not do it: what was tried, what went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// What was tried, as a verb phrase: "start it with lxc-start".
    pub operation: &'static str,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What happened, with the engine's own words where it gave any; one line.
    pub reason: String,
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.operation, self.reason)
    }
}

impl std::error::Error for EngineError {}

/// The result of an effect on a guest.
pub type EngineResult<T> = Result<T, EngineError>;

/// Something that runs guests. Object-safe; implementations are shared by all workers.
///
/// Order guaranteed to callers: `watch` may be called as soon as `start` has returned or `probe` said `Up`; it reports
/// `Running` first, and `Gone` exactly once, last. If nothing runs any more, `Gone` comes alone, or after `InitExited`
/// where it is known how the init ended.
pub trait Engine: Send + Sync {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Starts a guest that is down. Returns when its init runs, or with the reason why it does not. Dropping the
    /// future interrupts the start; the caller then kills.
    fn start<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>>;

    /// Asks a running guest for something.
    fn request<'a>(&'a self, guest: &'a Guest, request: Request) -> BoxFuture<'a, EngineResult<()>>;

    /// Gives a running guest these amounts of the host, as far as that can be changed while it runs. The kind of the
    /// error is [`ErrorKind::Missing`] where only its next start can do that.
    fn adjust<'a>(&'a self, guest: &'a Guest, resources: &'a Resources) -> BoxFuture<'a, EngineResult<()>>;

    /// Ends every process of a guest, by the engine's own means and then by the kernel's, including those of a start
    /// that hangs. Returns when nothing is left, or with what would not die. Nothing to kill is a success.
    fn kill<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<()>>;

    /// Looks at a guest.
    fn probe<'a>(&'a self, guest: &'a Guest) -> BoxFuture<'a, EngineResult<Probe>>;

    /// The end of a guest's last run is dealt with: an engine that tells it to every daemon that comes does so no more.
    fn forget_end(&self, _guest: &Guest) {}

    /// Reports everything that happens to a running guest to the engine's [`Sink`] under `epoch`, until it is gone.
    /// Returns at once; a second watch of the same guest replaces the first.
    fn watch(&self, guest: Arc<Guest>, epoch: Epoch);
}

/// Gives a running guest's unit these amounts: what every engine of the host's own does.
async fn adjust(launcher: &dyn Launcher, guest: &GuestName, resources: &Resources) -> EngineResult<()> {
    launcher.adjust(guest, resources).await.map_err(|error| EngineError {
        operation: "set its [resources]",
        kind: match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Missing,
            _ => ErrorKind::Failed,
        },
        reason: error.to_string(),
    })
}
