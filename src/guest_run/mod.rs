//! `guest-run`: the monitor of one native guest.
//!
//! One process of one thread for each guest. It makes the guest's namespaces and cgroups, runs its init, answers the guest's own
//! reboot by what guestd decides, and lives exactly as long as the guest. It needs no guestd to be there: what it is told lies in a
//! file (`spec`), and what came of it too. guestd finds it by its socket (`control`).
//!
//! Why it is no OCI runtime of others is told in ARCHITECTURE.md, "A native guest".

use std::{
    env,
    ffi::OsString,
    fs::{File, TryLockError},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    process::ExitCode,
    time::Duration,
};

mod beneath;
mod cgroup;
mod console;
mod control;
mod devices;
mod enter;
pub mod fault;
mod halt;
mod inside;
mod kernel;
mod launch;
mod link;
mod monitor;
mod mounts;
mod namespace;
mod network;
mod priority;
mod program;
mod root;
mod say;
mod sealed;
pub mod spec;
mod staging;
mod standard;
mod steps;
mod terminal;
mod tree;
mod trouble;
mod viewer;
mod vshelper;

pub use cgroup::{PAYLOAD, top};
pub use control::{SIZE, TYPED, is_kept};

use nix::sys::signalfd::SignalFd;

use self::{
    cgroup::Group,
    control::Control,
    monitor::Monitor,
    namespace::Fork,
    spec::{FILE_MAX, OUTCOME, Outcome, Place, Spec, Trouble},
    standard::Standard,
    trouble::{Doing, Run, RunError},
};
use crate::{helper::record, model::native::InitProgram};

const USAGE: &str = "usage: guest-run [--foreground] FOLDER\n       guest-run stop FOLDER SECONDS\n       guest-run console FOLDER\n       guest-run attach FOLDER [NAME=VALUE ...] -- COMMAND [ARGUMENT ...]";

/// The program.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let words: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
    let Some(words) = words else { return misuse() };
    match words.as_slice() {
        ["stop", folder, seconds] if !folder.is_empty() => match seconds.parse() {
            Ok(seconds) => exit(control::stop(&Place::at(folder.into()), Duration::from_secs(seconds))),
            Err(_) => misuse(),
        },
        ["network", word @ (network::APPLY | network::UNDO), folder, rest @ ..] if !folder.is_empty() => {
            let pid = rest.first().and_then(|pid| pid.parse().ok());
            exit(network::main(word, &Place::at(folder.into()), pid))
        }
        ["console", folder] if !folder.is_empty() => exit(viewer::console(&Place::at(folder.into()))),
        ["attach", folder, rest @ ..] if !folder.is_empty() => attach(Place::at(folder.into()), rest),
        ["--foreground", folder] if !folder.is_empty() => supervise(Place::at(folder.into()), true),
        [folder] if !folder.is_empty() && !folder.starts_with('-') => {
            supervise(Place::at(folder.into()), false)
        }
        _ => misuse(),
    }
}

fn misuse() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn exit(result: Run<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn attach(place: Place, rest: &[&str]) -> ExitCode {
    let mut parts = rest.splitn(2, |word| *word == "--");
    let variables = parts.next().unwrap_or_default().iter();
    let variables =
        variables.filter_map(|word| word.split_once('=')).map(|(name, value)| (name.into(), value.into()));
    let argv: Vec<String> = parts.next().unwrap_or_default().iter().map(|word| (*word).to_owned()).collect();
    let variables: Vec<(String, String)> = variables.collect();
    let entered = || -> Run<i32> {
        sealed::ensure().doing("protect its program")?;
        let spec = monitor::read(&place)?;
        let init = control::running(&place)?;
        let group = Group::find(&spec.placement, init.pid);
        Ok(enter::as_exit(enter::run(&spec, &init, group.as_ref(), (&argv, &variables), Standard::Callers)?))
    };
    match entered() {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("guest-run: {error}");
            ExitCode::from(127)
        }
    }
}

