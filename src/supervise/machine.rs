//! One guest's state machine: `(state, event, now) → effects`. Every event is matched against every phase.

use std::mem;

use super::{
    backoff,
    effect::{Effect, Level, Line, Topic},
    event::{Checking, Event},
    history, hook,
    ladder::overdue,
    recover, serve,
    state::{Doubt, Failure, Intent, Next, Phase, Rebooting, Retries, Run, Rung, State, Then},
};
use crate::{
    engine::{EngineResult, Epoch, ErrorKind, Request},
    helper::wire,
    model::{End, Guest, Now, WaitStatus},
};

/// How the kernel kills for want of memory: by SIGKILL.
const KILLED: WaitStatus = WaitStatus(9);

/// Lets one event happen to a guest. News of a run that is over are dropped here, and nowhere else.
pub fn handle(state: &mut State, guest: &Guest, event: Event, now: Now) -> Vec<Effect> {
    if epoch_of(&event).is_some_and(|epoch| state.live_epoch() != Some(epoch)) {
        return Vec::new();
    }
    let mut before = Before::of(&state.phase, guest);
    if event.tells_of_old_failure() {
        before.stage.has_failed();
    }
    if event.tells_of_unseen_end() {
        before.stage.was_running();
    }
    let past = history::Before::of(&state.phase);
    // What failed before a run that was good for so long counts no more, however that ends.
    if backoff::is_stable(&state.phase, &guest.restart, now.instant) {
        state.retries = Retries::default();
    }
    let phase = mem::replace(&mut state.phase, Phase::Down(None));
    let mut turn = Turn { state, guest, now, effects: Vec::new(), starved: false };
    let phase = turn.next(phase, event);
    let mut effects = turn.effects;
    let has_changed = mem::discriminant(&phase) != before.kind;
    if has_changed && !matches!(phase, Phase::Failed { why: Failure::Earlier(_), .. }) {
        state.since = now.wall;
    }
    if has_changed {
        state.last_end = None;
    }
    state.phase = phase;
    state.kept = state.run().and_then(|run| run.init?.keeper).or(state.kept);
    history::note(state, past, now);
    hook::add(&before.stage, state, guest, &mut effects);
    let checking = serve::checking(&state.phase, guest);
    if checking != before.checking {
        effects.push(Effect::Check(checking));
    }
    effects
}

/// What is compared with what an event has made of it.
struct Before {
    kind: mem::Discriminant<Phase>,
    stage: hook::Before,
    checking: Option<Checking>,
}

impl Before {
    fn of(phase: &Phase, guest: &Guest) -> Self {
        let (kind, stage) = (mem::discriminant(phase), hook::Before::of(phase));
        Self { kind, stage, checking: serve::checking(phase, guest) }
    }
}

/// The run that an event is about, where it is about one.
fn epoch_of(event: &Event) -> Option<Epoch> {
    match event {
        Event::StartReturned(epoch, _)
        | Event::RequestReturned(epoch, ..)
        | Event::KillReturned(epoch, _)
        | Event::Observed(epoch, _) => Some(*epoch),
        Event::Checked(checking, _) | Event::Said(checking, _) => Some(checking.epoch),
        Event::StartRequested
        | Event::StopRequested(_)
        | Event::HostStopRequested(_)
        | Event::RestartRequested(_)
        | Event::RebootRequested
        | Event::FreezeRequested
        | Event::ThawRequested
        | Event::ResetRequested
        | Event::Probed(_)
        | Event::Reported(..)
        | Event::ScriptEnded(..)
        | Event::Recalled { .. }
        | Event::Retried(_)
        | Event::LastWords(_)
        | Event::TimedOut => None,
    }
}

/// One event's turn: what it may change, and what it wants done.
pub(super) struct Turn<'a> {
    pub(super) state: &'a mut State,
    pub(super) guest: &'a Guest,
    pub(super) now: Now,
    pub(super) effects: Vec<Effect>,
    /// Its init ended for want of memory.
    starved: bool,
}

