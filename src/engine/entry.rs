//! How a person gets into a guest, and what the guest uses: the one place that knows it for every engine.

use std::{ffi::OsString, path::PathBuf};

use super::{lxc, native};
use crate::model::{EngineKind, Guest, Usage, status::GuestStatus};

/// What somebody wants inside a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// To run a program as its root; the shell of its root where no program is given.
    Command(&'a [String]),
    /// Its console.
    Console,
}

/// What engines need to get into guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// `guest-run`; without it nobody gets into native guests.
    pub monitor: Option<PathBuf>,
    /// The daemon's runtime directory.
    pub runtime_dir: PathBuf,
}

impl Ways {
    /// The command line that does it, for as long as it takes: with the terminal or the three streams that it is given. The
    /// program has this environment and nothing of the host's. None where its engine cannot.
    pub fn command_line(
        &self,
        guest: &GuestStatus,
        entry: Entry<'_>,
        environment: &[(&str, &str)],
    ) -> Option<Vec<OsString>> {
        match (guest.engine, entry) {
            (EngineKind::Lxc, Entry::Command(command)) => {
                Some(lxc::enter(guest.lxcpath.as_deref()?, &guest.name, environment, command))
            }
            (EngineKind::Lxc, Entry::Console) => {
                Some(lxc::enter_console(guest.lxcpath.as_deref()?, &guest.name))
            }
            (EngineKind::Native, Entry::Command(command)) => {
                let (monitor, runtime_dir) = (self.monitor.as_deref()?, &self.runtime_dir);
                let shell = [native::SHELL.to_owned()];
                let command = if command.is_empty() { &shell } else { command };
                Some(native::attach(monitor, runtime_dir, &guest.name, environment, command))
            }
            (EngineKind::Native, Entry::Console) => {
                Some(native::enter_console(self.monitor.as_deref()?, &self.runtime_dir, &guest.name))
            }
        }
    }

    /// The command line by which a program runs inside a guest, as its root and with a fresh environment. Its exit status is that
    /// of the program. None where its engine cannot.
    pub fn run_inside(&self, guest: &Guest, command: &[String]) -> Option<Vec<OsString>> {
        match guest.engine_kind() {
            EngineKind::Lxc => Some(lxc::attach(guest, command)),
            EngineKind::Native => {
                Some(native::attach(self.monitor.as_deref()?, &self.runtime_dir, &guest.name, &[], command))
            }
        }
    }
}

/// What a guest uses; none when it does not run. Reads a few files of the kernel.
pub fn usage(guest: &GuestStatus) -> Option<Usage> {
    let init = guest.init_pid?;
    match guest.engine {
        EngineKind::Lxc => lxc::usage(&guest.name, init),
        EngineKind::Native => native::usage(init),
    }
}
