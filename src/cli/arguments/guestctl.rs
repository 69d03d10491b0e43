//! `guestctl`: everything else a person does.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::{Choice, Places};
use crate::model::Verb;

/// Shows and controls the guests of this host.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "guestctl",
    version,
    args_override_self = true,
    propagate_version = false,
    after_help = "Exit status: 0 done; 1 failed or refused; 2 wrong usage; 4 no such guest; 130 interrupted."
)]
pub struct Guestctl {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Where configuration is read from.
    #[command(flatten)]
    pub places: Places,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List all guests.
    #[command(visible_alias = "ls")]
    List(Legend),
    /// Show one guest, or the daemon.
    Status {
        /// The guest; without it the daemon is shown.
        name: Option<String>,
    },
    /// Start guests, and what they require.
    Start(Simple),
    /// Stop guests: ask them, and kill them at the deadline.
    Stop(Timed),
    /// Stop guests, then start them.
    Restart(Timed),
    /// Ask guests' inits to reboot.
    Reboot(Timed),
    /// Kill guests.
    Kill(Simple),
    /// Stop all processes of guests where they are.
    Freeze(Simple),
    /// Let frozen guests go on.
    #[command(visible_alias = "unfreeze")]
    Thaw(Simple),
    /// Forget guests' failures.
    Reset(Simple),
    /// Keep guests from being started and restarted automatically.
    Hold(Hold),
    /// End holds.
    Release(Chosen),
    /// Show what a bulk request would do: who, in which wave, and why.
    ///
    /// guestd is asked; without it the plan is made from the configuration.
    Plan(Choice),
    /// Show on whom guests depend: whom they require, whom they want, after whom they start.
    ///
    /// guestd is asked; without it the configuration is read.
    #[command(visible_alias = "list-dependencies")]
    Deps(Deps),
    /// Read all configuration and tell what is wrong with it.
    ///
    /// No guestd is needed. Exits with 1 when there are errors, with 0 when there are none.
    Check,
    /// Show every effective value of a guest, with the file and line it comes from.
    Cat {
        /// The guest.
        name: String,
    },
    /// Run a command in a guest, or its root's shell, on this terminal or with these streams.
    ///
    /// Exits as the command does. Ctrl-] three times within a second leaves a guest that hangs.
    Attach {
        /// The guest.
        name: String,
        /// The command. Without one: the shell of the guest's root.
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Use the console of a guest.
    ///
    /// Ctrl-] three times within a second leaves it.
    Console {
        /// The guest.
        name: String,
    },
    /// Run a command in guests that run, and tell where it failed.
    Exec(Exec),
    /// Show what guests use of the host.
    Top(Top),
    /// List running jobs and the last ended ones.
    Jobs(Legend),
    /// Cancel a job: what it has begun goes on, what it has not is left out.
    ///
    /// Exits with 1 when the job is over already.
    Cancel {
        /// The job's number.
        job: u32,
    },
    /// Make guestd read settings and guests again.
    Reload,
    /// Print a completion script.
    Completions {
        /// The shell that it is for.
        shell: Shell,
    },
    /// Stop a guest for its unit.
    #[command(hide = true)]
    UnitStop {
        /// The guest.
        name: String,
        /// What stops it where guestd does not run.
        #[arg(last = true)]
        otherwise: Vec<OsString>,
    },
    /// Lead a session in a guest.
    #[command(hide = true)]
    UnitSession {
        /// What gets into the guest.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Write completions and manual pages of both programs into a folder.
    #[command(hide = true)]
    Generate {
        /// The folder; it is made if need be.
        folder: PathBuf,
    },
}

/// How a list is shown.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Legend {
    /// Print no headings and no totals.
    #[arg(long)]
    pub no_legend: bool,
}

/// Guests to do something to.
#[derive(Debug, Clone, Default, Args)]
pub struct Simple {
    /// The guests.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Return as soon as guestd has taken the request.
    #[arg(long)]
    pub no_block: bool,
}

/// Guests to stop or reboot.
#[derive(Debug, Clone, Default, Args)]
pub struct Timed {
    /// Guests and waiting.
    #[command(flatten)]
    pub simple: Simple,
    /// Seconds that each guest may take; 0 asks only, negative waits for ever. Default: its own stop.timeout.
    #[arg(short = 't', long, value_name = "T", allow_hyphen_values = true)]
    pub timeout: Option<String>,
}

/// Guests, by their names or those of their groups.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = true, args = ["names", "groups", "all"])]
pub struct Chosen {
    /// The guests.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Also the guests of these groups; an empty element means the guests in no group.
    #[arg(short = 'g', long = "groups", value_name = "GROUP[,GROUP...]", allow_hyphen_values = true)]
    pub groups: Vec<String>,
    /// All guests.
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Return as soon as guestd has taken the request.
    #[arg(long)]
    pub no_block: bool,
}

/// Guests to hold.
#[derive(Debug, Clone, Default, Args)]
pub struct Hold {
    /// Guests and waiting.
    #[command(flatten)]
    pub chosen: Chosen,
    /// Why; shown with the guest.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Until when: so long (2h), a time of the day (18:30), or a moment (2026-11-21T18:30:00Z). Default: until released.
    #[arg(long, value_name = "WHEN")]
    pub until: Option<String>,
}

/// Whose dependencies are shown.
#[derive(Debug, Clone, Default, Args)]
pub struct Deps {
    /// The guests; without any, all that depend on somebody.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Show who depends on them instead.
    #[arg(long)]
    pub reverse: bool,
}

/// A command to run in many guests.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct Exec {
    /// Guests, or groups where no guest has the name.
    #[arg(value_name = "NAME|GROUP", required_unless_present_any = ["groups", "all"])]
    pub names: Vec<String>,
    /// The guests of these groups; an empty element means the guests in no group.
    #[arg(short = 'g', long = "groups", value_name = "GROUP[,GROUP...]", allow_hyphen_values = true)]
    pub groups: Vec<String>,
    /// All guests.
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Run it in so many guests at a time (8 where no number is given), each line with its guest's name.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "8",
          value_parser = clap::value_parser!(u16).range(1..=32))]
    pub parallel: Option<u16>,
    /// Print no headings.
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// The command.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How the use of the host is shown.
#[derive(Debug, Clone, Default, Args)]
pub struct Top {
    /// Show it so many times; for ever on a terminal, else once.
    #[arg(short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Show it once.
    #[arg(long, conflicts_with = "count")]
    pub once: bool,
    /// What comes first.
    #[arg(long, value_name = "COLUMN", default_value = "cpu")]
    pub sort: Sort,
    /// How it is shown.
    #[command(flatten)]
    pub legend: Legend,
}

