//! Watching a native guest, by what its monitor tells.

use std::sync::Arc;

use super::{Native, connection::Connection, kill, locked};
use crate::{
    engine::{Epoch, Observation, Observed, task::Task},
    guest_run::spec::{Ended, FILE_MAX, Outcome, Told},
    helper::record,
    model::{Guest, GuestName},
};

/// A run that is watched.
pub(super) struct Watch {
    pub(super) epoch: Epoch,
    _task: Task,
}

/// Tells what happens to a guest from now on. A second watch replaces the first.
pub(super) fn watch(native: &Arc<Native>, guest: Arc<Guest>, epoch: Epoch) {
    locked(&native.met).insert(guest.name.clone());
    let (of_task, name) = (native.clone(), guest.name.clone());
    let task = Task::spawn(async move { follow(&of_task, &guest.name, epoch).await });
    locked(&native.watches).insert(name, Watch { epoch, _task: task });
}

impl Native {
    /// Reports something of a guest's run.
    pub(super) fn tell(&self, guest: &GuestName, epoch: Epoch, what: Observation) {
        // Without a receiver the daemon is ending.
        let _ = self.sink.send(Observed { guest: guest.clone(), epoch: Some(epoch), what });
    }

    /// How the last run ended, as its monitor has left it.
    pub(super) fn outcome(&self, guest: &GuestName) -> Option<Ended> {
        match record::read(&self.place(guest).outcome(), FILE_MAX) {
            Ok(Some(Outcome::Ended(ended))) => Some(ended),
            _ => None,
        }
    }
}

async fn follow(native: &Native, guest: &GuestName, epoch: Epoch) {
    let mut is_told = false;
    if let Ok(connection) = Connection::watching(&native.place(guest)).await {
        // An error is the end of the monitor as well.
        while let Ok(Some(told)) = connection.told().await {
            match told {
                Told::Running(pid) => {
                    if let Some(init) = connection.init(pid) {
                        is_told = false;
                        native.tell(guest, epoch, Observation::Running(init));
                    }
                }
                Told::Ended(ended) => {
                    is_told = true;
                    native.tell(guest, epoch, end(ended));
                }
            }
        }
    }
    if !is_told {
        // It was too quick, or its monitor was killed, which kills it too.
        native.tell(guest, epoch, native.outcome(guest).map_or(Observation::InitExited(None), end));
        // A hostile init may have seen to it that it lives on, and a network may be left.
        if let Err(left) = kill::sweep(native, guest).await {
            tracing::warn!(guest = %guest, "{guest}: its monitor is gone and left something behind: {}", left.reason);
        }
    }
    native.tell(guest, epoch, Observation::Gone);
}

fn end(ended: Ended) -> Observation {
    if ended.out_of_memory { Observation::OutOfMemory } else { Observation::InitExited(Some(ended.status)) }
}
