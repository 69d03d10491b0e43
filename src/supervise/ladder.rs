//! The machine's part for the way down: ask, wait, kill; and what follows.

use std::time::Duration;

use super::{
    effect::{Effect, Level},
    event::StopKind,
    machine::Turn,
    state::{Failure, Intent, Phase, Run, Rung, Then},
};
use crate::{
    engine::Request,
    model::{End, Instant},
};

/// How much longer than it has an engine may take to say that a guest does not listen.
const SLACK: Duration = Duration::from_secs(5);

impl Turn<'_> {
    pub(super) fn stop_requested(&mut self, phase: Phase, kind: StopKind) -> Phase {
        self.state.want(Intent::Down);
        let killed = kind == StopKind::Kill;
        self.bring_down(phase, kind, Then::Stay(End::Asked { killed }))
    }

    /// What was wanted before counts at the next boot.
    pub(super) fn host_stop_requested(&mut self, phase: Phase, kind: StopKind) -> Phase {
        self.state.intent = Intent::Down;
        self.bring_down(phase, kind, Then::Stay(End::HostStop))
    }

    pub(super) fn restart_requested(&mut self, phase: Phase, kind: StopKind) -> Phase {
        self.state.want(Intent::Up);
        match phase {
            Phase::Down(_) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. } => {
                self.begin_by_hand()
            }
            // One that is being started too: whoever asks for a restart means a new one.
            _ => self.bring_down(phase, kind, Then::Start),
        }
    }

    /// From wherever it is towards down, and then on.
    pub(super) fn bring_down(&mut self, phase: Phase, kind: StopKind, then: Then) -> Phase {
        match phase {
            // Nobody could find out whether it runs; the watch will, and ends at once where nothing does.
            Phase::Down(_) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. }
                if self.state.doubt.take().is_some() =>
            {
                let epoch = self.state.next_epoch();
                self.effects.push(Effect::Watch(epoch));
                self.descend(Run::new(epoch, None, self.now.instant), kind, None, then)
            }
            Phase::Down(_) | Phase::Failed { remains: None, .. } => phase,
            Phase::BackingOff { .. } => self.ended(then),
            Phase::Failed { remains: Some(epoch), .. } => {
                self.kill(Run::new(epoch, None, self.now.instant), killed(then))
            }
            // Its init may not exist yet: there is nobody to ask.
            Phase::Starting { epoch, fingerprint, .. } => {
                self.kill(Run::new(epoch, Some(fingerprint), self.now.instant), killed(then))
            }
            Phase::Frozen(run) if kind != StopKind::Kill => {
                self.effects.push(Effect::Request(run.epoch, Request::Thaw));
                self.descend(run, kind, None, then)
            }
            Phase::Up(run) | Phase::Frozen(run) | Phase::Rebooting { run, .. } => {
                self.descend(run, kind, None, then)
            }
            Phase::Stopping { run, rung: Rung::Killing, deadline, then: earlier } => {
                let then = firmer(earlier, then);
                Phase::Stopping { run, rung: Rung::Killing, deadline, then }
            }
            // Its init is dead: wait for the rest, but not longer than asked.
            Phase::Stopping { run, rung: Rung::Ending, deadline, then: earlier } if run.init.is_none() => {
                let then = firmer(earlier, then);
                if kind == StopKind::Kill {
                    return self.kill(run, then);
                }
                let deadline = earliest(deadline, self.deadline_of(kind));
                Phase::Stopping { run, rung: Rung::Ending, deadline, then }
            }
            Phase::Stopping { run, rung: Rung::Hinted, .. } => self.descend(run, kind, None, then),
            // Whoever asked before was promised an end by then.
            Phase::Stopping { run, deadline, .. } => self.descend(run, kind, deadline, then),
        }
    }

    /// The next rung down; `promised` is the moment for the last one that was given before.
    fn descend(&mut self, run: Run, kind: StopKind, promised: Option<Instant>, then: Then) -> Phase {
        if kind == StopKind::Kill {
            return self.kill(run, then);
        }
        let (rung, deadline) = match (kind, promised) {
            (StopKind::Hint, None) => (Rung::Hinted, self.deadline_of(kind)),
            (StopKind::Hint, promised) => (Rung::Asked, promised),
            (kind, promised) => (Rung::Asked, earliest(promised, self.deadline_of(kind))),
        };
        self.effects.push(Effect::Request(run.epoch, request_of(rung)));
        Phase::Stopping { run, rung, deadline, then }
    }

    /// Somebody has frozen it. One that was asked to stop would never hear of that.
    pub(super) fn frozen_meanwhile(&mut self, phase: Phase) -> Phase {
        if let Phase::Stopping { run, rung: Rung::Asked | Rung::Hinted, .. } = &phase {
            self.effects.push(Effect::Request(run.epoch, Request::Thaw));
        }
        phase
    }

    /// It was asked, as somebody who waits for nothing wanted it, and has not listened.
    pub(super) fn leave_up(&mut self, run: Run) -> Phase {
        self.log(Level::Warning, "was asked to stop and has not: it is left up");
        Phase::Up(run)
    }

    fn deadline_of(&self, kind: StopKind) -> Option<Instant> {
        match kind {
            StopKind::Ask(Some(within)) => Some(self.now.instant.plus(within)),
            // The engine gives up first, and knows why.
            StopKind::Hint => Some(self.now.instant.plus(self.guest.stop.timeout.saturating_add(SLACK))),
            StopKind::Ask(None) | StopKind::Kill => None,
        }
    }

    /// Its init is dead, or its hook cancels its reboot: it ends by itself, and is killed if it does not.
    pub(super) fn ending(&mut self, run: Run, then: Then) -> Phase {
        let deadline = Some(self.now.instant.plus(self.guest.stop.timeout));
        Phase::Stopping { run, rung: Rung::Ending, deadline, then }
    }

    /// The last rung. The engine bounds the time that a kill takes.
    pub(super) fn kill(&mut self, run: Run, then: Then) -> Phase {
        self.effects.push(Effect::Kill(run.epoch));
        Phase::Stopping { run, rung: Rung::Killing, deadline: None, then }
    }
}

/// How a guest on this rung is asked.
pub(super) fn request_of(rung: Rung) -> Request {
    if rung == Rung::Hinted { Request::Hint } else { Request::Stop }
}

/// What follows, when it takes a kill to get there.
pub(super) fn killed(then: Then) -> Then {
    match then {
        Then::Stay(End::Asked { .. }) => Then::Stay(End::Asked { killed: true }),
        other => other,
    }
}

/// What follows, when a guest that was asked to stop has not in time.
pub(super) fn overdue(then: Then) -> Then {
    match then {
        Then::Stay(End::Asked { .. } | End::HostStop) => Then::Stay(End::Overdue),
        other => other,
    }
}

/// Of two wishes for what follows an end, the newer one, unless the end is already known for what it is.
fn firmer(earlier: Then, newer: Then) -> Then {
    match (earlier, newer) {
        (earlier @ (Then::Stay(_) | Then::Fail(_)), Then::Stay(_)) => earlier,
        // It had ended by itself, and how is known.
        (Then::Recover(Failure::Ended(end)), Then::Stay(_)) => Then::Stay(end),
        (_, newer) => newer,
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
