//! The machine's part for what is seen of a run and what its guest reports through the helper.

use std::path::PathBuf;

use super::{
    effect::{Effect, Level, Topic},
    event::HelperId,
    ladder::request_of,
    machine::Turn,
    reboot::{self, Ruling},
    state::{Failure, Meanwhile, Phase, Rebooting, Run, Rung, Then},
};
use crate::{
    engine::{Init, Observation, Request},
    helper::{
        policy,
        wire::{self, Answer, Decision},
    },
    model::{Instant, WaitStatus, status::HelperReport},
};

/// The helper request that nobody waits for: a reboot that was seen, not reported.
const NOBODY: HelperId = HelperId(0);

impl Turn<'_> {
    pub(super) fn observed(&mut self, phase: Phase, what: Observation) -> Phase {
        match what {
            Observation::Running(init) => self.running(phase, init),
            Observation::Frozen => match phase {
                Phase::Up(run) => Phase::Frozen(run),
                phase => self.frozen_meanwhile(phase),
            },
            Observation::Thawed => match phase {
                Phase::Frozen(run) => self.thawed(run),
                phase => phase,
            },
            Observation::InitExited(status) => self.init_seen_exiting(phase, status),
            Observation::OutOfMemory => self.starved(phase),
            Observation::Gone => self.gone(phase),
            // The fleet answers this one with a probe.
            Observation::Appeared => phase,
        }
    }

    /// An init runs: the first of a run, or the one after a reboot.
    fn running(&mut self, phase: Phase, init: Init) -> Phase {
        match phase {
            Phase::Starting { epoch, fingerprint, .. } => {
                self.tell(Topic::Up, Level::Info, format!("is up, with init {}", init.pid));
                let (run, service) = (Run::new(epoch, Some(fingerprint), self.now.instant), self.service());
                Phase::Up(Run { init: Some(init), service, ..run })
            }
            Phase::Up(run) if run.init.is_none_or(|seen| seen.pid == init.pid) => {
                Phase::Up(Run { init: Some(init), ..run })
            }
            Phase::Frozen(run) => Phase::Frozen(Run { init: Some(init), ..run }),
            // Said once more of the one that is about to end.
            Phase::Rebooting { run, decision, deadline }
                if run.init.is_some_and(|seen| seen.pid == init.pid) =>
            {
                Phase::Rebooting { run, decision, deadline }
            }
            Phase::Rebooting { run, decision: Rebooting::Allowed, .. } => self.came_back(run, init),
            Phase::Up(run) | Phase::Rebooting { run, decision: Rebooting::Undecided, .. } => {
                self.came_back_unasked(run, init)
            }
            Phase::Rebooting { run, decision: Rebooting::Script { id, .. }, deadline } => {
                let run = Run { init: Some(init), ..run };
                let decision = Rebooting::Script { id, meanwhile: Meanwhile::Back };
                Phase::Rebooting { run, decision, deadline }
            }
            Phase::Stopping { run, rung, deadline, then } => {
                self.came_back_while_stopping(run, init, rung, deadline, then)
            }
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => phase,
        }
    }

    fn came_back(&mut self, run: Run, init: Init) -> Phase {
        self.state.restarts += 1;
        self.tell(Topic::Rebooted, Level::Info, format!("has rebooted: its new init is {}", init.pid));
        let service = self.service();
        Phase::Up(Run { init: Some(init), decided_until: None, ran_at: self.now.instant, service, ..run })
    }

    /// A reboot seen only by its wait status: no hook of ours reported it. The same decision, afterwards.
    fn came_back_unasked(&mut self, run: Run, init: Init) -> Phase {
        match reboot::rule(self.state, &run, self.guest, self.now.instant) {
            Ruling::InPlace(_) | Ruling::Anew(_) => {
                self.count_reboot(&run);
                self.came_back(run, init)
            }
            Ruling::Refuse(why, then) => {
                let text = format!("has rebooted unasked; its new init is stopped: {why}");
                self.tell(Topic::RebootRefused, Level::Warning, text);
                let run = Run { init: Some(init), ..run };
                self.ask_to_stop(run, then)
            }
            Ruling::Script(path) => {
                let run = Run { init: Some(init), ..run };
                self.ask_script(run, NOBODY, path, Meanwhile::Back)
            }
        }
    }

    fn came_back_while_stopping(
        &mut self,
        run: Run,
        init: Init,
        rung: Rung,
        deadline: Option<Instant>,
        then: Then,
    ) -> Phase {
        if run.init.is_some_and(|seen| seen.pid == init.pid) {
            return Phase::Stopping { run, rung, deadline, then };
        }
        let run = Run { init: Some(init), ..run };
        match rung {
            Rung::Killing => {
                self.effects.push(Effect::Kill(run.epoch));
                Phase::Stopping { run, rung, deadline, then }
            }
            Rung::Asked | Rung::Hinted => {
                self.effects.push(Effect::Request(run.epoch, request_of(rung)));
                Phase::Stopping { run, rung, deadline, then }
            }
            Rung::Ending => self.ask_to_stop(run, then),
        }
    }

    fn ask_to_stop(&mut self, run: Run, then: Then) -> Phase {
        self.effects.push(Effect::Request(run.epoch, Request::Stop));
        let deadline = Some(self.now.instant.plus(self.guest.stop.timeout));
        Phase::Stopping { run, rung: Rung::Asked, deadline, then }
    }

    /// Its script decides, within `stop.timeout`; the new init may take its time as well.
    fn ask_script(&mut self, run: Run, id: HelperId, path: PathBuf, meanwhile: Meanwhile) -> Phase {
        self.effects.push(Effect::RunScript(id, path));
        let both = self.guest.stop.timeout.saturating_add(self.guest.start.timeout);
        let deadline = self.now.instant.plus(both);
        Phase::Rebooting { run, decision: Rebooting::Script { id, meanwhile }, deadline }
    }

    pub(super) fn init_seen_exiting(&mut self, phase: Phase, status: Option<WaitStatus>) -> Phase {
        let may_be_reboot = status.is_none_or(WaitStatus::is_reboot);
        match phase {
            Phase::Starting { epoch, fingerprint, .. } => {
                self.init_exited(Run::new(epoch, Some(fingerprint), self.now.instant), status)
            }
            Phase::Up(run) | Phase::Frozen(run) => self.init_exited(run, status),
            // It ended otherwise than was reported.
            Phase::Rebooting { run, .. } if !may_be_reboot => self.init_exited(run, status),
            Phase::Stopping { run, rung: Rung::Ending, .. } if run.init.is_some() && !may_be_reboot => {
                self.init_exited(run, status)
            }
            Phase::Rebooting { run, decision, deadline } => {
                self.rebooting_init_exited(run, decision, deadline)
            }
            Phase::Stopping { run, rung: Rung::Killing, deadline, then } => {
                Phase::Stopping { run: Run { init: None, ..run }, rung: Rung::Killing, deadline, then }
            }
            // It has listened: only hooks are left to wait for, and not for ever.
            Phase::Stopping { run, rung: Rung::Hinted, then, .. }
            | Phase::Stopping { run, deadline: None, then, .. } => {
                self.ending(Run { init: None, ..run }, then)
            }
            Phase::Stopping { run, rung, deadline, then } => {
                Phase::Stopping { run: Run { init: None, ..run }, rung, deadline, then }
            }
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => phase,
        }
    }

    /// The end that was reported is there: from now on its new init has its time.
    fn rebooting_init_exited(&self, run: Run, decision: Rebooting, deadline: Instant) -> Phase {
        let decision = match decision {
            Rebooting::Script { id, meanwhile: Meanwhile::Back } => {
                Rebooting::Script { id, meanwhile: Meanwhile::Nothing }
            }
            decision => decision,
        };
        let deadline = deadline.max(self.now.instant.plus(self.guest.start.timeout));
        Phase::Rebooting { run: Run { init: None, ..run }, decision, deadline }
    }

    fn gone(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Starting { .. } => {
                self.recover(Failure::Start("it ended while it was starting".to_owned()))
            }
            Phase::Up(_) | Phase::Frozen(_) => self.recover(Failure::Vanished),
            Phase::Rebooting { decision: Rebooting::Allowed, .. } => {
                self.log(Level::Info, "its reboot was cancelled on the way: starting it again");
                self.ended(Then::Start)
            }
            Phase::Rebooting { run, decision: Rebooting::Undecided, .. } => {
                match reboot::rule(self.state, &run, self.guest, self.now.instant) {
                    Ruling::InPlace(_) | Ruling::Anew(_) => {
                        self.count_reboot(&run);
                        self.ended(Then::Start)
                    }
                    Ruling::Refuse(_, then) => self.ended(then),
                    Ruling::Script(path) => self.ask_script(run, NOBODY, path, Meanwhile::Gone),
                }
            }
            Phase::Rebooting { run, decision: Rebooting::Script { id, .. }, deadline } => {
                let run = Run { init: None, ..run };
                let decision = Rebooting::Script { id, meanwhile: Meanwhile::Gone };
                Phase::Rebooting { run, decision, deadline }
            }
            Phase::Stopping { then, .. } => self.ended(then),
            Phase::Failed { why, .. } => Phase::Failed { why, remains: None },
            Phase::Down(_) | Phase::BackingOff { .. } => phase,
        }
    }

    /// A helper request. Only a reboot needs a decision: LXC's hook cannot tell a halt from a crash, the wait status
    /// can.
    pub(super) fn reported(&mut self, phase: Phase, id: HelperId, event: wire::Event) -> Phase {
        match event {
            wire::Event::Stop | wire::Event::Halt | wire::Event::Poweroff => {
                self.answer(id, Decision::Ignore, "noted", false);
                phase
            }
            wire::Event::Reboot => self.reboot_reported(phase, id),
            wire::Event::Declined => self.reboot_declined(phase, id),
        }
    }

    fn reboot_reported(&mut self, phase: Phase, id: HelperId) -> Phase {
        match phase {
            Phase::Starting { epoch, fingerprint, .. } => {
                let run = Run::new(epoch, Some(fingerprint), self.now.instant);
                self.rule_reported(run, id)
            }
            Phase::Up(run)
            | Phase::Frozen(run)
            | Phase::Rebooting { run, decision: Rebooting::Undecided, .. } => self.rule_reported(run, id),
            Phase::Rebooting { decision: Rebooting::Allowed, .. } => {
                self.answer(id, Decision::Restart, "decided already", false);
                phase
            }
            Phase::Rebooting { decision: Rebooting::Script { .. }, .. } => {
                self.answer(id, Decision::Ignore, "a script is deciding already", false);
                phase
            }
            Phase::Stopping { then: Then::Start, .. } => {
                self.answer(id, Decision::Restart, "it is being restarted", true);
                phase
            }
            Phase::Stopping { .. } => {
                self.answer(id, Decision::Stop, "it is being stopped", false);
                phase
            }
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => {
                self.answer(id, Decision::Ignore, "guestd does not know it to run", false);
                phase
            }
        }
    }

    /// Its own helper is against its reboot, so that it ends, whatever guestd would say or has said.
    fn reboot_declined(&mut self, phase: Phase, id: HelperId) -> Phase {
        match phase {
            Phase::Starting { epoch, fingerprint, .. } => {
                let run = Run::new(epoch, Some(fingerprint), self.now.instant);
                self.rule_declined(run, id)
            }
            Phase::Up(run) | Phase::Frozen(run) | Phase::Rebooting { run, .. } => self.rule_declined(run, id),
            phase => self.reboot_reported(phase, id),
        }
    }

    /// Where guestd has a reason of its own to keep it down, that is the one.
    fn rule_declined(&mut self, run: Run, id: HelperId) -> Phase {
        let ruling = match reboot::rule(self.state, &run, self.guest, self.now.instant) {
            ruling @ Ruling::Refuse(..) => ruling,
            Ruling::InPlace(_) | Ruling::Anew(_) | Ruling::Script(_) => reboot::refuse(policy::DECLINED),
        };
        self.carry_out(run, id, ruling)
    }

    /// A hook runs when the init is dead, even if that end was not seen yet; others may report what is not so. So the
    /// run keeps its init until it is seen to end.
    fn rule_reported(&mut self, run: Run, id: HelperId) -> Phase {
        let ruling = reboot::rule(self.state, &run, self.guest, self.now.instant);
        self.carry_out(run, id, ruling)
    }

    fn carry_out(&mut self, run: Run, id: HelperId, ruling: Ruling) -> Phase {
        let deadline = self.now.instant.plus(self.guest.start.timeout);
        match ruling {
            Ruling::InPlace(reason) => {
                self.count_reboot(&run);
                self.answer(id, Decision::Restart, reason, false);
                Phase::Rebooting { run, decision: Rebooting::Allowed, deadline }
            }
            Ruling::Anew(reason) => {
                self.count_reboot(&run);
                self.answer(id, Decision::Restart, reason, true);
                self.ending(run, Then::Start)
            }
            Ruling::Refuse(why, then) => {
                self.answer(id, Decision::Stop, &why, false);
                self.ending(run, then)
            }
            Ruling::Script(path) => {
                self.log(Level::Info, format!("asked to reboot; {} decides", path.display()));
                self.ask_script(run, id, path, Meanwhile::Nothing)
            }
        }
    }

    /// Counts towards the loop guard, unless an operator asked for it or it was counted when it was decided.
    fn count_reboot(&mut self, run: &Run) {
        if !run.is_reboot_decided(self.now.instant) {
            reboot::remember(self.state, self.guest, self.now.instant);
        }
    }

    pub(super) fn script_ended(&mut self, phase: Phase, id: HelperId, code: Option<i32>) -> Phase {
        let (run, meanwhile) = match phase {
            Phase::Rebooting { run, decision: Rebooting::Script { id: asked, meanwhile }, .. }
                if asked == id =>
            {
                (run, meanwhile)
            }
            // It has been stopped, or started anew, since.
            phase => {
                self.answer(id, Decision::Stop, "it is being stopped", false);
                return phase;
            }
        };
        let ruling = match code {
            Some(0) => reboot::allow(&run, self.guest, "its reboot script said restart"),
            Some(code) => reboot::refuse(format!("its reboot script exited with status {code}")),
            None => reboot::refuse("its reboot script could not be run, or took too long"),
        };
        match (ruling, meanwhile, run.init) {
            (Ruling::InPlace(_) | Ruling::Anew(_), Meanwhile::Gone, _) => {
                self.count_reboot(&run);
                self.answer(id, Decision::Restart, "its reboot script said restart", true);
                self.ended(Then::Start)
            }
            (Ruling::Refuse(why, then), Meanwhile::Gone, _) => {
                self.answer(id, Decision::Stop, &why, false);
                self.ended(then)
            }
            (Ruling::InPlace(_) | Ruling::Anew(_), Meanwhile::Back, Some(init)) => {
                self.count_reboot(&run);
                self.answer(id, Decision::Restart, "its reboot script said restart", false);
                self.came_back(run, init)
            }
            (Ruling::Refuse(why, then), Meanwhile::Back, _) => {
                self.answer(id, Decision::Stop, &why, false);
                self.ask_to_stop(run, then)
            }
            (ruling, ..) => self.carry_out(run, id, ruling),
        }
    }

    /// Answers a helper request, and keeps the answer to a reboot for people.
    fn answer(&mut self, id: HelperId, decision: Decision, reason: &str, anew: bool) {
        if id != NOBODY {
            let answer = Answer { decision, reason: reason.to_owned(), anew };
            self.effects.push(Effect::Answer(id, answer));
        }
        if decision == Decision::Ignore {
            return;
        }
        let how = if anew { " with its new configuration" } else { "" };
        let topic = if decision == Decision::Stop { Topic::RebootRefused } else { Topic::Other };
        let text = format!("asked to reboot; decision: {}{how}: {reason}", decision.as_str());
        self.tell(topic, Level::Info, text);
        self.state.helper = Some(HelperReport {
            event: "reboot".to_owned(),
            decision: decision.as_str(),
            reason: reason.to_owned(),
            at: self.now.wall,
        });
    }
}
