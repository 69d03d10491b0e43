//! One guest, an operator, an engine, and a daemon that is killed at any moment: every order in which a few things can
//! happen, searched exhaustively. Whatever happened, once the world is left alone the last wish that was answered is
//! obeyed, and no start ever meets a guest that runs.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::{of_stored, stored_policy};
use crate::{
    engine::{Epoch, Init, Observation, Probe, Request},
    helper::policy::StoredPolicy,
    model::{
        EngineSpec, Follows, Guest, GuestName, Instant, Limit, LxcSpec, Now, ProcessId, Restart, Timestamp,
        WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Event, Found, Grant, StopKind},
        machine,
        state::{Intent, Phase, State, Then},
    },
};

const CRASH: i32 = 9;
const HALT: i32 = 2;

/// What really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Real {
    Nothing,
    /// A start is under way that goes on by itself.
    Coming,
    Runs(i32),
}

/// What still may happen, so that the search ends.
#[derive(Debug, Clone, Copy)]
struct Budget {
    operator: u8,
    guest: u8,
    kills: u8,
    failures: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Start,
    Stop,
    Restart,
    /// The daemon takes the first of what has come in.
    Take,
    /// The same, and it is killed before anything is stored, or before anything is done about it.
    TakeAndDieUnstored,
    TakeAndDieStored,
    /// The engine does the first of what it was told, well or badly.
    Work,
    WorkBadly,
    /// A start that is under way has come up.
    ComesUp,
    Crash,
    Halt,
    Die,
    Return,
    Wake,
    Grant,
}

const ACTS: [Act; 15] = [
    Act::Start,
    Act::Stop,
    Act::Restart,
    Act::Take,
    Act::TakeAndDieUnstored,
    Act::TakeAndDieStored,
    Act::Work,
    Act::WorkBadly,
    Act::ComesUp,
    Act::Crash,
    Act::Halt,
    Act::Die,
    Act::Return,
    Act::Wake,
    Act::Grant,
];

#[derive(Debug, Clone)]
struct World {
    /// What the daemon knows; none while there is none.
    daemon: Option<State>,
    /// What has come in, oldest first.
    inbox: VecDeque<Event>,
    /// What the engine is to do, oldest first.
    work: VecDeque<Effect>,
    /// The run that is watched.
    watched: Option<Epoch>,
    real: Real,
    /// How it ended while nobody watched: the monitor FIFO, which systemd keeps open.
    fifo: Option<i32>,
    disk: Option<StoredPolicy>,
    pid: i32,
    millis: u64,
    left: Budget,
    /// The last wish that was answered, or the guest's own halt that was seen after that. None once the only witness of an end has died
    /// with what it had seen: then nobody can know better.
    wish: Option<Intent>,
}

fn guest() -> Guest {
    let engine = EngineSpec::Lxc(LxcSpec {
        lxcpath: std::sync::Arc::from(std::path::Path::new("/lxc")),
        halt_signal: None,
        reboot_signal: None,
        stop_signal: None,
        hook_version: 0,
        ephemeral: false,
        rootfs: None,
        log_file: None,
        own_console: false,
    });
    let limit = Limit { count: 1000, window: Duration::from_secs(3600) };
    let restart = Restart { limit, ..Restart::default() };
    Guest { restart, ..Guest::new(GuestName::new("web").unwrap(), engine) }
}

/// How the init ended, where an event tells it.
fn status_in(event: &Event) -> Option<WaitStatus> {
    match event {
        Event::Observed(_, Observation::InitExited(status)) => *status,
        Event::Probed(Found::State { probe: Probe::Ended(status), .. }) => Some(*status),
        _ => None,
    }
}

impl World {
    fn new(left: Budget) -> Self {
        let mut world = Self {
            daemon: None,
            inbox: VecDeque::new(),
            work: VecDeque::new(),
            watched: None,
            real: Real::Nothing,
            fifo: None,
            disk: None,
            pid: 100,
            millis: 1000,
            left,
            wish: Some(Intent::Down),
        };
        world.comes_back();
        world
    }

    fn now(&self) -> Now {
        let instant = Instant(Duration::from_millis(self.millis));
        Now { instant, wall: Timestamp(1_000_000_000_000_000 + self.millis * 1000) }
    }

    /// What two worlds have in common that go on alike.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }

    fn comes_back(&mut self) {
        self.daemon = Some(State::new(self.now().wall));
        self.work = [Effect::Probe].into();
    }

    fn dies(&mut self) {
        (self.daemon, self.watched) = (None, None);
        if self.inbox.iter().any(|event| status_in(event).is_some()) {
            self.wish = None;
        }
        self.inbox.clear();
        self.work.clear();
    }

    fn init(&self, pid: i32) -> Init {
        let keeper = Some(ProcessId { pid: pid + 10_000, started: 1 });
        Init { pid, since: Timestamp(7), keeper }
    }

    fn sees(&mut self, what: Observation) {
        if let Some(epoch) = self.watched {
            self.inbox.push_back(Event::Observed(epoch, what));
        }
    }

