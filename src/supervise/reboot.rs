//! What follows a guest's own reboot: carried out, started anew, refused, or left to a script.

use std::{path::PathBuf, time::Duration};

use super::state::{Failure, Intent, Run, State, Then};
use crate::model::{End, Guest, Instant, RebootAction};

/// How far two accounts of the same moment may differ, which go by way of wall-clock times; no guest reboots so fast.
const SAME: Duration = Duration::from_millis(20);

/// The decision about a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// The engine carries it out in place.
    InPlace(&'static str),
    /// The guest ends, and is started with its new configuration.
    Anew(&'static str),
    /// It stays down.
    Refuse(String, Then),
    /// This program decides.
    Script(PathBuf),
}

/// Decides about a reboot that a run of a guest has asked for or begun.
pub fn rule(state: &State, run: &Run, guest: &Guest, now: Instant) -> Ruling {
    if run.is_reboot_decided(now) {
        return allow(run, guest, "an operator asked for it");
    }
    if state.intent == Intent::Down {
        let then = Then::Stay(if is_host_stop(state) { End::HostStop } else { End::Asked { killed: false } });
        return Ruling::Refuse("it is to be stopped".to_owned(), then);
    }
    if let Some(hold) = &state.held {
        let why = format!("the guest is held: {}", hold.reason);
        return Ruling::Refuse(why.clone(), Then::Stay(End::GuestReboot { why }));
    }
    let limit = guest.reboot.limit;
    if recent(state, guest, now) >= limit.count as usize {
        let failure = Failure::RebootLoop(limit);
        return Ruling::Refuse(failure.to_string(), Then::Fail(failure));
    }
    match &guest.reboot.action {
        RebootAction::Restart => allow(run, guest, "reboots are carried out"),
        RebootAction::Stop => refuse("its settings say stop"),
        RebootAction::Script(path) => Ruling::Script(path.clone()),
    }
}

/// Whether it is the host's stop that wants it down, and not somebody who means this guest.
fn is_host_stop(state: &State) -> bool {
    state.wanted_at_boot == Intent::Up
}

/// Carried out: in place, or anew when the configuration changed since the start. LXC's own reboot never reads the
/// configuration again. An ephemeral guest would be destroyed by ending, so it is never started anew.
pub fn allow(run: &Run, guest: &Guest, reason: &'static str) -> Ruling {
    let changed = run.fingerprint.is_some_and(|started| started != guest.fingerprint);
    if changed && !guest.is_ephemeral() {
        Ruling::Anew("its configuration changed since the start")
    } else {
        Ruling::InPlace(reason)
    }
}

/// Not carried out: it stays down for this reason.
pub fn refuse(why: impl Into<String>) -> Ruling {
    let why = why.into();
    Ruling::Refuse(why.clone(), Then::Stay(End::GuestReboot { why }))
}

/// How many of the guest's own reboots lie within the loop guard's window.
fn recent(state: &State, guest: &Guest, now: Instant) -> usize {
    state.reboots.iter().filter(|at| now.since(**at) < guest.reboot.limit.window).count()
}

/// Remembers the reboots that an earlier daemon has stored, but for those that are known already.
pub fn remember_earlier(state: &mut State, reboots: impl Iterator<Item = Instant>) {
    let is_same = |at: Instant, known: &Instant| known.since(at).max(at.since(*known)) < SAME;
    let known = state.reboots.clone();
    state.reboots.extend(reboots.filter(|at| !known.iter().any(|known| is_same(*at, known))));
}

/// Remembers a reboot that the guest asked for and that is carried out; forgets what the guard no longer needs.
pub fn remember(state: &mut State, guest: &Guest, now: Instant) {
    let window = guest.reboot.limit.window;
    state.reboots.retain(|at| now.since(*at) < window);
    state.reboots.push_back(now);
}
