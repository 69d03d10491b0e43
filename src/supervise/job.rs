//! A job: one requested operation over several guests, working through a plan.
//!
//! A job looks at the guests' states and says which guest's turn it is. It never hears how a state came about, so a
//! guest that somebody else starts or stops moves it along too.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub(super) use super::entry::Begun;
use super::{
    admission::{self, Admission},
    entry::{Entry, Progress, Slots},
    event::Event,
    hindrance::{self, Hindrance},
    restore::Unstored,
    resume::{self, Resumed},
    state::{Phase, State},
    verdict,
};
use crate::{
    engine::{EngineError, ErrorKind, Request},
    model::{Guest, GuestName, Instant, JobId, Now, Outcome, StopWait, Timestamp, Verb},
    plan::{Plan, Step},
};

/// A guest and what is known of it, as a job sees it.
pub type Look<'a> = Option<(&'a Guest, &'a State)>;

/// One requested operation.
#[derive(Debug, Clone)]
pub struct Job {
    id: JobId,
    verb: Verb,
    pub(super) wait: StopWait,
    /// Whoever it takes down goes down with the host.
    pub(super) with_host: bool,
    pub(super) entries: Vec<Entry>,
    /// Everyone it is about.
    pub(super) concerned: Arc<[GuestName]>,
    /// Where each guest's entry is.
    pub(super) places: BTreeMap<GuestName, usize>,
    /// The entries before this one are over, and hold nothing back.
    first: usize,
    /// Every result so far, also of guests without a turn: they were as wanted, or were refused.
    pub(super) results: BTreeMap<GuestName, Outcome>,
    pub(super) canceled: bool,
    pub(super) started: Timestamp,
    pub(super) ended: Option<Timestamp>,
    /// What holds back the next turn, for people.
    pub(super) waiting_for: String,
    /// When a delay or a deadline asks for another look.
    wake: Option<Instant>,
    /// Who took longest of those that came out well, and how long.
    pub(super) slowest: Option<(Duration, GuestName)>,
    /// What of it the next daemon could not know yet.
    pub(super) unstored: Unstored,
}

/// What a job wants to happen to a guest.
pub type Turns = Vec<(GuestName, Event)>;

impl Job {
    /// A job that works through a plan.
    pub fn new(id: JobId, verb: Verb, wait: StopWait, plan: Plan, now: Now) -> Self {
        let already = plan.already.into_iter().map(|name| (name, Outcome::Already));
        let refused = plan.refused.into_iter().map(|(name, why)| (name, Outcome::Failed(why)));
        Self::of_steps(id, verb, wait, plan.steps, already.chain(refused).collect(), now.wall)
    }

    /// A job of which nothing has begun but what is in `results`.
    pub(super) fn of_steps(
        id: JobId,
        verb: Verb,
        wait: StopWait,
        steps: Vec<Step>,
        results: BTreeMap<GuestName, Outcome>,
        started: Timestamp,
    ) -> Self {
        let entries =
            steps.into_iter().map(|step| Entry { step, progress: Progress::Waiting, hindered: None });
        let entries: Vec<Entry> = entries.collect();
        let guests = entries.iter().map(|entry| &entry.step.guest).chain(results.keys());
        let concerned = guests.cloned().collect();
        let places = entries.iter().enumerate().map(|(at, entry)| (entry.step.guest.clone(), at));
        Self {
            id,
            verb,
            wait,
            with_host: false,
            places: places.collect(),
            first: 0,
            entries,
            results,
            concerned,
            canceled: false,
            started,
            ended: None,
            waiting_for: String::new(),
            wake: None,
            slowest: None,
            unstored: Unstored::whole(),
        }
    }

    /// Its number.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What it does to each guest.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// Whether every guest has a result.
    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// When it wants another look even if nothing happens.
    pub fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Everyone it is about.
    pub fn guests(&self) -> impl Iterator<Item = &GuestName> {
        self.concerned.iter()
    }

    /// Whether a guest waits for its turn to start in this job.
    pub fn keeps_waiting(&self, guest: &GuestName) -> bool {
        self.verb == Verb::Start && !self.is_over() && self.has_yet_to_begin(guest)
    }

    /// Whether a guest's turn has begun and is not over.
    pub(super) fn has_turn(&self, guest: &GuestName) -> bool {
        self.places.get(guest).is_some_and(|at| self.entries[*at].is_under_way())
    }

    pub(super) fn finish(&mut self, at: usize, outcome: Outcome, ran_at: Option<Instant>) {
        self.reached(at, Progress::Over { well: outcome.is_success(), ran_at });
        self.results.insert(self.entries[at].step.guest.clone(), outcome);
    }

    fn reached(&mut self, at: usize, progress: Progress) {
        self.entries[at].progress = progress;
        self.unstored.entries.insert(at);
    }

