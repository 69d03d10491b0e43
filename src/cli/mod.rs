//! The command line: `autostart` and `guestctl`, clients of guestd's D-Bus interface.
//!
//! `arguments` parses, `commands` carries out (one file a command), `render` makes text of data, `exit` makes exit
//! statuses of results. `bus` is the connection, `job` follows a job to its end, `away` waits for a guestd that is started again, `progress`
//! shows how far a job is.
//! `offline` reads and plans without a daemon.

use std::{future::Future, process::ExitCode};

use clap::{CommandFactory, Parser};

pub mod agent;
pub mod arguments;
pub mod away;
pub mod bus;
pub mod commands;
pub mod error;
pub mod exit;
pub mod job;
pub mod keyboard;
pub mod log;
pub mod offline;
pub mod output;
pub mod progress;
pub mod render;
pub mod service;
pub mod session;
pub mod streams;
pub mod terminal;
pub mod usage;
pub mod view;

use arguments::{Autostart, Guestctl, Guestd, Places};
use error::Error;
use exit::{AutostartExit, GuestctlExit};

use crate::{
    daemon::{self, load::Directories},
    systemd::journal,
};

/// How `guestd` ends when its command line is wrong.
const USAGE: u8 = 2;

/// The program `autostart`.
pub fn autostart() -> ExitCode {
    let arguments: Autostart = match parsed("autostart", AutostartExit::Failed.into()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    if arguments.question {
        output::tell_whole(&Autostart::command().render_help().to_string());
        return AutostartExit::Failed.into();
    }
    let done = match arguments.usage {
        true => {
            output::print(&format!("{}\n", Autostart::command().render_usage())).map(|()| AutostartExit::Done)
        }
        false => block_on(commands::autostart::run(&arguments)),
    };
    let exit = done.unwrap_or_else(|error| {
        output::tell("autostart", &error.to_string());
        if error.is_interruption() { AutostartExit::Interrupted } else { AutostartExit::Failed }
    });
    exit.into()
}

/// The program `guestctl`.
pub fn guestctl() -> ExitCode {
    let arguments: Guestctl = match parsed("guestctl", GuestctlExit::Usage.into()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let exit = block_on(commands::run(&arguments)).unwrap_or_else(|error| {
        output::tell("guestctl", &error.to_string());
        commands::exit_of(&error)
    });
    exit.into()
}

/// The program `guestd`.
pub fn guestd() -> ExitCode {
    let arguments: Guestd = match parsed("guestd", USAGE.into()) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    // Dropped last: what was logged is in the journal by then.
    let _journal = journal::init();
    let Places { config_dir, runtime_dir, state_dir } = arguments.places;
    let directories = Directories::new(config_dir, runtime_dir, state_dir);
    let done = block_on(async { daemon::run(directories).await.map_err(Error::Daemon) });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::tell("guestd", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// The command line. Where it only asks for help, or is wrong, that is said here and the exit status comes back:
/// `wrong` for a wrong one.
fn parsed<T: Parser>(program: &str, wrong: ExitCode) -> Result<T, ExitCode> {
    T::try_parse().map_err(|said| match output::print_said(&said) {
        Ok(()) if said.use_stderr() => wrong,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::tell(program, &error.to_string());
            ExitCode::FAILURE
        }
    })
}

/// Runs a command on this thread alone.
fn block_on<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| Error::Setup { operation: "start", source })?.block_on(command)
}