impl Turn<'_> {
    fn next(&mut self, phase: Phase, event: Event) -> Phase {
        match event {
            Event::StartRequested => self.start_requested(phase),
            Event::StopRequested(kind) => self.stop_requested(phase, kind),
            Event::HostStopRequested(kind) => self.host_stop_requested(phase, kind),
            Event::RestartRequested(kind) => self.restart_requested(phase, kind),
            Event::RebootRequested => self.reboot_requested(phase),
            Event::FreezeRequested => self.request_if(phase, Request::Freeze),
            Event::ThawRequested => self.request_if(phase, Request::Thaw),
            Event::ResetRequested => self.reset_requested(phase),
            Event::StartReturned(_, result) => self.start_returned(phase, result),
            Event::RequestReturned(_, request, result) => self.request_returned(phase, request, result),
            Event::KillReturned(_, result) => self.kill_returned(phase, result),
            Event::Probed(found) => self.probed(phase, found),
            Event::Observed(_, what) => self.observed(phase, what),
            Event::Reported(id, event) => self.reported(phase, id, event),
            Event::ScriptEnded(id, code) => self.script_ended(phase, id, code),
            Event::Recalled {
                event: wire::Event::Reboot | wire::Event::Declined,
                at,
                decision,
                reason,
                tripped,
            } => self.reboot_recalled(phase, at, decision, reason, tripped),
            Event::Recalled { at, .. } => self.end_recalled(phase, at),
            Event::Checked(checking, result) => self.checked(phase, checking, result),
            Event::Said(checking, words) => self.said(phase, checking, words),
            Event::Retried(grant) => self.retried(phase, grant),
            Event::LastWords(lines) => {
                if !lines.is_empty() {
                    let words = lines.join(" | ");
                    self.log(Level::Info, format!("wrote on its console before it was killed: {words}"));
                    self.state.last_words = lines;
                }
                phase
            }
            Event::TimedOut => self.timed_out(phase),
        }
    }

    pub(super) fn log(&mut self, level: Level, text: impl Into<String>) {
        self.tell(Topic::Other, level, text);
    }

    /// Logs something that others may wait for.
    pub(super) fn tell(&mut self, topic: Topic, level: Level, text: impl Into<String>) {
        self.effects.push(Effect::Log(Line { level, topic, job: None, text: text.into() }));
    }

    /// Begins a new run.
    pub(super) fn begin(&mut self) -> Phase {
        let epoch = self.state.next_epoch();
        self.state.doubt = None;
        self.state.last_words.clear();
        self.effects.push(Effect::Start(epoch));
        Phase::Starting { epoch, fingerprint: self.guest.fingerprint, deadline: None }
    }

    /// Begins a new run because somebody wants it: what went wrong before counts no more.
    pub(super) fn begin_by_hand(&mut self) -> Phase {
        self.state.want(Intent::Up);
        self.forget_failures();
        self.begin()
    }

    fn start_requested(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Down(_) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. } => {
                self.begin_by_hand()
            }
            Phase::Starting { .. } | Phase::Up(_) | Phase::Frozen(_) | Phase::Rebooting { .. } => {
                self.state.want(Intent::Up);
                phase
            }
            // A job waits for the end of a stop before its turn to start comes.
            Phase::Failed { remains: Some(_), .. } | Phase::Stopping { .. } => phase,
        }
    }

    fn reboot_requested(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Up(mut run) => {
                // After that the job reports that it has not listened.
                run.decided_until = Some(self.now.instant.plus(self.guest.stop.timeout));
                self.effects.push(Effect::Request(run.epoch, Request::Reboot));
                Phase::Up(run)
            }
            Phase::Down(_)
            | Phase::Failed { .. }
            | Phase::BackingOff { .. }
            | Phase::Starting { .. }
            | Phase::Frozen(_)
            | Phase::Rebooting { .. }
            | Phase::Stopping { .. } => phase,
        }
    }

    /// Freezing what is up, thawing what is frozen; anything else is left alone.
    fn request_if(&mut self, phase: Phase, request: Request) -> Phase {
        match (&phase, request) {
            (Phase::Up(run), Request::Freeze) | (Phase::Frozen(run), Request::Thaw) => {
                self.effects.push(Effect::Request(run.epoch, request));
            }
            _ => {}
        }
        phase
    }

    fn reset_requested(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Failed { remains: None, why } => {
                self.forget_failures();
                Phase::Down(match why {
                    Failure::Ended(end) => Some(end),
                    _ => None,
                })
            }
            // The next try comes when it was to come; those before it count no more.
            other => {
                self.forget_failures();
                other
            }
        }
    }

    fn forget_failures(&mut self) {
        self.state.reboots.clear();
        self.state.retries = Retries::default();
    }

    fn start_returned(&mut self, phase: Phase, result: EngineResult<()>) -> Phase {
        match (phase, result) {
            (Phase::Starting { .. }, Err(error)) => self.recover(recover::failed_start(&error)),
            // Its watch reports the init, unless the container's own monitor is stuck.
            (Phase::Starting { epoch, fingerprint, .. }, Ok(())) => {
                let deadline = Some(self.now.instant.plus(self.guest.start.timeout));
                Phase::Starting { epoch, fingerprint, deadline }
            }
            (phase, _) => phase,
        }
    }

    fn request_returned(&mut self, phase: Phase, request: Request, result: EngineResult<()>) -> Phase {
        if let Err(error) = &result {
            // One that is on its way elsewhere is nobody's fault.
            let level = if error.kind == ErrorKind::Busy { Level::Info } else { Level::Warning };
            self.log(level, error.to_string());
        }
        match (phase, request, result) {
            (Phase::Up(run), Request::Freeze, Ok(())) => Phase::Frozen(run),
            (Phase::Frozen(run), Request::Thaw, Ok(())) => self.thawed(run),
            // It was frozen while it should stop: frozen it would never hear of that.
            (phase @ Phase::Stopping { .. }, Request::Freeze, Ok(())) => {
                self.effects.extend(phase.run().map(|run| Effect::Request(run.epoch, Request::Thaw)));
                phase
            }
            (Phase::Stopping { run, rung: Rung::Hinted, .. }, Request::Hint, Err(error))
                if error.kind != ErrorKind::Busy =>
            {
                self.leave_up(run)
            }
            (Phase::Up(mut run), Request::Reboot, Err(_)) => {
                run.decided_until = None;
                Phase::Up(run)
            }
            (phase, ..) => phase,
        }
    }

    fn kill_returned(&mut self, phase: Phase, result: EngineResult<()>) -> Phase {
        match (phase, result) {
            (Phase::Stopping { then, .. }, Ok(())) => self.ended(then),
            (Phase::Stopping { run, .. } | Phase::Up(run), Err(error)) => {
                self.tell(Topic::Failed, Level::Warning, error.to_string());
                Phase::Failed { why: Failure::Stuck(error.reason), remains: Some(run.epoch) }
            }
            (Phase::Failed { .. }, Ok(())) => self.ended(Then::Stay(End::Asked { killed: true })),
            (phase, _) => phase,
        }
    }

    /// Nothing of the run is left.
    pub(super) fn ended(&mut self, then: Then) -> Phase {
        match then {
            Then::Stay(end) => {
                if matches!(end, End::GuestHalt | End::GuestReboot { .. }) {
                    self.state.want(Intent::Down);
                }
                self.tell(Topic::Down, Level::Info, format!("is down: {end}"));
                Phase::Down(Some(end))
            }
            Then::Fail(why) => {
                self.tell(Topic::Failed, Level::Warning, format!("has failed: {why}"));
                Phase::Failed { why, remains: None }
            }
            Then::Recover(why) => self.recover(why),
            // Somebody wants it down since, and its turn has not come.
            Then::Start if self.state.intent == Intent::Down => {
                self.ended(Then::Stay(End::Asked { killed: false }))
            }
            Then::Start => {
                self.state.restarts += 1;
                self.begin()
            }
        }
    }

    fn timed_out(&mut self, phase: Phase) -> Phase {
        match phase {
            Phase::Starting { epoch, fingerprint, .. } => {
                let reason = "it was started, but its init was not seen in time (start.timeout)";
                self.log(Level::Warning, format!("{reason}: killing it"));
                let run = Run::new(epoch, Some(fingerprint), self.now.instant);
                self.kill(run, Then::Recover(Failure::Start(reason.to_owned())))
            }
            Phase::Rebooting { run, .. } if run.init.is_some() => self.goes_on(run),
            Phase::Rebooting { run, .. } => {
                self.log(Level::Warning, "rebooted, and no new init came in time: killing what is left");
                self.kill(run, Then::Recover(Failure::NoNewInit))
            }
            Phase::Stopping { run, rung: Rung::Hinted, .. } => self.leave_up(run),
            Phase::Stopping { run, rung: Rung::Ending, .. } if run.init.is_some() => self.goes_on(run),
            Phase::Stopping { run, then, .. } => {
                self.log(Level::Warning, "did not stop in time: killing it");
                self.effects.push(Effect::KeepLastWords);
                self.kill(run, overdue(then))
            }
            Phase::Down(_) | Phase::Failed { .. } => {
                self.look_again();
                phase
            }
            Phase::BackingOff { why, next } => {
                let is_time = |doubt: &Doubt| doubt.again.is_some_and(|again| again <= self.now.instant);
                if self.state.doubt.as_ref().is_some_and(is_time) {
                    self.look_again();
                }
                let is_over = matches!(next, Next::At { at, .. } if at <= self.now.instant);
                Phase::BackingOff { why, next: if is_over { Next::Due(String::new()) } else { next } }
            }
            Phase::Up(run) => self.missed(run),
            Phase::Frozen(_) => phase,
        }
    }

    /// Looks again at one that may run.
    fn look_again(&mut self) {
        if let Some(doubt) = &mut self.state.doubt {
            doubt.again = None;
            self.effects.push(Effect::Probe);
        }
    }

    /// It was reported to reboot, and lives: a report may be wrong. Whether it is frozen, a look will tell.
    fn goes_on(&mut self, run: Run) -> Phase {
        self.log(Level::Warning, "was reported to reboot, but its init has not ended: it is left up");
        self.effects.push(Effect::Probe);
        Phase::Up(run)
    }

    /// The kernel killed its init, for want of memory.
    pub(super) fn starved(&mut self, phase: Phase) -> Phase {
        self.starved = true;
        self.init_seen_exiting(phase, Some(KILLED))
    }

    /// The end of an init that nobody asked to stop.
    pub(super) fn init_exited(&mut self, mut run: Run, status: Option<WaitStatus>) -> Phase {
        run.init = None;
        if status.is_some_and(WaitStatus::is_reboot) {
            let deadline = self.now.instant.plus(self.guest.start.timeout);
            // What was decided in time stays so until it has come back.
            run.decided_until = run.is_reboot_decided(self.now.instant).then_some(deadline);
            return Phase::Rebooting { run, decision: Rebooting::Undecided, deadline };
        }
        let why = match status {
            _ if self.starved => Failure::Ended(End::OutOfMemory),
            None => Failure::Vanished,
            Some(_) => Failure::Ended(End::of(status)),
        };
        let is_failure = !matches!(&why, Failure::Ended(end) if !end.is_failure());
        let level = if is_failure { Level::Warning } else { Level::Info };
        self.log(level, format!("its init ended: {why}"));
        self.ending(run, Then::Recover(why))
    }
}
