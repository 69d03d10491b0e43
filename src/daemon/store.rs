//! What the daemon leaves in the runtime directory for `guest-helper` and for the next daemon of this boot:
//!
//! - `policy/NAME.json`: how a running guest's requests are answered, and what it was started with; of one that does not run
//!   that it has failed, or is to be started again;
//! - `spool/`: helper requests that were answered while no daemon was there;
//! - `booted.json`: the groups that were brought up this boot;
//! - `jobs/`: jobs, running and ended.
//!
//! All of it is written at once, before what follows from it: the directory is in memory. A file that cannot be written is
//! reported once and costs nothing else: guests run on. One that cannot be read, or is of another version, is moved aside
//! before anything takes its place; where that fails, it stays.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
};

use crate::{
    engine::{Init, Probe},
    helper::{
        in_full,
        policy::{self, StoredPolicy},
        record, spool,
    },
    kill_point::KillPoint,
    model::{Follows, GroupName, Guest, GuestName, Instant, Now, ProcessId},
    supervise::{
        event::{Found, Remembered},
        fleet::{Fleet, Recalled},
        state::{Failure, Intent, Phase, Stage, State, Then},
    },
    systemd::message,
};

mod jobs;

const BOOTED: &str = "booted.json";
/// What follows where it cannot be used.
const BOOT_AGAIN: &str = "groups already brought up this boot may be brought up again";
/// The largest list of booted groups, in bytes.
const BOOTED_MAX: u64 = 1024 * 1024;

/// The most failures of a guest that are kept: few limits are higher, and a policy must not grow with one.
const FAILURES_MAX: usize = 256;

/// The runtime directory's files.
#[derive(Debug)]
pub struct Store {
    runtime: PathBuf,
    /// What was last to be written for each guest.
    written: BTreeMap<GuestName, Written>,
    booted: BTreeSet<Option<GroupName>>,
    jobs: jobs::Jobs,
    /// The list of booted groups is there, and could not be read.
    is_booted_bad: bool,
    /// Something cannot be written, and that was told.
    is_unkept: bool,
    /// The files in the spool that were handed out, and whom they are about.
    taken: BTreeMap<String, GuestName>,
}

#[derive(Debug)]
struct Written {
    policy: StoredPolicy,
    /// Its reboots as monotonic moments.
    reboots: Vec<Instant>,
    /// It is there.
    is_kept: bool,
}

impl Store {
    /// The files below this runtime directory.
    pub fn new(runtime: PathBuf) -> Self {
        // Of a daemon that was killed over one: nobody else writes there.
        ["", "policy", "ready"].iter().for_each(|folder| record::sweep(&runtime.join(folder)));
        let booted = record::read::<Vec<Option<GroupName>>>(&runtime.join(BOOTED), BOOTED_MAX);
        let is_booted_bad = booted.is_err();
        let booted = booted.unwrap_or_else(|error| {
            tracing::warn!("{}; {BOOT_AGAIN}", in_full(&error));
            None
        });
        let booted = booted.unwrap_or_default().into_iter().collect();
        let jobs = jobs::Jobs::new(&runtime);
        Self {
            runtime,
            written: BTreeMap::new(),
            booted,
            jobs,
            is_booted_bad,
            is_unkept: false,
            taken: BTreeMap::new(),
        }
    }

    /// Has the fleet go on with the jobs of an earlier daemon.
    pub fn restore_jobs(&mut self, fleet: &mut Fleet, now: Now) {
        let (left, last) = self.jobs.take_left(now);
        fleet.restore(left, last, now);
    }

    /// Keeps what changed of jobs.
    pub fn record_jobs(&mut self, fleet: &mut Fleet, now: Now) {
        self.jobs.record(fleet.take_job_records(now));
    }

    /// The groups that were brought up this boot.
    pub fn booted(&self) -> BTreeSet<Option<GroupName>> {
        self.booted.clone()
    }

    /// Keeps the groups that were brought up this boot.
    pub fn record_booted(&mut self, booted: &BTreeSet<Option<GroupName>>) {
        if self.booted == *booted {
            return;
        }
        self.booted.clone_from(booted);
        let moved = if self.is_booted_bad { record::set_aside(&self.runtime.join(BOOTED)) } else { Ok(None) };
        match moved.and_then(|_| record::write(&self.runtime, BOOTED, booted, BOOTED_MAX)) {
            Ok(()) => self.is_booted_bad = false,
            Err(error) => tracing::warn!("{}; {BOOT_AGAIN}", in_full(&error)),
        }
        KillPoint::BootedWritten.pass();
    }

