//! Ending a native guest, by its monitor and then by the kernel's means.

use std::time::Duration;

use tokio::time::timeout;

use super::{Native, connection::Connection, failed, locked};
use crate::{
    engine::EngineResult,
    guest_run::spec::Ask,
    kill_point::KillPoint,
    launch::{HookEnd, Program, cgroup},
    model::{Guest, GuestName},
};

const OPERATION: &str = "kill it";
/// How long a monitor may take to end its guest when it is told to, with what comes after that.
const POLITE: Duration = Duration::from_secs(10);
/// How long a monitor may take to die of its own, or of a start that failed.
const SOON: Duration = Duration::from_secs(2);
/// How long it may take to undo a network.
const UNDO: Duration = Duration::from_secs(30);
/// How long killed processes may take to disappear.
const DEATH: Duration = Duration::from_secs(3);

/// Ends every process of a guest. Nothing to kill is a success.
pub(super) async fn kill(native: &Native, guest: &Guest) -> EngineResult<()> {
    let name = &guest.name;
    if locked(&native.interrupted).remove(name) {
        native.launcher.abandon(name).await;
    } else if let Ok(connection) = Connection::open(&native.place(name)).await
        && connection.ask(Ask::Kill).await.is_ok()
        && timeout(POLITE, connection.closed()).await.is_ok()
    {
        KillPoint::KillUncleared.pass();
    }
    sweep(native, name).await
}

/// Ends and removes what is left of a guest whose monitor had its chance.
pub(super) async fn sweep(native: &Native, guest: &GuestName) -> EngineResult<()> {
    if let Ok(connection) = Connection::open(&native.place(guest)).await {
        // About to end by itself, where a start failed.
        let _ = timeout(SOON, connection.closed()).await;
    }
    let swept = sweep_cgroups(native, guest).await;
    undo_network(native, guest).await;
    if swept.is_ok() && Connection::open(&native.place(guest)).await.is_err() {
        // Of a monitor that was killed; where there is none, there is nothing to remove.
        let _ = std::fs::remove_file(native.place(guest).socket());
    }
    swept
}

/// Takes away what a monitor that was killed has left on the host of its guest's network.
async fn undo_network(native: &Native, guest: &GuestName) {
    let Some(monitor) = native.ground.monitor.as_ref() else { return };
    let place = native.place(guest);
    if !place.network().exists() {
        return;
    }
    let argv = vec![monitor.into(), "network".into(), "undo".into(), place.folder().into()];
    let program = Program { argv, environment: Vec::new(), timeout: UNDO };
    match native.launcher.run_hook(guest, &program).await {
        HookEnd::Exited(status) if status.success() => {}
        end => tracing::warn!(guest = %guest, "{guest}: something of its network is left: {end:?}"),
    }
}

async fn sweep_cgroups(native: &Native, guest: &GuestName) -> EngineResult<()> {
    let cgroups = native.cgroups(guest);
    let error = |error: std::io::Error| failed(OPERATION, &error);
    if cgroup::processes(&cgroups).is_ok_and(|left| left.is_empty()) {
        native.launcher.remove(&cgroups).map_err(error)?;
        return Ok(());
    }
    native.launcher.kill(&cgroups, DEATH).await.map_err(error)?;
    native.launcher.remove(&cgroups).map_err(error)
}
