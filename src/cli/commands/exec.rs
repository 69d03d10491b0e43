//! `guestctl exec`: a command in many guests, one after the other or side by side. It goes on where it fails in one, and
//! tells at the end where that was.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    cli::{
        arguments::{UsageError, guestctl::Exec},
        bus::{Bus, Interrupt, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json, tell},
        render::Style,
        session::Wish,
        streams,
        terminal::{self, Terminal},
    },
    dbus::describe::{Guest, Host},
    model::{GroupName, Selection},
};

mod printed;

use super::operate::is_in;
use printed::{Captured, Lines};

const PROGRAM: &str = "guestctl";

/// What became of the command in a guest.
enum Outcome {
    /// It exited so.
    Status(u8),
    /// It never ran there, or nobody knows how it ended.
    Failed(String),
}

/// One guest's part.
struct Part {
    guest: String,
    outcome: Outcome,
    /// What it printed, and its errors, where they are kept.
    captured: Option<[Captured; 2]>,
}

/// Who is chosen: whose turn it is, and who was named and does not run.
struct Chosen {
    running: Vec<String>,
    idle: Vec<(String, String)>,
}

pub(super) async fn run(arguments: &Exec, json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    let told = bus.describe().await?;
    let host: Host<'_> = parse(&told)?;
    let chosen = chosen(arguments, &host.guests)?;
    let mut interrupt = Interrupt::listen()?;
    let headed = !arguments.quiet && chosen.running.len() > 1;
    let command = Command { bus: &bus, words: &arguments.command, style, headed };
    let carried_out = async {
        match (json, arguments.parallel) {
            (false, None) => command.one_by_one(&chosen.running).await,
            (true, at_once) => Ok(command.captured(&chosen.running, at_once.unwrap_or(1).into()).await),
            (false, Some(at_once)) => Ok(command.side_by_side(&chosen.running, at_once.into()).await),
        }
    };
    let mut parts = tokio::select! {
        parts = carried_out => parts?,
        // What runs ends with this program's connection.
        () = interrupt.heard() => return Ok(GuestctlExit::Interrupted),
    };
    let idle = chosen.idle.into_iter().map(|(guest, phase)| {
        let outcome = Outcome::Failed(format!("does not run: it is {phase}"));
        Part { guest, outcome, captured: None }
    });
    parts.extend(idle);
    if json {
        print_json(&parts.iter().map(in_json).collect::<Vec<_>>())?;
    }
    Ok(GuestctlExit::Command(told_of(&parts)))
}

