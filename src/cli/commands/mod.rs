//! One file a command; `answers` is what became of one about several guests. Each prints its result and says how the
//! program ends.

use super::{
    arguments::{Guestctl, guestctl::Command},
    error::Error,
    exit::GuestctlExit,
    render::Style,
};
use crate::daemon::load::Absent;

mod answers;
mod attach;
pub mod autostart;
mod cancel;
mod cat;
mod check;
mod deps;
mod exec;
mod generate;
mod jobs;
mod list;
mod operate;
mod plan;
mod reload;
mod status;
mod top;
mod unit_session;
mod unit_stop;

/// Carries out a `guestctl` command.
///
/// # Errors
/// [`Error`], to be told and turned into an exit status by [`exit_of`].
pub async fn run(arguments: &Guestctl) -> Result<GuestctlExit, Error> {
    let (json, style, places) = (arguments.json, Style::of_stdout(), &arguments.places);
    if let Some(operation) = arguments.command.operation() {
        return operate::run(&operation, json).await;
    }
    match &arguments.command {
        Command::List(legend) => list::run(json, style.without_legend(legend.no_legend)).await,
        Command::Status { name: None } => status::daemon(json, style).await,
        Command::Status { name: Some(name) } => status::guest(name, json, style).await,
        Command::Plan(choice) => plan::run(choice, places, json, style).await,
        Command::Deps(deps) => deps::run(deps, places, json, style).await,
        Command::Check => check::run(places, json, style),
        Command::Cat { name } => cat::run(name, places, json),
        Command::Attach { name, command } => attach::run(name, command).await,
        Command::Console { name } => attach::console(name).await,
        Command::Exec(exec) => exec::run(exec, json, style).await,
        Command::Top(top) => top::run(top, json, style.without_legend(top.legend.no_legend)).await,
        Command::UnitSession { program } => unit_session::run(program).await,
        Command::Jobs(legend) => jobs::run(json, style.without_legend(legend.no_legend)).await,
        Command::Cancel { job } => cancel::run(*job, json).await,
        Command::Reload => reload::run(json).await,
        Command::Completions { shell } => generate::completions(*shell),
        Command::UnitStop { name, otherwise } => unit_stop::run(name, otherwise).await,
        Command::Generate { folder } => generate::files(folder),
        // What operates on guests was taken above.
        _ => Ok(GuestctlExit::Usage),
    }
}

/// The exit status that an error means.
pub fn exit_of(error: &Error) -> GuestctlExit {
    match error {
        Error::NoSuchGuest { .. } | Error::Configuration(Absent::Unknown { .. }) => GuestctlExit::NoSuchGuest,
        Error::Usage(_) => GuestctlExit::Usage,
        error if error.is_interruption() => GuestctlExit::Interrupted,
        _ => GuestctlExit::Failed,
    }
}
