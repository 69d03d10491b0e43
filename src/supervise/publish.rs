//! The fleet's part for readers: a snapshot of guests and jobs, of which only what changed is made anew.

use std::{collections::BTreeSet, sync::Arc};

use super::{fleet::Fleet, state::Phase, status};
use crate::model::{
    GuestName,
    status::{DaemonStatus, PhaseWord, Snapshot},
};

impl Fleet {
    /// The guests whose state or configuration changed since the last publishing.
    pub fn changed(&self) -> &BTreeSet<GuestName> {
        &self.changed
    }

    /// What readers should see.
    pub fn published(&self) -> &Snapshot {
        &self.published
    }

    /// Brings up to date what readers should see; whether it is another now. Only what changed is made anew.
    pub fn publish(&mut self, daemon: &Arc<DaemonStatus>) -> bool {
        let mut differs = !Arc::ptr_eq(&self.published.daemon, daemon);
        self.published.daemon = daemon.clone();
        for name in std::mem::take(&mut self.changed) {
            let (Some(guest), Some(state)) = (self.guests.get(&name), self.states.get(&name)) else {
                differs |= self.published.guests.remove(&name).is_some();
                continue;
            };
            let waits = self.jobs.values().any(|job| job.keeps_waiting(&name));
            let mut status = status::of(guest, state, waits);
            if let Some(what) = self.held_back_for()
                && status.phase == PhaseWord::Waiting
                && !matches!(state.phase, Phase::BackingOff { .. })
            {
                status.reason = format!("waits for {what}");
            }
            if self.published.guests.get(&name).is_none_or(|known| **known != status) {
                self.published.guests.insert(name, Arc::new(status));
                differs = true;
            }
        }
        self.publish_jobs() || differs
    }

    fn publish_jobs(&mut self) -> bool {
        let before = self.published.jobs.len();
        self.published.jobs.retain(|id, _| self.jobs.contains_key(id));
        let mut differs = self.published.jobs.len() != before;
        for (id, job) in &self.jobs {
            let known = self.published.jobs.get(id);
            if known.is_some_and(|known| known.state.is_over()) {
                continue;
            }
            let status = job.status();
            if known.is_none_or(|known| **known != status) {
                self.published.jobs.insert(*id, Arc::new(status));
                differs = true;
            }
        }
        differs
    }
}
