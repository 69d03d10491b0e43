//! Waiting until a container runs whose `lxc-start` stays in the foreground: what `lxc-start -d` does itself.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::{command::Monitor, process::Process, record::State};

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

/// Waits until the container of this process runs; `states` are those that the FIFO tells of it.
pub(super) async fn runs(
    pid: i32,
    socket: &Monitor,
    states: &mut mpsc::UnboundedReceiver<State>,
    deadline: Instant,
) -> Result<(), Absent> {
    let Ok(monitor) = Process::open(pid) else { return Err(Absent::Ended) };
    let mut pause = LOOK;
    let mut look = Instant::now() + pause;
    while Instant::now() < deadline {
        tokio::select! {
            // In this order: one that ran, if only for a moment, was started.
            biased;
            Some(state) = states.recv() => if state == State::Running { return Ok(()) },
            () = monitor.ended() => return Err(Absent::Ended),
            () = sleep_until(look.min(deadline)) => {
                if let Ok(Ok(State::Running | State::Frozen)) = timeout_at(deadline, socket.state()).await {
                    return Ok(());
                }
                pause = (pause * 2).min(LOOK_MAX);
                look = Instant::now() + pause;
            }
        }
    }
    Err(Absent::TimedOut)
}
