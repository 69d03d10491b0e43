//! With systemd as PID 1: a transient service for each guest, which PID 1 forks. So a guest has a cgroup and limits of
//! its own, and the daemon needs no privileges that a guest needs.

use std::{
    io,
    path::Path,
    process::ExitStatus,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zbus::{Connection, OwnedObjectPath, proxy::CacheProperties};
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy, UnitProxy};

use super::{
    Cgroups, Direct, HookEnd, Launch, LaunchError, Launched, Launcher, Program, Session, cgroup,
    jobs::{Ends, Jobs},
    mounts, unit,
};
use crate::{
    engine::BoxFuture,
    kill_point::KillPoint,
    model::{GuestName, Resources},
};

mod hook;
mod session;

const SIGKILL: i32 = 9;
/// How much longer than a start may take PID 1 may take to say that it took too long.
const GRACE: Duration = Duration::from_secs(5);
/// Between two looks whether killed processes are gone, or whether a unit that ends has ended.
const RECHECK: Duration = Duration::from_millis(10);
/// How long PID 1 may take to answer a question.
const ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to tell how it stands with the host: whoever stops a guest waits for that.
const STATE: Duration = Duration::from_secs(5);
/// PID 1's word for a host that is going down (`SystemState` in org.freedesktop.systemd1(5)).
const STOPPING: &str = "stopping";
/// How long a unit of an earlier run may take to go away before a new one starts.
const LEFTOVER: Duration = Duration::from_secs(10);
/// systemd's errors for a unit that is still there, and for one that is not (sd-bus, bus-common-errors.h).
const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// Launches guests as transient services of PID 1.
#[derive(Debug, Clone)]
pub struct Systemd {
    connection: Connection,
    manager: ManagerProxy<'static>,
    jobs: Jobs,
    /// How many hooks were begun.
    hooks: Arc<AtomicU64>,
}

impl Systemd {
    /// Connects to PID 1 by the system bus.
    ///
    /// # Errors
    /// When there is no bus, or no systemd on it.
    pub async fn connect() -> zbus::Result<Self> {
        let connection = Connection::system().await?;
        let manager = ManagerProxy::new(&connection).await?;
        // Without a subscriber PID 1 sends no signals.
        manager.subscribe().await?;
        let jobs = Jobs::follow(&manager).await?;
        Ok(Self { connection, manager, jobs, hooks: Arc::default() })
    }

    /// The version of systemd, for people: `252.39-1~deb12u1`.
    pub async fn version(&self) -> zbus::Result<String> {
        self.manager.version().await
    }

    async fn start(&self, launch: &Launch) -> Result<Launched, LaunchError> {
        let name = unit::name(&launch.guest);
        let refused = |source| LaunchError::Unit { unit: name.clone(), source };
        let deadline = Instant::now() + launch.program.timeout + GRACE;
        // Or it runs already: a daemon before this one was killed over its start.
        let Some((job, mut ends)) = self.transient(launch, &name).await.map_err(refused)? else {
            return Ok(Launched::Found);
        };
        let mut pending = Pending { manager: self.manager.clone(), job: Some(job.clone()) };
        let timeout = launch.program.timeout;
        let timed_out = || LaunchError::TimedOut { program: launch.program.name(), timeout };
        let end = timeout_at(deadline, ends.of(&job)).await;
        if end.is_ok() {
            pending.job = None;
        }
        match end {
            Err(_) if launch.unit.network_online && self.is_inactive(&name).await => {
                let text = format!("the network was not online within {timeout:?} (start.network-online)");
                Err(refused(zbus::Error::Failure(text)))
            }
            Err(_) => Err(timed_out()),
            Ok(Some(result)) if result == "done" => Ok(Launched::Kept),
            Ok(Some(result)) if result == "timeout" => Err(timed_out()),
            Ok(Some(result)) => Err(exited(launch, format!("the result {result}"))),
            Ok(None) => Err(refused(closed())),
        }
    }

    async fn main_process(&self, unit: OwnedObjectPath) -> zbus::Result<u32> {
        let service = ServiceProxy::builder(&self.connection).path(unit);
        service.cache_properties(CacheProperties::No).build().await?.main_pid().await
    }

    /// Starts the unit; one of an earlier run, which may still be ending, is waited for first. The job, or none where
    /// the guest has been started already.
    async fn transient(&self, launch: &Launch, name: &str) -> zbus::Result<Option<(OwnedObjectPath, Ends)>> {
        let deadline = Instant::now() + LEFTOVER + launch.program.timeout;
        loop {
            let properties = unit::properties(launch, &mounts::under(&launch.unit.files))?;
            // Heard from before the call, so that no end of the job is missed.
            let ends = self.jobs.listen().ok_or_else(closed)?;
            let started =
                self.manager.start_transient_unit(name.into(), "fail".into(), properties, Vec::new());
            match started.await {
                Err(error) if is(&error, EXISTS) && Instant::now() < deadline => {
                    match self.present(name).await? {
                        Present::Runs => return Ok(None),
                        Present::Passes => sleep(RECHECK).await,
                    }
                }
                result => {
                    KillPoint::Launched.pass();
                    return result.map(|job| Some((job, ends)));
                }
            }
        }
    }

