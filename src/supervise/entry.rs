//! One guest's place in a job, how far it is there, and how many more may begin.

use super::retry::NO_SLOT;
use crate::{engine::Epoch, model::Instant, plan::Step};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) step: Step,
    pub(super) progress: Progress,
    /// Since when a guest that it requires has been failing, while it waits.
    pub(super) hindered: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(super) enum Progress {
    Waiting,
    Begun(Begun),
    Over {
        /// It came out as asked.
        well: bool,
        /// When it ran, if this job made it run: its delay counts from here.
        ran_at: Option<Instant>,
    },
}

/// What an entry looked like when its turn began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun {
    pub(super) epoch: Epoch,
    pub(super) restarts: u32,
    pub(super) deadline: Option<Instant>,
    /// Nothing else may put an end to it: a reboot that never comes, a guest that fails again and again.
    pub(super) may_go_on: bool,
}

impl Entry {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Over { .. })
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.progress, Progress::Over { well: false, .. })
    }

    /// Whether its delay holds back everything later: `Some(None)` while it has not run yet, `Some(Some(moment))`
    /// once it is known until when. A guest that failed, or ran before, holds nothing back.
    pub(super) fn holds_back_until(&self, now: Instant) -> Option<Option<Instant>> {
        if self.step.delay.is_zero() {
            return None;
        }
        match &self.progress {
            Progress::Waiting | Progress::Begun(_) => Some(None),
            Progress::Over { ran_at, .. } => {
                let until = ran_at.as_ref()?.plus(self.step.delay);
                (now < until).then_some(Some(until))
            }
        }
    }
}

/// How many more may begin to start.
#[derive(Debug, Clone, Copy)]
pub struct Slots<'a> {
    /// So many.
    pub free: usize,
    /// But none for this reason.
    pub pressure: Option<&'a str>,
}

impl Slots<'_> {
    /// Why none may.
    pub(super) fn none(&self) -> Option<&str> {
        self.pressure.or((self.free == 0).then_some(NO_SLOT))
    }
}
