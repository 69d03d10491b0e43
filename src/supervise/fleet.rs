//! All guests and all jobs: what the manager loop owns. Requests and events go in, tasks come out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    effect::{Effect, Task},
    ended::Ended,
    event::{Event, HelperId},
    hold::Lasting,
    job::{Job, Turns},
    machine,
    pressure::Gate,
    state::{Phase, State},
    told::{self, JobLine},
};
use crate::{
    engine::Observation,
    helper::wire::{self, Answer, Decision},
    model::{
        GroupName, Guest, GuestName, Instant, JobId, Now, Order, Pressure, Rejection, StopWait, Verb,
        status::Snapshot,
    },
    plan::{Guests, Plan},
};

pub use super::recall::Recalled;

/// The settings that decisions about all guests need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How `start.order` is read.
    pub order: Order,
    /// At most so many guests are being started at once.
    pub max_starting: usize,
    /// How hard pressed the host may be for that.
    pub pressure: Pressure,
    /// The groups of a boot.
    pub boot_groups: Vec<Option<GroupName>>,
}

/// Every guest, every job.
#[derive(Debug)]
pub struct Fleet {
    pub(super) rules: Rules,
    pub(super) guests: Guests,
    pub(super) states: BTreeMap<GuestName, State>,
    /// Run on, although their configuration is gone or is another container's; with what comes once they are down.
    pub(super) successors: BTreeMap<GuestName, Option<Arc<Guest>>>,
    pub(super) jobs: BTreeMap<JobId, Job>,
    /// Those of the jobs that have ended.
    pub(super) ended: Ended,
    /// Those that were forgotten since that was last asked for.
    pub(super) forgotten: Vec<JobId>,
    pub(super) last_job: u32,
    /// Groups that were brought up this boot.
    pub(super) booted: BTreeSet<Option<GroupName>>,
    /// The groups that jobs are bringing up for the boot; they count once their job is over and was not cancelled.
    pub(super) booting: BTreeMap<JobId, BTreeSet<Option<GroupName>>>,
    pub(super) tasks: Vec<Task>,
    /// What is to be said of jobs.
    pub(super) job_lines: Vec<JobLine>,
    /// Whose deadline is when.
    pub(super) deadlines: BTreeSet<(Instant, GuestName)>,
    pub(super) changed: BTreeSet<GuestName>,
    /// Whose state the jobs have not looked at since it last changed.
    pub(super) stirred: BTreeSet<GuestName>,
    /// How many take a slot to start in.
    pub(super) starting: usize,
    /// Who is to be started again as soon as nothing is in the way.
    pub(super) due: BTreeSet<GuestName>,
    /// Who has failed for good since the last look at those who require it.
    pub(super) given_up: Vec<GuestName>,
    pub(super) lasting: Lasting,
    /// How hard pressed the host is.
    pub(super) pressure: Gate,
    pub(super) published: Snapshot,
}

impl Fleet {
    /// An empty fleet.
    pub fn new(rules: Rules, booted: BTreeSet<Option<GroupName>>) -> Self {
        Self {
            rules,
            guests: Guests::new(),
            states: BTreeMap::new(),
            successors: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ended: Ended::default(),
            forgotten: Vec::new(),
            last_job: 0,
            booted,
            booting: BTreeMap::new(),
            tasks: Vec::new(),
            job_lines: Vec::new(),
            deadlines: BTreeSet::new(),
            changed: BTreeSet::new(),
            stirred: BTreeSet::new(),
            starting: 0,
            due: BTreeSet::new(),
            given_up: Vec::new(),
            lasting: Lasting::default(),
            pressure: Gate::default(),
            published: Snapshot::default(),
        }
    }

    /// The guest of this name.
    pub fn guest(&self, name: &GuestName) -> Option<&Arc<Guest>> {
        self.guests.get(name)
    }

    /// The state of the guest of this name.
    pub fn state(&self, name: &GuestName) -> Option<&State> {
        self.states.get(name)
    }

