//! The manager loop: the only writer. It takes one thing that happened at a time, lets the fleet decide, hands the
//! tasks to workers, and publishes what readers should see. It never waits for a guest.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::{
    boundary,
    clock::Clock,
    handle::Command,
    load::{Directories, Inventory},
    state::StateStore,
    store::Store,
    watcher::Watcher,
    worker::{Report, Work, Workers},
};
use crate::{
    checks::Checks,
    engine::{Observation, Observed},
    helper::wire::Answer,
    kill_point::KillPoint,
    model::{
        GuestName, Instant,
        status::{DaemonStatus, Snapshot},
    },
    supervise::{
        effect::{Effect, Task, Topic},
        event::HelperId,
        fleet::{Fleet, Rules},
        state::State,
    },
    systemd::{message, notify::Watchdog},
};

mod definitions;
mod durable;
mod helpers;
mod pressure;
pub use definitions::watch;
use pressure::Gauge;

/// How long the loop waits for the daemon to be ready.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// Tells the engine which lxcpaths to listen to.
pub type SetPaths = Box<dyn Fn(&[Arc<Path>]) + Send>;

/// Where everything that happens comes in.
pub struct Inbox {
    /// From the engine.
    pub observed: mpsc::UnboundedReceiver<Observed>,
    /// From the workers.
    pub reports: mpsc::UnboundedReceiver<Report>,
    /// From the API and the helper socket.
    pub commands: mpsc::UnboundedReceiver<Command>,
}

/// Owner of the fleet.
pub struct Manager {
    clock: Clock,
    directories: Directories,
    inventory: Inventory,
    fleet: Fleet,
    workers: Workers,
    checks: Checks,
    watcher: Option<Watcher>,
    /// Guests whose config is missing just now, and until when that is taken for an editor's doing.
    missing: BTreeMap<GuestName, Instant>,
    store: Store,
    gauge: Gauge,
    state: StateStore,
    waiting_helpers: HashMap<HelperId, oneshot::Sender<Answer>>,
    last_helper: u64,
    daemon: Arc<DaemonStatus>,
    snapshots: watch::Sender<Arc<Snapshot>>,
    /// Tells the engine which lxcpaths to listen to.
    set_paths: SetPaths,
    /// All work but looks, until the daemon has said that it is ready; none from then on.
    held_back: Option<Vec<(GuestName, Work)>>,
}

/// What the composition root hands over.
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// Where settings and state lie.
    pub directories: Directories,
    /// What was loaded at start.
    pub inventory: Inventory,
    /// Notices what has changed since before the load.
    pub watcher: Option<Watcher>,
    /// The workers.
    pub workers: Workers,
    /// What is checked of guests that are up.
    pub checks: Checks,
    /// What readers see of the daemon, without diagnostics.
    pub daemon: DaemonStatus,
    /// Where snapshots are published.
    pub snapshots: watch::Sender<Arc<Snapshot>>,
    /// Tells the engine which lxcpaths to listen to.
    pub set_paths: SetPaths,
}

impl Manager {
    /// Takes everything over and has every guest looked at.
    pub fn new(parts: Parts) -> Self {
        let store = Store::new(parts.directories.runtime.clone());
        let (state, kept) = StateStore::open(&parts.directories, parts.clock.now());
        let mut fleet = Fleet::new(rules(&parts.inventory), store.booted());
        fleet.recollect(kept);
        fleet.looks_around();
        let mut manager = Self {
            clock: parts.clock,
            directories: parts.directories,
            inventory: parts.inventory,
            fleet,
            workers: parts.workers,
            checks: parts.checks,
            watcher: parts.watcher,
            missing: BTreeMap::new(),
            store,
            gauge: Gauge::of_kernel(),
            state,
            waiting_helpers: HashMap::new(),
            last_helper: 0,
            daemon: Arc::new(parts.daemon),
            snapshots: parts.snapshots,
            set_paths: parts.set_paths,
            held_back: Some(Vec::new()),
        };
        manager.take_inventory();
        manager.take_spool();
        manager.settle();
        manager
    }

