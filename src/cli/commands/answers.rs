//! What became of a request about several guests: kept until it can be told in the order of the names, and told
//! whatever ends the wait.

use std::cell::RefCell;

use serde_json::{Value, json};

use crate::{
    cli::{
        arguments::guestctl::Operation,
        away,
        error::Error,
        exit::GuestctlExit,
        job::Sight,
        output::{print, print_json, tell},
        progress::Progress,
        render,
        view::JobView,
    },
    model::{JobId, JobState, Outcome},
};

const PROGRAM: &str = "guestctl";

/// What became of the request about one guest.
pub(super) enum Answer {
    /// guestd took it; nobody waits.
    Left(JobId),
    /// It is over.
    Over(JobView),
    /// It was turned down, or its job was lost or is not waited for any more.
    Error {
        /// Why there is no result.
        error: Error,
        /// Its job, if it became one.
        job: Option<JobId>,
    },
    /// It never came to ask for it.
    NotAsked,
}

/// How far the request about one guest is.
enum Course {
    Open,
    Asking,
    Running { job: JobId, status: String },
    Answered(Answer),
}

/// The requests about all guests that were named.
pub(super) struct Answers<'a> {
    operation: &'a Operation<'a>,
    json: bool,
    courses: Vec<Course>,
    /// Nobody else is asked for.
    is_closed: bool,
    /// The answers to those before this one are told.
    told: usize,
    exit: GuestctlExit,
    progress: Progress,
    /// guestd has gone away, and that was told.
    is_away: bool,
}

impl<'a> Answers<'a> {
    /// None yet.
    pub(super) fn new(operation: &'a Operation<'a>, json: bool) -> RefCell<Self> {
        RefCell::new(Self {
            operation,
            json,
            courses: operation.names.iter().map(|_| Course::Open).collect(),
            is_closed: false,
            told: 0,
            exit: GuestctlExit::Done,
            progress: Progress::new(PROGRAM, false, false),
            is_away: false,
        })
    }

    /// guestd is about to be asked; false when that is no use any more.
    pub(super) fn asks(&mut self, at: usize) -> bool {
        if !self.is_closed {
            self.courses[at] = Course::Asking;
        }
        !self.is_closed
    }

    /// From here on nobody is asked for.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// A guest's job has begun.
    pub(super) fn begun(&mut self, at: usize, job: JobId) {
        self.courses[at] = Course::Running { job, status: String::new() };
    }

    /// Something is seen of a guest's job. That guestd goes away and comes back is told once for all of them.
    pub(super) fn seen(&mut self, at: usize, sight: Sight<'_>) {
        match sight {
            Sight::Job(view) => self.changed(at, view),
            Sight::Away if !std::mem::replace(&mut self.is_away, true) => {
                self.progress.note(PROGRAM, away::GONE);
            }
            Sight::Back if std::mem::take(&mut self.is_away) => self.progress.note(PROGRAM, away::BACK),
            Sight::Away | Sight::Back => {}
        }
    }

    /// A guest's job goes on.
    fn changed(&mut self, at: usize, view: &JobView) {
        if self.courses.len() == 1 {
            return self.progress.show(view);
        }
        self.courses[at] = Course::Running { job: view.id, status: view.status.clone() };
        let running = self.courses.iter().find_map(|course| match course {
            Course::Running { status, .. } => Some(status.clone()),
            _ => None,
        });
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let answered = self.courses.iter().filter(|course| matches!(course, Course::Answered(_))).count();
        self.progress.show(&JobView {
            done: count(answered),
            total: count(self.courses.len()),
            status: running.unwrap_or_default(),
            ..view.clone()
        });
    }

