//! The ends of PID 1's jobs (`JobRemoved` of org.freedesktop.systemd1(5)), told to all who wait for one. One subscription
//! serves all: to subscribe for each start costs both sides of the bus more than the start's own call.

use futures_util::StreamExt;
use tokio::sync::broadcast::{self, error::RecvError};
use zbus::OwnedObjectPath;
use zbus_systemd::systemd1::ManagerProxy;

/// How many ends may wait for somebody to take them. Whoever waits is woken for each.
const BACKLOG: usize = 1024;

/// A job that is over.
#[derive(Debug, Clone)]
struct End {
    job: OwnedObjectPath,
    result: String,
}

/// Where the ends of all jobs are told.
#[derive(Debug, Clone)]
pub(super) struct Jobs(broadcast::WeakSender<End>);

impl Jobs {
    /// Listens from now on. Needs a running Tokio runtime.
    ///
    /// # Errors
    /// When the bus does not take the subscription.
    pub(super) async fn follow(manager: &ManagerProxy<'static>) -> zbus::Result<Self> {
        let mut ends = manager.receive_job_removed().await?;
        let (tell, _) = broadcast::channel(BACKLOG);
        let jobs = Self(tell.downgrade());
        tokio::spawn(async move {
            while let Some(end) = ends.next().await {
                if let Ok(end) = end.args() {
                    // Nobody may be waiting.
                    let _ = tell.send(End { job: end.job().clone(), result: end.result().clone() });
                }
            }
        });
        Ok(jobs)
    }

    /// Listens for ends from now on; none when PID 1 cannot be heard any more.
    pub(super) fn listen(&self) -> Option<Ends> {
        self.0.upgrade().map(|tell| Ends(tell.subscribe()))
    }
}

/// The ends of jobs since somebody began to listen.
#[derive(Debug)]
pub(super) struct Ends(broadcast::Receiver<End>);

impl Ends {
    /// Waits for the end of a job: its result, or none when PID 1 cannot be heard any more.
    pub(super) async fn of(&mut self, job: &OwnedObjectPath) -> Option<String> {
        loop {
            match self.0.recv().await {
                Ok(end) if end.job == *job => return Some(end.result),
                Ok(_) => {}
                // It may have been among those that are lost.
                Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
            }
        }
    }
}