/// By what guests are sorted: the most comes first, and names ascend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Processor time.
    #[default]
    Cpu,
    /// Memory.
    Memory,
    /// Processes and threads.
    Tasks,
    /// Name.
    Name,
}

/// A request about single guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What.
    pub verb: Verb,
    /// With whom.
    pub names: &'a [String],
    /// And with those in these groups, as `-g` has them.
    pub groups: &'a [String],
    /// And with all.
    pub all: bool,
    /// Whether to wait for the end.
    pub wait: bool,
    /// `-t` as given.
    pub timeout: Option<&'a str>,
    /// Why, for a hold.
    pub reason: Option<&'a str>,
    /// Until when, as given.
    pub until: Option<&'a str>,
}

impl<'a> From<(Verb, &'a Simple)> for Operation<'a> {
    fn from((verb, Simple { names, no_block }): (Verb, &'a Simple)) -> Self {
        let (timeout, reason, until) = (None, None, None);
        Self { verb, names, groups: &[], all: false, wait: !no_block, timeout, reason, until }
    }
}

impl<'a> From<(Verb, &'a Timed)> for Operation<'a> {
    fn from((verb, timed): (Verb, &'a Timed)) -> Self {
        Self { timeout: timed.timeout.as_deref(), ..Self::from((verb, &timed.simple)) }
    }
}

impl<'a> From<(Verb, &'a Chosen)> for Operation<'a> {
    fn from((verb, Chosen { names, groups, all, no_block }): (Verb, &'a Chosen)) -> Self {
        let (timeout, reason, until) = (None, None, None);
        Self { verb, names, groups, all: *all, wait: !no_block, timeout, reason, until }
    }
}

impl Command {
    /// The request about guests that this is, if it is one.
    pub fn operation(&self) -> Option<Operation<'_>> {
        Some(match self {
            Self::Start(simple) => (Verb::Start, simple).into(),
            Self::Stop(timed) => (Verb::Stop, timed).into(),
            Self::Restart(timed) => (Verb::Restart, timed).into(),
            Self::Reboot(timed) => (Verb::Reboot, timed).into(),
            Self::Kill(simple) => (Verb::Kill, simple).into(),
            Self::Freeze(simple) => (Verb::Freeze, simple).into(),
            Self::Thaw(simple) => (Verb::Thaw, simple).into(),
            Self::Reset(simple) => (Verb::Reset, simple).into(),
            Self::Hold(hold) => Operation {
                reason: hold.reason.as_deref(),
                until: hold.until.as_deref(),
                ..(Verb::Hold, &hold.chosen).into()
            },
            Self::Release(chosen) => (Verb::Release, chosen).into(),
            _ => return None,
        })
    }
}