    /// How it stands with a unit that is there already. A failed one is taken away.
    async fn present(&self, name: &str) -> zbus::Result<Present> {
        let Some(path) = self.known(name).await? else { return Ok(Present::Passes) };
        match self.active_state(&path).await.as_deref() {
            Ok("failed") => self.manager.reset_failed_unit(name.into()).await?,
            // PID 1 learns of an end a moment after it has happened.
            Ok("active") if lives(self.main_process(path).await?) => return Ok(Present::Runs),
            _ => {}
        }
        Ok(Present::Passes)
    }

    async fn active_state(&self, unit: &OwnedObjectPath) -> zbus::Result<String> {
        let unit = UnitProxy::builder(&self.connection).path(unit).cache_properties(CacheProperties::No);
        unit.build().await?.active_state().await
    }

    /// Whether a unit has not begun to start.
    async fn is_inactive(&self, name: &str) -> bool {
        let Ok(Some(unit)) = self.known(name).await else { return false };
        self.active_state(&unit).await.as_deref() == Ok("inactive")
    }

    async fn known(&self, name: &str) -> zbus::Result<Option<OwnedObjectPath>> {
        match self.manager.get_unit(name.into()).await {
            Err(error) if is(&error, NO_SUCH_UNIT) => Ok(None),
            path => path.map(Some),
        }
    }

    /// Sets what differs of a unit's limits, for as long as it runs.
    async fn set(&self, name: &str, resources: &Resources) -> zbus::Result<()> {
        let path = self.manager.get_unit(name.into()).await?;
        let service = ServiceProxy::builder(&self.connection).path(path);
        let service = service.cache_properties(CacheProperties::No).build().await?;
        let mut differing = Vec::new();
        for (property, number) in unit::limits(resources) {
            if service.inner().get_property::<u64>(property).await? != number {
                differing.push((property.to_owned(), number.into()));
            }
        }
        if differing.is_empty() {
            return Ok(());
        }
        self.manager.set_unit_properties(name.into(), true, differing).await
    }

    /// Kills everything in a unit, if there is one.
    async fn kill_unit(&self, name: &str) -> zbus::Result<()> {
        match self.manager.kill_unit(name.into(), "all".into(), SIGKILL).await {
            Err(error) if is(&error, NO_SUCH_UNIT) => Ok(()),
            // Nothing is left in it to kill.
            Err(zbus::Error::MethodError(_, _, _)) => Ok(()),
            result => result,
        }
    }

    /// Takes a start back that may still be queued, or anywhere between PID 1's fork and the program itself. PID 1 hears
    /// this after the start, since both come by the same connection.
    async fn given_up(&self, name: &str) -> zbus::Result<()> {
        match self.manager.stop_unit(name.into(), "replace".into()).await {
            Err(error) if is(&error, NO_SUCH_UNIT) => return Ok(()),
            result => drop(result?),
        }
        while let Some(unit) = self.known(name).await? {
            if matches!(self.active_state(&unit).await.as_deref(), Ok("inactive" | "failed")) {
                break;
            }
            // Also what its stop has begun to run.
            self.kill_unit(name).await?;
            sleep(RECHECK).await;
        }
        Ok(())
    }

    async fn kill_in_units(&self, cgroups: &Cgroups, within: Duration) -> io::Result<()> {
        let deadline = Instant::now() + within;
        let mut units: Vec<&str> = cgroups.0.iter().filter_map(|path| unit::of_cgroup(path)).collect();
        units.sort_unstable();
        units.dedup();
        while !cgroup::processes(cgroups)?.is_empty() {
            for name in &units {
                self.kill_unit(name).await.map_err(io::Error::other)?;
            }
            if Instant::now() >= deadline {
                let text = format!("processes in {} would not die", units.join(", "));
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            sleep(RECHECK).await;
        }
        Ok(())
    }
}

fn closed() -> zbus::Error {
    zbus::Error::Failure("the bus was closed".into())
}

fn exited(launch: &Launch, status: String) -> LaunchError {
    LaunchError::Exited { program: launch.program.name(), status, stderr: String::new() }
}

/// How it stands with a unit that is there before its guest is to start.
enum Present {
    /// Its guest runs.
    Runs,
    /// It is on its way up or down.
    Passes,
}

/// Whether a process has not ended yet.
fn lives(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return false };
    // A pidfd becomes readable when its process ends (pidfd_open(2)).
    let mut waited = [PollFd::new(&process, PollFlags::IN)];
    poll(&mut waited, Some(&Timespec::default())).is_ok_and(|ended| ended == 0)
}

