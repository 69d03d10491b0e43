//! Programs that are run for a guest and whose end says something: hooks, and probes. Here as children of the daemon.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, copy, sink},
    process::Command,
    time::timeout,
};

use super::{
    Program,
    direct::{Group, command},
    unit,
};
use crate::model::{GuestName, name::clipped};

/// How long a killed program is waited for. A process in the kernel's hands may take longer to die.
const DIES_WITHIN: Duration = Duration::from_secs(1);
/// How much of what it prints is told, in bytes; and of each line, in characters.
const TOLD: u64 = 64 * 1024;
const LINE: usize = 500;

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

/// Runs a program as a child. What it prints is told line by line as a guest's, or dropped. Dropping the future kills it,
/// with everything it started.
pub(super) async fn run(teller: Option<&GuestName>, program: &Program) -> HookEnd {
    let spawned = command(program).and_then(|mut command| {
        if teller.is_some() {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        Command::from(command).kill_on_drop(true).spawn()
    });
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return HookEnd::Failed(error),
    };
    if let Some(guest) = teller {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        stdout.map(|stdout| tokio::spawn(tell(guest.clone(), program.name(), stdout)));
        stderr.map(|stderr| tokio::spawn(tell(guest.clone(), program.name(), stderr)));
    }
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

/// Tells what a program prints. It is read to its end, also by children that outlive it, so that nobody is ended by a
/// pipe that nobody reads.
async fn tell(guest: GuestName, program: String, printed: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(printed.take(TOLD)).lines();
    // What is no text is not told, and ends it.
    while let Ok(Some(line)) = lines.next_line().await {
        let (guest, line) = (&guest, clipped(&line, LINE));
        tracing::info!(
            guest = %guest,
            object_systemd_unit = unit::name(guest),
            "{guest}: {program}: {line}"
        );
    }
    let mut rest = lines.into_inner().into_inner().into_inner();
    // Its end is all that matters.
    let _ = copy(&mut rest, &mut sink()).await;
}