    /// Groups that were brought up this boot.
    pub fn booted(&self) -> &BTreeSet<Option<GroupName>> {
        &self.booted
    }

    /// What is to be done, in order; each task is handed out once.
    pub fn take_tasks(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.tasks)
    }

    /// When the fleet wants [`Fleet::wake`] to be called.
    pub fn deadline(&self) -> Option<Instant> {
        let jobs = self.jobs.values().filter_map(Job::wake);
        let guests = self.deadlines.first().map(|(at, _)| *at);
        guests.into_iter().chain(jobs).chain(self.pressure.deadline()).chain(self.lasting.deadline()).min()
    }

    /// Lets every deadline that has come happen.
    pub fn wake(&mut self, now: Now) {
        while let Some((_, name)) = self.deadlines.first().filter(|(at, _)| *at <= now.instant).cloned() {
            self.step(&name, Event::TimedOut, now);
        }
        self.end_holds(now);
        self.advance(now);
    }

    /// Something happened to a guest.
    pub fn happened(&mut self, name: &GuestName, event: Event, now: Now) {
        if let Event::RequestReturned(_, request, result) = &event {
            for job in self.jobs.values_mut().filter(|job| !job.is_over()) {
                job.answered(name, *request, result);
            }
        }
        self.step(name, event, now);
        self.advance(now);
    }

    /// The engine saw something of a guest.
    pub fn observed(
        &mut self,
        name: &GuestName,
        epoch: Option<crate::engine::Epoch>,
        what: Observation,
        now: Now,
    ) {
        match (epoch, what) {
            (Some(epoch), what) => self.happened(name, Event::Observed(epoch, what), now),
            (None, Observation::Appeared)
                if self.states.get(name).is_some_and(|state| !state.is_running()) =>
            {
                self.tasks.push(Task { guest: name.clone(), effect: Effect::Probe });
            }
            (None, _) => {}
        }
    }

    /// A guest reported something through the helper.
    pub fn reported(&mut self, name: &GuestName, id: HelperId, event: wire::Event, now: Now) {
        self.happened(name, Event::Reported(id, event), now);
    }

    /// Whoever asks about a guest that is not known, or no longer, is answered too.
    fn answer_stranger(&mut self, name: &GuestName, event: &Event) {
        if let Event::Reported(id, _) | Event::ScriptEnded(id, _) = event {
            let reason = "guestd does not know this guest".to_owned();
            let answer = Answer { decision: Decision::Ignore, reason, anew: false };
            self.tasks.push(Task { guest: name.clone(), effect: Effect::Answer(*id, answer) });
        }
    }

    /// A helper request that was answered while the daemon was away.
    pub fn recall(&mut self, request: Recalled, now: Now) {
        let Recalled { guest, event, at, decision, reason, tripped } = request;
        self.happened(&guest, Event::Recalled { event, at, decision, reason, tripped }, now);
    }

    pub(super) fn step(&mut self, name: &GuestName, event: Event, now: Now) {
        let (Some(state), Some(guest)) = (self.states.get_mut(name), self.guests.get(name)) else {
            return self.answer_stranger(name, &event);
        };
        let (before, was_starting) = (state.deadline(), state.takes_slot());
        let had_failed = matches!(state.phase, Phase::Failed { .. }) || event.tells_of_old_failure();
        let effects = machine::handle(state, guest, event, now);
        let (after, is_starting) = (state.deadline(), state.takes_slot());
        if state.is_due() {
            self.due.insert(name.clone());
        } else {
            self.due.remove(name);
        }
        if !had_failed && state.has_given_up() {
            self.given_up.push(name.clone());
        }
        self.starting = self.starting + usize::from(is_starting) - usize::from(was_starting);
        if before != after {
            before.map(|at| self.deadlines.remove(&(at, name.clone())));
            after.map(|at| self.deadlines.insert((at, name.clone())));
        }
        self.changed.insert(name.clone());
        self.stirred.insert(name.clone());
        let effects = self.in_its_job(name, effects);
        self.tasks.extend(effects.into_iter().map(|effect| Task { guest: name.clone(), effect }));
    }

    /// Lets every job look at the guests that stirred, until nothing does any more.
    pub(super) fn advance(&mut self, now: Now) {
        loop {
            // First: who is stopped so has no other turn.
            let has_stopped = !self.lasting.is_looking && self.stop_dependents(now);
            self.pressure.forget_wish();
            let stirred = std::mem::take(&mut self.stirred);
            let running = self.jobs.values().filter(|job| !job.is_over()).map(Job::id);
            let mut turns = Vec::new();
            for id in running.collect::<Vec<_>>() {
                turns.extend(self.advance_job(id, &stirred, now));
            }
            let has_changed = self.retry(now) || has_stopped;
            if turns.is_empty() && self.stirred.is_empty() && !has_changed {
                break;
            }
        }
        self.show_waiting();
        // Only now: a job that ended such a guest has seen that it did.
        self.retire(now);
    }

    fn advance_job(&mut self, id: JobId, stirred: &BTreeSet<GuestName>, now: Now) -> Turns {
        let mut slots = self.pressure.slots(&self.rules, self.starting, now.instant);
        let (guests, states) = (&self.guests, &self.states);
        let look = |name: &GuestName| Some((&**guests.get(name)?, states.get(name)?));
        let Some(job) = self.jobs.get_mut(&id) else { return Turns::new() };
        let turns = job.advance(&look, stirred, &mut slots, now);
        let is_wanted = slots.is_wanted;
        self.pressure.wish(is_wanted);
        if job.is_over() {
            self.job_lines.push(told::ended(job));
            self.changed.extend(job.guests().cloned());
            self.ended.add(id, job.guests().count(), now.instant);
            let brought_up = self.booting.remove(&id).filter(|_| !job.canceled);
            self.booted.extend(brought_up.unwrap_or_default());
        }
        for (name, event) in turns.iter().cloned() {
            self.step(&name, event, now);
        }
        turns
    }

    pub(super) fn submit(
        &mut self,
        verb: Verb,
        wait: StopWait,
        plan: Plan,
        brings_up: BTreeSet<Option<GroupName>>,
        now: Now,
    ) -> JobId {
        let id = self.enter(verb, wait, plan, brings_up, now);
        self.advance(now);
        id
    }

    /// Makes a job, which works at the next advance.
    pub(super) fn enter(
        &mut self,
        verb: Verb,
        wait: StopWait,
        plan: Plan,
        brings_up: BTreeSet<Option<GroupName>>,
        now: Now,
    ) -> JobId {
        self.wish(verb, &plan);
        self.last_job += 1;
        let id = JobId(self.last_job);
        let mut job = Job::new(id, verb, wait, plan, now);
        job.with_host = self.lasting.host_stops;
        self.job_lines.push(told::begun(&job));
        let concerned: BTreeSet<GuestName> = job.guests().cloned().collect();
        for earlier in self.jobs.values_mut().filter(|job| !job.is_over()) {
            earlier.yield_to(verb, |name| concerned.contains(name));
        }
        self.changed.extend(concerned);
        self.jobs.insert(id, job);
        self.booting.insert(id, brings_up);
        while let Some(forgotten) = self.ended.forget(now.instant) {
            self.jobs.remove(&forgotten);
            self.forgotten.push(forgotten);
        }
        id
    }

    /// Cancels what a job has not begun.
    ///
    /// # Errors
    /// [`Rejection::NoSuchJob`].
    pub fn cancel(&mut self, id: JobId, now: Now) -> Result<(), Rejection> {
        let job = self.jobs.get_mut(&id).ok_or(Rejection::NoSuchJob(id))?;
        if !job.is_over() {
            let spared = job.cancel();
            self.changed.extend(job.guests().cloned());
            self.spare(spared);
            self.advance(now);
        }
        Ok(())
    }
}
