//! How far a job is, in the form that readers see.

use super::{entry::Entry, job::Job};
use crate::model::{JobState, Outcome, status::JobStatus};

impl Job {
    /// How far it is, for readers.
    pub fn status(&self) -> JobStatus {
        let begun = self.entries.iter().filter(|entry| Entry::is_under_way(entry));
        let under_way: Vec<&str> = begun.map(|entry| entry.step.guest.as_str()).collect();
        let success = self.results.values().all(Outcome::is_success);
        let state = match (self.is_over(), self.canceled, success) {
            (false, ..) => JobState::Running,
            (true, true, _) => JobState::Canceled,
            (true, false, true) => JobState::Done,
            (true, false, false) => JobState::Failed,
        };
        JobStatus {
            id: self.id(),
            verb: self.verb(),
            state,
            done: count(self.results.len()),
            total: count(self.concerned.len()),
            status: self.words(&under_way),
            guests: self.concerned.clone(),
            results: self.results.clone(),
            started: self.started,
            ended: self.ended,
        }
    }

    fn words(&self, under_way: &[&str]) -> String {
        if self.is_over() {
            return String::new();
        }
        let mut words = String::new();
        if !under_way.is_empty() {
            words = format!("{}: {}", self.verb(), some_of(under_way));
        }
        if !self.waiting_for.is_empty() {
            let joint = if words.is_empty() { "" } else { "; " };
            words.push_str(&format!("{joint}waiting for {}", self.waiting_for));
        }
        words
    }
}

/// The first few of them, and how many more there are.
pub(super) fn some_of<T: AsRef<str>>(all: &[T]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = all.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = all.len() - shown.len();
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &end
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