    fn is_being_restarted(&self) -> bool {
        match &self.daemon {
            Some(State { phase: Phase::Stopping { then, .. }, .. }) => *then == Then::Start,
            // It goes by what the one before it has left.
            _ => self.disk.as_ref().is_some_and(|policy| policy.follows == Some(Follows::Start)),
        }
    }

    /// Everything of it ends.
    fn ends(&mut self, status: i32) {
        self.real = Real::Nothing;
        if self.watched.is_some() {
            self.sees(Observation::InitExited(Some(WaitStatus(status))));
            self.sees(Observation::Gone);
            self.watched = None;
        } else {
            self.fifo = Some(status);
        }
    }

    /// The daemon takes an event: decides, stores, and does; it may be killed in between.
    fn takes(&mut self, event: Event, dies: Option<Act>) {
        let (guest, now) = (guest(), self.now());
        let status = status_in(&event);
        // One that ends on its way to another start is started all the same.
        let (is_halt, is_restart) = (status.is_some_and(WaitStatus::is_halt), self.is_being_restarted());
        let Some(state) = &mut self.daemon else { return };
        if status.is_some() && dies == Some(Act::TakeAndDieUnstored) {
            self.wish = None;
        }
        let effects = machine::handle(state, &guest, event, now);
        if dies == Some(Act::TakeAndDieUnstored) {
            return self.dies();
        }
        if is_halt && !is_restart {
            self.wish = Some(Intent::Down);
        }
        let known = self.disk.as_ref().and_then(|policy| policy.keeper);
        let looked_at = state.epoch.0 > 0 || state.seen_down;
        match stored_policy(&guest, state, known, now) {
            Some((policy, _)) => self.disk = Some(policy),
            None if looked_at => self.disk = None,
            None => {}
        }
        if dies == Some(Act::TakeAndDieStored) {
            return self.dies();
        }
        for effect in effects {
            match effect {
                // It interrupts a start that is under way, and everything else.
                Effect::Kill(_) => {
                    self.work.clear();
                    self.work.push_back(effect);
                }
                Effect::Start(_) | Effect::Request(..) | Effect::Watch(_) | Effect::Probe => {
                    self.work.push_back(effect);
                }
                _ => {}
            }
        }
    }

    fn asks(&mut self, event: Event, wish: Intent) {
        self.left.operator -= 1;
        self.takes(event, None);
        self.wish = Some(wish);
    }

    fn works(&mut self, well: bool) {
        let Some(effect) = self.work.pop_front() else { return };
        match effect {
            Effect::Start(epoch) => match self.real {
                Real::Nothing if well => {
                    self.real = Real::Coming;
                    self.watched = Some(epoch);
                }
                Real::Nothing => {
                    let error = crate::engine::EngineError {
                        operation: "start it",
                        kind: crate::engine::ErrorKind::Failed,
                        reason: "no".into(),
                    };
                    self.inbox.push_back(Event::StartReturned(epoch, Err(error)));
                }
                Real::Coming | Real::Runs(_) => panic!("it is started, and runs: {self:#?}"),
            },
            Effect::Watch(epoch) => match self.real {
                Real::Runs(pid) => {
                    self.watched = Some(epoch);
                    let init = self.init(pid);
                    self.sees(Observation::Running(init));
                }
                Real::Nothing | Real::Coming => {
                    self.watched = Some(epoch);
                    if let Some(status) = self.fifo.take() {
                        self.sees(Observation::InitExited(Some(WaitStatus(status))));
                    }
                    self.sees(Observation::Gone);
                    self.watched = None;
                }
            },
            Effect::Request(epoch, request) => {
                self.inbox.push_back(Event::RequestReturned(epoch, request, Ok(())));
                if matches!((request, self.real), (Request::Stop, Real::Runs(_))) {
                    self.ends(0);
                }
            }
            Effect::Kill(epoch) => {
                if self.real != Real::Nothing {
                    self.ends(CRASH);
                }
                self.inbox.push_back(Event::KillReturned(epoch, Ok(())));
            }
            Effect::Probe => {
                let probe = match (self.real, self.fifo.take()) {
                    (Real::Nothing, Some(status)) => Probe::Ended(WaitStatus(status)),
                    (Real::Nothing, None) => Probe::Down,
                    (Real::Coming, _) => Probe::Changing,
                    (Real::Runs(pid), _) => Probe::Up(self.init(pid)),
                };
                let is_of_this_run = |policy: &StoredPolicy| match probe {
                    Probe::Up(init) => policy.keeper.is_none_or(|keeper| init.keeper == Some(keeper)),
                    _ => probe != Probe::Changing,
                };
                let remembered = self.disk.clone().filter(is_of_this_run);
                let remembered = remembered.map(|policy| of_stored(policy, self.now()));
                self.inbox.push_back(Event::Probed(Found::State { probe, remembered }));
            }
            _ => {}
        }
    }