    /// Waits until every guest has been looked at, so that the first request finds things as they are. Each look has
    /// a deadline of its own. Then the jobs of the daemon before this one go on.
    pub async fn recover(mut self, mut inbox: Inbox) -> Recovered {
        while !self.workers.are_idle() {
            tokio::select! {
                biased;
                Some(observed) = inbox.observed.recv() => self.observed(observed),
                Some(report) = inbox.reports.recv() => self.report(report),
                else => break,
            }
            self.drain(&mut inbox);
            self.settle();
        }
        KillPoint::LookedAround.pass();
        self.store.restore_jobs(&mut self.fleet, self.clock.now());
        self.fleet.has_looked_around(self.clock.now());
        KillPoint::JobsRestored.pass();
        self.settle();
        KillPoint::Recovered.pass();
        let fleet = &self.fleet;
        self.checks.retain(|guest| fleet.state(guest).is_some_and(State::may_run));
        Recovered { manager: self, inbox }
    }

    async fn run(mut self, mut inbox: Inbox) {
        let mut watchdog = Watchdog::new();
        loop {
            let looks = self.missing.values().min().copied();
            let wake = self.fleet.deadline().into_iter().chain(looks).min().map(|at| self.clock.at(at));
            let timer = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let changed = async {
                match &self.watcher {
                    Some(watcher) => watcher.readable().await,
                    None => std::future::pending().await,
                }
            };
            // What guests do comes before what people ask.
            tokio::select! {
                biased;
                () = watchdog.hungry() => watchdog.feed(),
                Some(observed) = inbox.observed.recv() => self.observed(observed),
                Some(report) = inbox.reports.recv() => self.report(report),
                () = changed => self.notice_changes(),
                () = self.state.changed() => self.daemon = self.with_trouble(),
                command = inbox.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                () = timer => self.wake(),
            }
            self.drain(&mut inbox);
            self.settle();
        }
    }

    /// Takes all that has come in meanwhile, so that a burst is published once.
    fn drain(&mut self, inbox: &mut Inbox) {
        loop {
            if let Ok(observed) = inbox.observed.try_recv() {
                self.observed(observed);
            } else if let Ok(report) = inbox.reports.try_recv() {
                self.report(report);
            } else {
                return;
            }
        }
    }

    fn wake(&mut self) {
        self.look_for_missing();
        self.fleet.wake(self.clock.now());
    }

    fn observed(&mut self, observed: Observed) {
        // A helper that would not wait for this daemon has decided by itself; its decision lies in the spool since
        // before a new init, or the end of everything, could be seen.
        if matches!(observed.what, Observation::Running(_) | Observation::Gone) {
            self.take_spool();
        }
        let seen = boundary::seen(&observed.what);
        self.fleet.observed(&observed.guest, observed.epoch, observed.what, self.clock.now());
        seen.into_iter().for_each(KillPoint::pass);
    }

    fn report(&mut self, report: Report) {
        if let Some((guest, event)) = self.workers.finished(report) {
            self.fleet.happened(&guest, event, self.clock.now());
            KillPoint::Reported.pass();
        }
    }

    fn command(&mut self, command: Command) {
        self.notice_changes();
        let now = self.clock.now();
        // A caller that has gone away needs no answer.
        match command {
            Command::Autostart { action, selection, wait, host_stops, reply } => {
                self.fleet.host_stops(host_stops);
                let answer = self.fleet.autostart(action, &selection, wait, now);
                // The job is published before its path is known to anybody.
                self.settle();
                self.answer(reply, answer);
            }
            Command::Plan { action, selection, reply } => {
                let _ = reply.send(self.fleet.plan(action, &selection));
            }
            Command::Operate { verb, guest, wait, hold, host_stops, reply } => {
                self.fleet.host_stops(host_stops);
                let answer = self.fleet.operate(verb, &guest, wait, hold, now);
                self.settle();
                self.answer(reply, answer);
            }
            Command::Cancel { job, reply } => {
                let answer = self.fleet.cancel(job, now);
                self.settle();
                let _ = reply.send(answer);
            }
            Command::Reload { reply } => {
                self.reload();
                self.settle();
                let _ = reply.send(self.daemon.diagnostics.clone());
            }
            Command::Helper { request, reply } => self.helper(&request, reply, now),
            Command::Spooled => self.take_spool(),
        }
    }

