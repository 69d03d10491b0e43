//! A manager to talk to: it answers every command at once, remembers what it was asked, and publishes what the test
//! tells it to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use guestd::{
    daemon::handle::{Command, Handle, Outlook, PlannedStep, Rejection, StopWait},
    helper::wire::{Answer, Decision, Event},
    model::{
        Auto, Diagnostic, EngineKind, GroupName, GuestName, Hold, HoldWish, JobId, JobState, Order, Origin,
        Owner, Timestamp, Verb,
        status::{DaemonStatus, GuestStatus, JobStatus, PhaseWord, Snapshot, Upkeep},
    },
};
use tokio::sync::{mpsc, watch};

/// A name that the test knows to be good.
pub fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

/// A guest that is down, in these groups.
pub fn guest(text: &str, groups: &[&str]) -> GuestStatus {
    GuestStatus {
        last_words: Vec::new(),
        next_try: None,
        name: name(text),
        engine: EngineKind::Lxc,
        phase: PhaseWord::Down,
        intent_up: false,
        ready: false,
        reason: String::new(),
        auto: Auto::Yes,
        order: 100,
        delay: Duration::from_secs(5),
        groups: groups.iter().map(|group| GroupName::new(group).unwrap()).collect(),
        after: Arc::new([]),
        wants: Arc::new([]),
        requires: Arc::new([]),
        init_pid: None,
        since: None,
        restarts: 0,
        adopted: false,
        held: None,
        owner: Owner::Guestd,
        history: Arc::new([]),
        helper: None,
        deciding: None,
        lxcpath: None,
        config_changed: false,
        upkeep: Upkeep::default(),
    }
}

/// What the manager was asked, in the order in which it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A bulk request, as `Debug` shows its parts.
    Autostart(String),
    /// A request about one guest.
    Operate(Verb, GuestName, StopWait, HoldWish),
    /// What a guest asked for itself.
    Helper(GuestName, Event),
    /// A cancelled job.
    Cancel(JobId),
    /// A reload.
    Reload,
}

/// The test's end of the manager.
pub struct Manager {
    /// The door for the room under test.
    pub handle: Handle,
    snapshots: watch::Sender<Arc<Snapshot>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Manager {
    /// A manager of these guests.
    pub fn of(guests: impl IntoIterator<Item = GuestStatus>) -> Self {
        let guests: BTreeMap<_, _> = guests.into_iter().map(|g| (g.name.clone(), Arc::new(g))).collect();
        let diagnostic =
            Diagnostic::warning(Origin::line(std::path::Path::new("/srv/lxc/db/config"), 3), "odd");
        let daemon = DaemonStatus {
            launcher: "direct".into(),
            order: Order::HighestFirst,
            max_starting: 4,
            lxcpaths: vec!["/srv/lxc".into()],
            diagnostics: [diagnostic.about(&name("db"))].into(),
            ..Default::default()
        };
        let snapshot = Snapshot { guests, jobs: BTreeMap::new(), daemon: Arc::new(daemon) };
        let (snapshots, seen) = watch::channel(Arc::new(snapshot));
        let (commands, inbox) = mpsc::unbounded_channel();
        let asked = Arc::default();
        tokio::spawn(answer(inbox, snapshots.clone(), Arc::clone(&asked)));
        Self { handle: Handle::new(commands, seen), snapshots, asked }
    }

    /// Publishes a snapshot that differs in what `change` does.
    pub fn publish(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshots.send_modify(|snapshot| change(Arc::make_mut(snapshot)));
    }

    /// Publishes one guest changed.
    pub fn change(&self, guest: &str, change: impl FnOnce(&mut GuestStatus)) {
        self.publish(|snapshot| change(Arc::make_mut(snapshot.guests.get_mut(guest).unwrap())));
    }

    /// Takes what was asked until now.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// Plays the manager until the room is gone.
#[expect(clippy::too_many_lines, reason = "one arm for each command")]
async fn answer(
    mut inbox: mpsc::UnboundedReceiver<Command>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let note = |what| asked.lock().unwrap().push(what);
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Autostart { action, selection, wait, reply, .. } => {
                note(Asked::Autostart(format!("{action} {selection:?} {wait:?}")));
                let answer = match selection.lxcpath {
                    Some(path) => Err(Rejection::ForeignPath { path, managed: "/srv/lxc".into() }),
                    None => Ok(begin(&snapshots, action.into())),
                };
                reply.send(answer).unwrap();
            }
            Command::Plan { selection, reply, .. } => {
                let steps = plan(&snapshots.borrow(), &selection.groups);
                let refused = vec![(name("knot"), "it is in a cycle".to_owned())];
                // A caller that was refused no longer waits.
                drop(reply.send(Ok(Outlook { steps, refused })));
            }
            Command::Operate { verb, guest, wait, hold, reply, .. } => {
                note(Asked::Operate(verb, guest.clone(), wait, hold));
                let held = snapshots.borrow().guests[&guest].held.clone();
                let answer = match held {
                    Some(Hold { reason, .. }) if verb == Verb::Start => {
                        Err(Rejection::Refused { guest, reason })
                    }
                    _ => Ok(begin(&snapshots, verb)),
                };
                reply.send(answer).unwrap();
            }
            Command::Cancel { job, reply } => {
                note(Asked::Cancel(job));
                reply.send(Ok(())).unwrap();
            }
            Command::Reload { reply } => {
                note(Asked::Reload);
                find(&snapshots, guest("reloaded", &[]));
                reply.send(snapshots.borrow().daemon.diagnostics.clone()).unwrap();
            }
            Command::Helper { request, reply } => {
                note(Asked::Helper(request.guest, request.event));
                let (decision, reason) = (Decision::Restart, "reboots are carried out".to_owned());
                reply.send(Answer { decision, reason, anew: false }).unwrap();
            }
            Command::Spooled => unreachable!("spooled requests do not come over D-Bus"),
        }
    }
}

/// Those in the first of the groups, or all.
fn plan(snapshot: &Snapshot, groups: &[Option<GroupName>]) -> Vec<PlannedStep> {
    let wanted = |guest: &GuestStatus| match groups.first() {
        Some(Some(group)) => guest.groups.contains(group),
        _ => true,
    };
    let chosen = snapshot.guests.values().filter(|guest| wanted(guest));
    let step = |guest: &Arc<GuestStatus>| PlannedStep {
        wave: 1,
        guest: guest.name.clone(),
        delay: guest.delay,
        reason: "order 100".into(),
    };
    chosen.map(step).collect()
}

/// Publishes one more guest.
fn find(snapshots: &watch::Sender<Arc<Snapshot>>, found: GuestStatus) {
    snapshots.send_modify(|snapshot| {
        Arc::make_mut(snapshot).guests.insert(found.name.clone(), Arc::new(found));
    });
}

/// Publishes a new job that runs.
fn begin(snapshots: &watch::Sender<Arc<Snapshot>>, verb: Verb) -> JobId {
    let id = JobId(snapshots.borrow().jobs.keys().next_back().map_or(1, |last| last.0 + 1));
    snapshots.send_modify(|snapshot| {
        let job = JobStatus {
            id,
            verb,
            state: JobState::Running,
            done: 0,
            total: 1,
            status: "waiting".into(),
            guests: Arc::new([name("db")]),
            results: BTreeMap::new(),
            started: Timestamp(1_700_000_000_000_000),
            ended: None,
        };
        Arc::make_mut(snapshot).jobs.insert(id, Arc::new(job));
    });
    id
}
