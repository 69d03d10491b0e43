//! Jobs beyond the daemon's end: what is to be stored of them, and how the next daemon goes on with what it finds.
//!
//! A job is stored once as it was accepted, and from then on by what changes: so a job over a thousand guests is not
//! written a thousand times. Moments are stored as wall-clock times. What is not stored of a job when the daemon is killed
//! is done again, which does no harm: it is stored before anything is done.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    entry::{Entry, Left, Progress},
    fleet::Fleet,
    job::Job,
    state::Intent,
    told,
};
use crate::{
    model::{GroupName, GuestName, JobId, Now, Outcome, StopWait, Timestamp, Verb},
    plan::Step,
};

/// A job as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredJob {
    /// The form of all that is stored of it: [`StoredJob::VERSION`].
    pub version: u32,
    /// Its number.
    pub id: JobId,
    verb: Verb,
    wait: StopWait,
    /// Whoever it takes down goes down with the host.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    with_host: bool,
    started: Timestamp,
    steps: Vec<Step>,
    /// The results of the guests that have no step: they were as wanted, or were refused.
    settled: BTreeMap<GuestName, Outcome>,
    /// The groups that it brings up for the boot.
    brings_up: BTreeSet<Option<GroupName>>,
}

impl StoredJob {
    /// The form that this version writes and reads.
    pub const VERSION: u32 = 1;
}

/// What has changed of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How far steps are now, by their places in the plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    steps: Vec<(usize, Course)>,
    /// It is cancelled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    canceled: bool,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

/// How far a step is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Course {
    Waiting,
    Begun {
        restarts: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        init: Option<i32>,
    },
    Over {
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran_at: Option<Timestamp>,
    },
}

/// What is to be stored, in order, before anything else is done.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    /// All of a job, in place of what may be stored of it.
    Whole(StoredJob, Change),
    /// More of a job.
    More(JobId, Change),
    /// It is forgotten.
    Forgotten(JobId),
}

/// What of a job was not handed out to be stored.
#[derive(Debug, Clone)]
pub(super) struct Unstored {
    whole: bool,
    /// The places of steps whose progress changed.
    pub(super) entries: BTreeSet<usize>,
    /// Whether it is known to be cancelled, and to be over.
    flags: (bool, bool),
}

impl Unstored {
    /// Nothing was stored yet.
    pub(super) fn whole() -> Self {
        Self { whole: true, entries: BTreeSet::new(), flags: (false, false) }
    }
}

/// A job as an earlier daemon left it.
#[derive(Debug)]
pub struct LeftJob {
    job: Job,
    brings_up: BTreeSet<Option<GroupName>>,
}

