//! What happens to a guest: in the past tense, with what is needed to go on.

use std::time::Duration;

use crate::{
    engine::{EngineError, Epoch, Observation, Probe, Request},
    helper::wire,
    model::{Follows, Guest, Instant, Limit, ProcessId, StopWait, Timestamp, Verb},
};

/// Names a helper request until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelperId(pub u64);

/// How hard and how long a stop is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopKind {
    /// Ask, and kill after so long; none waits for ever.
    Ask(Option<Duration>),
    /// Ask, and leave it alone if it has not listened within its `stop.timeout`.
    Hint,
    /// Kill.
    Kill,
}

/// Whether a guest may be started again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Now.
    Now,
    /// Once this is no longer in the way.
    Waits(String),
    /// Never, for this reason.
    Never(String),
}

/// What is checked of a guest, and of which of its inits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checking {
    /// The run.
    pub epoch: Epoch,
    /// The process id of its init on the host.
    pub init: i32,
    /// What.
    pub check: Check,
}

/// What can be checked of a guest that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// Whether it serves yet: its `[ready]` condition, until it holds.
    Readiness,
    /// Whether it still does: its `[health]`, if it has one; and what it says of itself, where it notifies.
    Health,
}

/// What happened to one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A job's turn: it should run.
    StartRequested,
    /// A job's turn: it should stop.
    StopRequested(StopKind),
    /// A job's turn: it should stop, as the host does.
    HostStopRequested(StopKind),
    /// A job's turn: it should stop and start again.
    RestartRequested(StopKind),
    /// A job's turn: its init should reboot.
    RebootRequested,
    /// A job's turn: freeze it.
    FreezeRequested,
    /// A job's turn: thaw it.
    ThawRequested,
    /// An operator wants its failure forgotten.
    ResetRequested,
    /// The engine's start returned.
    StartReturned(Epoch, Result<(), EngineError>),
    /// The engine's answer to a request.
    RequestReturned(Epoch, Request, Result<(), EngineError>),
    /// The engine's kill returned.
    KillReturned(Epoch, Result<(), EngineError>),
    /// A look at it returned.
    Probed(Found),
    /// The engine saw something of a run.
    Observed(Epoch, Observation),
    /// It reported something through the helper.
    Reported(HelperId, wire::Event),
    /// The reboot script ended; none when it could not be run or took too long.
    ScriptEnded(HelperId, Option<i32>),
    /// It reported something while no daemon was there, and the helper decided.
    Recalled {
        /// What it reported.
        event: wire::Event,
        /// When.
        at: Timestamp,
        /// How it was answered.
        decision: wire::Decision,
        /// Why.
        reason: String,
        /// The limit that was used up, where the loop guard refused it.
        tripped: Option<Limit>,
    },
    /// A check came out: readiness holds, or why it does not yet; health is good (told after it was not), or why it is not.
    Checked(Checking, Result<(), String>),
    /// A guest that notifies has said how it stands (`STATUS=` of sd_notify(3)).
    Said(Checking, String),
    /// Its pause before another start is over, and this is how it stands with those that it depends on.
    Retried(Grant),
    /// What it last wrote on its console before it was killed.
    LastWords(Vec<String>),
    /// Its deadline has passed.
    TimedOut,
}

/// What the daemon before this one left about a run that it had started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The fingerprint of the configuration that it was started with.
    pub fingerprint: u64,
    /// When the guest asked to reboot, for the loop guard.
    pub reboots: Vec<Instant>,
    /// When it was started again after failures, for the limit of that.
    pub failures: Vec<Timestamp>,
    /// How many new inits followed its first one.
    pub restarts: u32,
    /// Its init was seen.
    pub was_seen: bool,
    /// Who keeps it going, or did; of the run before it, as long as its init was not seen.
    pub kept: Option<ProcessId>,
    /// What was to follow its end, if it was on its way down.
    pub follows: Option<Follows>,
    /// Nobody wanted it up any more.
    pub unwanted: bool,
    /// This init of it was ready.
    pub ready: Option<i32>,
}

/// What a probe found, with what the runtime directory knows of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It runs or does not.
    State {
        /// What it looks like.
        probe: Probe,
        /// What is remembered of that run; none when others started it.
        remembered: Option<Remembered>,
    },
    /// The look failed, for this reason.
    Failed(String),
    /// Nothing yet: a watch has begun, and will tell.
    Nothing,
}

impl Event {
    /// Whether it tells of a failure that an earlier daemon has seen: what was to follow that has followed.
    pub(super) fn tells_of_old_failure(&self) -> bool {
        let Self::Probed(Found::State { probe, remembered: Some(known) }) = self else { return false };
        matches!((probe, &known.follows), (Probe::Down | Probe::Ended { .. }, Some(Follows::Failed(_))))
    }

    /// Whether it tells that a run is over which an earlier daemon had begun, and whose end that has not seen.
    pub(super) fn tells_of_unseen_end(&self) -> bool {
        let Self::Probed(Found::State { probe, remembered: Some(known) }) = self else { return false };
        let was_under_way = match known.follows {
            Some(Follows::Retry(_) | Follows::Failed(_)) | None => known.was_seen,
            Some(_) => true,
        };
        was_under_way && matches!(probe, Probe::Down | Probe::Ended { .. })
    }

    /// With what a guest's turn in a job begins; `with_host` says that what goes down goes down with the host.
    pub fn turn(verb: Verb, wait: StopWait, with_host: bool, guest: &Guest) -> Self {
        match verb {
            Verb::Start => Event::StartRequested,
            Verb::Stop if with_host => Event::HostStopRequested(ask(wait, guest)),
            Verb::Kill if with_host => Event::HostStopRequested(StopKind::Kill),
            Verb::Stop => Event::StopRequested(ask(wait, guest)),
            Verb::Kill => Event::StopRequested(StopKind::Kill),
            Verb::Restart => Event::RestartRequested(ask(wait, guest)),
            Verb::Reboot => Event::RebootRequested,
            Verb::Freeze => Event::FreezeRequested,
            Verb::Thaw => Event::ThawRequested,
            // Hold and release are the fleet's; they have no turns.
            Verb::Reset | Verb::Hold | Verb::Release => Event::ResetRequested,
        }
    }
}

fn ask(wait: StopWait, guest: &Guest) -> StopKind {
    match wait {
        StopWait::Configured => StopKind::Ask(Some(guest.stop.timeout)),
        StopWait::AtMost(within) => StopKind::Ask(Some(within)),
        StopWait::AskOnly => StopKind::Hint,
        StopWait::Forever => StopKind::Ask(None),
    }
}
