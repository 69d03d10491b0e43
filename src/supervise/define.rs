//! The fleet's part for what is defined: guests come, change and go.

use std::sync::Arc;

use super::{
    effect::{Effect, Level, Task},
    fleet::{Fleet, Rules},
    serve,
    state::State,
};
use crate::{
    model::{Guest, GuestName, Now},
    plan::Guests,
};

impl Fleet {
    /// Takes the guests and rules that a load found: new ones appear, changed ones are replaced, and missing ones
    /// disappear once they are down.
    pub fn load(&mut self, rules: Rules, guests: Guests, now: Now) {
        self.rules = rules;
        let missing: Vec<_> =
            self.guests.keys().filter(|name| !guests.contains_key(*name)).cloned().collect();
        for name in missing {
            self.undefine(&name, now);
        }
        for guest in guests.into_values() {
            self.define(guest, now);
        }
    }

    /// Takes one guest, new or changed, and has it looked at if it is new.
    pub fn define(&mut self, guest: Arc<Guest>, now: Now) {
        let name = guest.name.clone();
        self.successors.remove(&name);
        let known = self.guests.get(&name);
        if known == Some(&guest) {
            return;
        }
        let is_other = known.is_some_and(|known| known.lxcpath() != guest.lxcpath());
        if is_other && self.states.get(&name).is_some_and(State::is_running) {
            let text = "is another container now: what runs goes on, and the new one counts once it is down";
            self.note(&name, Level::Warning, text.to_owned());
            self.successors.insert(name, Some(guest));
            return;
        }
        self.changed.insert(name.clone());
        let before = self.guests.insert(name.clone(), guest);
        if let Some(before) = before {
            self.check_anew(&name, &before);
        }
        if is_other || !self.states.contains_key(&name) {
            if !self.states.contains_key(&name) {
                self.make_known(&name, now);
            }
            self.tasks.push(Task { guest: name, effect: Effect::Probe });
        }
    }

    /// A guest's configuration is gone. One that runs is kept until it is down.
    pub fn undefine(&mut self, name: &GuestName, now: Now) {
        if self.states.get(name).is_some_and(State::is_running) {
            self.successors.insert(name.clone(), None);
        } else {
            self.forget(name);
        }
        self.advance(now);
    }

    fn forget(&mut self, name: &GuestName) {
        self.successors.remove(name);
        self.guests.remove(name);
        self.due.remove(name);
        self.lasting.forget(name);
        if let Some(deadline) = self.states.remove(name).and_then(|state| state.deadline()) {
            self.deadlines.remove(&(deadline, name.clone()));
        }
        self.changed.insert(name.clone());
        self.stirred.insert(name.clone());
    }

    /// What is checked of one that runs is what its settings say now.
    fn check_anew(&mut self, name: &GuestName, before: &Guest) {
        let (Some(state), Some(guest)) = (self.states.get_mut(name), self.guests.get(name)) else { return };
        if guest.health != before.health {
            serve::forget_illness(&mut state.phase);
        }
        if let Some(checking) = serve::changed(&state.phase, before, guest) {
            self.tasks.push(Task { guest: name.clone(), effect: Effect::Check(checking) });
        }
    }

    /// Forgets those whose configuration is gone and who are down, and takes what comes after them: once their last hooks are
    /// on their way. Returns whether there was anybody.
    pub fn retire(&mut self, now: Now) -> bool {
        let is_needed = |name: &GuestName| {
            let mut tasks = self.tasks.iter();
            tasks.any(|task| task.guest == *name && matches!(task.effect, Effect::Hook(..)))
        };
        let is_over =
            |name: &&GuestName| !self.states.get(*name).is_some_and(State::is_running) && !is_needed(name);
        let over: Vec<GuestName> = self.successors.keys().filter(is_over).cloned().collect();
        for name in &over {
            match self.successors.remove(name).flatten() {
                Some(successor) => self.define(successor, now),
                None => self.forget(name),
            }
        }
        !over.is_empty()
    }
}
