//! A job that is followed, as its D-Bus properties tell it.

use std::collections::BTreeMap;

use crate::model::{JobId, JobState, Outcome};

/// A job that is followed, from its D-Bus properties.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// Its number.
    pub id: JobId,
    /// What it does to each guest.
    pub verb: String,
    /// How far it is.
    pub state: JobState,
    /// How many guests have a result.
    pub done: u32,
    /// Of how many.
    pub total: u32,
    /// What it does or waits for just now.
    pub status: String,
    /// The results so far.
    pub results: BTreeMap<String, Outcome>,
}

impl JobView {
    /// The guests that did not come out as asked, with the reasons.
    pub fn failures(&self) -> impl Iterator<Item = (&str, String)> {
        self.results.iter().filter(|(_, outcome)| !outcome.is_success()).map(|(guest, outcome)| {
            let reason = match outcome {
                Outcome::Failed(reason) => reason.clone(),
                // Not the whole job: what yielded is what a later request wanted otherwise.
                Outcome::Canceled if self.state != JobState::Canceled => {
                    "given up: a later request took its place; \"guestctl jobs\" shows it".to_owned()
                }
                Outcome::Canceled => format!("not done: job {} was canceled before its turn", self.id),
                other => other.to_string(),
            };
            (guest.as_str(), reason)
        })
    }
}
