//! Following a job to its end, by signals alone, also across a restart of guestd: the job keeps its path.

use std::{collections::HashMap, time::Duration};

use futures_util::StreamExt;
use tokio::time::Instant;
use zbus::{
    OwnedObjectPath, OwnedVariant,
    fdo::{PropertiesChanged, PropertiesChangedStream, PropertiesProxy},
    names::InterfaceName,
    proxy::CacheProperties,
};

use super::{
    away::{self, Owners},
    bus::Bus,
    error::Error,
    view::JobView,
};
use crate::model::{JobId, JobState, Outcome};

const INTERFACE: InterfaceName<'static> = InterfaceName::from_static_str_unchecked("org.guestd1.Job");

/// Properties as `GetAll` answers them.
type Properties = HashMap<String, OwnedVariant>;

/// What is seen of a job.
#[derive(Debug, Clone, Copy)]
pub enum Sight<'a> {
    /// It is so now.
    Job(&'a JobView),
    /// guestd has gone away, and is waited for.
    Away,
    /// It has come back.
    Back,
}

/// Waits until a job is over; `seen` is told of it at first and after every change. A guestd that goes away may be gone for
/// `patience`.
///
/// # Errors
/// [`Error::Vanished`] when guestd does not come back, [`Error::JobLost`] when it does not know the job.
pub async fn follow(
    bus: &Bus,
    path: &OwnedObjectPath,
    patience: Duration,
    mut seen: impl FnMut(Sight<'_>),
) -> Result<JobView, Error> {
    let mut owners = away::owners(bus).await?;
    // Until when it may be away, where it is.
    let mut away: Option<Instant> = None;
    let mut started = None;
    loop {
        let told = |job: &JobView| {
            if away.take().is_some() {
                seen(Sight::Back);
            }
            seen(Sight::Job(job));
        };
        match follow_while_there(bus, path, &mut owners, &mut started, told).await {
            Err(error) if error.is_absence() => {}
            ended => return ended,
        }
        if away.is_none() {
            seen(Sight::Away);
        }
        let until = *away.get_or_insert_with(|| Instant::now() + patience);
        if !away::is_back(bus, &mut owners, until).await {
            return Err(Error::Vanished { job: number(path)? });
        }
    }
}

/// The same for as long as guestd is there. `started` is when the job was accepted, once that is known: another one with its
/// number is not the same.
async fn follow_while_there(
    bus: &Bus,
    path: &OwnedObjectPath,
    owners: &mut Owners,
    started: &mut Option<u64>,
    mut told: impl FnMut(&JobView),
) -> Result<JobView, Error> {
    let mut watch = Watch::open(bus, path).await?;
    loop {
        let accepted = property(&watch.known, "Started").ok();
        if started.is_some() && *started != accepted {
            return Err(Error::JobLost);
        }
        *started = accepted;
        let job = view(&watch.known)?;
        told(&job);
        if job.state.is_over() {
            return Ok(job);
        }
        watch.next(owners).await?;
    }
}

/// What is asked in these calls, for messages.
const READ: &str = "the job's properties";

fn sorted(error: zbus::Error) -> Error {
    match Error::of_bus(READ, error) {
        Error::NoObject { .. } => Error::JobLost,
        other => other,
    }
}

/// The number of a job, from its path.
///
/// # Errors
/// [`Error::Answer`]: it is no job's path.
pub fn number(path: &OwnedObjectPath) -> Result<JobId, Error> {
    let number = path.as_str().rsplit('/').next().and_then(|number| number.parse().ok());
    number
        .map(JobId)
        .ok_or_else(|| Error::Answer { operation: "the request", reason: format!("{path} is no job's path") })
}

/// A job under observation: its properties, kept up to date by signals.
struct Watch<'a> {
    bus: &'a Bus,
    properties: PropertiesProxy<'a>,
    changes: PropertiesChangedStream,
    known: Properties,
}

impl<'a> Watch<'a> {
    /// Subscribes to the signals first and reads the state then, so that nothing falls in between.
    async fn open(bus: &'a Bus, path: &'a OwnedObjectPath) -> Result<Self, Error> {
        let properties = PropertiesProxy::builder(bus.connection())
            .destination("org.guestd1")
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(sorted)?;
        let changes = properties.receive_properties_changed().await.map_err(sorted)?;
        let mut watch = Self { bus, properties, changes, known: Properties::new() };
        watch.read().await?;
        Ok(watch)
    }