    /// What was answered while no daemon was there; each request is handed out once.
    pub fn spooled(&mut self) -> Vec<Recalled> {
        let lying = spool::look(&self.runtime, &self.taken.keys().cloned().collect());
        if !lying.is_empty() {
            KillPoint::SpoolRead.pass();
        }
        self.taken.extend(lying.iter().map(|lying| (lying.file.clone(), lying.request.guest.clone())));
        let requests = lying.into_iter().map(|lying| lying.request);
        requests
            .map(|spooled| Recalled {
                guest: spooled.guest,
                event: spooled.event,
                at: spooled.at,
                decision: spooled.decision,
                reason: spooled.reason,
                tripped: spooled.tripped,
            })
            .collect()
    }

    /// Removes requests from the spool whose guests are stored as they have become by them. One that was not looked at yet is
    /// not stored: the next daemon would know neither its request nor its policy's end.
    fn clear_spool(&mut self, fleet: &Fleet) {
        let runtime = &self.runtime;
        self.taken.retain(|file, guest| {
            if !fleet.state(guest).is_none_or(State::is_known) {
                return true;
            }
            if let Err(error) = spool::remove(runtime, file) {
                message::warn(guest, format_args!("{}; this request may be read twice", in_full(&error)));
                return true;
            }
            KillPoint::SpoolCleared.pass();
            false
        });
    }

    /// Writes the policies of guests that changed, and removes those of guests that are down.
    pub fn record(&mut self, fleet: &Fleet, now: Now) {
        for name in fleet.changed() {
            let stored = fleet.guest(name).zip(fleet.state(name));
            let known = self.written.get(name).and_then(|written| written.policy.keeper);
            let policy = stored.and_then(|(guest, state)| stored_policy(guest, state, known, now));
            match policy {
                Some(new) => self.write(new),
                None => self.remove(name, fleet),
            }
        }
        self.clear_spool(fleet);
    }

    fn write(&mut self, (policy, reboots): (StoredPolicy, Vec<Instant>)) {
        let written = self.written.get(&policy.guest);
        let is_kept = written.is_some_and(|written| written.is_kept);
        let same = written.is_some_and(|Written { policy: old, reboots: moments, .. }| {
            *moments == reboots && StoredPolicy { recent: old.recent.clone(), ..policy.clone() } == *old
        });
        if same && is_kept {
            return;
        }
        let room = if is_kept { Ok(()) } else { policy::make_room(&self.runtime, &policy.guest) };
        let result = room.and_then(|()| policy::write(&self.runtime, &policy));
        let is_kept = result.is_ok();
        let was_unkept = std::mem::replace(&mut self.is_unkept, !is_kept);
        if let Some(error) = result.err().filter(|_| !was_unkept) {
            message::warn(&policy.guest, format_args!("{}", in_full(&error)));
        }
        self.written.insert(policy.guest.clone(), Written { policy, reboots, is_kept });
        KillPoint::PolicyWritten.pass();
    }

    fn remove(&mut self, name: &GuestName, fleet: &Fleet) {
        // A guest that was not looked at yet may run: its policy is what the look will need.
        let looked_at = fleet.state(name).is_none_or(State::is_known);
        let removed = match self.written.remove(name) {
            Some(_) => policy::remove(&self.runtime, name),
            None if looked_at => {
                policy::make_room(&self.runtime, name).and_then(|()| policy::remove(&self.runtime, name))
            }
            None => return,
        };
        if let Err(error) = removed {
            message::warn(name, format_args!("{}", in_full(&error)));
        }
        KillPoint::PolicyRemoved.pass();
    }
}

/// What is to be stored of a guest that runs, or waits for something. Between two inits its keeper is the one that was known before.
fn stored_policy(
    guest: &Guest,
    state: &State,
    known: Option<ProcessId>,
    now: Now,
) -> Option<(StoredPolicy, Vec<Instant>)> {
    let (fingerprint, keeper) = match &state.phase {
        Phase::Starting { fingerprint, .. } => (*fingerprint, None),
        Phase::BackingOff { .. } | Phase::Failed { remains: None, .. } => (guest.fingerprint, None),
        Phase::Failed { remains: Some(_), .. } => (guest.fingerprint, known),
        _ => {
            let run = state.run()?;
            // Whoever else started it: the next daemon should know that too.
            (run.fingerprint?, run.init.and_then(|init| init.keeper).or(known))
        }
    };
    let moments: Vec<Instant> = state.reboots.iter().copied().collect();
    let policy = StoredPolicy {
        version: StoredPolicy::VERSION,
        guest: guest.name.clone(),
        action: guest.reboot.action.clone(),
        limit: guest.reboot.limit,
        restarts: state.restarts,
        failures: newest(&state.retries.at).map(|at| at.wall).collect(),
        recent: moments.iter().map(|at| now.wall_of(*at)).collect(),
        started_fingerprint: fingerprint,
        stopping: matches!(state.phase, Phase::Stopping { then: Then::Stay(_) | Then::Fail(_), .. }),
        follows: follows(state),
        ready: ready_init(&state.phase),
        unwanted: state.intent == Intent::Down,
        held: state.held.is_some(),
        keeper,
        over: if keeper.is_none() { state.kept } else { None },
    };
    Some((policy, moments))
}

