//! The job's part for turns that never come: it is cancelled, or a newer job wants the opposite.

use super::{entry::Progress, job::Job};
use crate::model::{GuestName, Outcome, Verb};

impl Job {
    /// What has not begun never will. What has begun goes on. Returns who is spared from going down.
    pub fn cancel(&mut self) -> Vec<GuestName> {
        self.canceled = true;
        let canceled = self.cancel_waiting(|_| true);
        if is_upward(self.verb()) == Some(false) { canceled } else { Vec::new() }
    }

    /// Whether a guest's turn to stop has yet to come in this job.
    pub(super) fn is_to_stop(&self, guest: &GuestName) -> bool {
        is_upward(self.verb()) == Some(false) && self.has_yet_to_begin(guest)
    }

    /// Whether a guest's turn has yet to come.
    pub(super) fn has_yet_to_begin(&self, guest: &GuestName) -> bool {
        let is_waiting = |at: &usize| matches!(self.entries[*at].progress, Progress::Waiting);
        self.places.get(guest).is_some_and(is_waiting)
    }

    /// A newer job wants the opposite for some guests: their turns are cancelled where they have not begun.
    pub fn yield_to(&mut self, verb: Verb, is_concerned: impl Fn(&GuestName) -> bool) {
        if let (Some(own), Some(newer)) = (is_upward(self.verb()), is_upward(verb))
            && own != newer
        {
            self.cancel_waiting(is_concerned);
        }
    }

    fn cancel_waiting(&mut self, is_concerned: impl Fn(&GuestName) -> bool) -> Vec<GuestName> {
        let mut canceled = Vec::new();
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            if matches!(entry.progress, Progress::Waiting) && is_concerned(&entry.step.guest) {
                canceled.push(entry.step.guest.clone());
                self.finish(at, Outcome::Canceled, None);
            }
        }
        canceled
    }
}

fn is_upward(verb: Verb) -> Option<bool> {
    match verb {
        Verb::Start | Verb::Restart => Some(true),
        Verb::Stop | Verb::Kill => Some(false),
        Verb::Reboot | Verb::Freeze | Verb::Thaw | Verb::Reset | Verb::Hold | Verb::Release => None,
    }
}
