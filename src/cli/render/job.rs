//! Jobs: `guestctl jobs`, and the line that sums one up.

use std::time::SystemTime;

use super::{Column, Long, Style, table, time};
use crate::{
    cli::view::JobView,
    dbus::describe::Job,
    model::{Outcome, Verb},
};

/// The table of jobs.
pub fn list(style: Style, jobs: &[Job<'_>], now: SystemTime) -> String {
    let column = |title, cell: &dyn Fn(&Job<'_>) -> String| Column::new(title, jobs.iter().map(cell));
    let columns = vec![
        column("JOB", &|job| job.id.to_string()).numeric(),
        column("VERB", &|job| job.verb.to_string()),
        column("STATE", &|job| job.state.to_string()),
        column("PROGRESS", &|job| format!("{}/{}", job.done, job.total)),
        column("SINCE", &|job| time::since(&job.started, now)).dispensable(1),
        column("STATUS", &|job| job.status.to_string()),
    ];
    table(style, columns, "STATE", Long::Cut)
}

/// What became of a job's guests, in one line: `2 started, 1 already up, 1 failed`.
pub fn summary(verb: Verb, job: &JobView) -> String {
    let (done, already) = words(verb);
    let count =
        |wanted: &dyn Fn(&Outcome) -> bool| job.results.values().filter(|outcome| wanted(outcome)).count();
    let counts = [
        (count(&|outcome| *outcome == Outcome::Done), done),
        (count(&|outcome| *outcome == Outcome::Already), already),
        (count(&|outcome| *outcome == Outcome::Asked), "asked"),
        (count(&|outcome| matches!(outcome, Outcome::Failed(_))), "failed"),
        (count(&|outcome| *outcome == Outcome::Canceled), "canceled"),
    ];
    let told: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if told.is_empty() { "nothing to do".to_owned() } else { told.join(", ") }
}

/// What became of one guest, in a word; a success.
pub fn outcome(verb: Verb, outcome: Option<&Outcome>) -> String {
    let (done, already) = words(verb);
    match outcome {
        Some(Outcome::Done) => done.to_owned(),
        Some(Outcome::Already) => already.to_owned(),
        Some(other) => other.to_string(),
        None => "nothing to do".to_owned(),
    }
}

/// What a guest is that a verb was carried out on, and one that it was not needed for.
fn words(verb: Verb) -> (&'static str, &'static str) {
    match verb {
        Verb::Start => ("started", "already up"),
        Verb::Stop => ("stopped", "already down"),
        Verb::Restart => ("restarted", "already so"),
        Verb::Reboot => ("rebooted", "already so"),
        Verb::Kill => ("killed", "already down"),
        Verb::Freeze => ("frozen", "already frozen"),
        Verb::Thaw => ("thawed", "not frozen"),
        Verb::Reset => ("reset", "not failed"),
        Verb::Hold => ("held", "already held"),
        Verb::Release => ("released", "not held"),
    }
}
