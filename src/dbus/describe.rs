//! The JSON objects of `Describe`, `guestctl … --json` and `autostart --json`: flat, and made from the snapshot alone.
//!
//! The types read back what they write, so that clients need no second description of it.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize, Serializer};

use crate::model::{
    self, Auto, GuestName, Timestamp,
    status::{DaemonStatus, GuestStatus, JobStatus, PhaseWord, Snapshot},
};

/// A guest, in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guest<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// What runs it.
    pub engine: Cow<'a, str>,
    /// What is.
    pub phase: Cow<'a, str>,
    /// What is wanted: `up` or `down`.
    pub intent: Cow<'a, str>,
    /// Whether it serves.
    pub ready: bool,
    /// Why it is where it is; empty when there is nothing to say.
    pub reason: Cow<'a, str>,
    /// Whether boot and bulk starts bring it up: true, false or "last-state".
    pub auto: Auto,
    /// Its rank.
    pub order: i32,
    /// Its delay, in seconds.
    #[serde(serialize_with = "seconds")]
    pub delay: f64,
    /// Its groups; none is the null group.
    pub groups: Vec<Cow<'a, str>>,
    /// The process id of its init on the host, when it runs.
    pub init_pid: Option<i32>,
    /// Since when it is in this phase, as RFC 3339 writes it.
    pub since: Option<Cow<'a, str>>,
    /// When it is started again by itself, where that is known.
    pub next_try: Option<Cow<'a, str>>,
    /// How many reboots and restarts were seen.
    pub restarts: u32,
    /// It waits until these are ready, if they are to run.
    #[serde(default)]
    pub after: Vec<Cow<'a, str>>,
    /// These are started too, and it goes on without them.
    #[serde(default)]
    pub wants: Vec<Cow<'a, str>>,
    /// These are started too, and it fails if they fail.
    #[serde(default)]
    pub requires: Vec<Cow<'a, str>>,
    /// Why it is held, if it is.
    pub held: Option<Cow<'a, str>>,
    /// Until when, as RFC 3339 writes it; none until it is released.
    pub held_until: Option<Cow<'a, str>>,
}

/// A guest by itself: everything that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuestDetails<'a> {
    /// What a list shows of it.
    #[serde(flatten, borrow)]
    pub guest: Guest<'a>,
    /// These require it.
    #[serde(default)]
    pub required_by: Vec<Cow<'a, str>>,
    /// Which ends are followed by a new start: never, on-failure or always.
    #[serde(default)]
    pub restart_policy: Cow<'a, str>,
    /// How many of them within which time.
    #[serde(default)]
    pub restart_limit: Cow<'a, str>,
    /// The failures that count towards that, oldest first; some may lie too far back by now.
    #[serde(default)]
    pub failures: Vec<Cow<'a, str>>,
    /// When it serves, as its settings say.
    #[serde(default)]
    pub ready_when: Cow<'a, str>,
    /// Whether it still serves, where somebody wants to know.
    pub health: Option<Health<'a>>,
    /// Since when it is held, as RFC 3339 writes it.
    pub held_since: Option<Cow<'a, str>>,
    /// Who decides when it is started and stopped: `guestd` or `cluster`.
    #[serde(default)]
    pub owner: Cow<'a, str>,
    /// Its last ends, newest last.
    #[serde(default)]
    pub history: Vec<PastEnd<'a>>,
    /// What it last wrote on its console before it had to be killed.
    #[serde(default)]
    pub last_words: Vec<Cow<'a, str>>,
    /// Somebody else started it.
    pub adopted: bool,
    /// Its lxcpath, for LXC containers.
    pub lxcpath: Option<Cow<'a, str>>,
    /// The configuration changed since it was started.
    pub config_changed: bool,
    /// The last thing it reported through the helper.
    pub helper: Option<HelperRequest<'a>>,
}

/// How it is found out whether a guest that is ready still serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health<'a> {
    /// What it is asked.
    #[serde(borrow)]
    pub probe: Cow<'a, str>,
    /// From one answer to the next question, in seconds.
    #[serde(serialize_with = "seconds")]
    pub interval: f64,
    /// So many noes in a row make it ill.
    pub threshold: u32,
    /// What follows then: restart or report.
    pub action: Cow<'a, str>,
    /// So many noes there were since the last yes.
    pub failed: u32,
}

/// One end of a guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastEnd<'a> {
    /// When, as RFC 3339 writes it.
    #[serde(borrow)]
    pub at: Cow<'a, str>,
    /// How it ended, in words.
    pub how: Cow<'a, str>,
}

