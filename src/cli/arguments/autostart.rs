//! `autostart`: lxc-autostart's options unchanged, and a few more.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Parser};

use super::{Choice, Places, UsageError, seconds};
use crate::{
    cli::log::Priority,
    model::{Action, Selection},
};

/// Starts, stops, kills or reboots the guests of this host, in order.
///
/// Asks guestd to do it and waits until it is done. Without -s, -k or -r guests are started; without -g and -a, those
/// with start.auto that are in no group.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "autostart",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    args_override_self = true,
    infer_long_args = true,
    after_help = "Exit status: 0 all done or nothing to do; 2 some guests failed; 1 all of them failed, the request \
                  was wrong or guestd cannot be reached; 130 interrupted."
)]
pub struct Autostart {
    /// What and with whom.
    #[command(flatten)]
    pub choice: Choice,
    /// Only list the guests that would be touched: "NAME DELAY", or "NAME" with -s and -k. With -P guestd need not run.
    #[arg(short = 'L', long)]
    pub list: bool,
    /// Only show the plan: who, in which wave, and why. Without guestd it is made from the configuration.
    #[arg(long)]
    pub plan: bool,
    /// With -s: kill after T seconds; 0 asks only, negative waits for ever. Default: each guest's own stop.timeout.
    #[arg(short = 't', long, value_name = "T", allow_hyphen_values = true)]
    pub timeout: Option<String>,
    /// Return as soon as guestd has taken the request.
    #[arg(long)]
    pub no_block: bool,
    /// Show progress also when standard error is no terminal, as lines.
    #[arg(long)]
    pub progress: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// No summary and no progress; failures are still told.
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Append a log of what was done to FILE; "none" is no log.
    #[arg(short = 'o', long = "logfile", value_name = "FILE", allow_hyphen_values = true)]
    pub log_file: Option<PathBuf>,
    /// Least priority for the log: TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRIT, ALERT or FATAL; default INFO.
    #[arg(short = 'l', long = "logpriority", value_name = "LEVEL", allow_hyphen_values = true)]
    pub log_priority: Option<String>,
    /// Show this help.
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Show this help and exit with 1.
    #[arg(short = '?', hide = true)]
    pub question: bool,
    /// Show a short usage message.
    #[arg(long)]
    pub usage: bool,
    /// Show the version.
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
    /// Where configuration is read from.
    #[command(flatten)]
    pub places: Places,
    /// Accepted and ignored, as lxc-autostart does.
    // As LXC's only option with n, it may be shortened to that.
    #[arg(short = 'n', long, alias = "n", value_name = "NAME", hide = true, allow_hyphen_values = true)]
    name: Option<OsString>,
    /// Accepted and ignored, as lxc-autostart does.
    #[arg(long, value_name = "FILE", hide = true, allow_hyphen_values = true)]
    rcfile: Option<OsString>,
    /// Accepted and ignored, as lxc-autostart does.
    #[arg(hide = true)]
    stray: Vec<OsString>,
}

/// What `autostart` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What.
    pub action: Action,
    /// With whom.
    pub selection: Selection,
    /// Seconds a guest may take to stop, where they were given and matter (`-s`): 0 asks only, negative is for ever.
    pub timeout: Option<i32>,
    /// Whether to do it or only to show it.
    pub mode: Mode,
    /// Something to tell the user first.
    pub warnings: Vec<String>,
    /// The least priority that is logged.
    pub log_priority: Priority,
}

/// Whether to do it or only to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `-L`.
    List,
    /// `--plan`.
    Plan,
    /// Do it and wait.
    Wait,
    /// Do it, do not wait (`--no-block`).
    Leave,
}

impl Autostart {
    /// The command line as a request.
    ///
    /// # Errors
    /// [`UsageError`] names the option that is wrong.
    pub fn request(&self) -> Result<Request, UsageError> {
        let (selection, warning) = self.choice.selection()?;
        let action = self.choice.action();
        let timeout = self.timeout.as_deref().map(seconds).transpose()?;
        let mode = match self {
            Self { list: true, .. } => Mode::List,
            Self { plan: true, .. } => Mode::Plan,
            Self { no_block: true, .. } => Mode::Leave,
            _ => Mode::Wait,
        };
        let mut warnings: Vec<String> = warning.map(str::to_owned).into_iter().collect();
        let log_priority = self.log_priority.as_deref().map_or(Priority::Info, |word| {
            Priority::parse(word).unwrap_or_else(|| {
                let shown = crate::model::name::shown(word);
                warnings.push(format!("-l: \"{shown}\" is no log priority, INFO is used"));
                Priority::Info
            })
        });
        // Only a shutdown has something to wait for; lxc-autostart ignores -t for the rest as well.
        let timeout = timeout.filter(|_| action == Action::Shutdown);
        Ok(Request { action, selection, timeout, mode, warnings, log_priority })
    }
}
