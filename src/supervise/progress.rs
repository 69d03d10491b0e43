//! How far a job is, in the form that readers see.

use super::job::{Job, Progress};
use crate::model::{JobState, Outcome, status::JobStatus};

impl Job {
    /// How far it is, for readers.
    pub fn status(&self) -> JobStatus {
        let begun = self.entries.iter().filter(|entry| matches!(entry.progress, Progress::Begun(_)));
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
        const SHOWN: usize = 4;
        if self.is_over() {
            return String::new();
        }
        let mut words = String::new();
        if !under_way.is_empty() {
            words = format!("{}: {}", self.verb(), under_way[..under_way.len().min(SHOWN)].join(", "));
        }
        if under_way.len() > SHOWN {
            words.push_str(&format!(" and {} more", under_way.len() - SHOWN));
        }
        if !self.waiting_for.is_empty() {
            let joint = if words.is_empty() { "" } else { "; " };
            words.push_str(&format!("{joint}waiting for {}", self.waiting_for));
        }
        words
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
