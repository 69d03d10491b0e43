//! What of a guest outlives the daemon, and what of that outlives the host's boot: handed out to be kept, and handed in
//! again before the guest is looked at.

use std::{collections::VecDeque, sync::Arc};

use super::{
    effect::{Effect, Task},
    fleet::Fleet,
    state::{Intent, Retries, State},
};
use crate::model::{GuestName, Hold, Instant, Now, PastEnd};

/// What is kept of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recollection {
    /// It was wanted up; a stop of the host does not change that.
    pub is_wanted: bool,
    /// The same, when the host last went down.
    pub was_up: bool,
    /// Its hold.
    pub hold: Option<Hold>,
    /// How often it was started again in this boot.
    pub restarts: u32,
    /// Its starts after failures in this boot.
    pub retries: Retries,
    /// Its own reboots in this boot, for the loop guard.
    pub reboots: VecDeque<Instant>,
    /// Its last ends, newest last.
    pub history: Arc<[PastEnd]>,
}

impl Recollection {
    /// What is to be kept of a guest.
    pub fn of(state: &State) -> Self {
        Self {
            is_wanted: state.wanted_at_boot == Intent::Up,
            was_up: state.was_up,
            hold: state.held.clone(),
            restarts: state.restarts,
            retries: state.retries.clone(),
            reboots: state.reboots.clone(),
            history: state.history.clone(),
        }
    }

    /// Gives it back to a guest of which nothing else is known yet.
    fn give(self, state: &mut State) {
        state.wanted_at_boot = if self.is_wanted { Intent::Up } else { Intent::Down };
        state.was_up = self.was_up;
        state.held = self.hold;
        state.restarts = self.restarts;
        state.retries = self.retries;
        state.reboots = self.reboots;
        if let Some(last) = self.history.last() {
            state.since = last.at;
            state.last_end = Some(last.how.clone());
        }
        state.history = self.history;
    }
}

impl Fleet {
    /// What was kept of guests; each gets its own when it is defined, and before it is looked at.
    pub fn recollect(&mut self, kept: impl IntoIterator<Item = (GuestName, Recollection)>) {
        self.lasting.recollections.extend(kept);
    }

    /// Guests are about to be looked at for the first time: until they have been, nobody is started by itself.
    pub fn looks_around(&mut self) {
        self.lasting.is_looking = true;
    }

    /// Has every guest looked at that is not known to run: others may have started it, and nobody saw.
    pub fn look_at_the_others(&mut self) {
        let down = self.states.iter().filter(|(_, state)| !state.is_running());
        self.tasks.extend(down.map(|(name, _)| Task { guest: name.clone(), effect: Effect::Probe }));
    }

    /// Every guest has been looked at.
    pub fn has_looked_around(&mut self, now: Now) {
        self.lasting.is_looking = false;
        self.wake(now);
    }

    /// The state of a guest that was not known.
    pub(super) fn make_known(&mut self, name: &GuestName, now: Now) {
        let mut state = State::new(now.wall);
        if let Some(kept) = self.lasting.recollections.remove(name) {
            kept.give(&mut state);
        }
        let held = state.held.clone();
        self.states.insert(name.clone(), state);
        self.watch_hold(name, held.as_ref(), now);
    }
}