    fn comes_up(&mut self) {
        self.pid += 1;
        self.real = Real::Runs(self.pid);
        self.fifo = None;
        let init = self.init(self.pid);
        if let Some(epoch) = self.watched {
            self.inbox.push_back(Event::StartReturned(epoch, Ok(())));
        }
        self.sees(Observation::Running(init));
    }

    /// Whether this can happen now.
    fn can(&self, act: Act) -> bool {
        let (left, state) = (self.left, self.daemon.as_ref());
        let is_looked_at = self.daemon.as_ref().is_some_and(|state| state.epoch.0 > 0 || state.seen_down);
        match act {
            // Requests come once every guest was looked at.
            Act::Start | Act::Stop | Act::Restart => {
                let is_stopping = state.is_some_and(|state| matches!(state.phase, Phase::Stopping { .. }));
                left.operator > 0 && is_looked_at && (act == Act::Stop || !is_stopping)
            }
            Act::Take => !self.inbox.is_empty(),
            Act::TakeAndDieUnstored | Act::TakeAndDieStored => !self.inbox.is_empty() && left.kills > 0,
            Act::Work => !self.work.is_empty(),
            Act::WorkBadly => matches!(self.work.front(), Some(Effect::Start(_))) && left.failures > 0,
            Act::ComesUp => self.real == Real::Coming,
            Act::Crash | Act::Halt => matches!(self.real, Real::Runs(_)) && left.guest > 0,
            Act::Die => state.is_some() && left.kills > 0,
            Act::Return => state.is_none(),
            Act::Wake => state.is_some_and(|state| state.deadline().is_some()) && self.is_quiet(),
            Act::Grant => state.is_some_and(State::is_due),
        }
    }

    /// Nothing is under way: deadlines are for what does not come, and here everything does.
    fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.work.is_empty() && self.real != Real::Coming
    }

    fn acts(&mut self, act: Act) {
        let ask = StopKind::Ask(Some(Duration::from_secs(60)));
        match act {
            Act::Start => self.asks(Event::StartRequested, Intent::Up),
            Act::Stop => self.asks(Event::StopRequested(ask), Intent::Down),
            Act::Restart => self.asks(Event::RestartRequested(ask), Intent::Up),
            Act::Take | Act::TakeAndDieUnstored | Act::TakeAndDieStored => {
                self.left.kills -= u8::from(act != Act::Take);
                if let Some(event) = self.inbox.pop_front() {
                    self.takes(event, Some(act));
                }
            }
            Act::Work => self.works(true),
            Act::WorkBadly => {
                self.left.failures -= 1;
                self.works(false);
            }
            Act::ComesUp => self.comes_up(),
            Act::Crash | Act::Halt => {
                self.left.guest -= 1;
                self.ends(if act == Act::Halt { HALT } else { CRASH });
            }
            Act::Die => {
                self.left.kills -= 1;
                self.dies();
            }
            Act::Return => self.comes_back(),
            Act::Wake => {
                let deadline = self.daemon.as_ref().and_then(State::deadline).expect("it can");
                self.millis = self.millis.max(u64::try_from(deadline.0.as_millis()).expect("soon") + 1);
                self.takes(Event::TimedOut, None);
            }
            Act::Grant => self.takes(Event::Retried(Grant::Now), None),
        }
    }

    /// Left alone, until nothing moves any more.
    fn settles(mut self) -> Self {
        self.left = Budget { operator: 0, guest: 0, kills: 0, failures: 0 };
        let order = [Act::Return, Act::ComesUp, Act::Take, Act::Work, Act::Grant, Act::Wake];
        for _ in 0..100 {
            let Some(act) = order.into_iter().find(|act| self.can(*act)) else { return self };
            self.acts(act);
        }
        panic!("it never settles: {self:#?}");
    }

    fn check(&self, path: &[Act]) {
        let settled = self.clone().settles();
        let state = settled.daemon.as_ref().expect("it has come back");
        let runs = matches!(settled.real, Real::Runs(_));
        if let Some(wish) = settled.wish {
            assert_eq!(runs, wish == Intent::Up, "after {path:?}: {settled:#?}");
        }
        assert_eq!(runs, matches!(state.phase, Phase::Up(_)), "after {path:?}: {settled:#?}");
    }
}

/// Every world that can be reached, each once; the path there is kept for people.
fn search(first: World, most: usize) -> usize {
    let mut seen = HashSet::from([first.key()]);
    let mut frontier = VecDeque::from([(first, Vec::new())]);
    while let Some((world, path)) = frontier.pop_front() {
        for act in ACTS.into_iter().filter(|act| world.can(*act)) {
            let mut next = world.clone();
            next.acts(act);
            if !seen.insert(next.key()) {
                continue;
            }
            let path: Vec<Act> = path.iter().copied().chain([act]).collect();
            next.check(&path);
            frontier.push_back((next, path));
        }
        assert!(seen.len() < most, "the search does not end");
    }
    seen.len()
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_loses_no_guest_and_no_wish() {
    let worlds = search(World::new(Budget { operator: 2, guest: 2, kills: 2, failures: 1 }), 2_000_000);
    assert!(worlds > 5_000, "only {worlds}");
}
