//! A guestd that goes away while a client waits for one of its jobs, and comes back: it was killed, upgraded or started
//! again, and knows its jobs. It is waited for, and not called for: at a shutdown that would be too late.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};
use zbus::{fdo::DBusProxy, proxy::OwnerChangedStream};

use super::{bus::Bus, error::Error};
use crate::dbus::NAME;

/// Names how many seconds a client waits for it.
const VARIABLE: &str = "GUESTD_PATIENCE";
/// How long that is otherwise. It is back within a second, unless it was stopped or cannot start.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a client says of it.
pub const GONE: &str = "guestd went away; waiting for it to come back";
/// The same afterwards.
pub const BACK: &str = "guestd is back";

/// How long a client waits for a guestd that went away.
pub fn patience() -> Duration {
    let seconds = std::env::var(VARIABLE).ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or(PATIENCE, Duration::from_secs)
}

/// Word of guestd's coming and going.
pub type Owners = OwnerChangedStream<'static>;

/// Hears of guestd's coming and going from now on.
///
/// # Errors
/// [`Error`]: the bus cannot be reached.
pub async fn owners(bus: &Bus) -> Result<Owners, Error> {
    let owners = bus.manager().inner().receive_owner_changed().await;
    owners.map_err(|error| Error::of_bus("NameOwnerChanged", error))
}

/// Waits until guestd is on the bus; false when it is not by then, or the bus itself is gone.
pub async fn is_back(bus: &Bus, owners: &mut Owners, until: Instant) -> bool {
    timeout_at(until, comes_back(bus, owners)).await.is_ok_and(|back| back.is_ok())
}

async fn comes_back(bus: &Bus, owners: &mut Owners) -> zbus::Result<()> {
    let names = DBusProxy::new(bus.connection()).await?;
    while !names.name_has_owner(NAME.try_into()?).await? {
        let changed = owners.next().await;
        changed.ok_or_else(|| zbus::Error::Failure("the bus was closed".into()))?;
    }
    Ok(())
}
