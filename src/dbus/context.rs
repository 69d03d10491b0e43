//! What all exported objects share: the way to the manager, who may act, and the publisher to wait for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use zbus::OwnedObjectPath;

use super::{
    attach::AttachRequest,
    authorisation::{Authorisation, Call, Permission},
    concerned,
    errors::Error,
    limit::{Limit, LimitEach},
    options::{BulkRequest, GuestRequest},
    path,
};
use crate::{
    daemon::handle::{Handle, HelperRequest, Outlook, Rejection, SessionEnd},
    helper::wire::{Answer, Event},
    model::{
        GuestName, JobId, Usage, Verb,
        name::shown,
        status::{JobStatus, Snapshot},
    },
};

/// How long an answer waits for its job to show up in a snapshot. The manager publishes a job before it answers, so
/// this only keeps a caller from waiting for ever.
const JOB_SHOWS_UP: Duration = Duration::from_secs(5);

/// The most calls that wait for the bus to tell who calls. Root's wait here too, so each is here for a moment only.
const UNKNOWN_CALLERS: usize = 256;
/// The most calls of others than root that wait for polkit, perhaps with a person at a password prompt. A bus lets one
/// connection wait for 128 answers.
const ASKING: usize = 96;
/// The most plans that are asked for, by everybody: each takes the manager's time.
const PLANNING: usize = 16;
/// The most questions what guests use, by everybody: each reads files in a thread.
const MEASURING: usize = 16;
/// The most sessions in guests, of all callers and of each user.
const SESSIONS: usize = 256;
const SESSIONS_OF_ONE: usize = 64;

