//! Freezing and thawing a container.
//!
//! LXC's programs do it, since its monitor and those who listen there must know. But a guest must never stay frozen
//! because one of them does not work: what was begun is undone, and thawing works without them too.

use std::{io, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Lxc, cgroup, command::Monitor, process::Process, reason, record::News, request, socket};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind},
    launch::{
        self, Cgroups, LaunchError, Program,
        freezer::{self, is_frozen},
    },
    model::{Guest, LxcSpec},
};

const FREEZE: &str = "freeze it";
const THAW: &str = "thaw it";
/// The time that one of LXC's programs may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time that freezing may take before LXC is asked.
const FIRST: Duration = Duration::from_secs(1);
/// The time for a monitor to hear that a guest is not frozen after all.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// Stops all processes of a container where they are; only if its monitor works. After a failure they go on.
///
/// With the freezer of v1, `lxc-freeze` sleeps for a second between two looks, and the first one is nearly always too
/// early. So it is called when everything is frozen already.
pub(super) async fn freeze(guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    let monitor = Monitor::new(&spec.lxcpath, guest.name.as_str());
    let inits = Monitor::within(monitor.inits()).await.map_err(|error| error.about(FREEZE))?;
    let init = Process::of(inits.init).map_err(|_| failed(FREEZE, ErrorKind::Busy, "its init has ended"))?;
    let attempt = Attempt { cgroups: own(&init, guest), holds: false };
    // What does not freeze by then, LXC tries too, and says why.
    let _ = timeout(FIRST, freeze_in_v1(&attempt.cgroups, init.pid())).await;
    let frozen = run(guest, spec, "lxc-freeze", FREEZE, PATIENCE).await.and_then(|()| {
        is_frozen(init.pid())
            .is_ok_and(|frozen| frozen)
            .then_some(())
            .ok_or_else(|| failed(FREEZE, ErrorKind::Failed, "lxc-freeze has done nothing"))
    });
    if frozen.is_ok() {
        attempt.holds();
    } else {
        drop(attempt);
        // The reason to tell is the first one.
        let _ = run(guest, spec, "lxc-unfreeze", THAW, AFTERWARDS).await;
    }
    frozen
}

/// A freeze under way. One that fails or is interrupted is undone by the kernel's means.
struct Attempt {
    cgroups: Cgroups,
    holds: bool,
}

impl Attempt {
    fn holds(mut self) {
        self.holds = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.holds {
            freezer::thaw(&self.cgroups)
                .unwrap_or_else(|error| tracing::warn!("undoing a freeze that failed: {error}"));
        }
    }
}

/// Freezes by the freezer of v1, if there is one: asks again and again, as the kernel wants it, until all have stopped.
async fn freeze_in_v1(cgroups: &Cgroups, init: i32) -> io::Result<()> {
    let mut pause = Duration::from_millis(1);
    while freezer::begin_in_v1(cgroups)? && !is_frozen(init)? {
        sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

/// Lets all processes of a container go on, whoever stopped them: also without its monitor.
pub(super) async fn thaw(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    let monitor = Monitor::new(&spec.lxcpath, guest.name.as_str());
    let asked = match Monitor::within(monitor.state()).await {
        Ok(_) => run(guest, spec, "lxc-unfreeze", THAW, PATIENCE).await,
        Err(error) => Err(error.about(THAW)),
    };
    let Ok(Some(init)) = request::init(lxc, guest, spec).await else { return asked };
    // LXC does nothing where it was not LXC that froze it.
    thaw_by_cgroup(lxc, guest, spec, &init)?;
    match is_frozen(init.pid()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(failed(THAW, ErrorKind::Failed, "a cgroup above its own is frozen")),
        Err(_) => asked,
    }
}

/// Thaws a container that is frozen, by the kernel's means alone, which nobody else hears of.
pub(super) fn thaw_by_cgroup(lxc: &Lxc, guest: &Guest, spec: &LxcSpec, init: &Process) -> EngineResult<()> {
    if is_frozen(init.pid()).unwrap_or(false) {
        freezer::thaw(&own(init, guest))
            .map_err(|error| failed(THAW, ErrorKind::Failed, error.to_string()))?;
        lxc.deliver(socket::trimmed(&spec.lxcpath), &guest.name, News::Thawed);
    }
    Ok(())
}

fn own(init: &Process, guest: &Guest) -> Cgroups {
    Cgroups(cgroup::of_processes([init.pid()], guest.name.as_str()).into_iter().collect())
}

fn failed(operation: &'static str, kind: ErrorKind, reason: impl Into<String>) -> EngineError {
    EngineError { operation, kind, reason: reason.into() }
}

/// Runs LXC's own program: it knows which freezer this host has.
async fn run(
    guest: &Guest,
    spec: &LxcSpec,
    program: &'static str,
    operation: &'static str,
    patience: Duration,
) -> EngineResult<()> {
    let mut argv: Vec<std::ffi::OsString> =
        [program, "-n", guest.name.as_str(), "-P"].map(Into::into).to_vec();
    argv.push(socket::trimmed(&spec.lxcpath).into());
    launch::run(&Program { argv, environment: Vec::new(), timeout: patience }).await.map_err(|error| {
        let kind = match error {
            LaunchError::Spawn { .. } | LaunchError::Unit { .. } => ErrorKind::Unavailable,
            LaunchError::TimedOut { .. } => ErrorKind::TimedOut,
            LaunchError::Exited { .. } => ErrorKind::Failed,
        };
        let words = match &error {
            LaunchError::Exited { stderr, .. } => reason::of_stderr(stderr),
            LaunchError::Spawn { .. } | LaunchError::Unit { .. } | LaunchError::TimedOut { .. } => None,
        };
        failed(operation, kind, words.unwrap_or_else(|| error.to_string()))
    })
}
