//! The fleet's part for holds: who is held, and until when.
//!
//! The end of a hold is a moment of the wall clock, since that is what people mean. The clock may be set, and the host
//! may sleep; so while there is a hold with an end, the wall clock is looked at when the end should have come, and at
//! least once in [`LOOK`]. A clock that is set ends no hold before its moment and keeps none longer than that.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{effect::Level, fleet::Fleet, recollection::Recollection};
use crate::model::{GuestName, Hold, HoldWish, Instant, Now, Rejection};

/// The longest between two looks at the wall clock.
pub(super) const LOOK: Duration = Duration::from_secs(15 * 60);
/// What a hold says for which nobody gave a reason.
const NO_REASON: &str = "held by an operator";

/// What the fleet knows beside the states of its guests.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    /// When to look whether a hold is over.
    looks: BTreeMap<GuestName, Instant>,
    /// What was kept of guests that are not defined yet.
    pub(super) recollections: BTreeMap<GuestName, Recollection>,
    /// Guests are being looked at for the first time: as long as nobody knows who runs, nobody is started.
    pub(super) is_looking: bool,
    /// The host is going down: who is stopped now is stopped with it.
    pub(super) host_stops: bool,
}

impl Lasting {
    /// When the wall clock is to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.looks.values().min().copied()
    }

    /// A guest is forgotten.
    pub(super) fn forget(&mut self, name: &GuestName) {
        self.looks.remove(name);
    }
}

impl Fleet {
    /// Whether the host is going down, as far as is known: what brings guests down from now on is the host's stop, and does
    /// not change what is wanted at its next boot.
    pub fn host_stops(&mut self, stops: bool) {
        self.lasting.host_stops = stops;
    }

    /// Holds a guest. Without a reason it keeps the one it has; the end is always the new one.
    ///
    /// # Errors
    /// [`Rejection::Refused`] when the end has passed.
    pub(super) fn hold(&mut self, name: &GuestName, wish: HoldWish, now: Now) -> Result<(), Rejection> {
        if wish.until.is_some_and(|until| until <= now.wall) {
            let reason = "the end of its hold lies in the past".to_owned();
            return Err(Rejection::Refused { guest: name.clone(), reason });
        }
        let known = self.states.get_mut(name).and_then(|state| state.held.take());
        let since = known.as_ref().map_or(now.wall, |hold| hold.since);
        let reason = wish.reason.or(known.map(|hold| hold.reason)).unwrap_or_else(|| NO_REASON.to_owned());
        let hold = Hold { reason, since, until: wish.until };
        self.watch_hold(name, Some(&hold), now);
        self.set_hold(name, Some(hold));
        Ok(())
    }

    /// Ends the hold of a guest.
    pub(super) fn release(&mut self, name: &GuestName) {
        self.lasting.forget(name);
        self.set_hold(name, None);
    }

    fn set_hold(&mut self, name: &GuestName, hold: Option<Hold>) {
        if let Some(state) = self.states.get_mut(name) {
            state.held = hold;
            self.changed.insert(name.clone());
            self.stirred.insert(name.clone());
        }
    }

    /// Looks again at a hold in time, if it has an end.
    pub(super) fn watch_hold(&mut self, name: &GuestName, hold: Option<&Hold>, now: Now) {
        let left = hold.and_then(|hold| hold.until).map(|until| until.0.saturating_sub(now.wall.0));
        match left.map(Duration::from_micros) {
            Some(left) => self.lasting.looks.insert(name.clone(), now.instant.plus(left.min(LOOK))),
            None => self.lasting.looks.remove(name),
        };
    }

    /// Ends the holds whose time is over.
    pub(super) fn end_holds(&mut self, now: Now) {
        let due = self.lasting.looks.iter().filter(|(_, at)| **at <= now.instant).map(|(name, _)| name);
        for name in due.cloned().collect::<BTreeSet<_>>() {
            let Some(hold) = self.states.get(&name).and_then(|state| state.held.clone()) else {
                self.lasting.forget(&name);
                continue;
            };
            if hold.is_over(now.wall) {
                self.release(&name);
                let text = format!("is held no longer: the time of its hold ({}) is over", hold.reason);
                self.note(&name, Level::Info, text);
            } else {
                self.watch_hold(&name, Some(&hold), now);
            }
        }
    }
}
