//! What readers see of guests, jobs and the daemon: flat data, published by the manager, never live objects.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use super::{
    diagnostic::Diagnostic,
    end::PastEnd,
    guest::EngineKind,
    hold::Hold,
    job::{JobId, JobState, Outcome, Verb},
    name::{GroupName, GuestName},
    readiness::{Condition, Health},
    restart::RestartPolicy,
    setting::{Auto, Limit, Order, Owner},
    time::Timestamp,
};

/// The word for a phase (design section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseWord {
    /// Not running.
    Down,
    /// Waiting for its turn.
    Waiting,
    /// Being started, or between two inits of a reboot.
    Starting,
    /// Not running; it will be started again by itself.
    BackingOff,
    /// Running.
    Up,
    /// Its processes are stopped where they are.
    Frozen,
    /// Being stopped.
    Stopping,
    /// Not running, and somebody should look.
    Failed,
}

impl PhaseWord {
    /// The word in JSON and D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::BackingOff => "backing-off",
            Self::Up => "up",
            Self::Frozen => "frozen",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

/// The last thing a guest reported through the helper, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelperReport {
    /// What the guest asked: `reboot`, `halt`, …
    pub event: String,
    /// The decision: `restart`, `stop` or `ignore`.
    pub decision: &'static str,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// One guest, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestStatus {
    /// Its name.
    pub name: GuestName,
    /// What runs it.
    pub engine: EngineKind,
    /// What is.
    pub phase: PhaseWord,
    /// What is wanted: up or down.
    pub intent_up: bool,
    /// Whether it serves.
    pub ready: bool,
    /// When it is started again by itself, if that is known.
    pub next_try: Option<Timestamp>,
    /// Why it is where it is, in words; empty when there is nothing to say.
    pub reason: String,
    /// Whether boot and bulk starts bring it up.
    pub auto: Auto,
    /// Its rank.
    pub order: i32,
    /// Its delay.
    pub delay: Duration,
    /// Its groups.
    pub groups: Arc<[GroupName]>,
    /// Dependencies: `after`, `wants`, `requires`.
    pub after: Arc<[GuestName]>,
    /// See `after`.
    pub wants: Arc<[GuestName]>,
    /// See `after`.
    pub requires: Arc<[GuestName]>,
    /// The process id of its init on the host, when it runs.
    pub init_pid: Option<i32>,
    /// Since when it is in this phase (when up: since its init started).
    pub since: Option<Timestamp>,
    /// How many reboots and restarts guestd saw; one that is started again knows those of what runs.
    pub restarts: u32,
    /// Somebody else started it.
    pub adopted: bool,
    /// Why and until when it is held, if it is.
    pub held: Option<Hold>,
    /// Who decides when it is started and stopped.
    pub owner: Owner,
    /// Its last ends, newest last.
    pub history: Arc<[PastEnd]>,
    /// What it last wrote on its console before it had to be killed.
    pub last_words: Vec<String>,
    /// Its last helper request.
    pub helper: Option<HelperReport>,
    /// What is deciding about its reboot just now, if that takes time.
    pub deciding: Option<&'static str>,
    /// Its lxcpath, for LXC containers.
    pub lxcpath: Option<Arc<std::path::Path>>,
    /// The configuration changed since the guest was started.
    pub config_changed: bool,
    /// What keeps it up, and what is known of that.
    pub upkeep: Upkeep,
}

/// What guestd does by itself to keep a guest up, and how far it is with that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Which ends are followed by a new start, in truth: for an ephemeral guest none.
    pub policy: RestartPolicy,
    /// How many of them.
    pub limit: Limit,
    /// Those that count towards the limit, oldest first. Some may lie too far back by now.
    pub failures: Vec<Timestamp>,
    /// When it serves.
    pub ready: Condition,
    /// Whether it still serves, if somebody wants to know.
    pub health: Option<Health>,
    /// So many checks of its health have failed since one was good.
    pub ill: u32,
}

/// One job, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// Its number.
    pub id: JobId,
    /// What it does to each guest.
    pub verb: Verb,
    /// How far it is.
    pub state: JobState,
    /// How many guests have a result.
    pub done: u32,
    /// How many guests it is about.
    pub total: u32,
    /// What it is doing or waiting for just now; empty when it is over.
    pub status: String,
    /// Everyone it is about.
    pub guests: Arc<[GuestName]>,
    /// The results so far.
    pub results: BTreeMap<GuestName, Outcome>,
    /// When it was accepted.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What is true of the daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaemonStatus {
    /// What starts guests: `systemd` or `direct`.
    pub launcher: String,
    /// Who may act: `polkit`, or `root-only` where no polkit answers on the bus.
    pub authorization: String,
    /// How `start.order` is read.
    pub order: Order,
    /// At most so many guests are being started at once.
    pub max_starting: u32,
    /// What keeps guests from beginning to start just now, and how it stands.
    pub held_back: Option<String>,
    /// The lxcpaths that are managed.
    pub lxcpaths: Vec<PathBuf>,
    /// Everything wrong with the files that were read.
    pub diagnostics: Arc<[Diagnostic]>,
    /// Why something that should outlive this daemon cannot be kept, where that is so.
    pub unkept: Option<String>,
}

/// Everything readers see, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Every guest by name.
    pub guests: BTreeMap<GuestName, Arc<GuestStatus>>,
    /// Running jobs and the last ended ones.
    pub jobs: BTreeMap<JobId, Arc<JobStatus>>,
    /// The daemon.
    pub daemon: Arc<DaemonStatus>,
}