/// What a guest reported through the helper, and the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelperRequest<'a> {
    /// What it asked.
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    /// The decision.
    pub decision: Cow<'a, str>,
    /// Why.
    pub reason: Cow<'a, str>,
    /// When, as RFC 3339 writes it.
    pub at: Cow<'a, str>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job<'a> {
    /// Its number.
    pub id: u32,
    /// What it does to each guest.
    #[serde(borrow)]
    pub verb: Cow<'a, str>,
    /// How far it is: `running`, `done`, `failed`, `canceled`.
    pub state: Cow<'a, str>,
    /// How many guests have a result.
    pub done: u32,
    /// How many it is about.
    pub total: u32,
    /// What it is doing or waiting for.
    pub status: Cow<'a, str>,
    /// The result of each guest so far.
    pub results: BTreeMap<Cow<'a, str>, String>,
    /// When it was accepted, as RFC 3339 writes it.
    pub started: Cow<'a, str>,
    /// When it ended.
    pub ended: Option<Cow<'a, str>>,
}

/// The daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Daemon<'a> {
    /// Its version.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// What starts guests.
    pub launcher: Cow<'a, str>,
    /// Who may act: `polkit` or `root-only`.
    pub authorization: Cow<'a, str>,
    /// How `start.order` is read.
    pub order: Cow<'a, str>,
    /// At most so many guests are being started at once.
    pub max_starting: u32,
    /// What keeps guests from beginning to start just now, and how it stands.
    pub held_back: Option<Cow<'a, str>>,
    /// The lxcpaths that are managed.
    pub lxcpaths: Vec<Cow<'a, str>>,
    /// How many guests there are.
    pub guests_total: u32,
    /// How many of them are up.
    pub guests_up: u32,
    /// How many have failed.
    pub guests_failed: u32,
    /// How many diagnostics there are.
    pub diagnostics: u32,
    /// Why something that should outlive guestd cannot be kept, where that is so.
    pub unkept: Option<Cow<'a, str>>,
}

/// Everything: the answer of the manager's `Describe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host<'a> {
    /// The daemon.
    #[serde(borrow)]
    pub daemon: Daemon<'a>,
    /// Every guest, by name.
    pub guests: Vec<Guest<'a>>,
    /// Running jobs and the last ended ones, by number.
    pub jobs: Vec<Job<'a>>,
}

/// How many guests there are, and of what kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub total: u32,
    /// Up.
    pub up: u32,
    /// Failed.
    pub failed: u32,
}

impl Counts {
    /// Counts the guests of a snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        snapshot.guests.values().fold(Self::default(), |counts, guest| Self {
            total: counts.total + 1,
            up: counts.up + u32::from(guest.phase == PhaseWord::Up),
            failed: counts.failed + u32::from(guest.phase == PhaseWord::Failed),
        })
    }
}

impl<'a> From<&'a GuestStatus> for Guest<'a> {
    fn from(guest: &'a GuestStatus) -> Self {
        Self {
            name: guest.name.as_str().into(),
            engine: guest.engine.as_str().into(),
            phase: guest.phase.as_str().into(),
            intent: intent(guest).into(),
            ready: guest.ready,
            reason: guest.reason.as_str().into(),
            auto: guest.auto,
            order: guest.order,
            delay: guest.delay.as_secs_f64(),
            groups: texts(&guest.groups),
            init_pid: guest.init_pid,
            since: guest.since.map(|at| rfc3339(at).into()),
            next_try: guest.next_try.map(|at| rfc3339(at).into()),
            restarts: guest.restarts,
            after: texts(&guest.after),
            wants: texts(&guest.wants),
            requires: texts(&guest.requires),
            held: guest.held.as_ref().map(|hold| hold.reason.as_str().into()),
            held_until: guest.held.as_ref().and_then(|hold| hold.until).map(|at| rfc3339(at).into()),
        }
    }
}

