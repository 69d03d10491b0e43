//! Being run by a service manager, as in autostart.service: progress in the unit's status, more time for as long as
//! guestd works on it, and patience with a guestd that is started again meanwhile.

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use zbus::fdo::PeerProxy;

use super::{away, bus::Bus, error::Error, view::JobView};
use crate::{dbus::NAME, systemd::notify};

/// How often guestd is asked whether it is still there, and how much more time the unit then gets.
const ASK: Duration = Duration::from_secs(10);
const MORE: Duration = Duration::from_secs(30);
/// How long guestd may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

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

/// Shows in the unit's status that guestd is waited for, and has the service manager wait as long.
pub fn show_absence() {
    notify::status("guestd went away; waiting for it");
    notify::extend(away::patience().saturating_add(MORE));
}

/// Whether it makes sense to ask again after this error: nobody is there to do so, and guestd, which had gone away before it
/// answered, has come back. Nobody knows then whether it has taken the request.
pub async fn may_ask_again(bus: &Bus, error: &Error) -> bool {
    if !error.is_absence() || !notify::is_wanted() {
        return false;
    }
    show_absence();
    let Ok(mut owners) = away::owners(bus).await else { return false };
    away::is_back(bus, &mut owners, Instant::now() + away::patience()).await
}
