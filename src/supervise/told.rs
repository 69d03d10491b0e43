//! What the journal is told of jobs, and in which job it happened what a guest's line tells.

use std::time::Duration;

use super::{
    effect::{Effect, Level, Line, Task, Topic},
    fleet::Fleet,
    job::Job,
    progress::some_of,
};
use crate::model::{GuestName, JobState, Outcome};

/// A line about a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLine {
    /// The guest it is about, when it is about one only.
    pub guest: Option<GuestName>,
    /// What is to be said.
    pub line: Line,
}

impl JobLine {
    fn of(job: &Job, level: Level, topic: Topic, text: String) -> Self {
        let mut guests = job.guests();
        let guest = guests.next().filter(|_| guests.next().is_none()).cloned();
        Self { guest, line: Line { level, topic, job: Some(job.id()), text } }
    }
}

/// A job has begun.
pub(super) fn begun(job: &Job) -> JobLine {
    let guests: Vec<&str> = job.guests().map(GuestName::as_str).collect();
    let whom = if guests.is_empty() { "nobody".to_owned() } else { some_of(&guests) };
    let text = format!("job {} begins: {} {whom}", job.id(), job.verb());
    JobLine::of(job, Level::Info, Topic::JobBegun, text)
}

/// A job of an earlier daemon goes on.
pub(super) fn goes_on(job: &Job) -> JobLine {
    let status = job.status();
    let text = format!("job {} ({}) goes on: {} of {} done", job.id(), job.verb(), status.done, status.total);
    JobLine::of(job, Level::Info, Topic::Other, text)
}

/// A job is over.
pub(super) fn ended(job: &Job) -> JobLine {
    let state = job.status().state;
    let mut text = format!("job {} ({}) is over: {state}", job.id(), job.verb());
    let came_out = job.results.values().filter(|outcome| **outcome == Outcome::Done).count();
    if let Some((took, guest)) = job.slowest.as_ref().filter(|_| came_out > 1) {
        let took = Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        text = format!("{text}; the slowest, {guest}, took {}", humantime::format_duration(took));
    }
    let failed = job.results.iter().filter_map(|(guest, outcome)| match outcome {
        Outcome::Failed(why) => Some(format!("{guest}: {why}")),
        _ => None,
    });
    let failed: Vec<String> = failed.collect();
    if !failed.is_empty() {
        text = format!("{text}; {}", some_of(&failed));
    }
    let level = if state == JobState::Failed { Level::Warning } else { Level::Info };
    JobLine::of(job, level, Topic::JobEnded, text)
}

impl Fleet {
    /// Notes something about a guest in the journal.
    pub fn note(&mut self, name: &GuestName, level: Level, text: String) {
        let line = Line { level, topic: Topic::Other, job: None, text };
        self.tasks.push(Task { guest: name.clone(), effect: Effect::Log(line) });
    }

    /// What is to be said of jobs, in order; each line is handed out once.
    pub fn take_job_lines(&mut self) -> Vec<JobLine> {
        std::mem::take(&mut self.job_lines)
    }

    /// Tells the job in which this happens to a guest: the newest one in which it has its turn.
    pub(super) fn in_its_job(&self, name: &GuestName, mut effects: Vec<Effect>) -> Vec<Effect> {
        for effect in &mut effects {
            if let Effect::Log(line) = effect {
                line.job = self.jobs.values().rev().find(|job| job.has_turn(name)).map(Job::id);
            }
        }
        effects
    }
}
