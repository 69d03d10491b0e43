//! One guest's part in a job: its step of the plan, how far it is, and how many more may begin.

use super::retry::NO_SLOT;
use crate::{engine::Epoch, model::Instant, plan::Step};

/// One guest's part in a job.
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
    /// The daemon before this one had begun it; what became of that has not been seen yet.
    Left(Left),
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
    /// When.
    pub(super) at: Instant,
    pub(super) epoch: Epoch,
    pub(super) restarts: u32,
    /// The process id of its init, if it ran: by this the next daemon tells whether it is the same one still.
    pub(super) init: Option<i32>,
    pub(super) deadline: Option<Instant>,
    /// Nothing else may put an end to it: a reboot that never comes, a guest that fails again and again.
    pub(super) may_go_on: bool,
}

/// What is left of that to the next daemon, whose epochs are others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) restarts: u32,
    pub(super) init: Option<i32>,
    /// When the job was taken over.
    pub(super) since: Instant,
}

impl Entry {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.progress, Progress::Over { .. })
    }

    /// Whether its turn has begun and is not over.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.progress, Progress::Begun(_) | Progress::Left(_))
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
            Progress::Waiting | Progress::Begun(_) | Progress::Left(_) => Some(None),
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
    /// But none that only adds to what runs, for this reason.
    pub pressure: Option<&'a str>,
    /// Somebody would have begun but for that.
    pub is_wanted: bool,
}

impl Slots<'_> {
    /// Why one may not begin. One that runs and is to be started anew gives back first what it takes.
    pub(super) fn none(&mut self, runs: bool) -> Option<&str> {
        if self.free == 0 {
            return Some(NO_SLOT);
        }
        let why = self.pressure.filter(|_| !runs)?;
        self.is_wanted = true;
        Some(why)
    }
}