/// A wish to be told when everything published until now is on the bus.
pub type CaughtUp = oneshot::Sender<()>;

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    /// One guest, and those that go with it.
    Guest(Verb, &'a GuestName),
    /// One guest by itself.
    One(&'a GuestName),
    /// The guests that a bulk request selects.
    Bulk(&'a BulkRequest),
    /// Those of a job.
    Job(&'a JobStatus),
    /// No guest in particular.
    Daemon,
}

/// Shared by all exported objects.
#[derive(Debug)]
pub struct Context {
    handle: Handle,
    authorisation: Authorisation,
    publisher: mpsc::UnboundedSender<CaughtUp>,
    unknown: Limit,
    asking: Limit,
    planning: Limit,
    measuring: Limit,
    attached: LimitEach,
}

impl Context {
    /// Binds the manager's door, the rule of who may act, and the publisher.
    pub fn new(
        handle: Handle,
        authorisation: Authorisation,
        publisher: mpsc::UnboundedSender<CaughtUp>,
    ) -> Self {
        Self {
            handle,
            authorisation,
            publisher,
            unknown: Limit::new("wait for the bus to tell who calls", UNKNOWN_CALLERS),
            asking: Limit::new("wait to be authorised by polkit", ASKING),
            planning: Limit::new("wait for their plans", PLANNING),
            measuring: Limit::new("wait to be told what guests use", MEASURING),
            attached: LimitEach::new("run in guests", SESSIONS, SESSIONS_OF_ONE),
        }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.handle.snapshot()
    }

    /// The rule of who may act.
    pub fn authorisation(&self) -> &Authorisation {
        &self.authorisation
    }

    /// The guest of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchGuest`], also for what cannot be a name.
    pub fn guest(&self, name: &str) -> Result<GuestName, Error> {
        let snapshot = self.snapshot();
        let known = snapshot.guests.get_key_value(name).map(|(name, _)| name.clone());
        known.ok_or_else(|| Rejection::NoSuchGuest(shown(name)).into())
    }

    /// Begins a request about one guest, once it is authorised.
    ///
    /// # Errors
    /// [`Error`] says why nothing was begun.
    pub async fn operate(
        &self,
        call: Call<'_>,
        verb: Verb,
        guest: GuestName,
        request: GuestRequest,
    ) -> Result<OwnedObjectPath, Error> {
        self.permit(call, verb.into(), Target::Guest(verb, &guest)).await?;
        let job = self.handle.operate(verb, guest, request.wait, request.hold).await?;
        Ok(self.on_the_bus(job).await)
    }

    /// Begins a bulk request, once it is authorised for every guest it selects.
    ///
    /// # Errors
    /// [`Error`] says why nothing was begun.
    pub async fn autostart(&self, call: Call<'_>, request: BulkRequest) -> Result<OwnedObjectPath, Error> {
        self.permit(call, Verb::from(request.action).into(), Target::Bulk(&request)).await?;
        let job = self.handle.autostart(request.action, request.selection, request.wait).await?;
        Ok(self.on_the_bus(job).await)
    }

    /// What a bulk request would do, and whom it would leave out. Reading is free.
    ///
    /// # Errors
    /// [`Error`] says why it cannot be planned.
    pub async fn plan(&self, request: BulkRequest) -> Result<Outlook, Error> {
        let _planning = self.planning.enter()?;
        self.outlook(request).await
    }

    async fn outlook(&self, request: BulkRequest) -> Result<Outlook, Error> {
        Ok(self.handle.plan(request.action, request.selection).await?)
    }

    /// Cancels a job, once that is authorised as what the job does to its guests.
    ///
    /// # Errors
    /// [`Error`] says why it was not cancelled.
    pub async fn cancel(&self, call: Call<'_>, job: JobId) -> Result<(), Error> {
        let snapshot = self.snapshot();
        let status = snapshot.jobs.get(&job).ok_or(Rejection::NoSuchJob(job))?;
        self.permit(call, status.verb.into(), Target::Job(status)).await?;
        self.handle.cancel(job).await?;
        self.caught_up().await;
        Ok(())
    }

    /// Runs a session of the caller in a guest to its end, once that is authorised; `begun` is told once it has begun. It
    /// ends with the caller's connection.
    ///
    /// # Errors
    /// [`Error`] says why there is none.
    pub async fn attach(
        &self,
        call: Call<'_>,
        guest: GuestName,
        request: AttachRequest,
        begun: oneshot::Sender<()>,
    ) -> Result<SessionEnd, Error> {
        let uid = self.permit(call, Permission::Attach, Target::One(&guest)).await?;
        let _attached = self.attached.enter(uid)?;
        let wish = request.by(guest, uid);
        tokio::select! {
            end = self.handle.attach(wish, begun) => Ok(end?),
            left = self.authorisation.leaves(call) => Err(match left {
                Ok(()) => zbus::Error::Failure("the caller has left".into()).into(),
                Err(error) => error.into(),
            }),
        }
    }

    /// Hands over what a guest asked for itself, once that is authorised, as the helper socket does for root.
    ///
    /// # Errors
    /// [`Error`] says why it was not taken.
    pub async fn report(&self, call: Call<'_>, guest: GuestName, event: Event) -> Result<Answer, Error> {
        self.permit(call, Permission::Helper, Target::One(&guest)).await?;
        Ok(self.handle.helper(HelperRequest { guest, event }).await?)
    }

    /// What these guests use, or all of them where none are named. Reading is free.
    ///
    /// # Errors
    /// [`Error`] names the guest that is unknown, or says that too many ask.
    pub async fn usage(&self, names: &[String]) -> Result<Vec<(GuestName, Usage)>, Error> {
        let _measuring = self.measuring.enter()?;
        let names = names.iter().map(|name| self.guest(name)).collect::<Result<_, _>>()?;
        Ok(self.handle.usage(names).await)
    }

    /// Reads settings and guests again; what was found is on the bus when this returns.
    ///
    /// # Errors
    /// [`Error`] says why nothing was read.
    pub async fn reload(&self, call: Call<'_>) -> Result<(), Error> {
        self.permit(call, Permission::Reload, Target::Daemon).await?;
        self.handle.reload().await?;
        self.caught_up().await;
        Ok(())
    }

    /// Lets root pass, and asks for others about every guest concerned. Asking may take long, with a person at a
    /// password prompt; what has become concerned meanwhile is asked about too. Whoever acts begins here, so that what
    /// waits is counted before it waits. Hands out who it is.
    async fn permit(&self, call: Call<'_>, permission: Permission, target: Target<'_>) -> Result<u32, Error> {
        let unknown = self.unknown.enter()?;
        let uid = self.authorisation.uid(call).await?;
        if uid == 0 {
            return Ok(uid);
        }
        let _asking = self.asking.enter()?;
        drop(unknown);
        let mut checked = BTreeSet::new();
        loop {
            let mut open = self.concerned(target).await?;
            open.retain(|name| !checked.contains(name));
            if open.is_empty() && !checked.is_empty() {
                return Ok(uid);
            }
            self.authorisation.check(call, permission, &self.snapshot(), &open).await?;
            if open.is_empty() {
                return Ok(uid);
            }
            checked.extend(open);
        }
    }

    async fn concerned(&self, target: Target<'_>) -> Result<Vec<GuestName>, Error> {
        Ok(match target {
            Target::Guest(verb, guest) => concerned::guests(&self.snapshot(), verb, guest),
            Target::One(guest) => vec![guest.clone()],
            Target::Bulk(request) => {
                let plan = self.outlook(request.clone()).await?;
                plan.steps.into_iter().map(|step| step.guest).collect()
            }
            Target::Job(job) => job.guests.to_vec(),
            Target::Daemon => Vec::new(),
        })
    }

    /// The path of a new job, as soon as its object is there.
    async fn on_the_bus(&self, job: JobId) -> OwnedObjectPath {
        let mut snapshots = self.handle.subscribe();
        let shown = snapshots.wait_for(|snapshot| snapshot.jobs.keys().next_back() >= Some(&job));
        if timeout(JOB_SHOWS_UP, shown).await.is_err() {
            tracing::warn!(%job, "the job was accepted, but no snapshot shows it");
        }
        self.caught_up().await;
        path::of_job(job).into()
    }

    /// Waits until the newest snapshot is on the bus. A publisher that has ended is not waited for.
    async fn caught_up(&self) {
        let (reply, done) = oneshot::channel();
        if self.publisher.send(reply).is_ok() {
            let _ended = done.await;
        }
    }
}
