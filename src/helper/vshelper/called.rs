//! A call in the manner of the VServer kernel: `vshelper EVENT XID`, and what guest-run says besides.
//!
//! Pure: the words and the environment come in as data.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use crate::{
    helper::{
        dialect::{CommandLine, RUNTIME_DIR, UsageError, text},
        wire::{ContextEvent, Environment},
    },
    model::{GuestName, name::shown},
};

/// Set by guest-run to its process id: the exit status is an answer then.
pub const MONITOR: &str = "GUESTD_MONITOR";
/// Set by guest-run: the guest.
pub const GUEST: &str = "GUESTD_GUEST";
/// Set by guest-run: guestd's runtime directory, for a `vshelper` that is called without options.
pub const RUNTIME: &str = "GUESTD_RUNTIME_DIR";

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called {
    /// The daemon's runtime directory.
    pub runtime_dir: PathBuf,
    /// Where util-vserver's guests are, if the caller says so.
    pub vservers: Option<PathBuf>,
    /// All that was said, for those that are run instead.
    pub words: Vec<OsString>,
    /// What it says, or what is wrong with it. That is told only after the log is open, and not where the helper is disabled.
    pub asked: Result<Asked, UsageError>,
    /// What the kernel said besides.
    pub environment: Environment,
    /// The guest whose monitor calls; none when it is somebody else.
    pub monitored: Option<GuestName>,
}

/// What happened to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub event: ContextEvent,
    /// The number of the context, or of the network context for `netup` and `netdown`.
    pub id: u32,
}

impl Called {
    /// Understands the words after the options.
    pub fn of(
        words: &[OsString],
        runtime_dir: Option<PathBuf>,
        vservers: Option<PathBuf>,
        line: &CommandLine,
    ) -> Self {
        let variable = |name: &str| line.environment.get(OsStr::new(name)).map(OsString::as_os_str);
        let monitored = variable(MONITOR).and(variable(GUEST)).and_then(OsStr::to_str);
        let told = variable(RUNTIME).map(Path::new).filter(|path| path.is_absolute()).map(Path::to_path_buf);
        Self {
            runtime_dir: runtime_dir.or(told).unwrap_or_else(|| RUNTIME_DIR.into()),
            vservers,
            words: words.to_vec(),
            asked: asked(words),
            environment: kernel_variables(line),
            monitored: monitored.and_then(|name| GuestName::new(name).ok()),
        }
    }
}

/// Very old kernels put the number first; further words are ignored, as util-vserver's vshelper does.
fn asked(words: &[OsString]) -> Result<Asked, UsageError> {
    let [first, second, ..] = words else {
        return Err(UsageError::Arguments("vshelper needs an event and a context's id"));
    };
    let (first, second) = (text(first)?, text(second)?);
    let (word, number) =
        if ContextEvent::parse(second).is_some() { (second, first) } else { (first, second) };
    let event = ContextEvent::parse(word).ok_or_else(|| UsageError::UnknownEvent {
        shown: shown(word),
        known: "restart, halt, poweroff, swsusp, oom, startup, shutdown, netup or netdown",
    })?;
    let digits = number.bytes().all(|b| b.is_ascii_digit());
    let id = number.parse().ok().filter(|_| digits);
    let id = id.ok_or_else(|| UsageError::BadId { shown: shown(number) })?;
    Ok(Asked { event, id })
}

/// What the kernel said besides: `VS_CMD`, `VS_UID`, `VS_PID` and their like. What breaks a rule is left out; the
/// request matters more.
fn kernel_variables(line: &CommandLine) -> Environment {
    let mut environment = Environment::default();
    let texts = line.environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    for (name, value) in texts.filter(|(name, _)| name.starts_with("VS_")) {
        let _ = environment.insert(name.to_owned(), value.to_owned());
    }
    environment
}
