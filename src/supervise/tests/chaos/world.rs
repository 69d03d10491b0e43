//! A world of guests, engine and operators in which the fleet has to do its work.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{at, bulk::rules, failed, guest, init, name},
    Act, NAMES, VERBS, WAITS,
};
use crate::{
    engine::{Epoch, Observation, Probe, Request},
    helper::wire,
    model::{
        self, Action, Condition, Guest, GuestName, Health, HealthAction, HoldWish, JobId, Limit, OnTimeout,
        Ready, RebootAction, Restart, RestartPolicy, Selection, WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Check, Checking, Event, Found, HelperId},
        fleet::Fleet,
        state::Intent,
    },
};

/// What really runs of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Real {
    Nothing,
    /// This init, under observation in this epoch.
    Runs(i32, Epoch),
}

pub(super) struct World {
    pub(super) fleet: Fleet,
    seconds: u64,
    pid: i32,
    pub(super) real: BTreeMap<GuestName, Real>,
    /// What the engine is at, oldest first; a kill puts an end to everything else of its guest.
    work: Vec<(GuestName, Effect)>,
    /// Starts that have been handed out and have not come to an end.
    starts: BTreeSet<GuestName>,
    /// When each guest last came up.
    ran_at: BTreeMap<GuestName, u64>,
    scripts: Vec<(GuestName, HelperId)>,
    checks: BTreeMap<GuestName, Checking>,
    pub(super) unanswered: BTreeSet<HelperId>,
    helpers: u64,
}

/// `c` requires `b`, which requires `a`; `d` comes before the others, with a delay; `e` asks a script. `a` is started again
/// when it fails, `d` whenever it ends; `b` has to become ready, `c` too, or it has failed; `d` is to be well.
pub(super) fn defined(text: &str) -> Guest {
    let mut guest = guest(text);
    let limit = Limit { count: 2, window: Duration::from_secs(60) };
    let again = Restart { policy: RestartPolicy::OnFailure, limit, ..Restart::default() };
    match text {
        "a" => guest.restart = Restart { delay: Duration::ZERO, ..again },
        "b" => {
            guest.start.requires = vec![name("a")];
            guest.ready.when = Condition::Probe(probe());
        }
        "c" => {
            guest.start.requires = vec![name("b")];
            guest.restart = Restart { delay: Duration::from_secs(4), ..again };
            guest.ready = Ready { when: Condition::Notify, on_timeout: OnTimeout::Fail, ..Ready::default() };
        }
        "d" => {
            guest.start.order = 9;
            guest.start.delay = Duration::from_secs(7);
            guest.restart = Restart { policy: RestartPolicy::Always, ..again };
            let health = Health::new(probe());
            guest.health = Some(Health { threshold: 1, action: HealthAction::Restart, ..health });
        }
        "e" => guest.reboot.action = RebootAction::Script("/decide".into()),
        _ => {}
    }
    guest
}

fn probe() -> model::Probe {
    model::Probe::File("/run/up".into())
}

impl World {
    pub(super) fn new() -> Self {
        let mut fleet = Fleet::new(rules(), BTreeSet::new());
        let guests = NAMES.map(|text| (name(text), Arc::new(defined(text)))).into();
        fleet.load(rules(), guests, at(0));
        let real = NAMES.map(|text| (name(text), Real::Nothing)).into();
        let mut world = Self {
            fleet,
            seconds: 10,
            pid: 100,
            real,
            work: Vec::new(),
            starts: BTreeSet::new(),
            ran_at: BTreeMap::new(),
            scripts: Vec::new(),
            checks: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            helpers: 0,
        };
        world.take();
        world
    }

    /// Takes the tasks over, as the workers do, and checks each start.
    pub(super) fn take(&mut self) {
        for task in self.fleet.take_tasks() {
            let guest = task.guest;
            match task.effect {
                Effect::Start(_) => {
                    self.check_start(&guest);
                    self.work.push((guest, task.effect));
                }
                Effect::Kill(_) => {
                    self.work.retain(|(other, _)| *other != guest);
                    self.starts.remove(&guest);
                    self.work.push((guest, task.effect));
                }
                Effect::Request(..) | Effect::Watch(_) | Effect::Probe => {
                    self.work.push((guest, task.effect))
                }
                Effect::RunScript(id, _) => self.scripts.push((guest, id)),
                // A reboot that nobody reported has this number.
                Effect::Answer(HelperId(0), _) => {}
                Effect::Answer(id, _) => {
                    assert!(self.unanswered.remove(&id), "{guest}: {id:?} is answered twice");
                }
                // What is checked now, nobody else is checked for.
                Effect::Check(checking) => {
                    self.checks.remove(&guest);
                    checking.map(|checking| self.checks.insert(guest, checking));
                }
                Effect::Log(..) | Effect::Hook(..) | Effect::KeepLastWords => {}
            }
        }
        let starting = self.fleet.states.values().filter(|state| state.takes_slot()).count();
        assert_eq!(starting, self.fleet.starting, "the count of those that are being started");
    }

