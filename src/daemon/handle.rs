//! The only door into the manager, for D-Bus and for the helper socket: commands in, snapshots out.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    helper::wire::{Answer, Event},
    model::{Action, Diagnostic, GuestName, HoldWish, JobId, Usage, Verb, status::Snapshot},
};

use super::{
    host::HostState,
    sessions::{self, Sessions},
};

pub use super::sessions::{SessionEnd, SessionWish};
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
        /// For shutdown and kill: the host is going down.
        host_stops: bool,
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
        /// For hold: why, and until when.
        hold: HoldWish,
        /// For stop and kill: the host is going down.
        host_stops: bool,
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
    host: HostState,
    sessions: Sessions,
}

impl Handle {
    /// Made by the composition root (and by tests that play the manager).
    pub fn new(commands: mpsc::UnboundedSender<Command>, snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self { commands, snapshots, host: HostState::default(), sessions: Sessions::default() }
    }

    /// The same on a host of which it can be known whether it is going down.
    #[must_use]
    pub fn on(self, host: HostState) -> Self {
        Self { host, ..self }
    }

    /// The same where people can be in guests.
    #[must_use]
    pub fn with(self, sessions: Sessions) -> Self {
        Self { sessions, ..self }
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
        let host_stops = action.is_downward() && self.host.stops().await;
        self.ask(|reply| Command::Autostart { action, selection, wait, host_stops, reply }).await?
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
        hold: HoldWish,
    ) -> Result<JobId, Rejection> {
        // A guest's unit may be stopped by the host's own stop, too.
        let host_stops = matches!(verb, Verb::Stop | Verb::Kill) && self.host.stops().await;
        self.ask(|reply| Command::Operate { verb, guest, wait, hold, host_stops, reply }).await?
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

    /// Runs somebody's session in a guest to its end; `begun` is told once it has begun. Dropping the future ends it. The
    /// manager is not asked: it has nothing to do with it.
    ///
    /// # Errors
    /// [`Rejection`] says why there is none.
    pub async fn attach(
        &self,
        wish: SessionWish,
        begun: oneshot::Sender<()>,
    ) -> Result<SessionEnd, Rejection> {
        self.sessions.run(&self.snapshot(), wish, begun).await
    }

    /// What these guests use just now, or all where none are named; those that do not run are left out. Nothing is read but
    /// when somebody asks.
    pub async fn usage(&self, names: Vec<GuestName>) -> Vec<(GuestName, Usage)> {
        let snapshot = self.snapshot();
        let read = move || match names.is_empty() {
            true => sessions::usage(snapshot.guests.values().map(|guest| &**guest)),
            false => {
                sessions::usage(names.iter().filter_map(|name| snapshot.guests.get(name).map(|it| &**it)))
            }
        };
        // A runtime that ends answers nobody any more.
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
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
