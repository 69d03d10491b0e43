//! Ending a container, by LXC's means and then by the kernel's, and clearing away what it leaves.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    Lxc, cgroup,
    command::{CommandError, Monitor},
    key, locked,
    process::{Process, SIGKILL},
    table::Found,
};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind},
    kill_point::KillPoint,
    launch::{Cgroups, cgroup::remove_same},
    model::{Guest, LxcSpec},
};

const OPERATION: &str = "kill it";
/// How long a monitor that works may take to end its container when it is told to.
const POLITE: Duration = Duration::from_secs(3);
/// How long the hooks may take that run when the container's init is dead already.
const HOOKS: Duration = Duration::from_secs(10);
/// How long a monitor may take to say who its init is, before its processes are looked for.
const INTRODUCTION: Duration = Duration::from_millis(500);
/// How long killed processes may take to disappear.
const DEATH: Duration = Duration::from_secs(3);
/// How long killing by cgroup goes on before it is decided anew whose the cgroups are: as soon as they are empty,
/// another container of the same name may come to own them.
const BLOW: Duration = Duration::from_millis(50);
/// How often that is repeated.
const BLOWS: usize = 60;
/// How often killing is repeated, for what was forked meanwhile.
const ROUNDS: usize = 3;

/// Ends every process of a container. Nothing to kill is a success.
pub(super) async fn kill(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    if locked(&lxc.interrupted).remove(&key(spec, guest)) {
        lxc.launcher.abandon(&guest.name).await;
    }
    let killed = if politely(lxc, guest, spec).await {
        KillPoint::KillUncleared.pass();
        clear(lxc, guest, spec).await
    } else {
        sweep(lxc, guest, spec, Listening::Hangs).await
    };
    // Nobody need be told how it ended.
    lxc.forget(&key(spec, guest));
    lxc.console.iter().filter(|_| killed.is_ok()).for_each(|console| console.ended(&guest.name));
    killed
}

/// What it means that a monitor still listens on its command socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listening {
    /// It is about to end by itself.
    Ends,
    /// It had its chance.
    Hangs,
}

/// Has the monitor end its container. Returns whether both are gone.
async fn politely(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> bool {
    let socket = Monitor::new(&spec.lxcpath, guest.name.as_str());
    let Some(monitor) = monitor(lxc, guest, spec, &socket).await else { return false };
    if Found::is_stopped(monitor.pid()) {
        return false;
    }
    match timeout(INTRODUCTION, socket.stop()).await {
        Ok(Ok(())) => {}
        // It ends already.
        Ok(Err(CommandError::NotListening)) => return ends(&monitor, HOOKS).await,
        _ => return false,
    }
    if ends(&monitor, POLITE).await {
        return true;
    }
    // Once nobody listens any more, only its hooks are left to wait for.
    let over = matches!(timeout(INTRODUCTION, socket.state()).await, Ok(Err(CommandError::NotListening)));
    over && ends(&monitor, HOOKS).await
}

/// The monitor, if it does its work: known from the watch, or introduced by itself.
async fn monitor(lxc: &Lxc, guest: &Guest, spec: &LxcSpec, socket: &Monitor) -> Option<Process> {
    if let Some(pid) = lxc.watched_monitor(spec, guest) {
        return Process::open(pid).ok();
    }
    let inits = timeout(INTRODUCTION, socket.inits()).await.ok()?.ok()?;
    Process::open(inits.monitor).ok()
}

async fn ends(process: &Process, within: Duration) -> bool {
    timeout(within, process.ended()).await.is_ok()
}

/// Ends and removes what is left of a container that ends or ended by itself, or whose monitor does not work. Hooks
/// get the time to finish: a monitor that no longer listens runs its last ones.
pub(super) async fn sweep(
    lxc: &Lxc,
    guest: &Guest,
    spec: &LxcSpec,
    listening: Listening,
) -> EngineResult<()> {
    let mut cgroups = Cgroups::default();
    for round in 0..ROUNDS {
        let found = Found::look(spec.lxcpath.clone(), guest.name.clone()).await;
        if found.is_empty() {
            break;
        }
        let ends = !found.is_listening || listening == Listening::Ends;
        if round == 0 && ends && !found.is_wedged() && all_end(&found.monitors, HOOKS).await {
            continue;
        }
        let everybody = || found.monitors.iter().chain(&found.init).chain(&found.hooks).copied();
        let here: Vec<_> = cgroup::of_processes(everybody(), guest.name.as_str()).into_iter().collect();
        force(lxc, &found, &Cgroups(here.clone())).await;
        cgroups.0.extend(here);
        all_end(&everybody().collect::<Vec<_>>(), DEATH).await;
    }
    let left = Found::look(spec.lxcpath.clone(), guest.name.clone()).await;
    if let Some(pid) = left.monitors.first() {
        let reason = format!("its monitor, process {pid}, would not die");
        return Err(EngineError { operation: OPERATION, kind: ErrorKind::Failed, reason });
    }
    lxc.launcher.remove(&cgroups).map_err(|error| failed(&error))?;
    clear(lxc, guest, spec).await
}

/// Kills everything: the init first, then what shares no PID namespace with it, then who runs it.
async fn force(lxc: &Lxc, found: &Found, cgroups: &Cgroups) {
    if let Some(init) = found.init {
        slay(init);
    }
    if let Err(error) = lxc.launcher.kill(cgroups, BLOW).await {
        tracing::debug!("killing by cgroup: {error}");
    }
    for pid in found.monitors.iter().chain(&found.hooks) {
        slay(*pid);
    }
}

fn slay(pid: i32) {
    // Gone already, or about to be looked at again in the next round.
    let _ = Process::open(pid).and_then(|process| process.signal(SIGKILL));
}

async fn all_end(pids: &[i32], within: Duration) -> bool {
    let wait = async {
        for process in pids.iter().filter_map(|pid| Process::open(*pid).ok()) {
            process.ended().await;
        }
    };
    timeout(within, wait).await.is_ok()
}

/// Clears cgroups that bear its name: removes what is empty, kills what runs in those that nobody else can own.
async fn clear(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    let own = cgroup::removable(guest, spec).await.map_err(|error| failed(&error))?;
    if own.is_empty() {
        return Ok(());
    }
    remove_same(&own).map_err(|error| failed(&error))?;
    let mut result = Ok(());
    for _ in 0..BLOWS {
        let occupied = cgroup::killable(&lxc.paths(), guest, spec).await.map_err(|error| failed(&error))?;
        if occupied.0.is_empty() {
            return Ok(());
        }
        result = lxc.launcher.kill(&occupied, BLOW).await.map_err(|error| failed(&error));
        lxc.launcher.remove(&occupied).map_err(|error| failed(&error))?;
    }
    result
}

fn failed(error: &std::io::Error) -> EngineError {
    EngineError { operation: OPERATION, kind: ErrorKind::Failed, reason: format!("its cgroups: {error}") }
}