/// The failures that are kept.
fn newest(failures: &VecDeque<Now>) -> impl Iterator<Item = &Now> {
    failures.iter().skip(failures.len().saturating_sub(FAILURES_MAX))
}

/// The init that is ready.
fn ready_init(phase: &Phase) -> Option<i32> {
    match phase {
        Phase::Up(run) | Phase::Frozen(run) if matches!(run.service.stage, Stage::Ready { .. }) => {
            Some(run.init?.pid)
        }
        _ => None,
    }
}

/// What is to follow: the end of a run that is on its way down, a pause, or the beginning of a start; or that nothing is.
fn follows(state: &State) -> Option<Follows> {
    let then = match &state.phase {
        Phase::Stopping { then, .. } => then,
        Phase::Starting { .. } => return Some(Follows::Begin),
        Phase::BackingOff { why, .. } => return Some(Follows::Retry(why.to_string())),
        Phase::Failed { why, .. } => return Some(Follows::Failed(why.to_string())),
        _ => return None,
    };
    match then {
        Then::Start => Some(Follows::Start),
        Then::Stay(end) | Then::Fail(Failure::Ended(end)) | Then::Recover(Failure::Ended(end)) => {
            Some(Follows::End(end.clone()))
        }
        Then::Fail(Failure::RebootLoop(limit)) => Some(Follows::RebootLoop(*limit)),
        // How it ends may be seen yet.
        Then::Recover(Failure::Vanished) => None,
        Then::Fail(why) => Some(Follows::Failed(why.to_string())),
        Then::Recover(why) => Some(Follows::Recover(why.to_string())),
    }
}

/// What a look has shown of a guest, with what is remembered of its run, if an earlier daemon started that.
pub fn found(runtime: &Path, guest: &GuestName, probe: Probe, now: Now) -> Found {
    match policy::read(runtime, guest) {
        Ok(stored) => of_probe(stored, probe, now),
        // What was to follow is lost; how it ended is not.
        Err(error) => {
            message::warn(guest, format_args!("{}", in_full(&error)));
            Found::State { probe, remembered: None }
        }
    }
}

fn of_probe(stored: Option<StoredPolicy>, probe: Probe, now: Now) -> Found {
    let is_awaited = |keeper| stored.as_ref().is_some_and(|stored| awaits_end(stored, keeper));
    let probe = match probe {
        // An engine that tells an end again and again tells of old ones too: nobody else starts its guests.
        Probe::Ended { keeper: Some(keeper), .. } if !is_awaited(keeper) => Probe::Down,
        probe => probe,
    };
    let remembered = match probe {
        Probe::Up(init) | Probe::Frozen(init) => stored.and_then(|stored| of_run(stored, Some(init), now)),
        Probe::Down | Probe::Ended { .. } => stored.and_then(|stored| of_run(stored, None, now)),
        Probe::Changing => None,
    };
    Found::State { probe, remembered }
}

/// Whether an end was told that an earlier daemon has dealt with, so that the engine may forget it.
pub fn is_told_in_vain(probe: Probe, found: &Found) -> bool {
    matches!((probe, found), (Probe::Ended { .. }, Found::State { probe: Probe::Down, .. }))
}

/// Whether the end of the run with this keeper was not dealt with yet.
fn awaits_end(stored: &StoredPolicy, keeper: ProcessId) -> bool {
    match (stored.keeper, &stored.follows) {
        (Some(known), _) => known == keeper,
        (None, Some(Follows::Retry(_) | Follows::Failed(_))) => false,
        // One that was begun, and whose init nobody saw.
        (None, _) => stored.over != Some(keeper),
    }
}

fn of_run(stored: StoredPolicy, init: Option<Init>, now: Now) -> Option<Remembered> {
    // None is known from before its init was seen, and from earlier versions.
    let is_of_this_run = |init: Init| stored.keeper.is_none_or(|keeper| init.keeper == Some(keeper));
    init.is_none_or(is_of_this_run).then(|| Remembered {
        fingerprint: stored.started_fingerprint,
        restarts: stored.restarts,
        failures: stored.failures,
        reboots: stored.recent.into_iter().map(|at| now.instant_of(at)).collect(),
        was_seen: stored.keeper.is_some(),
        kept: stored.keeper.or(stored.over),
        follows: stored.follows,
        unwanted: stored.unwanted,
        ready: stored.ready,
    })
}

#[cfg(test)]
mod model_check;
#[cfg(test)]
mod tests;
