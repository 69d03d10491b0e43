//! How a guest's first host process comes to life so that it outlives the daemon, and how its cgroups are handled.
//!
//! One trait; `systemd` where that is PID 1, `direct` for other hosts. Which one is used is chosen at start and shown
//! in the status.

use std::{ffi::OsString, io, path::PathBuf, process::ExitStatus, sync::Arc, time::Duration};

use crate::{
    engine::BoxFuture,
    import::settings::LauncherChoice,
    model::{GuestName, Resources},
};

pub mod cgroup;
mod descriptors;
pub mod direct;
pub mod freezer;
pub(crate) mod hierarchy;
mod hook;
mod jobs;
pub mod memory;
mod mounts;
mod session;
pub mod systemd;
pub mod unit;
pub mod usage;

pub use direct::{Direct, run};
pub(crate) use direct::{Group, PATH, command, in_words};
pub use hook::HookEnd;
pub use session::Session;
pub use systemd::Systemd;
pub use unit::Unit;

/// A guest to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Whom it is for.
    pub guest: GuestName,
    /// What brings it up: in a unit it stays in the foreground and is the unit's main process (`lxc-start -F`); without one
    /// it puts the guest into the background by itself (`lxc-start -d`) or fails.
    pub program: Program,
    /// What its unit has to know, where it gets one.
    pub unit: Unit,
}

/// How far a launch has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launched {
    /// The guest is in the background: it runs.
    Up,
    /// The main process of its unit keeps it in the foreground. Whether it runs is still to be seen.
    Kept,
    /// The same of a unit that was there already: its guest may as well be about to end.
    Found,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Added to an otherwise minimal environment.
    pub environment: Vec<(OsString, OsString)>,
    /// When it has not returned by then, it is killed and has failed.
    pub timeout: Duration,
}

impl Program {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        self.argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program could not be run at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and reported failure.
    #[error("{program} exited with {status}{}", said(.stderr))]
    Exited {
        /// The program.
        program: String,
        /// Its exit status in words.
        status: String,
        /// The last lines that it wrote to standard error, bounded.
        stderr: String,
    },
    /// PID 1 does not start its unit.
    #[error("systemd does not start {unit}: {source}")]
    Unit {
        /// The unit.
        unit: String,
        /// Why.
        source: zbus::Error,
    },
    /// It did not return in time and was killed.
    #[error("{program} did not finish within {timeout:?} and was killed")]
    TimedOut {
        /// The program.
        program: String,
        /// The time it had.
        timeout: Duration,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

/// The cgroups of one guest, as paths below each cgroup mount: what the launcher kills and removes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups(pub Vec<PathBuf>);

/// Launches programs for guests and handles their cgroups.
pub trait Launcher: Send + Sync {
    /// Its name in the settings and in the status.
    fn name(&self) -> &'static str;

    /// The name of the unit that a guest gets; none where guests have none.
    fn unit(&self, guest: &GuestName) -> Option<String>;

    /// Runs a program that brings a guest up. Returns when the guest is in the background, or when the program runs that
    /// keeps it in the foreground of its unit. Dropping the future before interrupts it, until [`Launcher::let_go`] is called;
    /// [`Launcher::abandon`] then makes sure of what it had begun.
    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>>;

    /// The process that keeps a guest in the foreground; none when there is none any more. An error means that nobody knows.
    fn keeper<'a>(&'a self, _guest: &'a GuestName) -> BoxFuture<'a, io::Result<Option<i32>>> {
        Box::pin(async { Ok(None) })
    }

    /// Ends what a launch has begun whose future was dropped, however far it is. Returns once nothing of it is left, or
    /// after a while.
    fn abandon<'a>(&'a self, _guest: &'a GuestName) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Whether the host is going down; false where nobody tells.
    fn host_stops(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { false })
    }

    /// The daemon is about to end, and what is being launched shall go on without it.
    fn let_go(&self) {}

    /// Runs a program for a guest and waits for its end, which says something: a hook, or a probe. It is killed with
    /// everything it has started when it takes too long. Where nobody waits for its end any more, it may be killed
    /// or go on.
    fn run_hook<'a>(&'a self, guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd>;

    /// The same for what is run again and again, and has nothing to tell but how it ended.
    fn run_probe<'a>(&'a self, guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd>;

    /// Runs a session of a person in a guest, and waits for its end. Dropping the future ends it, with all that is left of
    /// it; where the daemon ends, it goes on.
    fn run_session<'a>(
        &'a self,
        guest: &'a GuestName,
        session: Session,
    ) -> BoxFuture<'a, io::Result<ExitStatus>>;

    /// Gives a guest that runs in a unit of its own these amounts until it ends; does nothing where guests have no units.
    ///
    /// The kind of the error is `NotFound` when the guest runs without its unit.
    fn adjust<'a>(
        &'a self,
        _guest: &'a GuestName,
        _resources: &'a Resources,
    ) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    /// Kills every process in these cgroups and in those below them, again and again until they are empty or `within`
    /// is over.
    fn kill<'a>(&'a self, cgroups: &'a Cgroups, within: Duration) -> BoxFuture<'a, io::Result<()>>;

    /// Removes these cgroups and those below them where no process is left in them; the others stay.
    fn remove(&self, cgroups: &Cgroups) -> io::Result<()>;
}

/// Whether guests get units of systemd on this host, as far as that can be told without asking it.
pub fn is_systemd(choice: LauncherChoice) -> bool {
    match choice {
        LauncherChoice::Direct => false,
        LauncherChoice::Systemd => true,
        LauncherChoice::Auto => systemd::is_booted(),
    }
}

/// The launcher for this host. By itself `auto` never fails: where systemd is PID 1 and does not answer, guests are
/// launched directly.
///
/// # Errors
/// When systemd is asked for in the settings, and cannot be reached.
pub async fn choose(choice: LauncherChoice) -> zbus::Result<Arc<dyn Launcher>> {
    match choice {
        LauncherChoice::Direct => Ok(Arc::new(Direct::default())),
        LauncherChoice::Systemd => Ok(Arc::new(systemd::connect().await?)),
        LauncherChoice::Auto if !is_systemd(choice) => Ok(Arc::new(Direct::default())),
        LauncherChoice::Auto => match systemd::connect().await {
            Ok(systemd) => Ok(Arc::new(systemd)),
            Err(error) => {
                tracing::warn!("systemd cannot be reached ({error}): guests are launched directly");
                Ok(Arc::new(Direct::default()))
            }
        },
    }
}