    fn check_start(&mut self, guest: &GuestName) {
        assert!(self.starts.insert(guest.clone()), "{guest} is started twice without an end in between");
        let state = self.fleet.state(guest).expect("it is known");
        assert_eq!(state.intent, Intent::Up, "{guest} is started against the last wish");
    }

    pub(super) fn now(&self) -> crate::model::Now {
        at(self.seconds)
    }

    fn happens(&mut self, guest: &GuestName, event: Event) {
        let now = self.now();
        self.fleet.happened(guest, event, now);
        self.take();
    }

    fn sees(&mut self, guest: &GuestName, epoch: Epoch, what: Observation) {
        let now = self.now();
        self.fleet.observed(guest, Some(epoch), what, now);
        self.take();
    }

    fn comes_up(&mut self, guest: &GuestName, epoch: Epoch) {
        self.pid += 1;
        let pid = self.pid;
        self.real.insert(guest.clone(), Real::Runs(pid, epoch));
        self.ran_at.insert(guest.clone(), self.seconds);
        self.starts.remove(guest);
        self.sees(guest, epoch, Observation::Running(init(pid)));
    }

    /// Its init ends, and then everything of it.
    fn ends(&mut self, guest: &GuestName, raw: Option<i32>) {
        if let Real::Runs(_, epoch) = self.real[guest] {
            self.real.insert(guest.clone(), Real::Nothing);
            if let Some(raw) = raw {
                self.sees(guest, epoch, Observation::InitExited(Some(WaitStatus(raw))));
            }
            self.sees(guest, epoch, Observation::Gone);
        }
    }

    /// The engine finishes the oldest piece of work of the `n`th guest that has any.
    fn answers(&mut self, n: usize, well: bool) -> bool {
        let busy: BTreeSet<GuestName> = self.work.iter().map(|(guest, _)| guest.clone()).collect();
        let Some(guest) = busy.iter().nth(n % busy.len().max(1)).cloned() else { return false };
        let place = self.work.iter().position(|(other, _)| *other == guest).expect("it is busy");
        let (_, effect) = self.work.remove(place);
        self.finish(&guest, effect, well);
        true
    }

