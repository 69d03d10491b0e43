//! The command lines of both programs, as clap types, and their translation into requests.

use std::path::PathBuf;

use clap::Args;

use crate::model::{Action, NameError, Selection, path::normal};

pub mod autostart;
pub mod guestctl;
pub mod guestd;
pub mod when;

pub use autostart::Autostart;
pub use guestctl::Guestctl;
pub use guestd::Guestd;

/// Why a command line that could be parsed is still not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A group's name is not allowed.
    #[error("-g: {source}")]
    Group {
        /// The rule that is broken.
        source: NameError,
    },
    /// More than one `-P`.
    #[error("-P, --lxcpath may be given once, it was given {count} times")]
    Lxcpaths {
        /// How often it was given.
        count: usize,
    },
    /// `--boot` with an option that contradicts it.
    #[error("--boot starts the boot groups of the settings; it cannot be used with {option}")]
    Boot {
        /// The other option.
        option: &'static str,
    },
    /// `--until` with something else than a moment to come.
    #[error("--until: \"{shown}\" {why}")]
    Until {
        /// What was given.
        shown: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `-t` without a number.
    #[error("-t, --timeout: \"{shown}\" is not a number of seconds")]
    Timeout {
        /// What was given.
        shown: String,
    },
}

/// What to do, and with which guests: the options that `autostart` and `guestctl plan` share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Choice {
    /// Shut the guests down instead of starting them (wins over -k and -r).
    // As LXC's only option with s, it may be shortened to that.
    #[arg(short = 's', long, alias = "s")]
    pub shutdown: bool,
    /// Kill the guests instead of starting them (wins over -r).
    #[arg(short = 'k', long)]
    pub kill: bool,
    /// Reboot the guests instead of starting them.
    #[arg(short = 'r', long)]
    pub reboot: bool,
    /// Ignore groups: every guest with start.auto.
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Ignore start.auto: also guests that are not started automatically.
    #[arg(short = 'A', long)]
    pub ignore_auto: bool,
    /// Groups to select, in this order; an empty element means the guests in no group. Without -g and -a: those.
    #[arg(short = 'g', long = "groups", value_name = "GROUP[,GROUP...]", allow_hyphen_values = true)]
    pub groups: Vec<String>,
    /// Only guests of this lxcpath.
    #[arg(short = 'P', long = "lxcpath", value_name = "PATH", allow_hyphen_values = true)]
    pub lxcpaths: Vec<PathBuf>,
    /// Start the boot groups of the settings, leaving out those already brought up since the host booted.
    #[arg(long)]
    pub boot: bool,
}

impl Choice {
    /// What to do: shutdown beats kill beats reboot beats start, as in lxc-autostart.
    pub fn action(&self) -> Action {
        match self {
            Self { shutdown: true, .. } => Action::Shutdown,
            Self { kill: true, .. } => Action::Kill,
            Self { reboot: true, .. } => Action::Reboot,
            _ => Action::Start,
        }
    }

    /// With which guests, and what to tell the user about it.
    ///
    /// # Errors
    /// [`UsageError`] names the option that is wrong.
    pub fn selection(&self) -> Result<(Selection, Option<&'static str>), UsageError> {
        if self.lxcpaths.len() > 1 {
            return Err(UsageError::Lxcpaths { count: self.lxcpaths.len() });
        }
        self.check_boot()?;
        let mut groups =
            Selection::parse_groups(&self.groups).map_err(|source| UsageError::Group { source })?;
        let warning = (self.all && !groups.is_empty())
            .then_some("-a (all) and -g (groups) contradict each other: -a wins, groups are ignored");
        if self.all {
            groups.clear();
        }
        let selection = Selection {
            groups,
            all: self.all,
            ignore_auto: self.ignore_auto,
            // A path that cannot be made absolute is refused later, by its name.
            lxcpath: self
                .lxcpaths
                .first()
                .map(|path| normal(&std::path::absolute(path).unwrap_or_else(|_| path.clone()))),
            boot: self.boot,
        };
        Ok((selection, warning))
    }

    fn check_boot(&self) -> Result<(), UsageError> {
        let contradictions = [
            (self.action() != Action::Start, "-s, -k or -r"),
            (self.all, "-a"),
            (!self.groups.is_empty(), "-g"),
        ];
        match contradictions.into_iter().find(|(given, _)| self.boot && *given) {
            Some((_, option)) => Err(UsageError::Boot { option }),
            None => Ok(()),
        }
    }
}

/// Where configuration is read from when no daemon is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Places {
    /// Read settings and guests from this folder instead of /etc/guestd.
    #[arg(long, value_name = "DIR", global = true, hide = true)]
    pub config_dir: Option<PathBuf>,
    /// Use this folder instead of /run/guestd.
    #[arg(long, value_name = "DIR", global = true, hide = true)]
    pub runtime_dir: Option<PathBuf>,
    /// Use this folder instead of /var/lib/guestd.
    #[arg(long, value_name = "DIR", global = true, hide = true)]
    pub state_dir: Option<PathBuf>,
}

/// Reads seconds as lxc-autostart does: decimal, 0x hexadecimal or octal after a 0, leading blanks, with a sign. What
/// is beyond 32 bits is taken as the most or the least there is.
///
/// # Errors
/// [`UsageError::Timeout`].
pub fn seconds(text: &str) -> Result<i32, UsageError> {
    let error = || UsageError::Timeout { shown: crate::model::name::shown(text) };
    let trimmed = text.trim_start();
    let (negative, digits) = match trimmed.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    let (digits, radix) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => (hexadecimal, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(error());
    }
    let magnitude = i64::from_str_radix(digits, radix).unwrap_or(i64::MAX).min(i32::MAX.into());
    let value = if negative { -magnitude } else { magnitude };
    i32::try_from(value).map_err(|_| error())
}

#[cfg(test)]
mod tests;
