//! Programs that are run for a guest and whose end says something: hooks, and probes. Here as children of the daemon.

use std::{io, process::ExitStatus, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{
    Program,
    direct::{Group, command},
};

/// How long a killed program is waited for. A process in the kernel's hands may take longer to die.
const DIES_WITHIN: Duration = Duration::from_secs(1);

/// How such a program ended.
#[derive(Debug)]
pub enum HookEnd {
    /// By itself or by a signal, with this status.
    Exited(ExitStatus),
    /// Not within its time. It has been killed, with everything it started.
    TimedOut,
    /// It could not be run or watched.
    Failed(io::Error),
}

/// Runs a program as a child. What it prints is dropped. Dropping the future kills it, with everything it started.
pub(super) async fn run(program: &Program) -> HookEnd {
    let spawned = command(program).and_then(|command| Command::from(command).kill_on_drop(true).spawn());
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return HookEnd::Failed(error),
    };
    let group = Group::of(child.id());
    match timeout(program.timeout, child.wait()).await {
        Ok(Ok(status)) => {
            // What it has left running is meant to.
            group.spare();
            HookEnd::Exited(status)
        }
        Ok(Err(error)) => HookEnd::Failed(error),
        Err(_) => {
            drop(group);
            // Whoever takes longer is waited for by the runtime.
            let _ = timeout(DIES_WITHIN, child.wait()).await;
            HookEnd::TimedOut
        }
    }
}
