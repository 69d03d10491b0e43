//! The only door into the manager, for D-Bus and for the helper socket: commands in, snapshots out.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    helper::wire::{Answer, Event},
    model::{Action, Diagnostic, GuestName, JobId, Verb, status::Snapshot},
};

pub use crate::model::{Outlook, PlannedStep, Rejection, Selection, StopWait};

/// What a helper reported, checked and completed by the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperRequest {
    /// Whom it is about.
    pub guest: GuestName,
    /// What happened.
    pub event: Event,
}

/// What the manager can be asked. Each carries the channel for its answer.
#[derive(Debug)]
pub enum Command {
    /// A bulk request.
    Autostart {
        /// What to do.
        action: Action,
        /// With whom.
        selection: Selection,
        /// For shutdown.
        wait: StopWait,
        /// The job, or why not.
        reply: oneshot::Sender<Result<JobId, Rejection>>,
    },
    /// What a bulk request would do now.
    Plan {
        /// What to do.
        action: Action,
        /// With whom.
        selection: Selection,
        /// The steps, and who is left out.
        reply: oneshot::Sender<Result<Outlook, Rejection>>,
    },
    /// A request about one guest (and those it depends on).
    Operate {
        /// What to do.
        verb: Verb,
        /// With whom.
        guest: GuestName,
        /// For stop and restart.
        wait: StopWait,
        /// For hold: why.
        reason: Option<String>,
        /// The job, or why not.
        reply: oneshot::Sender<Result<JobId, Rejection>>,
    },
    /// Cancel what a job has not begun.
    Cancel {
        /// Which.
        job: JobId,
        /// Done, or why not.
        reply: oneshot::Sender<Result<(), Rejection>>,
    },
    /// Read settings and guests again.
    Reload {
        /// What was found wrong.
        reply: oneshot::Sender<Arc<[Diagnostic]>>,
    },
    /// A guest's own request.
    Helper {
        /// What it reported.
        request: HelperRequest,
        /// The decision.
        reply: oneshot::Sender<Answer>,
    },
    /// A helper has decided by itself, and left its request in the spool.
    Spooled,
}

/// A cheap, clonable door to the manager.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl Handle {
    /// Made by the composition root (and by tests that play the manager).
    pub fn new(commands: mpsc::UnboundedSender<Command>, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { commands, snapshots }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// A receiver that wakes at every new snapshot.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Begins a bulk request.
    ///
    /// # Errors
    /// [`Rejection`] says why nothing was begun.
    pub async fn autostart(
        &self,
        action: Action,
        selection: Selection,
        wait: StopWait,
    ) -> Result<JobId, Rejection> {
        self.ask(|reply| Command::Autostart { action, selection, wait, reply }).await?
    }

    /// What a bulk request would do now.
    ///
    /// # Errors
    /// [`Rejection`] says why it could not be planned.
    pub async fn plan(&self, action: Action, selection: Selection) -> Result<Outlook, Rejection> {
        self.ask(|reply| Command::Plan { action, selection, reply }).await?
    }

    /// Begins a request about one guest.
    ///
    /// # Errors
    /// [`Rejection`] says why nothing was begun.
    pub async fn operate(
        &self,
        verb: Verb,
        guest: GuestName,
        wait: StopWait,
        reason: Option<String>,
    ) -> Result<JobId, Rejection> {
        self.ask(|reply| Command::Operate { verb, guest, wait, reason, reply }).await?
    }

    /// Cancels a job: what has begun goes on, what has not does not begin.
    ///
    /// # Errors
    /// [`Rejection`] when there is no such job.
    pub async fn cancel(&self, job: JobId) -> Result<(), Rejection> {
        self.ask(|reply| Command::Cancel { job, reply }).await?
    }

    /// Reads settings and guests again, and says what was found wrong.
    ///
    /// # Errors
    /// [`Rejection::Stopping`] when the daemon is going down.
    pub async fn reload(&self) -> Result<Arc<[Diagnostic]>, Rejection> {
        self.ask(|reply| Command::Reload { reply }).await
    }

    /// Reports a guest's own request; the decision comes back.
    ///
    /// # Errors
    /// [`Rejection::Stopping`] when the daemon is going down.
    pub async fn helper(&self, request: HelperRequest) -> Result<Answer, Rejection> {
        self.ask(|reply| Command::Helper { request, reply }).await
    }

    /// Says that a request lies in the spool. A daemon that is going down leaves it to the next one.
    pub fn spooled(&self) {
        let _ = self.commands.send(Command::Spooled);
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| Rejection::Stopping)?;
        answer.await.map_err(|_| Rejection::Stopping)
    }
}