    /// Reads all properties. Signals are taken in meanwhile, since a full queue of them would keep the answer from
    /// being read; applied in their order on top of the answer they end at the newest values. Where they tell the end,
    /// all is read again: the last results may not have been told yet.
    async fn read(&mut self) -> Result<(), Error> {
        loop {
            let (mut known, meanwhile) = self.get_all().await?;
            for change in &meanwhile {
                apply(&mut known, change).map_err(sorted)?;
            }
            let is_over = view(&known)?.state.is_over();
            self.known = known;
            if meanwhile.is_empty() || !is_over {
                return Ok(());
            }
        }
    }

    async fn get_all(&mut self) -> Result<(Properties, Vec<PropertiesChanged>), Error> {
        let asked = self.bus.read(READ, async { Ok(self.properties.get_all(INTERFACE).await) });
        tokio::pin!(asked);
        let mut meanwhile = Vec::new();
        loop {
            tokio::select! {
                answer = &mut asked => return Ok((answer?.map_err(|error| sorted(error.into()))?, meanwhile)),
                Some(change) = self.changes.next() => meanwhile.push(change),
            }
        }
    }

    /// Waits for the next change, and takes it over.
    async fn next(&mut self, owners: &mut Owners) -> Result<(), Error> {
        let gone = |reason: &str| Error::NotRunning { reason: reason.to_owned() };
        // What guestd said before it went away counts.
        let change = tokio::select! {
            biased;
            change = self.changes.next() => change.ok_or_else(|| gone("the connection to the bus broke"))?,
            owner = owners.next() => match owner.flatten() {
                // It is another one, or known to be back already.
                Some(_) => return self.read().await,
                None => return Err(gone("it has left the bus")),
            },
        };
        let is_whole = apply(&mut self.known, &change).map_err(sorted)?;
        if view(&self.known)?.state.is_over() {
            // The end may have been told before the last results; where they cannot be read any more, what is known
            // has to do.
            let _ = self.read().await;
        } else if !is_whole {
            self.read().await?;
        }
        Ok(())
    }
}

/// Takes a change over; false when the signal does not carry every value.
fn apply(known: &mut Properties, change: &PropertiesChanged) -> zbus::Result<bool> {
    let arguments = change.args()?;
    if *arguments.interface_name() != INTERFACE {
        return Ok(true);
    }
    for (name, value) in arguments.changed_properties() {
        known.insert((*name).to_owned(), value.try_to_owned()?);
    }
    Ok(arguments.invalidated_properties().is_empty())
}

/// A job's properties as data.
fn view(properties: &Properties) -> Result<JobView, Error> {
    let (done, total) = property::<(u32, u32)>(properties, "Progress")?;
    let results: HashMap<String, String> = property(properties, "Results")?;
    let word: String = property(properties, "State")?;
    let states = [JobState::Running, JobState::Done, JobState::Failed, JobState::Canceled];
    let state = states.into_iter().find(|state| state.as_str() == word).ok_or_else(|| Error::Answer {
        operation: "the job's State",
        reason: format!("\"{}\" is no state", crate::model::name::shown(&word)),
    })?;
    Ok(JobView {
        id: JobId(property(properties, "Id")?),
        verb: property(properties, "Verb")?,
        state,
        done,
        total,
        status: property(properties, "Status")?,
        results: results.into_iter().map(|(guest, text)| (guest, Outcome::parse(&text))).collect(),
    })
}

fn property<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &'static str) -> Result<T, Error> {
    let value = properties.get(name).and_then(|value| value.try_clone().ok());
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| Error::Answer {
        operation: "the job's properties",
        reason: format!("{name} is missing or of another type"),
    })
}

#[cfg(test)]
mod tests {
    use zbus::Variant;

    use super::*;

    fn properties(state: &'static str) -> Properties {
        let results = HashMap::from([("db", "done"), ("web", "failed: no rootfs")]);
        let values: [(&str, Variant<'static>); 6] = [
            ("Id", 7u32.into()),
            ("Verb", "start".into()),
            ("State", state.into()),
            ("Progress", (2u32, 3u32).into()),
            ("Status", "waiting for p2".into()),
            ("Results", results.into()),
        ];
        values.into_iter().map(|(name, value)| (name.to_owned(), value.try_into_owned().unwrap())).collect()
    }

    #[test]
    fn properties_become_a_view() {
        let job = view(&properties("running")).unwrap();
        assert_eq!((job.id, job.state, job.done, job.total), (JobId(7), JobState::Running, 2, 3));
        assert_eq!(job.results["db"], Outcome::Done);
        assert_eq!(job.failures().collect::<Vec<_>>(), [("web", "no rootfs".to_owned())]);
    }

    #[test]
    fn what_is_missing_or_unknown_is_named() {
        let mut lacking = properties("done");
        lacking.remove("Progress");
        assert!(view(&lacking).unwrap_err().to_string().contains("Progress is missing"));
        assert!(view(&properties("exploded")).unwrap_err().to_string().contains("\"exploded\" is no state"));
    }
}