    /// The engine answered a request that one of its guests got.
    pub fn answered(&mut self, guest: &GuestName, request: Request, result: &Result<(), EngineError>) {
        let outcome = match (self.verb, request, result) {
            (Verb::Stop, Request::Stop | Request::Hint, result) if self.wait == StopWait::AskOnly => {
                match result {
                    Ok(()) => Outcome::Asked,
                    // It is on its way: what becomes of it will be seen.
                    Err(error) if error.kind == ErrorKind::Busy => return,
                    Err(error) => Outcome::Failed(error.to_string()),
                }
            }
            // Its state may have gone elsewhere meanwhile; what was asked for was done.
            (Verb::Freeze, Request::Freeze, Ok(())) | (Verb::Thaw, Request::Thaw, Ok(())) => Outcome::Done,
            (Verb::Freeze, Request::Freeze, Err(error))
            | (Verb::Thaw, Request::Thaw, Err(error))
            | (Verb::Reboot, Request::Reboot, Err(error)) => Outcome::Failed(error.to_string()),
            _ => return,
        };
        if let Some(at) = self.places.get(guest).copied()
            && self.entries[at].is_under_way()
        {
            self.finish(at, outcome, None);
        }
    }

    /// Looks at the guests: records who has come out, and gives turns to those whose time has come, at most `slots`
    /// of them to start. `stirred` are the guests whose states may have changed since the last call. Called until it
    /// gives no more turns.
    pub fn advance<'a>(
        &mut self,
        look: &dyn Fn(&GuestName) -> Look<'a>,
        stirred: &BTreeSet<GuestName>,
        slots: &mut Slots<'_>,
        now: Now,
    ) -> Turns {
        // These also come out when their time is over.
        let (over, to_come): (Vec<_>, Vec<_>) = self.deadlines().partition(|at| *at <= now.instant);
        self.wake = to_come.into_iter().min();
        if !over.is_empty() {
            (0..self.entries.len()).for_each(|at| self.judge(at, look, now));
        } else {
            for at in stirred.iter().filter_map(|name| self.places.get(name)).copied().collect::<Vec<_>>() {
                self.judge(at, look, now);
            }
        }
        let turns = self.give_turns(look, slots, now);
        if self.ended.is_none() && self.entries[self.first..].iter().all(Entry::is_over) {
            self.ended = Some(now.wall);
            self.wake = None;
            self.waiting_for.clear();
        }
        turns
    }

    /// When the turns that have begun, and may go on for ever, should be over.
    fn deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        self.entries[self.first..].iter().filter_map(|entry| match &entry.progress {
            Progress::Begun(begun) if begun.may_go_on => begun.deadline,
            Progress::Begun(_) | Progress::Left(_) | Progress::Waiting | Progress::Over { .. } => None,
        })
    }

    /// Records whether an entry whose turn has begun has come out.
    fn judge<'a>(&mut self, at: usize, look: &dyn Fn(&GuestName) -> Look<'a>, now: Now) {
        if let Progress::Left(left) = self.entries[at].progress {
            match resume::of(self.verb, left, look(&self.entries[at].step.guest), now) {
                Resumed::Unknown => return,
                Resumed::Anew => return self.reached(at, Progress::Waiting),
                Resumed::CameUp(ran_at) => return self.finish(at, Outcome::Done, Some(ran_at)),
                Resumed::GoesOn(begun) => self.reached(at, Progress::Begun(begun)),
            }
        }
        let entry = &self.entries[at];
        let Progress::Begun(begun) = &entry.progress else { return };
        let verdict = match look(&entry.step.guest) {
            // It was to go, and is gone for good.
            None if matches!(self.verb, Verb::Stop | Verb::Kill) => Some(Ok(None)),
            None => Some(Err("it is no longer defined".to_owned())),
            Some((guest, state)) => verdict::of(self.verb, *begun, guest, state, now.instant),
        };
        match verdict {
            Some(Ok(ran_at)) => {
                let took = (now.instant.since(begun.at), entry.step.guest.clone());
                self.slowest = self.slowest.take().max(Some(took));
                self.finish(at, Outcome::Done, ran_at);
            }
            Some(Err(why)) => self.finish(at, Outcome::Failed(why), None),
            None => {
                let is_failing = look(&entry.step.guest)
                    .is_some_and(|(_, state)| matches!(state.phase, Phase::BackingOff { .. }));
                let may_go_on = self.verb == Verb::Reboot || is_failing;
                let begun = Begun { may_go_on, ..*begun };
                if may_go_on {
                    self.wake = earliest(self.wake, begun.deadline.filter(|at| *at > now.instant));
                }
                self.entries[at].progress = Progress::Begun(begun);
            }
        }
    }

    fn give_turns<'a>(
        &mut self,
        look: &dyn Fn(&GuestName) -> Look<'a>,
        slots: &mut Slots<'_>,
        now: Now,
    ) -> Turns {
        let mut turns = Turns::new();
        self.waiting_for.clear();
        let mut open_tier = None;
        let mut at_front = true;
        for at in self.first..self.entries.len() {
            let tier = self.entries[at].step.tier;
            if open_tier.is_some_and(|open| open < tier) {
                break;
            }
            if let Progress::Waiting = self.entries[at].progress {
                match self.turn(at, look, slots, now) {
                    Turn::Begins(event) => turns.push((self.entries[at].step.guest.clone(), event)),
                    Turn::Over | Turn::NotYet => {}
                    Turn::NoSlot => break,
                }
            }
            let entry = &self.entries[at];
            if !entry.is_over() {
                open_tier = Some(tier);
            }
            at_front &= entry.is_over() && entry.holds_back_until(now.instant).is_none();
            if at_front {
                self.first = at + 1;
            }
            if let Some(until) = entry.holds_back_until(now.instant) {
                self.wake = earliest(self.wake, until);
                if until.is_some() {
                    self.waiting_for = format!("the delay of {}", entry.step.guest);
                }
                break;
            }
        }
        turns
    }

    /// Whether an entry's turn has come, and with what it begins.
    fn turn<'a>(
        &mut self,
        at: usize,
        look: &dyn Fn(&GuestName) -> Look<'a>,
        slots: &mut Slots<'_>,
        now: Now,
    ) -> Turn {
        let step = &self.entries[at].step;
        if step.after.iter().any(|before| !self.entries[*before].is_over()) {
            return Turn::NotYet;
        }
        if let Some(failed) = step.requires.iter().find(|before| self.entries[**before].has_failed()) {
            let why = format!("{}, which it requires, did not start", self.entries[*failed].step.guest);
            return self.settle(at, Outcome::Failed(why));
        }
        let Some((guest, state)) = look(&step.guest) else {
            return self.settle(at, Outcome::Failed("it is no longer defined".into()));
        };
        if matches!(self.verb, Verb::Hold | Verb::Release) {
            // The fleet has done it.
            return self.settle(at, Outcome::Done);
        }
        match admission::admit(self.verb, state, guest) {
            Admission::Already => return self.settle(at, Outcome::Already),
            Admission::Denied(why) => return self.settle(at, Outcome::Failed(why.into())),
            Admission::Accept => {}
        }
        if !matches!(self.verb, Verb::Start | Verb::Restart) {
            return self.begin(at, guest, state, now);
        }
        if let Some(hindrance) = hindrance::held(step, state).or_else(|| hindrance::of(guest, state, look)) {
            return self.hindered(at, guest, hindrance, now);
        }
        // One that is up is only waited for.
        let is_up = matches!(state.phase, Phase::Up(_) | Phase::Frozen(_));
        if (self.verb == Verb::Restart || !is_up) && !state.takes_slot() {
            if let Some(why) = slots.none(state.is_running()) {
                self.waiting_for = why.to_owned();
                return Turn::NoSlot;
            }
            slots.free -= 1;
        }
        self.begin(at, guest, state, now)
    }

    fn hindered(&mut self, at: usize, guest: &Guest, hindrance: Hindrance, now: Now) -> Turn {
        match hindrance {
            Hindrance::Passing(what) => self.waiting_for = what,
            Hindrance::Lasting(why) => return self.settle(at, Outcome::Failed(why)),
            // It may come up at any try, and fail for ever: that is waited for as long as the guest itself may take.
            Hindrance::Failing(other) => {
                let since = *self.entries[at].hindered.get_or_insert(now.instant);
                let until = since.plus(guest.start.timeout);
                if until <= now.instant {
                    let why = format!("{other}, which it requires, does not come up");
                    return self.settle(at, Outcome::Failed(why));
                }
                self.wake = earliest(self.wake, Some(until));
                self.waiting_for = format!("the next try of {other}");
            }
        }
        Turn::NotYet
    }

    fn begin(&mut self, at: usize, guest: &Guest, state: &State, now: Now) -> Turn {
        let deadline = match self.verb {
            Verb::Reboot => Some(now.instant.plus(guest.stop.timeout)),
            // Its clock starts with its slot; of a restart's, once it may take the time to stop.
            Verb::Start => Some(now.instant.plus(guest.start.timeout)),
            Verb::Restart => Some(now.instant.plus(guest.start.timeout.saturating_add(guest.stop.timeout))),
            _ => None,
        };
        let may_go_on = self.verb == Verb::Reboot;
        let init = state.run().and_then(|run| run.init).map(|init| init.pid);
        let begun = Begun {
            at: now.instant,
            epoch: state.epoch,
            restarts: state.restarts,
            init,
            deadline,
            may_go_on,
        };
        let event = Event::turn(self.verb, self.wait, self.with_host, guest);
        self.wake = earliest(self.wake, deadline.filter(|_| may_go_on));
        self.reached(at, Progress::Begun(begun));
        Turn::Begins(event)
    }

    fn settle(&mut self, at: usize, outcome: Outcome) -> Turn {
        self.finish(at, outcome, None);
        Turn::Over
    }
}

/// What came of looking at a waiting entry.
enum Turn {
    Begins(Event),
    Over,
    NotYet,
    NoSlot,
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
