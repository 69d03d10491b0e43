//! Keeps the bus in step with the snapshots: objects come and go, and exactly what changed is signalled.
//!
//! What changed is found by asking the interfaces themselves for all their properties, once for the old moment and
//! once for the new one. So there is no second list of properties that could fall behind.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use zbus::{
    Connection, ObjectPath, Variant,
    fdo::{DBusProxy, NameOwnerChangedStream, Properties},
    object_server::{Interface, SignalEmitter},
};

use super::{
    authorisation::POLKIT,
    context::{CaughtUp, Context},
    guest::GuestObject,
    job::JobObject,
    manager::ManagerObject,
    pace::Pace,
    path,
};
use crate::model::status::Snapshot;

/// How long changes wait for those that follow: each signal costs the bus, and guests that start together change a hundred
/// times a second. Objects that come or go, ends of jobs, for which people wait, and whoever asks do not wait.
const PAUSE: Duration = Duration::from_millis(20);

/// The one writer of the object tree.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    context: Arc<Context>,
    /// What is on the bus.
    published: Arc<Snapshot>,
    /// The word for who may act that is on the bus.
    authorization: &'static str,
    /// Jobs whose results are not signalled each time.
    results: Pace,
    /// Wakes when polkit comes or goes; none where there is no bus.
    polkit: Option<NameOwnerChangedStream>,
}

impl Publisher {
    /// Exports what is there already, before the bus name is requested.
    ///
    /// # Errors
    /// [`zbus::Error`] when the connection fails.
    pub async fn begin(
        connection: Connection,
        context: Arc<Context>,
        snapshots: &mut watch::Receiver<Arc<Snapshot>>,
    ) -> zbus::Result<Self> {
        let polkit = polkit_comes_and_goes(&connection).await?;
        context.authorisation().look(&connection).await?;
        let authorization = context.authorisation().word();
        let published = snapshots.borrow_and_update().clone();
        let results = Pace::default();
        let mut publisher = Self { connection, context, published, authorization, results, polkit };
        let nothing = Snapshot::default();
        let published = publisher.published.clone();
        publisher.publish_guests(&nothing, &published).await?;
        publisher.publish_jobs(&nothing, &published).await?;
        Ok(publisher)
    }

    /// Publishes every snapshot until the manager or the connection is gone.
    ///
    /// # Errors
    /// [`zbus::Error`] when the connection fails.
    pub async fn run(
        mut self,
        mut snapshots: watch::Receiver<Arc<Snapshot>>,
        mut waiting: mpsc::UnboundedReceiver<CaughtUp>,
    ) -> zbus::Result<()> {
        // Until when changes wait for those that follow, and whether some do.
        let (mut pause, mut waits) = (Instant::now(), false);
        loop {
            tokio::select! {
                biased;
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let next = snapshots.borrow_and_update().clone();
                    waits = Instant::now() < pause && !is_urgent(&self.published, &next);
                    if !waits {
                        self.publish(next).await?;
                        pause = Instant::now() + PAUSE;
                    }
                }
                () = sleep_until(pause), if waits => {
                    let newest = snapshots.borrow_and_update().clone();
                    self.publish(newest).await?;
                    (pause, waits) = (Instant::now() + PAUSE, false);
                }
                Some(caller) = waiting.recv() => {
                    let newest = snapshots.borrow_and_update().clone();
                    self.publish(newest).await?;
                    // A caller that stopped waiting misses nothing.
                    let _gone = caller.send(());
                }
                () = self.results.due() => self.publish_results().await?,
                Some(()) = next_owner(&mut self.polkit) => {
                    let looked = self.context.authorisation().look(&self.connection).await;
                    go_on(POLKIT, looked)?;
                    self.publish_authorization().await?;
                },
            }
        }
    }

    async fn publish(&mut self, next: Arc<Snapshot>) -> zbus::Result<()> {
        self.publish_authorization().await?;
        if Arc::ptr_eq(&next, &self.published) {
            return Ok(());
        }
        let last = std::mem::replace(&mut self.published, next.clone());
        self.publish_guests(&last, &next).await?;
        self.publish_jobs(&last, &next).await?;
        let [old, new] = [last, next].map(|moment| ManagerObject::at(self.context.clone(), moment));
        self.signal_changes(path::MANAGER.try_into()?, &old, &new).await
    }

    async fn publish_guests(&self, last: &Snapshot, next: &Snapshot) -> zbus::Result<()> {
        let server = self.connection.object_server();
        for difference in differences(&last.guests, &next.guests) {
            match difference {
                Difference::Gone(name) => {
                    let path = path::of_guest(name);
                    go_on(&path, server.remove::<GuestObject, _>(&path).await)?;
                }
                Difference::New(name) => {
                    let guest = GuestObject::new(self.context.clone(), name.clone());
                    let path = path::of_guest(name);
                    go_on(&path, server.at(&path, guest).await)?;
                }
                Difference::Changed(name, moments) => {
                    let [old, new] =
                        moments.map(|moment| GuestObject::at(self.context.clone(), moment.clone()));
                    self.signal_changes(path::of_guest(name), &old, &new).await?;
                }
            }
        }
        Ok(())
    }

    async fn publish_jobs(&mut self, last: &Snapshot, next: &Snapshot) -> zbus::Result<()> {
        for difference in differences(&last.jobs, &next.jobs) {
            let server = self.connection.object_server();
            match difference {
                Difference::Gone(id) => {
                    self.results.forget(*id);
                    let path = path::of_job(*id);
                    go_on(&path, server.remove::<JobObject, _>(&path).await)?;
                }
                Difference::New(id) => {
                    let path = path::of_job(*id);
                    go_on(&path, server.at(&path, JobObject::new(self.context.clone(), *id)).await)?;
                }
                Difference::Changed(id, [old, new]) => {
                    let [old, new] = self
                        .results
                        .told(old, new, Instant::now())
                        .map(|moment| JobObject::at(self.context.clone(), moment));
                    self.signal_changes(path::of_job(*id), &old, &new).await?;
                }
            }
        }
        Ok(())
    }

    /// Signals the results that were held back.
    async fn publish_results(&mut self) -> zbus::Result<()> {
        for (told, newest) in self.results.held_back(&self.published.jobs, Instant::now()) {
            let path = path::of_job(newest.id);
            let [old, new] = [told, newest].map(|moment| JobObject::at(self.context.clone(), moment));
            self.signal_changes(path, &old, &new).await?;
        }
        Ok(())
    }

    /// Signals the properties in which `new` differs from `old`, with their values.
    async fn signal_changes<I: Interface>(&self, path: ObjectPath<'_>, old: &I, new: &I) -> zbus::Result<()> {
        let (server, connection) = (self.connection.object_server(), &self.connection);
        let emitter = SignalEmitter::new(connection, path.as_ref())?;
        let signalled = async {
            let before = old.get_all(server, connection, None, &emitter).await?;
            let after = new.get_all(server, connection, None, &emitter).await?;
            let mut changed: HashMap<&str, Variant<'_>> = HashMap::new();
            for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
                changed.insert(name, value.try_clone()?.into());
            }
            if changed.is_empty() {
                return Ok(());
            }
            Properties::properties_changed(&emitter, I::name(), changed, Cow::Borrowed(&[])).await
        };
        go_on(&path, signalled.await)
    }

    /// Signals `Authorization` if a look at polkit changed it.
    async fn publish_authorization(&mut self) -> zbus::Result<()> {
        let word = self.context.authorisation().word();
        if self.authorization == word {
            return Ok(());
        }
        self.authorization = word;
        let emitter = SignalEmitter::new(&self.connection, path::MANAGER)?;
        let changed = HashMap::from([("Authorization", Variant::from(word))]);
        Properties::properties_changed(&emitter, ManagerObject::name(), changed, Cow::Borrowed(&[])).await
    }
}

