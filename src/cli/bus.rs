//! Talking to guestd: one connection, one deadline for every call, failures sorted into [`Error`].

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    time::Duration,
};

use serde::Deserialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zbus::{
    Connection, OwnedObjectPath, OwnedVariant, Variant,
    proxy::{CacheProperties, MethodFlags},
};

use super::{
    agent::{self, Agent},
    error::Error,
    usage::UsageView,
};
use crate::{
    dbus::{
        describe::Host,
        proxy::{self, GuestProxy, JobProxy, ManagerProxy, PlanRow, RefusalRow},
    },
    model::{Action, GuestName, JobId, Outlook, PlannedStep, Selection, Verb},
};

/// How long guestd may take for an answer. It answers at once; this is for one that hangs.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long somebody may take to type a password, beyond which polkit has given up long ago.
const DEADLINE_ASKED: Duration = Duration::from_secs(600);

/// Options of a call, `a{sv}`.
pub type Options<'a> = HashMap<&'a str, Variant<'a>>;

/// The connection to guestd.
#[derive(Debug)]
pub struct Bus {
    connection: Connection,
    manager: ManagerProxy<'static>,
}

impl Bus {
    /// Connects to the bus; guestd itself is not asked yet.
    ///
    /// # Errors
    /// [`Error::NoBus`].
    pub async fn connect() -> Result<Self, Error> {
        let connection = within(DEADLINE, "connecting", proxy::connect()).await?;
        let connection = connection.map_err(|source| Error::NoBus { source })?;
        let manager = ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await;
        let manager = manager.map_err(|source| Error::NoBus { source })?;
        Ok(Self { connection, manager })
    }

    /// The bus connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The manager's proxy.
    pub fn manager(&self) -> &ManagerProxy<'static> {
        &self.manager
    }

    /// Begins a bulk request; the job's object comes back.
    ///
    /// # Errors
    /// [`Error`]: unreachable, refused, or the request was wrong.
    pub async fn autostart(
        &self,
        action: Action,
        selection: &Selection,
        timeout: Option<i32>,
    ) -> Result<OwnedObjectPath, Error> {
        let mut options = selection_options(selection)?;
        options.extend(timeout.map(|seconds| ("timeout", seconds.into())));
        self.act("Autostart", &(action.as_str(), group_words(selection), options)).await
    }

    /// What a bulk request would do, and whom it would leave out.
    ///
    /// # Errors
    /// [`Error`]: unreachable, refused, or the request was wrong.
    pub async fn plan(&self, action: Action, selection: &Selection) -> Result<Outlook, Error> {
        let request = (action.as_str(), group_words(selection), selection_options(selection)?);
        let manager = self.manager.inner();
        let steps: Vec<PlanRow> = self.read("Plan", manager.call("Plan", &request)).await?;
        let refused: Vec<RefusalRow> = self.read("Refusals", manager.call("Refusals", &request)).await?;
        let guest = |operation, name: &str| {
            GuestName::new(name).map_err(|error| Error::Answer { operation, reason: error.to_string() })
        };
        let step = |(wave, name, delay, reason): PlanRow| {
            let guest = guest("Plan", &name)?;
            Ok(PlannedStep { wave, guest, delay: Duration::from_micros(delay), reason })
        };
        let refusal = |(name, reason): RefusalRow| Ok((guest("Refusals", &name)?, reason));
        Ok(Outlook {
            steps: steps.into_iter().map(step).collect::<Result<_, Error>>()?,
            refused: refused.into_iter().map(refusal).collect::<Result<_, Error>>()?,
        })
    }

    /// Begins a request about one guest; the job's object comes back.
    ///
    /// # Errors
    /// [`Error`]: unreachable, refused, or no such guest.
    pub async fn operate(
        &self,
        verb: Verb,
        name: &str,
        options: &Options<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        self.act(method(verb), &(name, options)).await
    }

    /// Everything guestd tells, as the JSON of [`describe::Host`](crate::dbus::describe::Host); [`parse`] reads it.
    ///
    /// # Errors
    /// [`Error`]: unreachable.
    pub async fn describe(&self) -> Result<String, Error> {
        self.read("Describe", self.manager.inner().call("Describe", &())).await
    }

    /// One guest, as the JSON of [`describe::GuestDetails`](crate::dbus::describe::GuestDetails).
    ///
    /// # Errors
    /// [`Error`]: unreachable, or no such guest.
    pub async fn describe_guest(&self, name: &str) -> Result<String, Error> {
        let path: OwnedObjectPath =
            self.read("GetGuest", self.manager.inner().call("GetGuest", &name)).await?;
        let guest =
            GuestProxy::builder(&self.connection).path(path).cache_properties(CacheProperties::No).build();
        let guest = guest.await.map_err(|error| Error::of_bus("GetGuest", error))?;
        self.read("Describe", guest.inner().call("Describe", &())).await
    }

    /// The same error; where it is about a guest that does not exist, with the name that was meant, if one is near.
    pub async fn with_suggestion(&self, name: &str, error: Error) -> Error {
        let Error::NoSuchGuest { .. } = &error else { return error };
        // Without an answer the error stays as it is: it is right already.
        let Ok(told) = self.describe().await else { return error };
        let Ok(Host { guests, .. }) = parse::<Host<'_>>(&told) else { return error };
        Error::no_such_guest(name, guests.iter().map(|guest| &*guest.name)).unwrap_or(error)
    }

    /// What these guests use, or all of them where none are named; those that do not run are left out.
    ///
    /// # Errors
    /// [`Error`]: unreachable, or no such guest.
    pub async fn usage(&self, names: &[&str]) -> Result<BTreeMap<String, UsageView>, Error> {
        let used: HashMap<String, HashMap<String, OwnedVariant>> =
            self.read("Usage", self.manager.inner().call("Usage", &names)).await?;
        Ok(used.into_iter().map(|(name, numbers)| (name, UsageView::from(&numbers))).collect())
    }

    /// Cancels a job.
    ///
    /// # Errors
    /// [`Error`]: unreachable, refused, or no such job.
    pub async fn cancel(&self, job: JobId) -> Result<(), Error> {
        let jobs: Vec<(u32, OwnedObjectPath)> =
            self.read("ListJobs", self.manager.inner().call("ListJobs", &())).await?;
        let path = jobs.into_iter().find(|(id, _)| *id == job.0).ok_or(Error::NoSuchJob { job })?.1;
        let proxy =
            JobProxy::builder(&self.connection).path(path).cache_properties(CacheProperties::No).build();
        let proxy = proxy.await.map_err(|error| Error::of_bus("Cancel", error))?;
        let asked =
            acting(|flags| proxy.inner().call_with_flags::<_, _, ()>("Cancel", flags, &()), "Cancel").await;
        match asked {
            Ok(_) => Ok(()),
            // It ended and was forgotten since it was listed.
            Err(Error::NoObject { .. }) => Err(Error::NoSuchJob { job }),
            Err(error) => Err(error),
        }
    }

    /// Makes guestd read settings and guests again.
    ///
    /// # Errors
    /// [`Error`]: unreachable or refused.
    pub async fn reload(&self) -> Result<(), Error> {
        let manager = self.manager.inner();
        acting(|flags| manager.call_with_flags::<_, _, ()>("Reload", flags, &()), "Reload").await.map(drop)
    }

    /// Awaits a call that changes nothing.
    ///
    /// # Errors
    /// [`Error`], sorted.
    pub async fn read<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = zbus::Result<T>>,
    ) -> Result<T, Error> {
        within(DEADLINE, operation, call).await?.map_err(|error| Error::of_bus(operation, error))
    }

    async fn act<B>(&self, method: &'static str, body: &B) -> Result<OwnedObjectPath, Error>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let manager = self.manager.inner();
        let reply = acting(|flags| manager.call_with_flags(method, flags, body), method).await?;
        reply.ok_or(Error::Answer { operation: method, reason: "it is empty".into() })
    }
}

