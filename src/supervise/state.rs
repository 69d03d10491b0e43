//! One guest's state: intent and phase, wish and fact kept apart.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::event::HelperId;
pub use super::failure::Failure;
use crate::{
    engine::{Epoch, Init},
    model::{End, Hold, Instant, Now, PastEnd, ProcessId, Timestamp, status::HelperReport},
};

/// What is wanted. Changed only by an operator, by boot, or by the guest's own halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It should run.
    Up,
    /// It should not.
    Down,
}

/// One run of a guest, from a start or an adoption to the end of its monitor. A reboot in place stays in the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub epoch: Epoch,
    /// Its init; none until one was seen, and once that one was seen to end.
    pub init: Option<Init>,
    /// Somebody else started it: it has no hook of ours.
    pub adopted: bool,
    /// The fingerprint of the configuration that it was started with, where that is known.
    pub fingerprint: Option<u64>,
    /// Until when a reboot counts as decided already: an operator asked for it, or its helper decided while guestd was
    /// silent. One that comes later is the guest's own.
    pub decided_until: Option<Instant>,
    /// When its newest init was seen: delays count from here.
    pub ran_at: Instant,
    /// Whether its newest init serves.
    pub service: Service,
}

/// How far a guest that runs is with serving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// How far.
    pub stage: Stage,
    /// What was last found or said of it, for people; empty when there is nothing to say.
    pub words: String,
}

/// How far a guest that runs is with serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its `[ready]` condition is awaited.
    Awaited {
        /// Until when.
        until: Instant,
    },
    /// It was not ready in time, and is left up. It may still become so.
    Missed,
    /// It is ready.
    Ready {
        /// Since when.
        since: Instant,
        /// How many checks of its health have failed since one was good.
        ill: u32,
    },
}

/// What is, with the data that only this phase has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of it runs. How the last run ended, if one was seen.
    Down(Option<End>),
    /// Nothing of it should run, and a person should look.
    Failed {
        /// What went wrong.
        why: Failure,
        /// The run of which something is left that would not die.
        remains: Option<Epoch>,
    },
    /// Nothing of it runs, and it will be started again by itself.
    BackingOff {
        /// What went wrong, or how it ended.
        why: Failure,
        /// When.
        next: Next,
    },
    /// The engine starts it.
    Starting {
        /// The run that begins.
        epoch: Epoch,
        /// The fingerprint of the configuration it is started with.
        fingerprint: u64,
        /// When its init must have been seen; none while the engine is still at it, which bounds that itself.
        deadline: Option<Instant>,
    },
    /// It runs.
    Up(Run),
    /// It runs, with its processes stopped where they are.
    Frozen(Run),
    /// Its init has rebooted or is about to; another one is expected.
    Rebooting {
        /// The run, which goes on.
        run: Run,
        /// How far the decision is.
        decision: Rebooting,
        /// When to give up waiting for the new init.
        deadline: Instant,
    },
    /// It is on its way down.
    Stopping {
        /// The run that ends.
        run: Run,
        /// How hard we try.
        rung: Rung,
        /// When to go on to the next rung; none waits for ever.
        deadline: Option<Instant>,
        /// What follows.
        then: Then,
    },
}

/// When a guest is started again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// At this moment.
    At {
        /// When.
        at: Instant,
        /// The same for people.
        wall: Timestamp,
    },
    /// As soon as nothing is in the way: what is, for people; empty when nobody has looked yet.
    Due(String),
}

/// How far the decision about a guest's own reboot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebooting {
    /// Its init died by reboot(2), and no helper request came yet.
    Undecided,
    /// The script of `[reboot] action` runs.
    Script {
        /// For which helper request.
        id: HelperId,
        /// What was seen of the guest since it was asked.
        meanwhile: Meanwhile,
    },
    /// It may come back.
    Allowed,
}

/// What was seen of a guest while its script decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meanwhile {
    /// Nothing but the end of its init, if that.
    Nothing,
    /// It has come back: the init of the run is the new one.
    Back,
    /// The engine has given the run up.
    Gone,
}

/// The ladder of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rung {
    /// It ends by itself: its init is dead, or was reported to reboot and may not.
    Ending,
    /// It was asked, and is left alone if it does not listen.
    Hinted,
    /// It was asked.
    Asked,
    /// It is being killed.
    Killing,
}

/// What follows the end of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It stays down, for this reason.
    Stay(End),
    /// It stays down, and a person should look.
    Fail(Failure),
    /// What `[restart]` says of this.
    Recover(Failure),
    /// It is started again.
    Start,
}

/// Everything that is known of one guest but its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is wanted.
    pub intent: Intent,
    /// What is.
    pub phase: Phase,
    /// Since when, for people.
    pub since: Timestamp,
    /// The newest epoch that was given out.
    pub epoch: Epoch,
    /// When the guest asked to reboot, newest last; only what the loop guard still needs.
    pub reboots: VecDeque<Instant>,
    /// How often it was started again after a failure.
    pub retries: Retries,
    /// Whether it should run at the next boot, where its settings say `auto = "last-state"`: what was wanted before the
    /// host began to stop.
    pub wanted_at_boot: Intent,
    /// How many new inits followed the first one of a run, or another run by a restart.
    pub restarts: u32,
    /// Its hold, if it is held.
    pub held: Option<Hold>,
    /// Whether it was wanted up when the host last went down.
    pub was_up: bool,
    /// Its last ends, newest last.
    pub history: Arc<[PastEnd]>,
    /// How it ended before this daemon; none once it has gone on from there.
    pub last_end: Option<String>,
    /// What it last wrote on its console before it had to be killed, for people.
    pub last_words: Vec<String>,
    /// Its last helper request, for people.
    pub helper: Option<HelperReport>,
    /// Why nobody knows whether it is down, where a look has not shown it.
    pub doubt: Option<Doubt>,
    /// Who keeps its run going, or did: of the newest one whose init was seen.
    pub kept: Option<ProcessId>,
    /// It was seen to be down, so that what an earlier daemon left about a run counts no more.
    pub seen_down: bool,
}

