//! Waiting until a container runs whose `lxc-start` stays in the foreground: what `lxc-start -d` does itself.

use std::{future::pending, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::debug;

use super::{
    command::Monitor,
    process::{Process, ended},
    record::State,
};
use crate::{engine::BoxFuture, launch::Launcher, model::GuestName};

/// How long it is waited for the word that a container runs, before it is asked which process keeps it.
const SOON: Duration = Duration::from_millis(100);
/// When the monitor itself is asked how its container is, and how the pauses grow: records may be lost where nobody can
/// read the FIFO.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Why a container does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Its monitor has ended.
    Ended,
    /// It took too long.
    TimedOut,
}

/// Waits until a container runs that was launched into the foreground of its unit; `states` are those that the FIFO tells
/// of it.
pub(super) async fn runs(
    guest: &GuestName,
    launcher: &dyn Launcher,
    socket: &Monitor,
    states: &mut mpsc::UnboundedReceiver<State>,
    deadline: Instant,
) -> Result<(), Absent> {
    // Most run before anybody need be asked which process that is.
    if let Ok(true) = timeout_at(deadline.min(Instant::now() + SOON), told(states)).await {
        return Ok(());
    }
    let (mut asked, mut keeper) = (Some(launcher.keeper(guest)), None);
    let mut pause = LOOK;
    let mut look = Instant::now() + pause;
    while Instant::now() < deadline {
        tokio::select! {
            // In this order: one that ran, if only for a moment, was started.
            biased;
            true = told(states) => return Ok(()),
            answer = answered(&mut asked) => match answer.map(|pid| pid.and_then(|pid| Process::open(pid).ok())) {
                Ok(None) => return Err(Absent::Ended),
                Ok(process) => keeper = process,
                // PID 1 is busy, or begins anew.
                Err(error) => debug!("{guest}: who keeps it is not known: {error}"),
            },
            () = ended(keeper.as_ref()) => return Err(Absent::Ended),
            () = sleep_until(look.min(deadline)) => {
                if let Ok(Ok(State::Running | State::Frozen)) = timeout_at(deadline, socket.state()).await {
                    return Ok(());
                }
                if keeper.is_none() && asked.is_none() {
                    asked = Some(launcher.keeper(guest));
                }
                pause = (pause * 2).min(LOOK_MAX);
                look = Instant::now() + pause;
            }
        }
    }
    Err(Absent::TimedOut)
}

/// Waits for the answer to a question, if one is asked.
async fn answered<T>(asked: &mut Option<BoxFuture<'_, T>>) -> T {
    match asked {
        Some(question) => {
            let answer = question.await;
            *asked = None;
            answer
        }
        None => pending().await,
    }
}

/// Waits until it is told that the container runs; false when nothing will be told any more.
async fn told(states: &mut mpsc::UnboundedReceiver<State>) -> bool {
    while let Some(state) = states.recv().await {
        if state == State::Running {
            return true;
        }
    }
    false
}
