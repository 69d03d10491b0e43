//! The three ways in which `guest-helper` is called, and the exit statuses that each caller understands.
//!
//! Pure but for its types: the command line and the environment come in as data, a request goes out. Everything in
//! them may be a guest's doing.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use super::{
    vshelper::called::{Called, MONITOR},
    wire::{About, Answer, ContextEvent, Decision, Event},
};
use crate::model::{GuestName, NameError, name::shown};

/// Where guestd keeps its runtime directory unless told otherwise.
pub const RUNTIME_DIR: &str = "/run/guestd";

/// How the program was called.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// The name it was called by, with its path.
    pub program: OsString,
    /// The arguments after it.
    pub arguments: Vec<OsString>,
    /// The environment.
    pub environment: BTreeMap<OsString, OsString>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// LXC, through a hook: status 1 cancels its own reboot of the guest.
    Lxc,
    /// A person or a program: 0 restart, 1 stop, 2 unknown.
    Plain,
    /// The monitor of a native guest, which says so in its environment: 0 lets it start a new init in place, 1 lets its run end,
    /// also where guestd then starts the guest anew.
    Monitor,
    /// The VServer kernel, or what stands in for it: 0 handled, 1 not.
    Vshelper,
}

/// What the program is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Show how it is used.
    Help,
    /// Show the version.
    Version,
    /// Nothing: a hook that does not concern guestd, for this reason.
    Nothing(&'static str),
    /// Report something.
    Report(Report),
    /// Act as vshelper.
    Vshelper(Called),
}

/// Something to report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In which dialect.
    pub dialect: Dialect,
    /// The daemon's runtime directory.
    pub runtime_dir: PathBuf,
    /// Whom it is about, and what happened.
    pub about: About,
}

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// An argument is no text.
    #[error("the argument \"{shown}\" is not UTF-8")]
    NotText {
        /// The beginning of it.
        shown: String,
    },
    /// An option is not known.
    #[error("the option \"{shown}\" is not known; try --help")]
    UnknownOption {
        /// The beginning of it.
        shown: String,
    },
    /// An option lacks its value.
    #[error("the option {option} needs a value")]
    NoValue {
        /// Which.
        option: &'static str,
    },
    /// A folder is relative: a hook's working directory can be anything.
    #[error("{option} needs an absolute path, not \"{shown}\"")]
    Relative {
        /// Which option.
        option: &'static str,
        /// The beginning of it.
        shown: String,
    },
    /// Something is missing or too much.
    #[error("{0}")]
    Arguments(&'static str),
    /// The event is not known in this dialect.
    #[error("the event \"{shown}\" is not known; it can be {known}")]
    UnknownEvent {
        /// The beginning of it.
        shown: String,
        /// Those that are.
        known: &'static str,
    },
    /// The id is not a number.
    #[error("\"{shown}\" is no context's id")]
    BadId {
        /// The beginning of it.
        shown: String,
    },
    /// The name is no guest's name.
    #[error("it names no guest")]
    BadGuest {
        /// Which rule is broken.
        #[source]
        source: NameError,
    },
}

/// A call that cannot be understood, and the status its caller takes for "nothing happened".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    /// Who spoke.
    pub dialect: Dialect,
    /// What is wrong.
    pub error: UsageError,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, by the daemon or by the stored policy.
    Answered(Answer),
    /// No guest has the id.
    UnknownId(String),
    /// It could not be answered.
    Failed(String),
}

impl Dialect {
    /// The dialect of a call, as far as it can be told before the call is understood: by the program's name, or by
    /// the first word that begins a dialect. Any word can be a guest's name, none of these a runtime directory.
    fn of(line: &CommandLine) -> Self {
        if called_as_vshelper(line) {
            return Self::Vshelper;
        }
        let mut words = line.arguments.iter();
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--guest") => drop(words.next()),
                Some("lxc-hook") => return Self::Lxc,
                Some("vshelper") => return Self::Vshelper,
                _ => {}
            }
        }
        Self::Plain
    }

    /// The exit status for a call that cannot be understood.
    pub fn misuse_status(self) -> u8 {
        match self {
            Self::Lxc => 0,
            Self::Vshelper => 1,
            Self::Plain | Self::Monitor => 2,
        }
    }
}