    fn answers_first(&mut self, well: bool) -> bool {
        let first = (!self.work.is_empty()).then(|| self.work.remove(0));
        first.map(|(guest, effect)| self.finish(&guest, effect, well)).is_some()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each effect")]
    fn finish(&mut self, guest: &GuestName, effect: Effect, well: bool) {
        let result = if well { Ok(()) } else { Err(failed()) };
        match effect {
            Effect::Start(epoch) => {
                self.starts.remove(guest);
                match self.real[guest] {
                    // What others started is found, and left alone.
                    Real::Runs(..) => self.finish(guest, Effect::Probe, true),
                    Real::Nothing => {
                        self.happens(guest, Event::StartReturned(epoch, result));
                        if well {
                            self.comes_up(guest, epoch);
                        }
                    }
                }
            }
            Effect::Kill(epoch) => {
                if well {
                    self.ends(guest, None);
                }
                self.happens(guest, Event::KillReturned(epoch, result));
            }
            Effect::Request(epoch, request) => {
                self.happens(guest, Event::RequestReturned(epoch, request, result));
                match (request, self.real[guest], well) {
                    (Request::Stop | Request::Hint, Real::Runs(..), true) => self.ends(guest, Some(0)),
                    (Request::Reboot, Real::Runs(_, epoch), true) => self.reboots(guest, epoch, false),
                    _ => {}
                }
            }
            Effect::Watch(epoch) => match self.real[guest] {
                Real::Runs(pid, _) => {
                    self.real.insert(guest.clone(), Real::Runs(pid, epoch));
                    self.sees(guest, epoch, Observation::Running(init(pid)));
                }
                Real::Nothing => self.sees(guest, epoch, Observation::Gone),
            },
            Effect::Probe if !well => self.happens(guest, Event::Probed(Found::Failed("no answer".into()))),
            Effect::Probe => {
                let probe = match self.real[guest] {
                    Real::Nothing => Probe::Down,
                    Real::Runs(pid, _) => Probe::Up(init(pid)),
                };
                self.happens(guest, Event::Probed(Found::State { probe, remembered: None }));
            }
            _ => {}
        }
    }

    /// A reboot in place, reported or not. It comes back when nobody cancels it.
    fn reboots(&mut self, guest: &GuestName, epoch: Epoch, reported: bool) {
        if reported {
            self.report(guest, wire::Event::Reboot);
        }
        self.sees(guest, epoch, Observation::InitExited(Some(WaitStatus(1))));
        if self.fleet.state(guest).is_some_and(|state| state.live_epoch() == Some(epoch)) {
            self.comes_up(guest, epoch);
        }
    }

    fn report(&mut self, guest: &GuestName, event: wire::Event) {
        self.helpers += 1;
        let id = HelperId(self.helpers);
        self.unanswered.insert(id);
        let now = self.now();
        self.fleet.reported(guest, id, event, now);
        self.take();
    }

    fn guest_acts(&mut self, guest: &GuestName, what: usize) {
        let Real::Runs(_, epoch) = self.real[guest] else {
            if what == 0 {
                // Somebody else starts it; the watch comes with the adoption.
                self.pid += 1;
                self.real.insert(guest.clone(), Real::Runs(self.pid, Epoch(0)));
                let now = self.now();
                self.fleet.observed(guest, None, Observation::Appeared, now);
                self.take();
            }
            return;
        };
        match what {
            10 | 11 => self.is_checked(guest, what == 10),
            0 => self.ends(guest, Some(0)),
            1 => self.ends(guest, Some(9)),
            2 => self.ends(guest, None),
            3 => self.reboots(guest, epoch, true),
            4 => self.reboots(guest, epoch, false),
            5 => self.sees(guest, epoch, Observation::Frozen),
            6 => self.sees(guest, epoch, Observation::Thawed),
            7 => self.report(guest, wire::Event::Halt),
            // Somebody says so, and it is not true.
            8 => self.report(guest, wire::Event::Reboot),
            _ => {
                let script = self.scripts.iter().position(|(other, _)| other == guest);
                if let Some((guest, id)) = script.map(|place| self.scripts.remove(place)) {
                    self.happens(&guest, Event::ScriptEnded(id, Some(0)));
                }
            }
        }
    }

    /// A check of a guest comes out, if there is one.
    fn is_checked(&mut self, guest: &GuestName, well: bool) {
        if let Some(checking) = self.checks.get(guest).copied() {
            let is_live =
                self.fleet.state(guest).is_some_and(|state| state.live_epoch() == Some(checking.epoch));
            assert!(is_live, "{guest} is checked, and that run is over");
            let result = if well { Ok(()) } else { Err("refused".to_owned()) };
            self.happens(guest, Event::Checked(checking, result));
        }
    }

    pub(super) fn acts(&mut self, act: Act) {
        let now = self.now();
        match act {
            Act::Operate(guest, verb, wait) => {
                let _ = self.fleet.operate(
                    VERBS[verb],
                    &name(NAMES[guest]),
                    WAITS[wait],
                    HoldWish::default(),
                    now,
                );
            }
            Act::Bulk(action, wait) => {
                let action = [Action::Start, Action::Shutdown, Action::Kill, Action::Reboot][action];
                let all = Selection { all: true, ..Selection::default() };
                self.fleet.autostart(action, &all, WAITS[wait], now).expect("no path is foreign");
            }
            Act::Answers(n, well) => drop(self.answers(n, well)),
            Act::Guest(guest, what) => self.guest_acts(&name(NAMES[guest]), what),
            Act::Undefine(guest) => self.fleet.undefine(&name(NAMES[guest]), now),
            Act::Define(guest) => self.fleet.define(Arc::new(defined(NAMES[guest])), now),
            Act::Wait(seconds) => {
                self.seconds += seconds;
                let now = self.now();
                self.fleet.wake(now);
            }
            Act::Cancel(job) => drop(self.fleet.cancel(JobId(job), now)),
        }
        self.take();
    }

    /// The engine answers everything, scripts end, and time passes, until nothing is under way.
    pub(super) fn settles(&mut self, well: bool) {
        for _ in 0..2000 {
            // A look that fails is repeated for ever.
            let looks = matches!(self.work.first(), Some((_, Effect::Probe)));
            if self.answers_first(well || looks) {
                continue;
            }
            if let Some((guest, id)) = self.scripts.pop() {
                self.happens(&guest, Event::ScriptEnded(id, Some(0)));
                continue;
            }
            let waiting = self.checks.iter().find(|(_, checking)| checking.check == Check::Readiness && well);
            if let Some(guest) = waiting.map(|(guest, _)| guest.clone()) {
                self.is_checked(&guest, true);
                continue;
            }
            let Some(deadline) = self.fleet.deadline() else { return };
            self.seconds = self.seconds.max(deadline.0.as_secs() + 1);
            let now = self.now();
            self.fleet.wake(now);
            self.take();
        }
        panic!("it never settles: {:?}", self.fleet.states);
    }

    pub(super) fn unfinished(&mut self) -> Vec<String> {
        self.fleet.publish(&Arc::default());
        let jobs = &self.fleet.published().jobs;
        jobs.values().filter(|job| !job.state.is_over()).map(|job| format!("{job:?}")).collect()
    }
}
