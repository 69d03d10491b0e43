//! The machine's part for a guest that runs: whether it is ready, and whether it stays well.

use super::{
    effect::{Level, Topic},
    event::{Check, Checking, StopKind},
    machine::Turn,
    state::{Failure, Phase, Run, Service, Stage, Then},
};
use crate::model::{Condition, End, Guest, Health, HealthAction, OnTimeout};

/// What is to be checked of a guest in this phase. One that is frozen answers nothing.
pub(super) fn checking(phase: &Phase, guest: &Guest) -> Option<Checking> {
    let Phase::Up(run) = phase else { return None };
    let notifies = guest.ready.when == Condition::Notify;
    let check = match run.service.stage {
        Stage::Awaited { .. } | Stage::Missed => Check::Readiness,
        Stage::Ready { .. } if guest.health.is_some() || notifies => Check::Health,
        Stage::Ready { .. } => return None,
    };
    Some(Checking { epoch: run.epoch, init: run.init?.pid, check })
}

/// What is to be checked from now on, where a guest's new settings ask something else than those before.
pub(super) fn changed(phase: &Phase, before: &Guest, guest: &Guest) -> Option<Option<Checking>> {
    let now = checking(phase, guest);
    let differs = match now.map(|checking| checking.check) {
        Some(Check::Readiness) => guest.ready != before.ready,
        Some(Check::Health) => guest.health != before.health || guest.ready.when != before.ready.when,
        None => checking(phase, before).is_some(),
    };
    differs.then_some(now)
}

/// What was found bad by other questions counts no more.
pub(super) fn forget_illness(phase: &mut Phase) {
    if let Phase::Up(run) | Phase::Frozen(run) = phase
        && let Stage::Ready { since, ill: 1.. } = run.service.stage
    {
        run.service = Service::ready(since);
    }
}

/// Whether its health is bad.
pub(super) fn is_ill(service: &Service, guest: &Guest) -> bool {
    let Stage::Ready { ill, .. } = service.stage else { return false };
    guest.health.as_ref().is_some_and(|health| ill >= health.threshold)
}

impl Turn<'_> {
    /// What a new init begins with.
    pub(super) fn service(&self) -> Service {
        let now = self.now.instant;
        match self.guest.ready.when {
            Condition::Started => Service::ready(now),
            Condition::Notify | Condition::Probe(_) => {
                let until = now.plus(self.guest.ready.timeout);
                Service { stage: Stage::Awaited { until }, words: String::new() }
            }
        }
    }

    /// It goes on after it was frozen: time that it could not use does not count.
    pub(super) fn thawed(&self, mut run: Run) -> Phase {
        if let Stage::Awaited { until } = &mut run.service.stage {
            *until = self.now.instant.plus(self.guest.ready.timeout);
        }
        Phase::Up(run)
    }

    pub(super) fn checked(&mut self, phase: Phase, checking: Checking, result: Result<(), String>) -> Phase {
        let Phase::Up(mut run) = phase else { return phase };
        if run.init.is_none_or(|init| init.pid != checking.init) {
            return Phase::Up(run);
        }
        match (checking.check, run.service.stage, result) {
            (Check::Readiness, Stage::Awaited { .. } | Stage::Missed, Ok(())) => {
                self.tell(Topic::Ready, Level::Info, "is ready");
                run.service.stage = Service::ready(self.now.instant).stage;
                // What a probe found missing is there; what the guest said of itself stands.
                if self.guest.ready.when != Condition::Notify {
                    run.service.words.clear();
                }
                Phase::Up(run)
            }
            (Check::Readiness, Stage::Awaited { .. } | Stage::Missed, Err(why)) => {
                run.service.words = why;
                Phase::Up(run)
            }
            (Check::Health, Stage::Ready { since, ill }, Ok(())) => {
                if is_ill(&run.service, self.guest) {
                    self.tell(Topic::Ready, Level::Info, "is well again");
                }
                if ill > 0 {
                    run.service = Service::ready(since);
                }
                Phase::Up(run)
            }
            (Check::Health, Stage::Ready { since, ill }, Err(why)) => {
                let ill = ill.saturating_add(1);
                run.service = Service { stage: Stage::Ready { since, ill }, words: why };
                self.fell_ill(run, ill)
            }
            (Check::Readiness, Stage::Ready { .. }, _)
            | (Check::Health, Stage::Awaited { .. } | Stage::Missed, _) => Phase::Up(run),
        }
    }

    fn fell_ill(&mut self, run: Run, ill: u32) -> Phase {
        let Some(Health { threshold, action, .. }) = self.guest.health else { return Phase::Up(run) };
        if ill < threshold {
            return Phase::Up(run);
        }
        let why = run.service.words.clone();
        // Said once: those who want to be told again look at the status.
        if ill == threshold {
            let text = format!("does not serve: its health was bad {threshold} times in a row: {why}");
            self.tell(Topic::Ill, Level::Warning, text);
        }
        match action {
            // Whoever holds it may have made it so.
            HealthAction::Restart if self.state.held.is_some() => Phase::Up(run),
            HealthAction::Report => Phase::Up(run),
            HealthAction::Restart => {
                let then = Then::Recover(Failure::Ended(End::Ill { why }));
                self.bring_down(Phase::Up(run), StopKind::Ask(Some(self.guest.stop.timeout)), then)
            }
        }
    }

    /// What a guest says of itself.
    pub(super) fn said(&self, phase: Phase, checking: Checking, words: String) -> Phase {
        match phase {
            Phase::Up(mut run) if run.init.is_some_and(|init| init.pid == checking.init) => {
                run.service.words = words;
                Phase::Up(run)
            }
            phase => phase,
        }
    }

    /// It was not ready in time.
    pub(super) fn missed(&mut self, run: Run) -> Phase {
        let within = self.guest.ready.timeout;
        let failure = Failure::NotReady { within, words: run.service.words.clone() };
        match self.guest.ready.on_timeout {
            _ if self.state.held.is_some() => self.left_up(run, &failure),
            OnTimeout::Continue => self.left_up(run, &failure),
            OnTimeout::Fail => {
                self.tell(Topic::Ill, Level::Warning, format!("is stopped: {failure}"));
                let ask = StopKind::Ask(Some(self.guest.stop.timeout));
                self.bring_down(Phase::Up(run), ask, Then::Recover(failure))
            }
        }
    }

    fn left_up(&mut self, mut run: Run, failure: &Failure) -> Phase {
        self.tell(Topic::Ill, Level::Warning, format!("is up, but {failure}; it is left up"));
        run.service.stage = Stage::Missed;
        Phase::Up(run)
    }
}