    /// Records what the next daemon must know, does what is to be done, and publishes. In this order: a guest that was
    /// started or answered is known to the next daemon, whenever this one is killed.
    fn settle(&mut self) {
        self.look_at_pressure();
        let now = self.clock.now();
        KillPoint::Settling.pass();
        self.store.record(&self.fleet, now);
        KillPoint::PoliciesStored.pass();
        self.store.record_jobs(&mut self.fleet, now);
        KillPoint::JobsStored.pass();
        let absent = self.state.record(&self.fleet, now);
        self.fleet.recollect(absent);
        KillPoint::StateHandedOver.pass();
        self.store.record_booted(self.fleet.booted());
        KillPoint::Dispatching.pass();
        for name in self.fleet.changed() {
            // Before a start makes its socket anew.
            if self.fleet.state(name).is_none_or(is_down) {
                self.checks.down(name);
            }
        }
        self.dispatch();
        KillPoint::Dispatched.pass();
        // Their last hooks have what they need of them.
        if self.fleet.retire(now) {
            return self.settle();
        }
        if self.fleet.publish(&self.daemon) {
            self.snapshots.send_replace(Arc::new(self.fleet.published().clone()));
            KillPoint::Published.pass();
        }
    }

    fn dispatch(&mut self) {
        let (ended, begun): (Vec<_>, Vec<_>) =
            self.fleet.take_job_lines().into_iter().partition(|job| job.line.topic == Topic::JobEnded);
        begun.iter().for_each(message::of_job);
        for Task { guest, effect } in self.fleet.take_tasks() {
            match effect {
                Effect::Log(line) => message::of_guest(&guest, &line),
                Effect::Answer(id, answer) => {
                    KillPoint::AnswerBegins.pass();
                    if let Some(waiting) = self.waiting_helpers.remove(&id)
                        && waiting.send(answer).is_err()
                    {
                        message::warn(&guest, format_args!("{guest}'s helper has not waited for the answer"));
                    }
                }
                Effect::Check(checking) => {
                    if let Some(guest) = self.fleet.guest(&guest) {
                        self.checks.set(guest, checking);
                    }
                }
                Effect::RunScript(id, script) => {
                    let timeout = self.fleet.guest(&guest).map(|guest| guest.stop.timeout);
                    self.workers.run_script(&guest, id, &script, timeout.unwrap_or_default());
                }
                Effect::Hook(stage, why) => self.give(&guest, Work::Hook(stage, why.into())),
                Effect::Start(epoch) => self.give(&guest, Work::Start(epoch)),
                Effect::Request(epoch, request) => self.give(&guest, Work::Request(epoch, request)),
                Effect::Kill(epoch) => self.give(&guest, Work::Kill(epoch)),
                Effect::Watch(epoch) => self.give(&guest, Work::Watch(epoch)),
                Effect::KeepLastWords => self.workers.keep_last_words(&guest),
                Effect::Probe => self.give(&guest, Work::Probe),
            }
        }
        ended.iter().for_each(message::of_job);
    }

    fn give(&mut self, guest: &GuestName, work: Work) {
        if let Some(held_back) = self.held_back.as_mut().filter(|_| work != Work::Probe) {
            held_back.push((guest.clone(), work));
        } else if let Some(guest) = self.fleet.guest(guest) {
            self.workers.give(guest.clone(), work);
        }
    }
}

/// A manager that knows how things are.
pub struct Recovered {
    manager: Manager,
    inbox: Inbox,
}

impl Recovered {
    /// Runs until nobody can send commands any more. Watches of what runs already, and what an earlier daemon had begun, begin
    /// when the daemon is `ready`: a watch is a conversation with a monitor, of which there may be hundreds, and a start may
    /// take minutes. Whatever happens until then, they will see.
    pub async fn run(mut self, ready: oneshot::Receiver<()>) {
        // A bus that takes long must not keep guests waiting.
        let _ = timeout(READY_WITHIN, ready).await;
        KillPoint::HeldBack.pass();
        for (guest, work) in self.manager.held_back.take().unwrap_or_default() {
            self.manager.give(&guest, work);
        }
        self.manager.run(self.inbox).await;
    }
}

/// Whether nothing of a guest runs: it was looked at, or has run.
fn is_down(state: &State) -> bool {
    !state.may_run() && state.is_known()
}

fn rules(inventory: &Inventory) -> Rules {
    let settings = &inventory.settings;
    Rules {
        order: settings.order,
        max_starting: settings.max_starting as usize,
        pressure: settings.pressure,
        boot_groups: settings.boot_groups.clone(),
    }
}
