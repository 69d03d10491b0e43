//! A session in a guest: the call, from the question for a password to the end of the command.

use std::os::fd::OwnedFd;

use futures_util::StreamExt;
use tokio::time::timeout;
use zbus::{Fd, proxy::MethodFlags};

use super::{
    agent::{self, Agent},
    bus::{Bus, Options, patience},
    error::Error,
};
use crate::{
    dbus::proxy::AttachedStream,
    model::{GuestName, name::shown},
};

const OPERATION: &str = "Attach";
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i32 = 128;

/// What is wanted in a guest.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Which.
    pub guest: &'a str,
    /// The command; the root's shell where it is empty.
    pub command: &'a [String],
    /// Its console instead.
    pub console: bool,
}

/// Runs it to its end, with these descriptors as input, output and errors, and hands out its exit status: as a shell tells
/// it, 128 and the signal's number where one has ended it. Dropping the future leaves it running until the connection ends.
///
/// `begun` is called when it runs: until then somebody may be asked for a password.
///
/// # Errors
/// [`Error`]: unreachable, refused, no such guest; or guestd went away meanwhile.
pub async fn attach(
    bus: &Bus,
    wish: Wish<'_>,
    stdio: [OwnedFd; 3],
    begun: impl FnOnce(),
) -> Result<u8, Error> {
    // What cannot be a name is no guest's.
    GuestName::new(wish.guest).map_err(|error| Error::NoSuchGuest { message: error.to_string() })?;
    let mut begins =
        bus.manager().receive_attached().await.map_err(|error| Error::of_bus(OPERATION, error))?;
    let is_asked = agent::is_wanted();
    let flags = if is_asked { MethodFlags::ALLOW_INTERACTIVE_AUTH } else { MethodFlags::empty() };
    let agent = is_asked.then(Agent::start).flatten();
    let stdio = stdio.map(Fd::from);
    let command: Vec<&str> = wish.command.iter().map(String::as_str).collect();
    let body = (wish.guest, command, options(wish), &stdio[..]);
    let manager = bus.manager().inner();
    let call = manager.call_with_flags::<_, _, (String, i32)>(OPERATION, flags, &body);
    let mut call = std::pin::pin!(call);
    let patience = patience(is_asked);
    let first = timeout(patience, async {
        tokio::select! {
            reply = &mut call => Some(reply),
            () = begin(&mut begins, wish.guest) => None,
        }
    });
    let seconds = patience.as_secs();
    let reply = first.await.map_err(|_| Error::NoReply { operation: OPERATION, seconds })?;
    drop(agent);
    let reply = match reply {
        Some(reply) => reply.map_err(|error| Error::of_bus(OPERATION, error))?,
        None => {
            begun();
            call.await.map_err(|error| lost(wish.guest, Error::of_bus(OPERATION, error)))?
        }
    };
    let (end, number) = reply.ok_or_else(|| answer("it is empty".into()))?;
    let status = if end == "killed" { number.saturating_add(SIGNALLED) } else { number };
    u8::try_from(status).map_err(|_| answer(format!("status {status}")))
}

fn answer(reason: String) -> Error {
    Error::Answer { operation: OPERATION, reason }
}

/// Waits until a session of this client begins in a guest.
async fn begin(begins: &mut AttachedStream, guest: &str) {
    while let Some(signal) = begins.next().await {
        if signal.args().is_ok_and(|args| args.guest == guest) {
            return;
        }
    }
    std::future::pending().await
}

fn options(wish: Wish<'_>) -> Options<'static> {
    let mut options = Options::new();
    if wish.console {
        options.insert("console", true.into());
    }
    // One that guestd would not take is of no use in the guest either.
    let is_usual = |term: &String| {
        let usual = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        (1..=64).contains(&term.len()) && term.chars().all(usual)
    };
    if let Some(term) = std::env::var("TERM").ok().filter(is_usual) {
        options.insert("term", term.into());
    }
    options
}

/// That guestd is not there any more means something else while a session runs.
fn lost(guest: &str, error: Error) -> Error {
    if error.is_unreachable() { Error::SessionLost { guest: shown(guest) } } else { error }
}