/// Whether objects come or go, or a job is over that was not.
fn is_urgent(last: &Snapshot, next: &Snapshot) -> bool {
    let was_over = |id| last.jobs.get(id).is_some_and(|job| job.state.is_over());
    !next.guests.keys().eq(last.guests.keys())
        || !next.jobs.keys().eq(last.jobs.keys())
        || next.jobs.iter().any(|(id, job)| job.state.is_over() && !was_over(id))
}

async fn polkit_comes_and_goes(connection: &Connection) -> zbus::Result<Option<NameOwnerChangedStream>> {
    if !connection.is_bus() {
        return Ok(None);
    }
    let bus = DBusProxy::new(connection).await?;
    Ok(Some(bus.receive_name_owner_changed_with_args(&[(0, POLKIT)]).await?))
}

/// What fails about one object costs that object only; without the connection nothing more can be published.
fn go_on<T>(what: &str, result: zbus::Result<T>) -> zbus::Result<()> {
    match result {
        Ok(_) => {}
        Err(error @ zbus::Error::InputOutput(_)) => return Err(error),
        Err(error) => tracing::warn!("{what} cannot be brought up to date on the bus: {error}"),
    }
    Ok(())
}

/// In what one moment differs from the one before it.
#[derive(Debug, PartialEq)]
enum Difference<'a, K, V> {
    Gone(&'a K),
    New(&'a K),
    /// Then and now.
    Changed(&'a K, [&'a Arc<V>; 2]),
}

/// Walks two maps side by side. Unchanged values are usually the same allocation.
fn differences<'a, K: Ord, V: PartialEq>(
    last: &'a BTreeMap<K, Arc<V>>,
    next: &'a BTreeMap<K, Arc<V>>,
) -> Vec<Difference<'a, K, V>> {
    let (mut olds, mut news) = (last.iter().peekable(), next.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        let old = if order.is_le() { olds.next() } else { None };
        let new = if order.is_ge() { news.next() } else { None };
        match (old, new) {
            (Some((key, old)), Some((_, new))) if !Arc::ptr_eq(old, new) && old != new => {
                found.push(Difference::Changed(key, [old, new]));
            }
            (Some((key, _)), None) => found.push(Difference::Gone(key)),
            (None, Some((key, _))) => found.push(Difference::New(key)),
            (_, _) => {}
        }
    }
}

/// The next change of owner; none where there is none to wait for.
async fn next_owner(stream: &mut Option<NameOwnerChangedStream>) -> Option<()> {
    stream.as_mut()?.next().await.map(drop)
}

#[cfg(test)]
mod tests;
