//! One guest, an operator, an engine, and a daemon that is killed at any moment: every order in which a few things can
//! happen, searched exhaustively. Whatever happened, once the world is left alone the last wish that was answered is
//! obeyed, and no start ever meets a guest that runs.

mod world;

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use world::{Real, Tells, World};

use crate::supervise::{
    effect::Effect,
    event::{Event, Grant, StopKind},
    state::{Intent, Phase, State},
};

const CRASH: i32 = 9;
const HALT: i32 = 2;

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

impl World {
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
    for tells in [Tells::Once, Tells::Always] {
        let budget = Budget { operator: 2, guest: 2, kills: 2, failures: 1 };
        let worlds = search(World::new(tells, budget), 2_000_000);
        assert!(worlds > 5_000, "only {worlds} where the engine tells an end {tells:?}");
    }
}