/// Starts after failures. A run that was ready for long enough ends the count (`backoff`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retries {
    /// When each was decided, newest last; only what the limit still needs.
    pub at: VecDeque<Now>,
    /// How many came one after the other: what the delay grows by.
    pub streak: u32,
}

/// A guest counts as down, and may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What the last look showed instead.
    pub why: String,
    /// When to look again; none while that is being done.
    pub again: Option<Instant>,
    /// How long that was to wait.
    pub pause: Duration,
}

impl Run {
    /// A run of which nothing but its number is known yet.
    pub fn new(epoch: Epoch, fingerprint: Option<u64>, now: Instant) -> Self {
        let service = Service::ready(now);
        Self { epoch, init: None, adopted: false, fingerprint, decided_until: None, ran_at: now, service }
    }

    /// Whether a reboot at this moment is decided already.
    pub fn is_reboot_decided(&self, now: Instant) -> bool {
        self.decided_until.is_some_and(|until| now < until)
    }
}

impl Service {
    /// It serves since this moment.
    pub fn ready(since: Instant) -> Self {
        Self { stage: Stage::Ready { since, ill: 0 }, words: String::new() }
    }
}

impl Phase {
    /// The run, in the phases that have one.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Up(run) | Self::Frozen(run) | Self::Rebooting { run, .. } | Self::Stopping { run, .. } => {
                Some(run)
            }
            Self::Down(_) | Self::Failed { .. } | Self::BackingOff { .. } | Self::Starting { .. } => None,
        }
    }
}

impl State {
    /// A guest that was not looked at yet.
    pub fn new(since: Timestamp) -> Self {
        Self {
            intent: Intent::Down,
            phase: Phase::Down(None),
            since,
            epoch: Epoch(0),
            reboots: VecDeque::new(),
            retries: Retries::default(),
            wanted_at_boot: Intent::Down,
            restarts: 0,
            held: None,
            last_words: Vec::new(),
            was_up: false,
            history: Arc::new([]),
            last_end: None,
            helper: None,
            doubt: None,
            kept: None,
            seen_down: false,
        }
    }

    /// The next epoch, which is the current one from now on.
    pub fn next_epoch(&mut self) -> Epoch {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.epoch
    }

    /// The run, in the phases that have one.
    pub fn run(&self) -> Option<&Run> {
        self.phase.run()
    }

    /// The epoch whose news are still of interest.
    pub fn live_epoch(&self) -> Option<Epoch> {
        match &self.phase {
            Phase::Starting { epoch, .. } => Some(*epoch),
            Phase::Failed { remains, .. } => *remains,
            _ => self.run().map(|run| run.epoch),
        }
    }

    /// Whether it was looked at, or has run, since the daemon began.
    pub fn is_known(&self) -> bool {
        self.epoch.0 > 0 || self.seen_down
    }

    /// Whether it counts as down, and may run: it was not looked at, or that has not shown it.
    pub fn is_in_doubt(&self) -> bool {
        !self.is_running() && (self.doubt.is_some() || !self.is_known())
    }

    /// Whether something of it runs, as far as is known.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Down(_) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. })
    }

    /// Whether there is something to stop: it runs, or may without anybody knowing, or will by itself.
    pub fn may_run(&self) -> bool {
        self.is_running() || self.doubt.is_some() || matches!(self.phase, Phase::BackingOff { .. })
    }

    /// Whether it should be started by itself as soon as nothing is in the way.
    pub fn is_due(&self) -> bool {
        matches!(self.phase, Phase::BackingOff { next: Next::Due(_), .. })
    }

    /// Whether it has failed, and this daemon saw it.
    pub fn has_given_up(&self) -> bool {
        matches!(&self.phase, Phase::Failed { why, .. } if !matches!(why, Failure::Earlier(_)))
    }

    /// Changes what is wanted, by an operator, by a boot or by the guest.
    pub fn want(&mut self, intent: Intent) {
        self.intent = intent;
        self.wanted_at_boot = intent;
    }

    /// Whether it counts towards `max-starting`: it is being started, or will be as soon as its last run has ended.
    pub fn takes_slot(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. } | Phase::Stopping { then: Then::Start, .. })
    }

    /// When the machine wants to be woken for this guest.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Rebooting { deadline, .. } => Some(*deadline),
            Phase::Starting { deadline, .. } | Phase::Stopping { deadline, .. } => *deadline,
            Phase::Down(_) | Phase::Failed { .. } => self.doubt.as_ref()?.again,
            Phase::BackingOff { next, .. } => {
                let again = self.doubt.as_ref().and_then(|doubt| doubt.again);
                let at = if let Next::At { at, .. } = next { Some(*at) } else { None };
                at.into_iter().chain(again).min()
            }
            Phase::Up(Run { service: Service { stage: Stage::Awaited { until }, .. }, .. }) => Some(*until),
            Phase::Up(_) | Phase::Frozen(_) => None,
        }
    }
}
