//! Freezing and thawing a native guest: its cgroup, without its monitor.

use std::{io, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Native, connection::Connection, failed, locked};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind, Observation},
    guest_run::spec::Told,
    launch::{Cgroups, freezer},
    model::{Guest, GuestName},
};

const FREEZE: &str = "freeze it";
const THAW: &str = "thaw it";
/// How long freezing may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops all its processes where they are. After a failure they go on.
pub(super) async fn freeze(native: &Native, guest: &Guest) -> EngineResult<()> {
    let (cgroups, init) = payload(native, &guest.name, FREEZE).await?;
    let frozen = async {
        let mut pause = Duration::from_millis(1);
        freezer::begin(&cgroups)?;
        while !freezer::is_frozen(init)? {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
            freezer::begin(&cgroups)?;
        }
        Ok::<(), io::Error>(())
    };
    let result = timeout(PATIENCE, frozen).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    match result {
        Ok(()) => {
            tell(native, &guest.name, Observation::Frozen);
            Ok(())
        }
        Err(error) => {
            let _ = freezer::thaw(&cgroups);
            Err(failed(FREEZE, &error))
        }
    }
}

/// Lets them go on.
pub(super) async fn thaw(native: &Native, guest: &Guest) -> EngineResult<()> {
    let (cgroups, init) = payload(native, &guest.name, THAW).await?;
    freezer::thaw(&cgroups).map_err(|error| failed(THAW, &error))?;
    let thawed = async {
        while freezer::is_frozen(init).unwrap_or(false) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, thawed).await.map_err(|_| failed(THAW, &io::ErrorKind::TimedOut.into()))?;
    tell(native, &guest.name, Observation::Thawed);
    Ok(())
}

/// The same for one that is to hear something: it may not be frozen at all.
pub(super) fn thaw_quietly(native: &Native, guest: &GuestName) {
    if let Err(error) = freezer::thaw(&native.payload(guest)) {
        tracing::warn!(guest = %guest, "{guest}: cannot thaw it: {error}");
    }
}

fn tell(native: &Native, guest: &GuestName, what: Observation) {
    let epoch = locked(&native.watches).get(guest).map(|watch| watch.epoch);
    epoch.into_iter().for_each(|epoch| native.tell(guest, epoch, what.clone()));
}

/// The cgroups of its processes, and its init.
async fn payload(
    native: &Native,
    guest: &GuestName,
    operation: &'static str,
) -> EngineResult<(Cgroups, i32)> {
    let busy = || EngineError { operation, kind: ErrorKind::Busy, reason: "it does not run".to_owned() };
    let connection = Connection::open(&native.place(guest)).await.map_err(|_| busy())?;
    let Ok(Some(Told::Running(init))) = connection.now().await else { return Err(busy()) };
    Ok((native.payload(guest), init))
}
