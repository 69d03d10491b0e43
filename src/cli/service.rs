//! Being run by a service manager, as in autostart.service: progress in the unit's status, more time for as long as
//! guestd works on it, and patience with a guestd that is started again meanwhile.

use std::{convert::Infallible, time::Duration};

use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use zbus::fdo::{DBusProxy, PeerProxy};

use super::{bus::Bus, error::Error, view::JobView};
use crate::{dbus::NAME, systemd::notify};

/// How often guestd is asked whether it is still there, and how much more time the unit then gets.
const ASK: Duration = Duration::from_secs(10);
const MORE: Duration = Duration::from_secs(30);
/// How long guestd may take to answer, and to come back once it has gone.
const ANSWER: Duration = Duration::from_secs(5);
const BACK: Duration = Duration::from_secs(60);

/// Shows in the unit's status how far a job is.
pub fn show(job: &JobView) {
    notify::status(&format!("{}/{} {}", job.done, job.total, job.status));
}

/// Has the service manager wait for as long as guestd is there: each step of a job has a deadline of its own, which
/// guestd keeps.
pub async fn keep_waiting(bus: &Bus) -> Infallible {
    loop {
        if notify::is_wanted() && is_there(bus).await {
            notify::extend(MORE);
        }
        sleep(ASK).await;
    }
}

async fn is_there(bus: &Bus) -> bool {
    let Ok(peer) = PeerProxy::new(bus.connection(), NAME, "/org/guestd1").await else { return false };
    timeout(ANSWER, peer.ping()).await.is_ok_and(|answer| answer.is_ok())
}

/// Whether it makes sense to ask again after this error: nobody is there to do so, and guestd, which had gone away, has
/// come back. It is waited for, and not called for: at a shutdown that would be too late.
pub async fn may_ask_again(bus: &Bus, error: &Error) -> bool {
    let has_gone = matches!(error, Error::Vanished { .. } | Error::JobLost | Error::NotRunning { .. });
    has_gone && notify::is_wanted() && timeout(BACK, comes_back(bus)).await.is_ok_and(|back| back.is_ok())
}

async fn comes_back(bus: &Bus) -> zbus::Result<()> {
    let mut owners = bus.manager().inner().receive_owner_changed().await?;
    let names = DBusProxy::new(bus.connection()).await?;
    if names.name_has_owner(NAME.try_into()?).await? {
        return Ok(());
    }
    while let Some(owner) = owners.next().await {
        if owner.is_some() {
            return Ok(());
        }
    }
    Err(zbus::Error::Failure("the bus was closed".into()))
}
