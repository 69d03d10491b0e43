//! `guestctl start`, `stop` and the other verbs: one job for each guest that is named.

use serde_json::{Value, json};
use zbus::OwnedObjectPath;

use crate::{
    cli::{
        arguments::{guestctl::Operation, seconds},
        bus::{Bus, Interrupt, Options},
        error::Error,
        exit::GuestctlExit,
        job,
        output::{print, print_json, tell},
        progress::Progress,
        render,
        view::JobView,
    },
    model::{GuestName, JobId, JobState, Outcome},
};

const PROGRAM: &str = "guestctl";

/// What became of the request about one guest.
enum Answer {
    /// guestd took it; nobody waits.
    Left(JobId),
    /// It is over.
    Over(JobView),
    /// It was turned down, or lost.
    Error(Error),
}

/// Begins all of it, then waits for each: the jobs run side by side.
pub(super) async fn run(operation: &Operation<'_>, json: bool) -> Result<GuestctlExit, Error> {
    let options = options(operation)?;
    let mut interrupt = Interrupt::listen()?;
    let bus = interrupt.or(Bus::connect()).await?;
    let mut begun = Vec::with_capacity(operation.names.len());
    for name in operation.names {
        match interrupt.or(begin(&bus, operation, name, &options)).await {
            // No other guest will fare better.
            Err(error) if error.is_unreachable() || error.is_interruption() => return Err(error),
            answer => begun.push((name, answer)),
        }
    }
    let mut exit = GuestctlExit::Done;
    let mut answers = Vec::with_capacity(begun.len());
    for (name, begun) in begun {
        let answer = match begun {
            Ok(path) => await_end(&bus, &path, operation, &mut interrupt).await,
            Err(error) => Answer::Error(error),
        };
        exit = exit.and(tell_answer(name, operation, &answer, json)?);
        answers.push(answer_json(name, operation, &answer));
        if exit == GuestctlExit::Interrupted {
            break;
        }
    }
    if json {
        print_json(&answers)?;
    }
    Ok(exit)
}

fn options<'a>(operation: &Operation<'a>) -> Result<Options<'a>, Error> {
    let mut options = Options::new();
    if let Some(text) = operation.timeout {
        options.insert("timeout", seconds(text)?.into());
    }
    if let Some(reason) = operation.reason {
        options.insert("reason", reason.into());
    }
    Ok(options)
}

async fn begin(
    bus: &Bus,
    operation: &Operation<'_>,
    name: &str,
    options: &Options<'_>,
) -> Result<OwnedObjectPath, Error> {
    // What cannot be a name is no guest's.
    GuestName::new(name).map_err(|error| Error::NoSuchGuest { message: error.to_string() })?;
    match bus.operate(operation.verb, name, options).await {
        Err(error) => Err(bus.with_suggestion(name, error).await),
        path => path,
    }
}

async fn await_end(
    bus: &Bus,
    path: &OwnedObjectPath,
    operation: &Operation<'_>,
    interrupt: &mut Interrupt,
) -> Answer {
    if !operation.wait {
        return job::id(bus, path).await.map_or_else(Answer::Error, Answer::Left);
    }
    let mut progress = Progress::new(PROGRAM, false, false);
    let followed = job::follow(bus, path, interrupt, |job| progress.show(job)).await;
    progress.clear();
    followed.map_or_else(Answer::Error, Answer::Over)
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
        Answer::Error(error) => {
            tell(PROGRAM, &error.to_string());
            Ok(super::exit_of(error))
        }
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
        Answer::Error(error) => json!({"job": null, "error": error.to_string()}),
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
