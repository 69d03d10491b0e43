//! `guestctl start`, `stop` and the other verbs: one job for each guest that is named.

use std::{cell::RefCell, time::SystemTime};

use futures_util::{StreamExt, stream};
use tokio::sync::Mutex;
use zbus::OwnedObjectPath;

use super::answers::{Answer, Answers};
use crate::{
    cli::{
        arguments::{UsageError, guestctl::Operation, seconds, when},
        away,
        bus::{Bus, Interrupt, Options, parse},
        error::Error,
        exit::GuestctlExit,
        job::{self, Sight},
    },
    dbus::describe::{Guest, Host},
    model::{GroupName, GuestName, Selection},
};

/// So many jobs are followed at once. A bus lets each connection have 128 calls open and 512 subscriptions.
const AT_ONCE: usize = 100;

/// Begins the jobs one after the other, and follows each from its beginning: they run side by side. Whatever ends it,
/// what became of each guest is told.
pub(super) async fn run(operation: &Operation<'_>, json: bool) -> Result<GuestctlExit, Error> {
    let options = options(operation)?;
    let mut interrupt = Interrupt::listen()?;
    let bus = interrupt.or(Bus::connect()).await?;
    let names = interrupt.or(names(&bus, operation)).await?;
    let operation = &Operation { names: &names, ..operation.clone() };
    let request =
        Request { bus, operation, options, turn: Mutex::new(()), answers: Answers::new(operation, json) };
    tokio::select! {
        ended = request.carry_out() => ended?,
        () = interrupt.heard() => {}
    }
    request.answers.into_inner().finish()
}

/// Whether a guest is in a group; none is the null group.
pub(super) fn is_in(guest: &Guest<'_>, group: &Option<GroupName>) -> bool {
    match group {
        None => guest.groups.is_empty(),
        Some(group) => guest.groups.iter().any(|name| name == group.as_str()),
    }
}

/// The guests that are named, and behind them those of the groups that are.
async fn names(bus: &Bus, operation: &Operation<'_>) -> Result<Vec<String>, Error> {
    let mut names = operation.names.to_vec();
    if operation.groups.is_empty() && !operation.all {
        return Ok(names);
    }
    let groups = Selection::parse_groups(operation.groups).map_err(|source| UsageError::Group { source })?;
    let told = bus.describe().await?;
    let host: Host<'_> = parse(&told)?;
    let chosen =
        host.guests.iter().filter(|guest| operation.all || groups.iter().any(|group| is_in(guest, group)));
    for guest in chosen {
        if !names.iter().any(|name| *name == guest.name) {
            names.push(guest.name.to_string());
        }
    }
    Ok(names)
}

fn options<'a>(operation: &Operation<'a>) -> Result<Options<'a>, Error> {
    let mut options = Options::new();
    if let Some(text) = operation.timeout {
        options.insert("timeout", seconds(text)?.into());
    }
    if let Some(reason) = operation.reason {
        options.insert("reason", reason.into());
    }
    if let Some(text) = operation.until {
        options.insert("until", when::moment(text, SystemTime::now())?.0.into());
    }
    Ok(options)
}

/// A request on its way.
struct Request<'a> {
    bus: Bus,
    operation: &'a Operation<'a>,
    options: Options<'a>,
    /// Who has it may ask guestd: so the jobs begin in the order of the names.
    turn: Mutex<()>,
    answers: RefCell<Answers<'a>>,
}

impl Request<'_> {
    async fn carry_out(&self) -> Result<(), Error> {
        let each = self.operation.names.iter().enumerate().map(|(at, name)| self.carry_out_one(at, name));
        let mut ended = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some(told) = ended.next().await {
            told?;
        }
        Ok(())
    }

    async fn carry_out_one(&self, at: usize, name: &str) -> Result<(), Error> {
        let Some(begun) = self.begin(at, name).await else { return Ok(()) };
        let job = begun.and_then(|path| job::number(&path).map(|job| (job, path)));
        let answer = match job {
            Err(error) => Answer::Error { error, job: None },
            Ok((job, _)) if !self.operation.wait => Answer::Left(job),
            Ok((job, path)) => {
                self.answers.borrow_mut().begun(at, job);
                let seen = |sight: Sight<'_>| self.answers.borrow_mut().seen(at, sight);
                match job::follow(&self.bus, &path, away::patience(), seen).await {
                    Ok(job) => Answer::Over(job),
                    Err(error) => Answer::Error { error, job: Some(job) },
                }
            }
        };
        self.answers.borrow_mut().answered(at, answer)
    }

    /// Begins one guest's job; none when guestd cannot be reached any more: no other guest will fare better.
    async fn begin(&self, at: usize, name: &str) -> Option<Result<OwnedObjectPath, Error>> {
        let _turn = self.turn.lock().await;
        if !self.answers.borrow_mut().asks(at) {
            return None;
        }
        // What cannot be a name is no guest's.
        if let Err(error) = GuestName::new(name) {
            return Some(Err(Error::NoSuchGuest { message: error.to_string() }));
        }
        let begun = match self.bus.operate(self.operation.verb, name, &self.options).await {
            Err(error) => Err(self.bus.with_suggestion(name, error).await),
            path => path,
        };
        if begun.as_ref().is_err_and(Error::is_unreachable) {
            self.answers.borrow_mut().close();
        }
        Some(begun)
    }
}
