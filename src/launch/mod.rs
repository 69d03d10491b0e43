//! How a guest's first host process comes to life so that it outlives the daemon, and how its cgroups are handled.
//!
//! One trait; `direct` for hosts without systemd as PID 1. Which one is used is chosen at start and shown in the
//! status.

use std::{ffi::OsString, io, path::PathBuf, sync::Arc, time::Duration};

use crate::{engine::BoxFuture, import::settings::LauncherChoice, model::GuestName};

pub mod cgroup;
pub mod direct;
pub mod freezer;

pub use direct::Direct;

/// A program to launch for a guest: it stays in the background by itself (as `lxc-start -d` does) or fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Whom it is for.
    pub guest: GuestName,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Added to an otherwise minimal environment.
    pub environment: Vec<(OsString, OsString)>,
    /// When it has not returned by then, it is killed and the launch has failed.
    pub timeout: Duration,
}

/// Why a launch failed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The program could not be run at all.
    #[error("cannot run {program}: {source}")]
    Spawn {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ran and reported failure.
    #[error("{program} exited with {status}{}", said(.stderr))]
    Exited {
        /// The program.
        program: String,
        /// Its exit status in words.
        status: String,
        /// The last lines that it wrote to standard error, bounded.
        stderr: String,
    },
    /// It did not return in time and was killed.
    #[error("{program} did not finish within {timeout:?} and was killed")]
    TimedOut {
        /// The program.
        program: String,
        /// The time it had.
        timeout: Duration,
    },
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

/// The cgroups of one guest, as paths below each cgroup mount: what the launcher kills and removes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups(pub Vec<PathBuf>);

/// Launches programs for guests and handles their cgroups.
pub trait Launcher: Send + Sync {
    /// Its name in the settings and in the status.
    fn name(&self) -> &'static str;

    /// Runs a program that puts a guest into the background. Returns when it has done so.
    fn launch<'a>(&'a self, launch: &'a Launch) -> BoxFuture<'a, Result<(), LaunchError>>;

    /// Kills every process in these cgroups and in those below them, again and again until they are empty or `within`
    /// is over.
    fn kill<'a>(&'a self, cgroups: &'a Cgroups, within: Duration) -> BoxFuture<'a, io::Result<()>>;

    /// Removes these cgroups and those below them where no process is left in them; the others stay.
    fn remove(&self, cgroups: &Cgroups) -> io::Result<()>;
}

/// The launcher for this host. `systemd` needs a later version; until then every host is launched on directly.
pub fn choose(choice: LauncherChoice) -> Arc<dyn Launcher> {
    if choice == LauncherChoice::Systemd {
        tracing::warn!("launcher = \"systemd\" comes in a later version: launching directly");
    }
    Arc::new(Direct)
}
