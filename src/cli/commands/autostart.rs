//! `autostart`.

use serde_json::json;

use crate::{
    cli::{
        arguments::{
            Autostart,
            autostart::{Mode, Request},
        },
        bus::{Bus, Interrupt},
        commands::plan,
        error::Error,
        exit::AutostartExit,
        job,
        log::{Log, LogError, Priority},
        output::{print, print_json, tell},
        progress::Progress,
        render::{self, Style},
        view::JobView,
    },
    model::{Outcome, PlannedStep},
};

const PROGRAM: &str = "autostart";

/// Carries the request out.
///
/// # Errors
/// [`Error`]: nothing was done, or nobody knows what was done; it is in the log as well.
pub async fn run(arguments: &Autostart) -> Result<AutostartExit, Error> {
    let request = arguments.request()?;
    let mut log = Log::open(arguments.log_file.as_deref(), request.log_priority)?;
    for warning in &request.warnings {
        log.write(Priority::Warn, warning)?;
        if !arguments.quiet {
            tell(PROGRAM, warning);
        }
    }
    let done = match request.mode {
        Mode::List | Mode::Plan => show(arguments, &request).await,
        Mode::Wait | Mode::Leave => act(arguments, &request, &mut log).await,
    };
    if let Err(error) = &done {
        log.write(Priority::Error, &error.to_string())?;
    }
    done
}

async fn show(arguments: &Autostart, request: &Request) -> Result<AutostartExit, Error> {
    let steps = steps(arguments, request).await?;
    match (arguments.json, request.mode) {
        (true, _) => print_json(&render::plan::json(&steps))?,
        (false, Mode::List) => print(&render::plan::list(request.action, &steps))?,
        (false, _) => print(&render::plan::waves(Style::of_stdout(), request.action, &steps))?,
    }
    Ok(AutostartExit::Done)
}

async fn steps(arguments: &Autostart, request: &Request) -> Result<Vec<PlannedStep>, Error> {
    let Request { action, selection, mode, .. } = request;
    match (mode, &selection.lxcpath) {
        (Mode::List, Some(_)) => plan::offline(PROGRAM, *action, selection, &arguments.places),
        (Mode::List, None) => listed(request).await,
        _ => plan::steps(PROGRAM, *action, selection, &arguments.places).await,
    }
}

/// What `-L` lists; only guestd knows all lxcpaths and which of their guests run.
async fn listed(request: &Request) -> Result<Vec<PlannedStep>, Error> {
    let asked = async { Bus::connect().await?.plan(request.action, &request.selection).await };
    let answer = asked.await;
    if answer.as_ref().is_err_and(Error::is_unreachable) {
        tell(PROGRAM, "guestd cannot be reached; \"-L -P PATH\" lists the guests of one lxcpath without it");
    }
    answer.map(|outlook| plan::told(PROGRAM, outlook))
}

async fn act(arguments: &Autostart, request: &Request, log: &mut Log) -> Result<AutostartExit, Error> {
    let mut interrupt = Interrupt::listen()?;
    let asking = async {
        let bus = Bus::connect().await?;
        let path = bus.autostart(request.action, &request.selection, request.timeout).await?;
        Ok((bus, path))
    };
    let (bus, path) = interrupt.or(asking).await?;
    if request.mode == Mode::Leave {
        return left(arguments, job::id(&bus, &path).await?.0, log);
    }
    let mut progress = Progress::new(PROGRAM, arguments.quiet, arguments.progress);
    let followed = job::follow(&bus, &path, &mut interrupt, |job| progress.show(job)).await;
    progress.clear();
    let job = followed?;
    record(&job, log)?;
    report(arguments, request, &job)?;
    Ok(AutostartExit::of(job.state, job.total, job.results.values()))
}

/// Tells the number of a job that is not waited for.
fn left(arguments: &Autostart, id: u32, log: &mut Log) -> Result<AutostartExit, Error> {
    log.write(Priority::Info, &format!("job {id} accepted"))?;
    if arguments.json {
        print_json(&json!({"job": id}))?;
    } else if !arguments.quiet {
        tell(PROGRAM, &format!("job {id} accepted; \"guestctl jobs\" shows how far it is"));
    }
    Ok(AutostartExit::Done)
}

fn record(job: &JobView, log: &mut Log) -> Result<(), LogError> {
    for (guest, outcome) in &job.results {
        let priority = match outcome {
            Outcome::Done | Outcome::Already | Outcome::Asked => Priority::Info,
            Outcome::Canceled => Priority::Warn,
            Outcome::Failed(_) => Priority::Error,
        };
        log.write(priority, &format!("job {} {} {guest}: {outcome}", job.id, job.verb))?;
    }
    log.write(Priority::Info, &format!("job {} {}: {}/{}", job.id, job.state, job.done, job.total))
}

fn report(arguments: &Autostart, request: &Request, job: &JobView) -> Result<(), Error> {
    for (guest, reason) in job.failures() {
        tell(PROGRAM, &format!("{guest}: {reason}"));
    }
    if arguments.json {
        print_json(&super::operate::job_json(job))?;
    } else if !arguments.quiet {
        let summary = match request.selection.boot && job.total == 0 {
            true => {
                "nothing to do: the boot groups were brought up before, or have no guest to start".to_owned()
            }
            false => render::job::summary(request.action.into(), job),
        };
        tell(PROGRAM, &summary);
    }
    Ok(())
}
