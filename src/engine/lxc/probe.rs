//! Looking at a container: by its monitor's word, or without it.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Lxc,
    command::{CommandError, Monitor},
    locate,
    process::Process,
    record::State,
};
use crate::{
    engine::{EngineResult, Probe},
    launch::freezer::is_frozen,
    model::{Guest, LxcSpec},
};

/// How long a monitor may take to say how its container is, before that is looked for without it.
const GLANCE: Duration = Duration::from_secs(1);
/// What a look is called in its failure.
const LOOK: &str = "look at it";

/// Looks at a container.
pub(super) async fn probe(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<Probe> {
    let monitor = Monitor::new(&spec.lxcpath, guest.name.as_str());
    match timeout(GLANCE, look(&monitor)).await.unwrap_or(Err(CommandError::TimedOut)) {
        Ok(probe) => Ok(probe),
        // Nobody listens, but its last hooks may run, or an init whose monitor was killed: the watch knows.
        Err(CommandError::NotListening | CommandError::Closed | CommandError::Foreign(_))
            if lxc.is_watched(spec, guest) =>
        {
            Ok(Probe::Changing)
        }
        Err(error @ CommandError::Foreign(_)) => {
            let orphan = locate::orphan(lxc.paths(), guest, spec).await;
            orphan.map(|located| seen_from_outside(&located.init)).ok_or_else(|| error.about(LOOK))
        }
        Err(CommandError::NotListening | CommandError::Closed) => {
            let orphan = locate::orphan(lxc.paths(), guest, spec).await;
            let down = || {
                lxc.unwatched_end(spec, guest)
                    .map_or(Probe::Down, |status| Probe::Ended { status, keeper: None })
            };
            Ok(orphan.map_or_else(down, |located| seen_from_outside(&located.init)))
        }
        // Its monitor is stopped, or does not answer yet.
        Err(CommandError::TimedOut) => {
            let located = locate::by_processes(guest, spec).await;
            Ok(located.map_or(Probe::Changing, |located| seen_from_outside(&located.init)))
        }
        Err(error) => Err(error.about(LOOK)),
    }
}

/// What can be seen of an init without asking anybody.
fn seen_from_outside(init: &Process) -> Probe {
    let state = if is_frozen(init.pid()).unwrap_or(false) { Probe::Frozen } else { Probe::Up };
    init.as_init().map_or(Probe::Changing, state)
}

async fn look(monitor: &Monitor) -> Result<Probe, CommandError> {
    // At once: so the monitor has to wake up only once.
    let (state, inits) = tokio::join!(monitor.state(), monitor.inits());
    match state? {
        State::Running | State::Thawed | State::Freezing | State::Frozen => {}
        State::Stopped => return Err(CommandError::NotListening),
        State::Starting | State::Stopping | State::Aborting => return Ok(Probe::Changing),
    }
    // An init that has just died leaves a container that is about to end or to reboot.
    let init = Process::of(inits?.init);
    // Whether it is frozen its cgroup tells: it can be frozen without its monitor.
    Ok(init.map_or(Probe::Changing, |init| seen_from_outside(&init)))
}