    /// A guest's request has its answer. Those whose turn has come are told.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn answered(&mut self, at: usize, answer: Answer) -> Result<(), Error> {
        self.courses[at] = Course::Answered(answer);
        while let Some(Course::Answered(answer)) = self.courses.get(self.told) {
            self.progress.clear();
            let name = &self.operation.names[self.told];
            self.exit = self.exit.and(tell_answer(name, self.operation, answer, self.json)?);
            self.told += 1;
        }
        Ok(())
    }

    /// Tells what is not told yet; who has no answer was interrupted. Hands out how the program ends.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn finish(mut self) -> Result<GuestctlExit, Error> {
        for at in 0..self.courses.len() {
            let answer = match self.courses[at] {
                Course::Answered(_) => continue,
                Course::Running { job, .. } => {
                    Answer::Error { error: Error::Interrupted { job }, job: Some(job) }
                }
                Course::Asking => Answer::Error { error: Error::InterruptedEarly, job: None },
                Course::Open => Answer::NotAsked,
            };
            self.answered(at, answer)?;
        }
        self.progress.clear();
        let answers =
            self.courses.iter().zip(self.operation.names).filter_map(|(course, name)| match course {
                Course::Answered(answer) => Some((name, answer)),
                _ => None,
            });
        let is_left = |answer: &Answer| matches!(answer, Answer::NotAsked);
        let left = answers.clone().filter(|(_, answer)| is_left(answer)).map(|(name, _)| name.as_str());
        let left = left.collect::<Vec<_>>();
        if !left.is_empty() {
            tell(PROGRAM, &format!("guestd was not asked for the others: {}", left.join(", ")));
        }
        if self.json {
            let answers = answers.map(|(name, answer)| answer_json(name, self.operation, answer));
            print_json(&answers.collect::<Vec<_>>())?;
        }
        Ok(self.exit)
    }
}

/// Prints an answer, and says how the program ends if it is the only one.
fn tell_answer(
    name: &str,
    operation: &Operation<'_>,
    answer: &Answer,
    json: bool,
) -> Result<GuestctlExit, Error> {
    let say = |text: &str| if json { Ok(()) } else { print(&format!("{name}: {text}\n")) };
    match answer {
        Answer::Left(id) => say(&format!("job {id} accepted")).map(|()| GuestctlExit::Done),
        // guestd's own words name the guest.
        Answer::Error { error, .. } if error.is_about_the_wait() => {
            tell(PROGRAM, &format!("{name}: {error}"));
            Ok(super::exit_of(error))
        }
        Answer::Error { error, .. } => {
            tell(PROGRAM, &error.to_string());
            Ok(super::exit_of(error))
        }
        Answer::NotAsked => Ok(GuestctlExit::Failed),
        Answer::Over(job) => {
            for (guest, reason) in job.failures() {
                tell(PROGRAM, &format!("{guest}: {reason}"));
            }
            if job.results.get(name).is_none_or(Outcome::is_success) {
                say(&render::job::outcome(operation.verb, job.results.get(name)))?;
            }
            Ok(if job.state == JobState::Done { GuestctlExit::Done } else { GuestctlExit::Failed })
        }
    }
}

fn answer_json(name: &str, operation: &Operation<'_>, answer: &Answer) -> Value {
    let mut value = match answer {
        Answer::Left(id) => json!({"job": id}),
        Answer::Error { error, job } => json!({"job": job, "error": error.to_string()}),
        Answer::NotAsked => json!({"job": null, "error": "guestd was not asked"}),
        Answer::Over(job) => job_json(job),
    };
    value["name"] = name.into();
    value["verb"] = operation.verb.as_str().into();
    value
}

/// A job that is over, as JSON: what `autostart --json` prints, and `guestctl VERB --json` for each guest. Scripts
/// rely on it: fields may be added, never renamed or taken away.
pub(super) fn job_json(job: &JobView) -> Value {
    let results = job.results.iter().map(|(guest, outcome)| (guest.clone(), outcome.to_string().into()));
    json!({
        // Its number.
        "job": job.id,
        // What it did to each guest: start, stop, kill, reboot and so on.
        "verb": job.verb,
        // done, failed or canceled.
        "state": job.state,
        // How many guests have a result, of how many.
        "done": job.done,
        "total": job.total,
        // For each guest: done, already, asked, canceled, or failed: and the reason.
        "results": results.collect::<serde_json::Map<String, Value>>(),
    })
}
