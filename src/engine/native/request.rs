//! Asking a running native guest: stop, reboot, freeze, thaw.

use super::{Native, connection::Connection, failed, freeze};
use crate::{
    engine::{EngineResult, Request},
    guest_run::spec::Ask,
    model::Guest,
};

/// Asks, and returns once it is done or was heard. A guest that is down need not be asked.
pub(super) async fn request(native: &Native, guest: &Guest, request: Request) -> EngineResult<()> {
    let (ask, operation) = match request {
        Request::Freeze => return freeze::freeze(native, guest).await,
        Request::Thaw => return freeze::thaw(native, guest).await,
        Request::Stop | Request::Hint => (Ask::Stop, "ask it to stop"),
        Request::Reboot => (Ask::Reboot, "ask it to reboot"),
    };
    if ask == Ask::Stop {
        // What is frozen hears nothing.
        freeze::thaw_quietly(native, &guest.name);
    }
    let Ok(connection) = Connection::open(&native.place(&guest.name)).await else { return Ok(()) };
    connection.ask(ask).await.map_err(|error| failed(operation, &error))
}
