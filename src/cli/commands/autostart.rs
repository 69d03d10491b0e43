//! `autostart`.

use serde_json::json;
use zbus::OwnedObjectPath;

use crate::{
    cli::{
        arguments::{
            Autostart,
            autostart::{Mode, Request},
        },
        away,
        bus::{Bus, Interrupt},
        commands::plan,
        error::Error,
        exit::AutostartExit,
        job::{self, Sight},
        log::{Log, Priority},
        offline,
        output::{print, print_json, tell},
        progress::Progress,
        render::{self, Style},
        service,
        view::JobView,
    },
    model::{Action, JobId, Outcome, PlannedStep},
};

const PROGRAM: &str = "autostart";
/// What `--boot` says when it did nothing.
const NO_BOOT: &str = "nothing to do: the boot groups were brought up before, or have no guest to start; \
                       \"guestctl list\" shows what is down, \"autostart -g GROUP\" starts what is down in a group";

/// Carries the request out.
///
/// # Errors
/// [`Error`]: nothing was done, or nobody knows what was done; it is in the log as well.
pub async fn run(arguments: &Autostart) -> Result<AutostartExit, Error> {
    let request = arguments.request()?;
    let mut log = Log::open(arguments.log_file.as_deref(), request.log_priority)?;
    for warning in &request.warnings {
        log.write(Priority::Warn, warning);
        if !arguments.quiet {
            tell(PROGRAM, warning);
        }
    }
    let done = match request.mode {
        Mode::List | Mode::Plan => show(arguments, &request).await,
        Mode::Wait | Mode::Leave => act(arguments, &request, &mut log).await,
    };
    if let Err(error) = &done {
        log.write(Priority::Error, &error.to_string());
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
    match request.mode {
        Mode::List => listed(arguments, request).await,
        _ => plan::steps(PROGRAM, request.action, &request.selection, &arguments.places).await,
    }
}

/// What `-L` lists. guestd knows all lxcpaths and who is held; one lxcpath alone can be listed without it.
async fn listed(arguments: &Autostart, request: &Request) -> Result<Vec<PlannedStep>, Error> {
    let Request { action, selection, .. } = request;
    let lxcpath = selection.lxcpath.as_deref();
    lxcpath.map(offline::find).transpose()?;
    let asked = async { Bus::connect().await?.plan(*action, selection).await };
    match asked.await {
        Err(error) if lxcpath.is_some() && (error.is_unreachable() || error.is_foreign_path()) => {
            plan::offline(PROGRAM, *action, selection, &arguments.places)
        }
        Err(error) if error.is_unreachable() => {
            tell(
                PROGRAM,
                "guestd cannot be reached; \"-L -P PATH\" lists the guests of one lxcpath without it",
            );
            Err(error)
        }
        answer => Ok(plan::told(PROGRAM, answer?)),
    }
}

async fn act(arguments: &Autostart, request: &Request, log: &mut Log) -> Result<AutostartExit, Error> {
    let mut interrupt = Interrupt::listen()?;
    let bus = interrupt.or(Bus::connect()).await?;
    if request.mode == Mode::Leave {
        let path = interrupt.or(begin(&bus, request)).await?;
        return left(arguments, job::number(&path)?, log);
    }
    let mut progress = Progress::new(PROGRAM, arguments.quiet, arguments.progress);
    let ended = work(&bus, request, &mut progress, &mut interrupt).await;
    progress.clear();
    let job = ended?;
    let reported = report(arguments, request, &job);
    record(&job, log);
    reported?;
    Ok(AutostartExit::of(job.state, job.total, job.results.values()))
}

async fn begin(bus: &Bus, request: &Request) -> Result<OwnedObjectPath, Error> {
    bus.autostart(request.action, &request.selection, request.timeout).await
}

/// The same, also when guestd is started again before it answers. Guests that are up or down already count as done; a reboot
/// would come twice.
async fn begin_patiently(bus: &Bus, request: &Request) -> Result<OwnedObjectPath, Error> {
    loop {
        match begin(bus, request).await {
            Err(error) if request.action != Action::Reboot && service::may_ask_again(bus, &error).await => {
                tell(PROGRAM, "guestd went away before it answered, and is back; asking again");
            }
            answer => return answer,
        }
    }
}

/// Begins the job and follows it to its end.
async fn work(
    bus: &Bus,
    request: &Request,
    progress: &mut Progress,
    interrupt: &mut Interrupt,
) -> Result<JobView, Error> {
    let path = interrupt.or(begin_patiently(bus, request)).await?;
    let job = job::number(&path)?;
    let shown = |sight: Sight<'_>| match sight {
        Sight::Job(job) => {
            progress.show(job);
            service::show(job);
        }
        Sight::Away => {
            progress.note(PROGRAM, away::GONE);
            service::show_absence();
        }
        Sight::Back => progress.note(PROGRAM, away::BACK),
    };
    tokio::select! {
        job = job::follow(bus, &path, away::patience(), shown) => job,
        () = interrupt.heard() => Err(Error::Interrupted { job }),
        never = service::keep_waiting(bus) => match never {},
    }
}

/// Tells the number of a job that is not waited for.
fn left(arguments: &Autostart, id: JobId, log: &mut Log) -> Result<AutostartExit, Error> {
    if !arguments.json && !arguments.quiet {
        tell(PROGRAM, &format!("job {id} accepted; \"guestctl jobs\" shows how far it is"));
    }
    let printed = if arguments.json { print_json(&json!({"job": id})) } else { Ok(()) };
    log.write(Priority::Info, &format!("job {id} accepted"));
    printed.map(|()| AutostartExit::Done)
}

fn record(job: &JobView, log: &mut Log) {
    for (guest, outcome) in &job.results {
        let priority = match outcome {
            Outcome::Done | Outcome::Already | Outcome::Asked => Priority::Info,
            Outcome::Canceled => Priority::Warn,
            Outcome::Failed(_) => Priority::Error,
        };
        log.write(priority, &format!("job {} {} {guest}: {outcome}", job.id, job.verb));
    }
    log.write(Priority::Info, &format!("job {} {}: {}/{}", job.id, job.state, job.done, job.total));
}

fn report(arguments: &Autostart, request: &Request, job: &JobView) -> Result<(), Error> {
    for (guest, reason) in job.failures() {
        tell(PROGRAM, &format!("{guest}: {reason}"));
    }
    if arguments.json {
        print_json(&super::answers::job_json(job))?;
    } else if !arguments.quiet {
        let summary = match request.selection.boot && job.total == 0 {
            true => NO_BOOT.to_owned(),
            false => render::job::summary(request.action.into(), job),
        };
        tell(PROGRAM, &summary);
    }
    Ok(())
}
