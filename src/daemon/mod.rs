//! The composition root: puts settings, engine, launcher, manager, helper socket and D-Bus together, and runs until a
//! signal says stop. Guests outlive it.

mod boundary;
pub mod clock;
pub mod disk;
pub mod handle;
mod hook;
pub mod host;
pub mod load;
pub mod manager;
mod means;
mod presence;
mod programs;
pub mod sessions;
pub mod settings;
pub mod state;
pub mod store;
pub mod watcher;
pub mod worker;

use std::{
    fs::{File, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};

use self::{
    clock::Clock,
    handle::Handle,
    host::HostState,
    load::{Directories, Inventory},
    manager::{Inbox, Manager, Parts},
    means::Means,
    sessions::Sessions,
    watcher::Watcher,
    worker::{Report, Workers},
};
use crate::{
    checks::{Checks, Tell, notify::Places},
    dbus,
    engine::{
        Engines,
        entry::Ways,
        lxc::{Hook, LxcEngine},
        native::{Ground, NativeEngine},
    },
    helper::server,
    kill_point::KillPoint,
    launch::{self, Launcher},
    model::{
        GuestName, Severity,
        status::{DaemonStatus, PhaseWord, Snapshot},
    },
    systemd::{
        fdstore::{self, Kept},
        machined::{self, Machines, Releases},
        notify,
    },
};

/// How long a daemon that is about to be gone may keep the runtime directory, and how often that is looked at.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(20);
/// The least time between two lines for `systemctl status`: nobody reads faster.
const STATUS_PAUSE: Duration = Duration::from_millis(250);

/// Why the daemon could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A directory of its own cannot be made.
    #[error("cannot create {}", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon has this runtime directory.
    #[error("{} is in use by a running daemon; stop it, or give this one another --runtime-dir", .path.display())]
    Taken {
        /// Which.
        path: PathBuf,
    },
    /// The helper socket cannot be listened on.
    #[error("cannot listen for helper requests")]
    Helper(#[source] server::BindError),
    /// The launcher that the settings ask for does not work.
    #[error("launcher = \"systemd\", and systemd cannot be reached")]
    Launcher(#[source] zbus::Error),
    /// D-Bus does not work.
    #[error("cannot serve D-Bus")]
    Bus(#[source] dbus::DbusError),
    /// Signals cannot be received.
    #[error("cannot receive signals")]
    Signals(#[source] io::Error),
}

/// Runs the daemon until SIGTERM or SIGINT.
///
/// # Errors
/// [`DaemonError`] when it cannot start, or when the bus goes away.
pub async fn run(directories: Directories) -> Result<(), DaemonError> {
    let clock = Clock::start();
    let started = clock.now().instant;
    // SAFETY: nothing else takes files over by their numbers, and a process runs one daemon.
    let kept = unsafe { fdstore::take_over() };
    let _alone = lock(&directories).await?;
    KillPoint::Locked.pass();
    dbus::is_alone_on_system_bus().await.map_err(DaemonError::Bus)?;
    // Watched before anything is read, so that nothing falls in between.
    let watcher = manager::watch(&settings::load(&directories, &disk::Disk).0.lxc_paths);
    let inventory = load::load(&directories);
    let launcher = launch::choose(inventory.settings.launcher).await.map_err(DaemonError::Launcher)?;
    tracing::info!("guestd {}: {} guests defined", env!("CARGO_PKG_VERSION"), inventory.guests.len());
    let listener =
        server::bind(&directories.runtime.join(server::SOCKET_NAME)).map_err(DaemonError::Helper)?;
    KillPoint::Listening.pass();
    let runtime_dir = directories.runtime.clone();
    let (machines, releases) = machined::machines();
    let (handle, manager, inbox) =
        compose(clock, directories, (watcher, inventory), &launcher, (kept, machines));
    let manager = manager.recover(inbox).await;
    let (tell_ready, ready) = oneshot::channel();
    tokio::spawn(manager.run(ready));
    tokio::spawn(server::serve(listener, handle.clone(), Arc::new(Deciding(handle.clone()))));
    let bus = dbus::serve_system_bus(handle.clone()).await.map_err(DaemonError::Bus)?;
    notify::ready();
    KillPoint::Ready.pass();
    // The manager may have gone on without.
    let _ = tell_ready.send(());
    let took = clock.now().instant.since(started).as_millis();
    tracing::info!("ready; state in {}, after {took} ms", runtime_dir.display());
    tell_others(handle.clone(), &bus, &*launcher, releases);
    let ended = presence::until_told(&handle, bus, launcher.name() == "systemd").await;
    // What is under way ends with this daemon; a start that is goes on, and the next one finds what came of it.
    launcher.let_go();
    notify::stopping();
    tracing::info!("stopping; the guests go on");
    ended
}

/// Makes the directories that are the daemon's own, and sure that it is alone on its runtime directory for as long as the
/// file is open: not even two that start at the same moment take the socket from one another. One that was killed may
/// take a moment to be gone.
async fn lock(Directories { runtime, state, .. }: &Directories) -> Result<File, DaemonError> {
    let failed = |source| DaemonError::Directory { path: runtime.clone(), source };
    std::fs::create_dir_all(runtime).map_err(failed)?;
    // Without it guests run all the same; what cannot be kept is told when there is something to keep.
    let _ = std::fs::create_dir_all(state);
    let path = runtime.join("lock");
    let failed = |source| DaemonError::Directory { path: path.clone(), source };
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    let deadline = Instant::now() + LEAVES_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(RETRY).await,
            Err(TryLockError::WouldBlock) => return Err(DaemonError::Taken { path: runtime.clone() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// What the helper socket must know of guests whose reboot takes long to decide.
struct Deciding(Handle);

impl server::Facts for Deciding {
    fn progress(&self, guest: &GuestName) -> Option<String> {
        self.0.snapshot().guests.get(guest)?.deciding.map(str::to_owned)
    }

    fn abandoned(&self, _guest: &GuestName) {
        self.0.spooled();
    }
}

/// Connects the parts.
fn compose(
    clock: Clock,
    directories: Directories,
    (watcher, inventory): (Option<Watcher>, Inventory),
    launcher: &Arc<dyn Launcher>,
    (kept, machines): (Kept, Machines),
) -> (Handle, Manager, Inbox) {
    let (sink, observed) = mpsc::unbounded_channel();
    let (report, reports) = mpsc::unbounded_channel();
    let (command, commands) = mpsc::unbounded_channel();
    let (snapshots, snapshot) = watch::channel(Arc::new(Snapshot::default()));
    let (helper, runtime_dir) = (programs::helper(), directories.runtime.clone());
    let ground = Ground {
        runtime_dir: runtime_dir.clone(),
        state_dir: directories.state.clone(),
        monitor: programs::monitor(),
        helper: helper.clone(),
    };
    let ways = Ways { monitor: ground.monitor.clone(), runtime_dir: runtime_dir.clone() };
    let native = NativeEngine::new(launcher.clone(), ground, sink.clone());
    let hook = Hook { helper, runtime_dir };
    let paths = inventory.settings.lxc_paths.clone();
    let found = report.clone();
    // Without a receiver the daemon is ending, and nobody needs to know.
    let tell: Tell = Arc::new(move |guest, event| drop(found.send(Report::unasked(guest, event))));
    let (places, kept) = Places::new(&directories.runtime, tell.clone(), kept);
    let places = Arc::new(places);
    let checks = Checks::new(launcher.clone(), ways.clone(), places.clone(), tell);
    let lxc = LxcEngine::new(paths, launcher.clone(), hook, sink, kept);
    let engine = Arc::new(Engines { lxc, native });
    let (runtime_dir, launcher_of_workers) = (directories.runtime.as_path().into(), launcher.clone());
    let means =
        Means { engine: engine.clone(), launcher: launcher_of_workers, places, machines, runtime_dir, clock };
    let workers = Workers::new(means, report);
    let daemon = DaemonStatus { launcher: launcher.name().to_owned(), ..DaemonStatus::default() };
    let set_paths = Box::new(move |paths: &[Arc<Path>]| engine.lxc.set_paths(paths.to_vec()));
    let parts =
        Parts { clock, directories, inventory, watcher, workers, checks, daemon, snapshots, set_paths };
    let inbox = Inbox { observed, reports, commands };
    let handle = Handle::new(command, snapshot).on(HostState::told_by(launcher.clone()));
    let handle = handle.with(Sessions::run_by(launcher.clone(), ways));
    (handle, Manager::new(parts), inbox)
}

/// Tells systemd and machined how things are, from now on.
fn tell_others(handle: Handle, bus: &dbus::Service, launcher: &dyn Launcher, releases: Releases) {
    if launcher.name() == "systemd" {
        tokio::spawn(machined::register(bus.connection().clone(), handle.clone(), releases));
    }
    tokio::spawn(show_status(handle));
}

/// Keeps the line in `systemctl status` up to date. Sending may block while the service manager is busy: that may
/// hold up the next line, and nothing else.
async fn show_status(handle: Handle) {
    let mut snapshots = handle.subscribe();
    let mut shown = String::new();
    loop {
        let line = status_line(&snapshots.borrow_and_update());
        if line != shown {
            shown.clone_from(&line);
            // A line that could not be sent is followed by the next one.
            let _ = tokio::task::spawn_blocking(move || notify::status(&line)).await;
            // Each one costs PID 1, which has guests to start, more than us.
            sleep(STATUS_PAUSE).await;
        }
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn status_line(snapshot: &Snapshot) -> String {
    let count = |word| snapshot.guests.values().filter(|guest| guest.phase == word).count();
    let mut line = format!(
        "{} guests: {} up, {} failed",
        snapshot.guests.len(),
        count(PhaseWord::Up),
        count(PhaseWord::Failed)
    );
    let found = &snapshot.daemon.diagnostics;
    match found.iter().filter(|found| found.severity == Severity::Error).count() {
        0 => {}
        errors => line.push_str(&format!("; errors in its files: {errors} (guestctl check)")),
    }
    if let Some(why) = &snapshot.daemon.unkept {
        line.push_str(&format!("; not kept: {why}"));
    }
    let jobs = snapshot.jobs.values().filter(|job| !job.state.is_over());
    if let Some(what) = &snapshot.daemon.held_back
        && !jobs.clone().any(|job| job.status.contains(what))
    {
        line.push_str(&format!("; starts wait for {what}"));
    }
    for job in jobs {
        line.push_str(&format!("; job {}: {}/{} {}", job.id, job.done, job.total, job.status));
    }
    line
}