impl Launcher for Systemd {
    fn name(&self) -> &'static str {
        "systemd"
    }

    fn unit(&self, guest: &GuestName) -> Option<String> {
        Some(unit::name(guest))
    }

    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<Launched, LaunchError>> {
        Box::pin(self.start(launch))
    }

    fn run_hook<'a>(&'a self, guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd> {
        Box::pin(self.hook(guest, program, hook::Kind::Hook))
    }

    fn run_probe<'a>(&'a self, guest: &'a GuestName, program: &'a Program) -> BoxFuture<'a, HookEnd> {
        Box::pin(self.hook(guest, program, hook::Kind::Probe))
    }

    fn run_session<'a>(
        &'a self,
        guest: &'a GuestName,
        session: Session,
    ) -> BoxFuture<'a, io::Result<ExitStatus>> {
        Box::pin(self.session(guest, session))
    }

    fn keeper<'a>(&'a self, guest: &'a GuestName) -> BoxFuture<'a, io::Result<Option<i32>>> {
        Box::pin(async move {
            let asked = timeout(ANSWER, self.main_process(unit::path(guest))).await;
            let main = asked.map_err(io::Error::from)?.map_err(io::Error::other)?;
            Ok(i32::try_from(main).ok().filter(|pid| *pid > 0))
        })
    }

    fn abandon<'a>(&'a self, guest: &'a GuestName) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let name = unit::name(guest);
            let given_up = timeout(ANSWER, self.given_up(&name)).await;
            let given_up = given_up.unwrap_or_else(|_| Err(zbus::Error::Failure("it does not end".into())));
            given_up.unwrap_or_else(|error| tracing::debug!("{name}: {error}"));
        })
    }

    fn host_stops(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let asked = timeout(STATE, async {
                // It is never signalled: what is cached of it would be old.
                let manager = ManagerProxy::builder(&self.connection).cache_properties(CacheProperties::No);
                manager.build().await?.system_state().await
            });
            match asked.await {
                Ok(Ok(state)) => state == STOPPING,
                Ok(Err(error)) => {
                    tracing::warn!("PID 1 does not tell whether the host is going down: {error}");
                    false
                }
                Err(_) => {
                    tracing::warn!("PID 1 has not told within {STATE:?} whether the host is going down");
                    false
                }
            }
        })
    }

    fn adjust<'a>(&'a self, guest: &'a GuestName, resources: &'a Resources) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let name = unit::name(guest);
            let kind = |error: &zbus::Error| match is(error, NO_SUCH_UNIT) {
                true => io::ErrorKind::NotFound,
                false => io::ErrorKind::Other,
            };
            match timeout(ANSWER, self.set(&name, resources)).await {
                Ok(result) => result.map_err(|error| io::Error::new(kind(&error), error)),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        })
    }

    fn kill<'a>(&'a self, cgroups: &'a Cgroups, within: Duration) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let (in_units, others) = parted(cgroups);
            self.kill_in_units(&in_units, within).await?;
            // Of guests that somebody started without a unit.
            Direct::default().kill(&others, within).await
        })
    }

    fn remove(&self, cgroups: &Cgroups) -> io::Result<()> {
        // PID 1 removes those of its units.
        Direct::default().remove(&parted(cgroups).1)
    }
}

/// The cgroups in guests' units, and the others.
fn parted(cgroups: &Cgroups) -> (Cgroups, Cgroups) {
    let is_in_unit = |path: &&std::path::PathBuf| unit::of_cgroup(path).is_some();
    let (in_units, others): (Vec<_>, Vec<_>) = cgroups.0.iter().partition(is_in_unit);
    (Cgroups(in_units.into_iter().cloned().collect()), Cgroups(others.into_iter().cloned().collect()))
}

/// A start that PID 1 has queued. It may wait for mounts and for the network: where nobody waits for it any more, it is
/// taken out of the queue again, so that no guest starts that was given up. When the daemon ends, it stays: its runtime
/// begins nothing more.
struct Pending {
    manager: ManagerProxy<'static>,
    job: Option<OwnedObjectPath>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let number = self.job.take().and_then(|job| job.as_str().rsplit('/').next()?.parse().ok());
        if let (Some(number), Ok(runtime)) = (number, tokio::runtime::Handle::try_current()) {
            let manager = self.manager.clone();
            // One that is over in this moment is not known any more, and that is all.
            runtime.spawn(async move { drop(manager.cancel_job(number).await) });
        }
    }
}

/// Whether a call was answered with the error of this name.
pub fn is(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(found, _, _) if found.as_str() == name)
}

/// Whether systemd is PID 1 here (sd_booted(3)).
pub fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Connects, and gives up on a bus that does not answer.
///
/// # Errors
/// As [`Systemd::connect`].
pub async fn connect() -> zbus::Result<Systemd> {
    timeout(ANSWER, Systemd::connect())
        .await
        .unwrap_or_else(|_| Err(zbus::Error::Failure("PID 1 does not answer on the bus".into())))
}