impl Report {
    /// The exit status that tells the caller what became of its report.
    ///
    /// LXC's hook fails only to cancel LXC's own reboot, so that a guest nobody knows is never harmed. vshelper's are
    /// util-vserver's: an unknown context is a failure, except when it is gone anyway.
    pub fn status(&self, outcome: &Outcome) -> u8 {
        match (self.dialect, outcome) {
            (Dialect::Lxc, Outcome::Answered(answer)) => {
                let reboot = matches!(self.about, About::Guest { event: Event::Reboot, .. });
                u8::from(reboot && (answer.decision == Decision::Stop || is_anew(answer)))
            }
            (Dialect::Lxc, Outcome::UnknownId(_) | Outcome::Failed(_)) => 0,
            (Dialect::Monitor, Outcome::Answered(answer)) if is_anew(answer) => 1,
            (Dialect::Plain | Dialect::Monitor, Outcome::Answered(answer)) => match answer.decision {
                Decision::Restart => 0,
                Decision::Stop => 1,
                Decision::Ignore => 2,
            },
            (Dialect::Plain | Dialect::Monitor, Outcome::UnknownId(_) | Outcome::Failed(_)) => 2,
            (Dialect::Vshelper, Outcome::Answered(_)) => 0,
            (Dialect::Vshelper, Outcome::UnknownId(_) | Outcome::Failed(_)) => {
                let is_gone = matches!(
                    self.about,
                    About::Context { event: ContextEvent::Shutdown, .. }
                        | About::Guest { event: Event::Stop, .. }
                );
                u8::from(!is_gone)
            }
        }
    }
}

fn is_anew(answer: &Answer) -> bool {
    answer.decision == Decision::Restart && answer.anew
}

fn called_as_vshelper(line: &CommandLine) -> bool {
    Path::new(&line.program).file_name() == Some(OsStr::new("vshelper"))
}

/// Understands a call.
///
/// # Errors
/// [`Misuse`] with what is wrong.
pub fn parse(line: &CommandLine) -> Result<Call, Misuse> {
    let misuse = |error| Misuse { dialect: Dialect::of(line), error };
    let mut options = Options::default();
    let mut words = line.arguments.as_slice();
    let mut events = Vec::new();
    while let [first, rest @ ..] = words {
        words = rest;
        let word = text(first).map_err(misuse)?;
        match word {
            "-h" | "--help" => return Ok(Call::Help),
            "-V" | "--version" => return Ok(Call::Version),
            _ if word.starts_with('-') => words = options.take(word, first, rest).map_err(misuse)?,
            _ if called_as_vshelper(line) => {
                return Ok(options.vshelper(&line.arguments[line.arguments.len() - rest.len() - 1..], line));
            }
            "lxc-hook" => return lxc_hook(rest, options, line).map_err(misuse),
            "vshelper" => return Ok(options.vshelper(rest, line)),
            event => events.push(event),
        }
    }
    if called_as_vshelper(line) {
        return Ok(options.vshelper(&[], line));
    }
    let is_monitor = line.environment.contains_key(OsStr::new(MONITOR));
    let dialect = if is_monitor { Dialect::Monitor } else { Dialect::Plain };
    plain(&events, options, dialect).map_err(misuse)
}

/// A word as text.
///
/// # Errors
/// [`UsageError::NotText`].
pub fn text(word: &OsStr) -> Result<&str, UsageError> {
    word.to_str().ok_or_else(|| UsageError::NotText { shown: shown(&word.to_string_lossy()) })
}

fn guest_named(name: &OsStr) -> Result<GuestName, UsageError> {
    GuestName::new(text(name)?).map_err(|source| UsageError::BadGuest { source })
}