/// How long guestd may take for an answer, where somebody may be asked for a password first.
pub fn patience(is_asked: bool) -> Duration {
    if is_asked { DEADLINE_ASKED } else { DEADLINE }
}

/// Makes a call that polkit may have a question about, and has it asked on the terminal.
async fn acting<T, F>(call: impl FnOnce(MethodFlags) -> F, operation: &'static str) -> Result<T, Error>
where
    F: Future<Output = zbus::Result<T>>,
{
    let wanted = agent::is_wanted();
    let flags = if wanted { MethodFlags::ALLOW_INTERACTIVE_AUTH } else { MethodFlags::empty() };
    let _agent = wanted.then(Agent::start).flatten();
    within(patience(wanted), operation, call(flags)).await?.map_err(|error| Error::of_bus(operation, error))
}

async fn within<T>(
    deadline: Duration,
    operation: &'static str,
    call: impl Future<Output = T>,
) -> Result<T, Error> {
    let seconds = deadline.as_secs();
    tokio::time::timeout(deadline, call).await.map_err(|_| Error::NoReply { operation, seconds })
}

/// Reads the JSON of a `Describe`.
///
/// # Errors
/// [`Error::Answer`] says what is wrong with it.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Error> {
    let answer = serde_json::from_str(json);
    answer.map_err(|error| Error::Answer { operation: "Describe", reason: error.to_string() })
}

/// Groups as on the bus: an empty word is the null group.
fn group_words(selection: &Selection) -> Vec<&str> {
    selection.groups.iter().map(|group| group.as_ref().map_or("", |name| name.as_str())).collect()
}

fn selection_options(selection: &Selection) -> Result<Options<'_>, Error> {
    let mut options = Options::new();
    for (key, given) in
        [("boot", selection.boot), ("all", selection.all), ("ignore-auto", selection.ignore_auto)]
    {
        if given {
            options.insert(key, true.into());
        }
    }
    if let Some(path) = &selection.lxcpath {
        // Settings are UTF-8, so that guestd manages no such path.
        let message = || format!("lxcpath {} is not managed by guestd: it is no UTF-8", path.display());
        let text = path.to_str().ok_or_else(|| Error::NotManaged { message: message() })?;
        options.insert("lxcpath", text.into());
    }
    Ok(options)
}

/// The manager's method for a verb.
fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "Start",
        Verb::Stop => "Stop",
        Verb::Restart => "Restart",
        Verb::Reboot => "Reboot",
        Verb::Kill => "Kill",
        Verb::Freeze => "Freeze",
        Verb::Thaw => "Thaw",
        Verb::Reset => "Reset",
        Verb::Hold => "Hold",
        Verb::Release => "Release",
    }
}

/// Ctrl-C, heard from the moment this is made.
#[derive(Debug)]
pub struct Interrupt(Signal);

impl Interrupt {
    /// Listens for SIGINT.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn listen() -> Result<Self, Error> {
        let listening = signal(SignalKind::interrupt());
        listening.map(Self).map_err(|source| Error::Setup { operation: "listen for SIGINT", source })
    }

    /// Waits for it.
    pub async fn heard(&mut self) {
        // None would mean that the runtime is going down: nobody is left to tell.
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Awaits an answer, or Ctrl-C.
    ///
    /// # Errors
    /// [`Error::InterruptedEarly`], or the answer's own error.
    pub async fn or<T>(&mut self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        tokio::select! {
            answer = answer => answer,
            () = self.heard() => Err(Error::InterruptedEarly),
        }
    }
}