/// What is stored contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it contradicts itself: {0}")]
pub struct Contradiction(&'static str);

impl LeftJob {
    /// A job made from what was stored of it. `is_complete` says that nothing was cut off at the end of that; else it is
    /// stored again.
    ///
    /// # Errors
    /// [`Contradiction`], also for steps that wait for later ones: such a job would never end.
    pub fn new(
        stored: StoredJob,
        changes: Vec<Change>,
        is_complete: bool,
        now: Now,
    ) -> Result<Self, Contradiction> {
        let StoredJob { id, verb, wait, with_host, started, steps, settled, brings_up, .. } = stored;
        check(&steps, &settled)?;
        let mut job = Job::of_steps(id, verb, wait, steps, settled, started);
        job.with_host = with_host;
        for change in changes {
            for (at, course) in change.steps {
                job.take_over(at, course, now)?;
            }
            job.canceled |= change.canceled;
            job.ended = job.ended.or(change.ended);
        }
        if job.is_over() && !job.entries.iter().all(Entry::is_over) {
            return Err(Contradiction("it is over, and steps are not"));
        }
        let flags = (job.canceled, job.is_over());
        job.unstored = Unstored { whole: !is_complete, entries: BTreeSet::new(), flags };
        Ok(Self { job, brings_up })
    }
}

fn check(steps: &[Step], settled: &BTreeMap<GuestName, Outcome>) -> Result<(), Contradiction> {
    let mut seen: BTreeSet<&GuestName> = settled.keys().collect();
    for (at, step) in steps.iter().enumerate() {
        if !seen.insert(&step.guest) {
            return Err(Contradiction("a guest is there twice"));
        }
        if step.after.iter().chain(&step.requires).any(|before| *before >= at) {
            return Err(Contradiction("its steps are in no order"));
        }
    }
    Ok(())
}

impl Job {
    fn take_over(&mut self, at: usize, course: Course, now: Now) -> Result<(), Contradiction> {
        let entry = self.entries.get_mut(at).ok_or(Contradiction("a step is not in its plan"))?;
        entry.progress = match course {
            Course::Waiting => Progress::Waiting,
            Course::Begun { restarts, init } => Progress::Left(Left { restarts, init, since: now.instant }),
            Course::Over { outcome, ran_at } => {
                let well = outcome.is_success();
                self.results.insert(entry.step.guest.clone(), outcome);
                Progress::Over { well, ran_at: ran_at.map(|at| now.instant_of(at)) }
            }
        };
        Ok(())
    }

    /// What is to be stored of it, each thing once.
    fn take_record(&mut self, brings_up: Option<&BTreeSet<Option<GroupName>>>, now: Now) -> Option<Record> {
        let flags = (self.canceled, self.is_over());
        let Unstored { whole, entries, flags: known } = &mut self.unstored;
        if !*whole && entries.is_empty() && *known == flags {
            return None;
        }
        *known = flags;
        let (whole, changed) = (std::mem::take(whole), std::mem::take(entries));
        if !whole {
            return Some(Record::More(self.id(), self.change(changed, now)));
        }
        let is_new = |at: &usize| !matches!(self.entries[*at].progress, Progress::Waiting);
        let change = self.change((0..self.entries.len()).filter(is_new), now);
        let has_step: BTreeSet<&GuestName> = self.entries.iter().map(|entry| &entry.step.guest).collect();
        let settled = self.results.iter().filter(|(guest, _)| !has_step.contains(guest));
        let stored = StoredJob {
            version: StoredJob::VERSION,
            id: self.id(),
            verb: self.verb(),
            wait: self.wait,
            with_host: self.with_host,
            started: self.started,
            settled: settled.map(|(guest, outcome)| (guest.clone(), outcome.clone())).collect(),
            steps: self.entries.iter().map(|entry| entry.step.clone()).collect(),
            brings_up: brings_up.cloned().unwrap_or_default(),
        };
        Some(Record::Whole(stored, change))
    }

    fn change(&self, entries: impl IntoIterator<Item = usize>, now: Now) -> Change {
        let steps = entries.into_iter().map(|at| (at, self.course(&self.entries[at], now)));
        Change { steps: steps.collect(), canceled: self.canceled, ended: self.ended }
    }

    fn course(&self, entry: &Entry, now: Now) -> Course {
        match &entry.progress {
            Progress::Waiting => Course::Waiting,
            Progress::Begun(begun) => Course::Begun { restarts: begun.restarts, init: begun.init },
            Progress::Left(left) => Course::Begun { restarts: left.restarts, init: left.init },
            Progress::Over { ran_at, .. } => Course::Over {
                outcome: self.results.get(&entry.step.guest).cloned().unwrap_or(Outcome::Canceled),
                ran_at: ran_at.map(|at| now.wall_of(at)),
            },
        }
    }
}

impl Fleet {
    /// What is to be stored of jobs now, each thing once.
    pub fn take_job_records(&mut self, now: Now) -> Vec<Record> {
        let forgotten = std::mem::take(&mut self.forgotten).into_iter().map(Record::Forgotten);
        let booting = &self.booting;
        let changed = self.jobs.iter_mut().filter_map(|(id, job)| job.take_record(booting.get(id), now));
        changed.chain(forgotten).collect()
    }

    /// Goes on with the jobs of the daemon before this one, now that every guest was looked at. New ones get numbers
    /// above `last`.
    pub fn restore(&mut self, left: Vec<LeftJob>, last: JobId, now: Now) {
        let mut ended = Vec::new();
        for LeftJob { job, brings_up } in left {
            let id = job.id();
            if let Some(at) = job.ended {
                ended.push((at, id));
                // It may have been killed between the two.
                self.booted.extend(Some(brings_up).filter(|_| !job.canceled).unwrap_or_default());
            } else {
                self.job_lines.push(told::goes_on(&job));
                self.stirred.extend(job.guests().cloned());
                self.changed.extend(job.guests().cloned());
                for name in job.guests().filter(|name| job.is_to_stop(name)) {
                    self.states.get_mut(name).into_iter().for_each(|state| state.want(Intent::Down));
                }
                self.booting.insert(id, brings_up);
            }
            self.last_job = self.last_job.max(id.0);
            self.jobs.insert(id, job);
        }
        ended.sort_unstable();
        for (at, id) in ended {
            self.ended.add(id, self.jobs[&id].guests().count(), now.instant_of(at));
        }
        self.last_job = self.last_job.max(last.0);
        self.advance(now);
    }
}
