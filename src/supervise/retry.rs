//! The fleet's part for what it does by itself: guests whose pause after a failure is over are started again, as far as
//! nothing is in the way; whoever requires a guest that has failed for good is stopped.

use std::collections::BTreeSet;

use super::{
    effect::Level,
    event::{Event, Grant},
    fleet::Fleet,
    hindrance::{self, Hindrance},
    state::{Intent, Next, Phase, State, Then},
};
use crate::{
    model::{GuestName, Now, StopWait, Verb},
    plan::{self, Standing},
};

/// What is waited for where too many start at once.
pub(super) const NO_SLOT: &str = "a free slot to start in";

impl Fleet {
    /// Starts again whose time has come. Returns whether anybody's state has changed.
    pub(super) fn retry(&mut self, now: Now) -> bool {
        let mut has_changed = false;
        if self.lasting.is_looking {
            return false;
        }
        for name in self.due.clone() {
            let Some(grant) = self.grant(&name, now) else { continue };
            let is_last = matches!(&grant, Grant::Waits(what) if what == NO_SLOT);
            let is_told = matches!(&grant, Grant::Waits(what) if self.waits_for(&name) == Some(what));
            if !is_told {
                self.step(&name, Event::Retried(grant), now);
                has_changed = true;
            }
            if is_last {
                break;
            }
        }
        has_changed
    }

    /// Whether a guest may start again now.
    fn grant(&mut self, name: &GuestName, now: Now) -> Option<Grant> {
        let (guest, state) = (self.guests.get(name)?, self.states.get(name)?);
        if state.intent == Intent::Down {
            return Some(Grant::Waits("its turn to stop".to_owned()));
        }
        if let Some(hold) = &state.held {
            return Some(Grant::Waits(format!("its release: it is held: {}", hold.reason)));
        }
        let look = |name: &GuestName| Some((&**self.guests.get(name)?, self.states.get(name)?));
        Some(match hindrance::of(guest, state, &look) {
            Some(Hindrance::Passing(what)) => Grant::Waits(what),
            Some(Hindrance::Failing(other)) => Grant::Waits(format!("{other}, which it requires")),
            Some(Hindrance::Lasting(why)) => Grant::Never(why),
            None => match self.no_slot(now) {
                Some(why) => Grant::Waits(why.to_owned()),
                None => Grant::Now,
            },
        })
    }

    /// Why nobody more may begin to start just now.
    fn no_slot(&mut self, now: Now) -> Option<&str> {
        if self.starting >= self.rules.max_starting {
            return Some(NO_SLOT);
        }
        if self.pressure.is_open(self.rules.pressure, now.instant) {
            return None;
        }
        self.pressure.wish(true);
        Some(self.pressure.what())
    }

    fn waits_for(&self, name: &GuestName) -> Option<&String> {
        match &self.states.get(name)?.phase {
            Phase::BackingOff { next: Next::Due(what), .. } => Some(what),
            _ => None,
        }
    }

    /// Stops whoever requires a guest that has failed for good. Returns whether there was anybody.
    pub(super) fn stop_dependents(&mut self, now: Now) -> bool {
        let mut has_changed = false;
        for failed in std::mem::take(&mut self.given_up) {
            let is_failed =
                self.states.get(&failed).is_some_and(|state| matches!(state.phase, Phase::Failed { .. }));
            let dependents: Vec<GuestName> = self.running_dependents(&failed).collect();
            if !is_failed || dependents.is_empty() {
                continue;
            }
            for name in &dependents {
                let text = format!("is stopped: {failed}, which it requires, has failed");
                self.note(name, Level::Warning, text);
            }
            let may_run = |name: &GuestName| self.states.get(name).is_some_and(State::may_run);
            let standing = Standing::free(&may_run);
            let plan = plan::operation(&self.guests, &dependents, Verb::Stop, self.rules.order, standing);
            self.enter(Verb::Stop, StopWait::Configured, plan, BTreeSet::new(), now);
            has_changed = true;
        }
        has_changed
    }

    fn running_dependents<'a>(&'a self, name: &'a GuestName) -> impl Iterator<Item = GuestName> + 'a {
        let requires = self.guests.values().filter(move |guest| guest.start.requires.contains(name));
        // One that is being restarted would come up without it.
        let is_ending = |phase: &Phase| matches!(phase, Phase::Stopping { then, .. } if *then != Then::Start);
        let runs = move |name: &&GuestName| {
            self.states.get(*name).is_some_and(|state| state.may_run() && !is_ending(&state.phase))
        };
        requires.map(|guest| &guest.name).filter(runs).cloned()
    }
}
