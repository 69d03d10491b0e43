//! Looking at a native guest.

use super::{Native, connection::Connection, failed, locked};
use crate::{
    engine::{EngineResult, Probe},
    guest_run::spec::Told,
    launch::freezer::is_frozen,
    model::Guest,
};

/// Looks at a guest.
pub(super) async fn probe(native: &Native, guest: &Guest) -> EngineResult<Probe> {
    let Ok(connection) = Connection::open(&native.place(&guest.name)).await else {
        let is_news = locked(&native.met).insert(guest.name.clone());
        let ended = native.outcome(&guest.name).filter(|_| is_news);
        return Ok(
            ended.map_or(Probe::Down, |ended| Probe::Ended { status: ended.status, keeper: ended.monitor })
        );
    };
    match connection.now().await {
        Ok(Some(Told::Running(pid))) => {
            let state = if is_frozen(pid).unwrap_or(false) { Probe::Frozen } else { Probe::Up };
            Ok(connection.init(pid).map_or(Probe::Changing, state))
        }
        // It carries out what comes before an init or after one, or has ended in this moment.
        Ok(_) => Ok(Probe::Changing),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(Probe::Changing),
        Err(error) => Err(failed("look at it", &error)),
    }
}
