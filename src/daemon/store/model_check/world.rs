//! The world of the model: a guest, its engine, a disk, and a daemon that may be gone.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::{
    super::{is_told_in_vain, of_probe, stored_policy},
    Act, Budget, CRASH,
};
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Init, Observation, Probe, Request},
    helper::policy::StoredPolicy,
    model::{
        EngineSpec, Follows, Guest, GuestName, Instant, Limit, LxcSpec, Now, ProcessId, Restart, Timestamp,
        WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Event, Found},
        machine,
        state::{Intent, Phase, State, Then},
    },
};

/// What really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Real {
    Nothing,
    /// A start is under way that goes on by itself.
    Coming,
    Runs(i32),
}

/// What the engine tells of an end that nobody watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tells {
    /// It tells it once, and only if nobody watched: LXC's monitor FIFO, which systemd keeps open.
    Once,
    /// It tells that of the last run to every daemon that comes, until the next start: the file of a native guest's monitor.
    Always,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    tells: Tells,
    /// What the daemon knows; none while there is none.
    pub(super) daemon: Option<State>,
    /// What has come in, oldest first.
    pub(super) inbox: VecDeque<Event>,
    /// What the engine is to do, oldest first.
    pub(super) work: VecDeque<Effect>,
    /// The run that is watched.
    watched: Option<Epoch>,
    pub(super) real: Real,
    /// How a run ended, and whose init it was: what the engine will tell.
    end: Option<(i32, i32)>,
    disk: Option<StoredPolicy>,
    pid: i32,
    pub(super) millis: u64,
    pub(super) left: Budget,
    /// The last wish that was answered, or the guest's own halt that was seen after that. None once the only witness of an end has died
    /// with what it had seen: then nobody can know better.
    pub(super) wish: Option<Intent>,
}

fn guest() -> Guest {
    let engine = EngineSpec::Lxc(LxcSpec::new(std::sync::Arc::from(std::path::Path::new("/lxc"))));
    let limit = Limit { count: 1000, window: Duration::from_secs(3600) };
    let restart = Restart { limit, ..Restart::default() };
    Guest { restart, ..Guest::new(GuestName::new("web").unwrap(), engine) }
}

/// Who keeps the run of an init going.
fn keeper(pid: i32) -> ProcessId {
    ProcessId { pid: pid + 10_000, started: 1 }
}

/// How the init ended, where an event tells it.
fn status_in(event: &Event) -> Option<WaitStatus> {
    match event {
        Event::Observed(_, Observation::InitExited(status)) => *status,
        Event::Probed(Found::State { probe: Probe::Ended { status, .. }, .. }) => Some(*status),
        _ => None,
    }
}

impl World {
    pub(super) fn new(tells: Tells, left: Budget) -> Self {
        let mut world = Self {
            tells,
            daemon: None,
            inbox: VecDeque::new(),
            work: VecDeque::new(),
            watched: None,
            real: Real::Nothing,
            end: None,
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
    pub(super) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        format!("{self:?}").hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn comes_back(&mut self) {
        self.daemon = Some(State::new(self.now().wall));
        self.work = [Effect::Probe].into();
    }

    pub(super) fn dies(&mut self) {
        (self.daemon, self.watched) = (None, None);
        if self.tells == Tells::Once && self.inbox.iter().any(|event| status_in(event).is_some()) {
            self.wish = None;
        }
        self.inbox.clear();
        self.work.clear();
    }

    fn init(&self, pid: i32) -> Init {
        Init { pid, since: Timestamp(7), keeper: Some(keeper(pid)) }
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
    pub(super) fn ends(&mut self, status: i32) {
        let pid = if let Real::Runs(pid) = self.real { pid } else { self.pid };
        self.real = Real::Nothing;
        if self.tells == Tells::Always || self.watched.is_none() {
            self.end = Some((status, pid));
        }
        if self.watched.is_some() {
            self.sees(Observation::InitExited(Some(WaitStatus(status))));
            self.sees(Observation::Gone);
            self.watched = None;
        }
    }

    /// The daemon takes an event: decides, stores, and does; it may be killed in between.
    pub(super) fn takes(&mut self, event: Event, dies: Option<Act>) {
        let (guest, now) = (guest(), self.now());
        let status = status_in(&event);
        // One that ends on its way to another start is started all the same.
        let (is_halt, is_restart) = (status.is_some_and(WaitStatus::is_halt), self.is_being_restarted());
        let Some(state) = &mut self.daemon else { return };
        if self.tells == Tells::Once && status.is_some() && dies == Some(Act::TakeAndDieUnstored) {
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

    pub(super) fn asks(&mut self, event: Event, wish: Intent) {
        self.left.operator -= 1;
        self.takes(event, None);
        self.wish = Some(wish);
    }

    pub(super) fn works(&mut self, well: bool) {
        let Some(effect) = self.work.pop_front() else { return };
        match effect {
            Effect::Start(epoch) => match self.real {
                Real::Nothing if well => {
                    if self.tells == Tells::Always {
                        self.end = None;
                    }
                    self.real = Real::Coming;
                    self.watched = Some(epoch);
                }
                Real::Nothing => {
                    let (operation, kind, reason) = ("start it", ErrorKind::Failed, "no".to_owned());
                    let error = EngineError { operation, kind, reason };
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
                Real::Nothing | Real::Coming => self.watches_in_vain(epoch),
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
            Effect::Probe => self.looks(),
            _ => {}
        }
    }

    pub(super) fn comes_up(&mut self) {
        self.pid += 1;
        self.real = Real::Runs(self.pid);
        self.end = None;
        let init = self.init(self.pid);
        if let Some(epoch) = self.watched {
            self.inbox.push_back(Event::StartReturned(epoch, Ok(())));
        }
        self.sees(Observation::Running(init));
    }

    fn watches_in_vain(&mut self, epoch: Epoch) {
        self.watched = Some(epoch);
        if let Some((status, _)) = self.told() {
            self.sees(Observation::InitExited(Some(WaitStatus(status))));
        }
        self.sees(Observation::Gone);
        self.watched = None;
    }

    /// What the engine tells of an end.
    fn told(&mut self) -> Option<(i32, i32)> {
        if self.tells == Tells::Once { self.end.take() } else { self.end }
    }

    fn looks(&mut self) {
        let is_told_again = self.tells == Tells::Always;
        let probe = match (self.real, self.told()) {
            (Real::Nothing, Some((status, pid))) => {
                Probe::Ended { status: WaitStatus(status), keeper: is_told_again.then(|| keeper(pid)) }
            }
            (Real::Nothing, None) => Probe::Down,
            (Real::Coming, _) => Probe::Changing,
            (Real::Runs(pid), _) => Probe::Up(self.init(pid)),
        };
        let found = of_probe(self.disk.clone(), probe, self.now());
        if is_told_in_vain(probe, &found) {
            self.end = None;
        }
        self.inbox.push_back(Event::Probed(found));
    }
}