/// Runs a guest; in the background, unless this is the main process of a unit.
fn supervise(place: Place, foreground: bool) -> ExitCode {
    // Without it everything there is another monitor's.
    let lock = match lock(&place) {
        Ok(lock) => lock,
        Err(error) => {
            say::say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    let outcome = match begin(&place, lock, foreground) {
        Ok(Begun::Elsewhere(code)) => return code,
        Ok(Begun::Here(mut monitor)) => {
            let outcome = monitor.live();
            leave(&place, &outcome);
            outcome
        }
        Err(error) => {
            let outcome = Outcome::Failed(error.trouble());
            leave(&place, &outcome);
            outcome
        }
    };
    match outcome {
        Outcome::Failed(Trouble { reason, .. }) => {
            say::say(&reason);
            ExitCode::FAILURE
        }
        // How it ended stands in its file. To PID 1 any end is well: systemd 252 forgets at a reload that failures are ignored.
        Outcome::Ended(_) => ExitCode::SUCCESS,
    }
}

/// Leaves behind what came of it: the socket goes last, which says that the rest is there.
fn leave(place: &Place, outcome: &Outcome) {
    if let Err(error) = record::write(place.folder(), OUTCOME, outcome, FILE_MAX) {
        say::say(&error.to_string());
    }
    steps::forget(&place.socket());
}

/// Makes sure that the guest has one monitor, for as long as the file is open.
fn lock(place: &Place) -> Run<File> {
    let path = place.folder().join("lock");
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.doing(format_args!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Busy),
        Err(TryLockError::Error(error)) => Err(error).doing(format_args!("lock {}", path.display())),
    }
}

enum Begun {
    /// In another process; with the status to exit with.
    Elsewhere(ExitCode),
    Here(Box<Monitor>),
}

fn begin(place: &Place, lock: File, foreground: bool) -> Run<Begun> {
    let spec = monitor::read(place)?;
    // Where a guest can see it: as its process 1, or as what enters it with a command.
    if spec.ids.is_none() || matches!(spec.native.init.program, InitProgram::Once(_)) {
        sealed::ensure().doing("protect its program")?;
    }
    program::spare_monitor();
    steps::forget(&place.outcome());
    steps::forget(&place.trace());
    let mut group = Group::make(&spec.placement, &spec.resources, spec.ids)?;
    match settle(place, foreground, &spec, &mut group) {
        Ok(Settled::Elsewhere(code)) => Ok(Begun::Elsewhere(code)),
        Ok(Settled::Here { control, signals, started }) => {
            let monitor = Monitor::new(place.clone(), (lock, control), signals, group, started);
            Ok(Begun::Here(Box::new(monitor)))
        }
        Err(error) => {
            group.remove();
            Err(error)
        }
    }
}

/// Where a monitor has come to stay.
enum Settled {
    /// In another process; with the status to exit with.
    Elsewhere(ExitCode),
    Here {
        control: Control,
        signals: SignalFd,
        started: Box<dyn FnOnce()>,
    },
}

/// Goes where the monitor stays, and makes itself heard there.
fn settle(place: &Place, foreground: bool, spec: &Spec, group: &mut Group) -> Run<Settled> {
    if let Some(processors) = &spec.native.process.processors {
        priority::processors(processors)?;
        group.confine(processors)?;
    }
    if spec.ids.is_none() {
        group.limit_devices(&spec.native.security.devices)?;
    }
    let started: Box<dyn FnOnce()> = if foreground {
        Box::new(|| ())
    } else {
        match detach(group)? {
            Detached::Above(code) => return Ok(Settled::Elsewhere(code)),
            Detached::Below(tell) => Box::new(move || quiet(tell)),
        }
    };
    // Whoever connects is told the process that listens: the one that stays.
    let control = Control::listen(place)?;
    let signals = monitor::take_signals()?;
    group.join()?;
    root::set_apart()?;
    Ok(Settled::Here { control, signals, started })
}

enum Detached {
    /// The caller's process.
    Above(ExitCode),
    /// The monitor, with where it tells that it has started.
    Below(OwnedFd),
}

/// Goes on in another process, in a session and a cgroup of its own; this one waits for its word.
fn detach(group: &Group) -> Run<Detached> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe")?;
    let cgroup = group.monitor()?;
    // SAFETY: there are no other threads.
    match unsafe { namespace::fork(None, cgroup.as_ref()) }.map_err(namespace::refused)? {
        Fork::Child => {
            drop(reader);
            inside::die_with_parent()?;
            rustix::process::setsid().doing("begin a session")?;
            Ok(Detached::Below(writer))
        }
        Fork::Parent(monitor) => {
            drop(writer);
            let mut said = [0];
            let code = match File::from(reader).read_exact(&mut said) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => {
                    // It clears up, says why on standard error, and ends; it would die with this process.
                    launch::reap(&monitor);
                    ExitCode::FAILURE
                }
            };
            Ok(Detached::Above(code))
        }
    }
}

/// The first init runs: whoever waits is told, and nobody is any more who reads what is said here.
fn quiet(tell: OwnedFd) {
    let _ = rustix::process::set_parent_process_death_signal(None);
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for dup in [
            rustix::stdio::dup2_stdin(&null),
            rustix::stdio::dup2_stdout(&null),
            rustix::stdio::dup2_stderr(&null),
        ] {
            let _ = dup;
        }
    }
    let _ = File::from(tell).write_all(b"1");
}