/// The guests that are meant, and run.
fn chosen(arguments: &Exec, guests: &[Guest<'_>]) -> Result<Chosen, Error> {
    let (named, groups) = meant(arguments, guests)?;
    let mut chosen = Chosen { running: Vec::new(), idle: Vec::new() };
    for guest in guests {
        let is_named = named.contains(&&*guest.name);
        let is_meant = is_named || arguments.all || groups.iter().any(|group| is_in(guest, group));
        match (is_meant, guest.phase == "up") {
            (true, true) => chosen.running.push(guest.name.to_string()),
            (true, false) if is_named => chosen.idle.push((guest.name.to_string(), guest.phase.to_string())),
            _ => {}
        }
    }
    if chosen.running.is_empty() && chosen.idle.is_empty() {
        return Err(Error::NobodyRuns { message: "none of the guests that are meant runs".into() });
    }
    Ok(chosen)
}

/// Guests and groups that are meant. A word is a guest's name, or else a group's.
fn meant<'a>(
    arguments: &'a Exec,
    guests: &[Guest<'_>],
) -> Result<(Vec<&'a str>, Vec<Option<GroupName>>), Error> {
    let has_guests = |group: &Option<GroupName>| guests.iter().any(|guest| is_in(guest, group));
    let groups = Selection::parse_groups(&arguments.groups);
    let mut groups = groups.map_err(|source| UsageError::Group { source })?;
    if let Some(none) = groups.iter().find(|group| !has_guests(group)) {
        let shown = none.as_ref().map_or("", |name| name.as_str());
        return Err(Error::NobodyRuns { message: format!("no guest is in the group \"{shown}\"") });
    }
    let mut named = Vec::new();
    for word in &arguments.names {
        let group = GroupName::new(word).ok().map(Some).filter(has_guests);
        match (guests.iter().any(|guest| guest.name == word.as_str()), group) {
            (true, group) => {
                if group.is_some() {
                    let words = "is a guest and a group: the guest is meant";
                    tell(PROGRAM, &format!("{word} {words}, \"-g {word}\" is the group"));
                }
                named.push(word.as_str());
            }
            (false, Some(group)) => groups.push(group),
            (false, None) => return Err(unknown(word, guests)),
        }
    }
    Ok((named, groups))
}

fn unknown(word: &str, guests: &[Guest<'_>]) -> Error {
    let groups = guests.iter().flat_map(|guest| guest.groups.iter().map(|group| &**group));
    let known = guests.iter().map(|guest| &*guest.name).chain(groups);
    Error::no_such_guest(word, known).unwrap_or_else(|| Error::NoSuchGuest {
        message: format!("no guest and no group is named \"{}\"", crate::model::name::shown(word)),
    })
}

/// A command on its way through guests.
struct Command<'a> {
    bus: &'a Bus,
    words: &'a [String],
    style: Style,
    headed: bool,
}

impl Command<'_> {
    fn wish<'b>(&'b self, guest: &'b str) -> Wish<'b> {
        Wish { guest, command: self.words, console: false }
    }

    /// On this terminal where there is one: somebody may be asked something.
    async fn one_by_one(&self, guests: &[String]) -> Result<Vec<Part>, Error> {
        let mut terminal = terminal::is_there().then(Terminal::new).transpose()?;
        let mut parts = Vec::new();
        for guest in guests {
            if self.headed {
                print(&format!("{}\n", self.style.heading(guest)))?;
            }
            let ended = match &mut terminal {
                Some(terminal) => terminal.run(self.bus, self.wish(guest)).await,
                None => streams::run_without_input(self.bus, self.wish(guest)).await,
            };
            // Whoever leaves one wants no other.
            if let Err(error @ Error::Left { .. }) = ended {
                return Err(error);
            }
            parts.push(part(guest, ended, None));
        }
        Ok(parts)
    }

    /// Each line with its guest's name before it.
    async fn side_by_side(&self, guests: &[String], at_once: usize) -> Vec<Part> {
        let width = guests.iter().map(String::len).max().unwrap_or_default();
        let one = async |guest: &String| {
            let prefix = if self.headed { format!("{guest:width$} | ") } else { String::new() };
            let (mut out, mut errors) = (Lines::out(prefix.clone()), Lines::errors(prefix));
            let ended = streams::run_into(self.bus, self.wish(guest), &mut out, &mut errors).await;
            out.finish();
            errors.finish();
            part(guest, ended, None)
        };
        stream::iter(guests.iter().map(one)).buffered(at_once).collect().await
    }

    /// Everything is kept.
    async fn captured(&self, guests: &[String], at_once: usize) -> Vec<Part> {
        let one = async |guest: &String| {
            let mut kept = [Captured::default(), Captured::default()];
            let [out, errors] = &mut kept;
            let ended = streams::run_into(self.bus, self.wish(guest), out, errors).await;
            part(guest, ended, Some(kept))
        };
        stream::iter(guests.iter().map(one)).buffered(at_once).collect().await
    }
}

fn part(guest: &str, ended: Result<u8, Error>, captured: Option<[Captured; 2]>) -> Part {
    let outcome = match ended {
        Ok(status) => Outcome::Status(status),
        Err(error) => Outcome::Failed(error.to_string()),
    };
    Part { guest: guest.to_owned(), outcome, captured }
}

/// Tells where it failed, and how the program ends: 0 all is well, 1 nothing is, 2 some is.
fn told_of(parts: &[Part]) -> u8 {
    let failed: Vec<&Part> =
        parts.iter().filter(|part| !matches!(part.outcome, Outcome::Status(0))).collect();
    if failed.is_empty() {
        return 0;
    }
    for part in &failed {
        match &part.outcome {
            Outcome::Status(status) => tell(PROGRAM, &format!("{}: status {status}", part.guest)),
            Outcome::Failed(why) => tell(PROGRAM, &format!("{}: {why}", part.guest)),
        }
    }
    if parts.len() > 1 {
        tell(PROGRAM, &format!("failed in {} of {} guests", failed.len(), parts.len()));
    }
    if failed.len() == parts.len() { 1 } else { 2 }
}

/// Scripts rely on it: fields may be added, never renamed or taken away.
fn in_json(part: &Part) -> Value {
    let (status, error) = match &part.outcome {
        Outcome::Status(status) => (Some(*status), None),
        Outcome::Failed(why) => (None, Some(why)),
    };
    let [out, errors] =
        part.captured.as_ref().map_or([None, None], |[out, errors]| [Some(out), Some(errors)]);
    json!({
        "name": part.guest,
        // What it exited with; null where it never ran there.
        "status": status,
        // Why not.
        "error": error,
        // What it printed, and its errors: the first 64 KiB of each.
        "stdout": out.map(Captured::text).unwrap_or_default(),
        "stderr": errors.map(Captured::text).unwrap_or_default(),
        // Whether there was more.
        "truncated": out.is_some_and(Captured::is_cut) || errors.is_some_and(Captured::is_cut),
    })
}

#[cfg(test)]
mod tests;