impl<'a> From<&'a GuestStatus> for GuestDetails<'a> {
    fn from(guest: &'a GuestStatus) -> Self {
        Self {
            guest: guest.into(),
            required_by: Vec::new(),
            restart_policy: guest.upkeep.policy.as_str().into(),
            restart_limit: guest.upkeep.limit.to_string().into(),
            failures: guest.upkeep.failures.iter().map(|at| rfc3339(*at).into()).collect(),
            ready_when: guest.upkeep.ready.to_string().into(),
            health: guest.upkeep.health.as_ref().map(|health| Health {
                probe: health.probe.to_string().into(),
                interval: health.interval.as_secs_f64(),
                threshold: health.threshold,
                action: health.action.as_str().into(),
                failed: guest.upkeep.ill,
            }),
            held_since: guest.held.as_ref().map(|hold| rfc3339(hold.since).into()),
            owner: guest.owner.as_str().into(),
            history: guest.history.iter().map(PastEnd::from).collect(),
            last_words: guest.last_words.iter().map(Cow::from).collect(),
            adopted: guest.adopted,
            lxcpath: guest.lxcpath.as_deref().map(|path| path.to_string_lossy()),
            config_changed: guest.config_changed,
            helper: guest.helper.as_ref().map(|report| HelperRequest {
                event: report.event.as_str().into(),
                decision: report.decision.into(),
                reason: report.reason.as_str().into(),
                at: rfc3339(report.at).into(),
            }),
        }
    }
}

impl<'a> GuestDetails<'a> {
    /// The same, with those that require it.
    #[must_use]
    pub fn among(self, guests: &'a BTreeMap<GuestName, Arc<GuestStatus>>) -> Self {
        let requires = |guest: &&Arc<GuestStatus>| {
            guest.requires.iter().any(|required| *required.as_str() == *self.guest.name)
        };
        let required_by = guests.values().filter(requires).map(|guest| guest.name.as_str().into()).collect();
        Self { required_by, ..self }
    }
}

impl<'a> From<&'a model::PastEnd> for PastEnd<'a> {
    fn from(end: &'a model::PastEnd) -> Self {
        Self { at: rfc3339(end.at).into(), how: end.how.as_str().into() }
    }
}

impl<'a> From<&'a JobStatus> for Job<'a> {
    fn from(job: &'a JobStatus) -> Self {
        Self {
            id: job.id.0,
            verb: job.verb.as_str().into(),
            state: job.state.as_str().into(),
            done: job.done,
            total: job.total,
            status: job.status.as_str().into(),
            results: job.results.iter().map(|(name, out)| (name.as_str().into(), out.to_string())).collect(),
            started: rfc3339(job.started).into(),
            ended: job.ended.map(|at| rfc3339(at).into()),
        }
    }
}

impl<'a> Daemon<'a> {
    /// What is true of the daemon; `authorization` says who may act.
    pub fn new(daemon: &'a DaemonStatus, counts: Counts, authorization: &'a str) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            launcher: daemon.launcher.as_str().into(),
            authorization: authorization.into(),
            order: daemon.order.to_string().into(),
            max_starting: daemon.max_starting,
            held_back: daemon.held_back.as_deref().map(Cow::from),
            lxcpaths: daemon.lxcpaths.iter().map(|path| path.to_string_lossy()).collect(),
            guests_total: counts.total,
            guests_up: counts.up,
            guests_failed: counts.failed,
            diagnostics: u32::try_from(daemon.diagnostics.len()).unwrap_or(u32::MAX),
            unkept: daemon.unkept.as_deref().map(Cow::from),
        }
    }
}

impl<'a> Host<'a> {
    /// All of a snapshot; `authorization` says who may act.
    pub fn new(snapshot: &'a Snapshot, authorization: &'a str) -> Self {
        Self {
            daemon: Daemon::new(&snapshot.daemon, Counts::of(snapshot), authorization),
            guests: snapshot.guests.values().map(|guest| (&**guest).into()).collect(),
            jobs: snapshot.jobs.values().map(|job| (&**job).into()).collect(),
        }
    }
}

/// The word for what is wanted of a guest.
pub fn intent(guest: &GuestStatus) -> &'static str {
    if guest.intent_up { "up" } else { "down" }
}

/// A moment as RFC 3339 writes it, in UTC, with microseconds.
pub fn rfc3339(at: Timestamp) -> String {
    /// The last microsecond of the year 9999, which is as far as RFC 3339 reaches.
    const LAST: u64 = 253_402_300_799_999_999;
    let moment = UNIX_EPOCH + Duration::from_micros(at.0.min(LAST));
    humantime::format_rfc3339_micros(moment).to_string()
}

fn texts<T: AsRef<str>>(names: &[T]) -> Vec<Cow<'_, str>> {
    names.iter().map(|name| name.as_ref().into()).collect()
}

/// Whole seconds are written without a fraction: `5`, not `5.0`.
///
/// # Errors
/// The serializer's own.
pub fn seconds<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    /// Up to here every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && (0.0..EXACT).contains(value) {
        return serializer.serialize_u64(*value as u64);
    }
    serializer.serialize_f64(*value)
}

#[cfg(test)]
#[path = "describe_tests.rs"]
mod tests;