/// The options before, and in the plain dialect also after, the words.
#[derive(Default)]
struct Options {
    runtime_dir: Option<PathBuf>,
    vservers: Option<PathBuf>,
    guest: Option<GuestName>,
}

impl Options {
    fn runtime_dir(self) -> PathBuf {
        self.runtime_dir.unwrap_or_else(|| RUNTIME_DIR.into())
    }

    /// `EVENT XID`, as the VServer kernel calls it.
    fn vshelper(self, words: &[OsString], line: &CommandLine) -> Call {
        Call::Vshelper(Called::of(words, self.runtime_dir, self.vservers, line))
    }

    /// Takes one option, as `--name value` or `--name=value`, and gives back the words after it.
    fn take<'a>(
        &mut self,
        word: &str,
        whole: &OsStr,
        rest: &'a [OsString],
    ) -> Result<&'a [OsString], UsageError> {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(OsStr::new(value))),
            None => (word, None),
        };
        let option = match name {
            "--runtime-dir" => "--runtime-dir",
            "--vservers" => "--vservers",
            "--guest" => "--guest",
            _ => return Err(UsageError::UnknownOption { shown: shown(&whole.to_string_lossy()) }),
        };
        let (value, rest) = match (inline, rest) {
            (Some(value), rest) => (value, rest),
            (None, [value, rest @ ..]) => (value.as_os_str(), rest),
            (None, []) => return Err(UsageError::NoValue { option }),
        };
        if option == "--guest" {
            self.guest = Some(guest_named(value)?);
        } else if !Path::new(value).is_absolute() {
            return Err(UsageError::Relative { option, shown: shown(&value.to_string_lossy()) });
        } else if option == "--vservers" {
            self.vservers = Some(value.into());
        } else {
            self.runtime_dir = Some(value.into());
        }
        Ok(rest)
    }
}

/// `--guest NAME EVENT`.
fn plain(events: &[&str], options: Options, dialect: Dialect) -> Result<Call, UsageError> {
    let guest = options.guest.clone().ok_or(UsageError::Arguments("no guest is named; try --help"))?;
    let [word] = events else {
        return Err(UsageError::Arguments("exactly one event is needed; try --help"));
    };
    let event = Event::parse(word).ok_or_else(|| UsageError::UnknownEvent {
        shown: shown(word),
        known: "reboot, restart, declined, halt, poweroff or stop",
    })?;
    let about = About::Guest { guest, event };
    Ok(Call::Report(Report { dialect, runtime_dir: options.runtime_dir(), about }))
}

/// LXC's post-stop hook. Version 0 of LXC's hooks says `NAME lxc post-stop` in words, version 1 only in the
/// environment; the name and the target are in the environment of both.
fn lxc_hook(words: &[OsString], options: Options, line: &CommandLine) -> Result<Call, UsageError> {
    let variable = |name: &str| line.environment.get(OsStr::new(name)).map(OsString::as_os_str);
    let word = |at: usize| words.get(at).map(OsString::as_os_str);
    let section = variable("LXC_HOOK_SECTION").or_else(|| word(1));
    let hook = variable("LXC_HOOK_TYPE").or_else(|| word(2));
    // LXC_TARGET outlives the hook it was set for: the pre-start hook of a reboot sees it too.
    if section.is_some_and(|section| section != "lxc") || hook.is_some_and(|hook| hook != "post-stop") {
        return Ok(Call::Nothing("this is not LXC's post-stop hook"));
    }
    let event = match variable("LXC_TARGET").and_then(OsStr::to_str) {
        Some("reboot") => Event::Reboot,
        Some("stop") => Event::Stop,
        _ => return Ok(Call::Nothing("LXC_TARGET is neither reboot nor stop")),
    };
    let name = variable("LXC_NAME").or_else(|| word(0));
    let guest = guest_named(name.ok_or(UsageError::Arguments("LXC_NAME is not set"))?)?;
    let about = About::Guest { guest, event };
    Ok(Call::Report(Report { dialect: Dialect::Lxc, runtime_dir: options.runtime_dir(), about }))
}

#[cfg(test)]
mod tests;
