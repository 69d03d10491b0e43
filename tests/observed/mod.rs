//! What an engine reports, as tests expect it.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use guestd::{
    engine::{Epoch, Init, Observation, Observed},
    model::{Guest, WaitStatus},
};
use tokio::{sync::mpsc::UnboundedReceiver, time::timeout};

/// Whatever a test waits for happens within this time, or never.
const SOON: Duration = Duration::from_secs(10);

/// The reports of an engine.
pub struct Reports(pub UnboundedReceiver<Observed>);

impl Deref for Reports {
    type Target = UnboundedReceiver<Observed>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Reports {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Reports {
    /// The next observation.
    pub async fn next(&mut self) -> Observed {
        timeout(SOON, self.recv()).await.expect("nothing was observed").unwrap()
    }

    /// The next observation, which has to be about this guest and its first epoch.
    pub async fn observes(&mut self, guest: &Guest) -> Observation {
        let seen = self.next().await;
        assert_eq!((&seen.guest, seen.epoch), (&guest.name, Some(Epoch(1))), "{seen:?}");
        seen.what
    }

    /// Expects that a guest runs.
    pub async fn running(&mut self, guest: &Guest) -> Init {
        match self.observes(guest).await {
            Observation::Running(init) => init,
            other => panic!("{other:?} instead of running"),
        }
    }

    /// Expects the end of a guest with this wait status.
    pub async fn ends(&mut self, guest: &Guest, status: i32) {
        let expected = Observation::InitExited(Some(WaitStatus(status)));
        assert_eq!(self.observes(guest).await, expected);
        assert_eq!(self.observes(guest).await, Observation::Gone);
    }
}
