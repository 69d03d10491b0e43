//! The machine's part for what happened, was reported and was decided while the daemon was away or hung.

use super::{
    effect::Level,
    event::{Remembered, StopKind},
    machine::Turn,
    reboot,
    state::{Failure, Intent, Phase, Rebooting, Run, Then},
};
use crate::{
    helper::wire::{self, Decision},
    model::{End, Follows, GuestName, Limit, Timestamp, WaitStatus, status::HelperReport},
};

/// How exactly the start of an init is known: to a tick of 10 ms; in microseconds.
const TICK: u64 = 10_000;

/// A helper request that was answered while the daemon was away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recalled {
    /// Whom it is about.
    pub guest: GuestName,
    /// What it reported.
    pub event: wire::Event,
    /// When.
    pub at: Timestamp,
    /// How it was answered.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// The limit that was used up, where the loop guard refused it.
    pub tripped: Option<Limit>,
}

impl Turn<'_> {
    /// A reboot that was decided while the daemon was away. A guest that runs has come back, or is about to end.
    pub(super) fn reboot_recalled(
        &mut self,
        phase: Phase,
        at: Timestamp,
        decision: Decision,
        reason: String,
        tripped: Option<Limit>,
    ) -> Phase {
        let shown = format!("{reason} (while guestd was away)");
        let (event, word) = ("reboot".to_owned(), decision.as_str());
        self.state.helper = Some(HelperReport { event, decision: word, reason: shown, at });
        if decision != Decision::Stop {
            return self.reboot_recalled_as_carried_out(phase, at);
        }
        let then = match tripped {
            Some(limit) => Then::Fail(Failure::RebootLoop(limit)),
            None => Then::Stay(End::GuestReboot { why: reason }),
        };
        match phase {
            Phase::Down(_) => {
                if tripped.is_some() {
                    // It was to run, and failed at that.
                    self.state.want(Intent::Up);
                }
                self.ended(then)
            }
            Phase::Up(run)
            | Phase::Frozen(run)
            | Phase::Rebooting { run, decision: Rebooting::Undecided, .. } => self.ending(run, then),
            Phase::Failed { .. }
            | Phase::BackingOff { .. }
            | Phase::Starting { .. }
            | Phase::Rebooting { .. }
            | Phase::Stopping { .. } => phase,
        }
    }

    /// Counted here, so that it is not counted again when its end or its new init is seen. Where a decision has been
    /// made already, this is the same reboot, whose helper did not wait for it.
    fn reboot_recalled_as_carried_out(&mut self, phase: Phase, at: Timestamp) -> Phase {
        // It is on its way already, or has come back: its new init began after that.
        let on_its_way = Some(self.now.instant.plus(self.guest.start.timeout));
        let is_back = |run: &Run| run.init.is_some_and(|init| init.since.0.saturating_add(TICK) >= at.0);
        let decided_until = |run: &Run| if is_back(run) { run.decided_until } else { on_its_way };
        let mut count = || reboot::remember(self.state, self.guest, self.now.instant_of(at));
        match phase {
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } | Phase::Starting { .. } => {
                count();
                phase
            }
            Phase::Up(run) => {
                count();
                Phase::Up(Run { decided_until: decided_until(&run), ..run })
            }
            Phase::Frozen(run) => {
                count();
                Phase::Frozen(Run { decided_until: decided_until(&run), ..run })
            }
            Phase::Rebooting { run, decision: Rebooting::Undecided, deadline } => {
                count();
                let run = Run { decided_until: on_its_way, ..run };
                Phase::Rebooting { run, decision: Rebooting::Undecided, deadline }
            }
            Phase::Rebooting { .. } | Phase::Stopping { .. } => phase,
        }
    }

    /// A guest ended while the daemon was away; why, nobody saw.
    pub(super) fn end_recalled(&mut self, phase: Phase, at: Timestamp) -> Phase {
        match phase {
            Phase::Down(None) => {
                self.state.since = at;
                Phase::Down(Some(End::Unknown))
            }
            phase => phase,
        }
    }

    /// Goes on with what the daemon before this one had begun with a run that has not ended.
    pub(super) fn resume(&mut self, phase: Phase, follows: Option<Follows>) -> Phase {
        let kind = StopKind::Ask(Some(self.guest.stop.timeout));
        match follows {
            Some(Follows::End(End::HostStop)) => self.host_stop_requested(phase, kind),
            Some(Follows::End(End::Asked { .. } | End::Overdue)) => self.stop_requested(phase, kind),
            // Somebody has wanted it down since.
            Some(Follows::Start) if self.state.intent == Intent::Down => self.stop_requested(phase, kind),
            Some(Follows::Start) => self.restart_requested(phase, kind),
            // What had ended it was not so, or it is another run.
            Some(
                Follows::End(_)
                | Follows::RebootLoop(_)
                | Follows::Begin
                | Follows::Recover(_)
                | Follows::Retry(_)
                | Follows::Failed(_),
            )
            | None => phase,
        }
    }

    /// It ended while nobody watched it. What was decided of that before, or of its reboot meanwhile, is known better
    /// than its status says.
    pub(super) fn has_ended(
        &mut self,
        phase: Phase,
        status: Option<WaitStatus>,
        remembered: Option<Remembered>,
    ) -> Phase {
        let decided = matches!(
            phase,
            Phase::Down(Some(End::GuestReboot { .. })) | Phase::Failed { why: Failure::RebootLoop(_), .. }
        );
        if decided && status.is_none_or(WaitStatus::is_reboot) {
            return phase;
        }
        let Some(run) = remembered else {
            self.state.since = self.now.wall;
            self.log(Level::Info, "was started by others, and has ended");
            // Whoever started it has it in hand.
            let end = End::of(status);
            let is_failure = end.is_failure();
            return self.ended(if is_failure { Then::Fail(Failure::Ended(end)) } else { Then::Stay(end) });
        };
        self.state.restarts = run.restarts;
        // Without a status, what its helper told of its end is as good, and has the time.
        let is_old = matches!(run.follows, Some(Follows::Failed(_)));
        if !is_old && (status.is_some() || run.follows.is_some() || matches!(phase, Phase::Down(None))) {
            self.state.since = self.now.wall;
        }
        let is_settled = matches!(
            run.follows,
            Some(Follows::RebootLoop(_) | Follows::End(End::Asked { .. } | End::Overdue | End::HostStop))
        );
        if !is_settled {
            self.want_as_before(run.unwanted);
        }
        match run.follows {
            Some(Follows::Start) => self.ended(Then::Start),
            Some(Follows::Recover(why)) => self.recover(Failure::Start(why)),
            Some(Follows::Failed(why)) => Phase::Failed { why: Failure::Earlier(why), remains: None },
            Some(Follows::RebootLoop(limit)) => self.ended(Then::Fail(Failure::RebootLoop(limit))),
            Some(Follows::End(end @ (End::Asked { .. } | End::Overdue | End::HostStop))) => {
                self.ended(Then::Stay(end))
            }
            follows => {
                self.log(Level::Info, "has ended while guestd was away");
                let end = if let Some(Follows::End(known)) = follows { known } else { End::of(status) };
                self.recover(Failure::Ended(end))
            }
        }
    }
}
