//! A daemon that is killed again and again while it starts guests: between what it stores and what it does, and at any
//! other moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::{
    at,
    bulk::rules,
    fleet::ranked,
    restore::{Stored, up},
};
use crate::{
    engine::{Observation, Probe},
    model::{Action, Guest, GuestName, JobId, JobState, Selection, StopWait},
    plan::Guests,
    supervise::{
        effect::Effect,
        event::{Event, Found},
        fleet::Fleet,
        state::Phase,
    },
};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const END: u64 = 200;

/// What outlives a daemon: guests, since when each is being started, and how long that takes it.
struct Host {
    guests: Guests,
    durations: BTreeMap<GuestName, u64>,
    started: BTreeMap<GuestName, u64>,
    stored: Stored,
}

impl Host {
    fn new(shape: &[(i32, u64, u64)]) -> Self {
        let guests: Vec<Guest> =
            NAMES.iter().zip(shape).map(|(name, (order, delay, _))| ranked(name, *order, *delay)).collect();
        let names = guests.iter().map(|guest| guest.name.clone());
        Self {
            durations: names.zip(shape.iter().map(|(_, _, takes)| *takes)).collect(),
            guests: guests.into_iter().map(|guest| (guest.name.clone(), Arc::new(guest))).collect(),
            started: BTreeMap::new(),
            stored: Stored::default(),
        }
    }

    fn up_at(&self, guest: &GuestName) -> Option<u64> {
        Some(self.started.get(guest)? + self.durations[guest])
    }

    fn look(&self, guest: &GuestName, second: u64) -> Event {
        Event::Probed(match self.up_at(guest) {
            None => Found::State { probe: Probe::Down, remembered: None },
            Some(since) if since <= second => up(100, since),
            Some(_) => Found::State { probe: Probe::Changing, remembered: None },
        })
    }

    /// A daemon that has just looked at every guest.
    fn daemon(&self, second: u64) -> Fleet {
        let mut fleet = Fleet::new(rules(), BTreeSet::new());
        fleet.load(rules(), self.guests.clone(), at(second));
        for guest in self.guests.keys() {
            fleet.happened(guest, self.look(guest, second), at(second));
        }
        fleet.restore(self.stored.left(at(second)), JobId(0), at(second));
        fleet
    }

    /// One second of a daemon's life.
    fn tick(&mut self, fleet: &mut Fleet, second: u64) {
        if fleet.deadline().is_some_and(|deadline| deadline <= at(second).instant) {
            fleet.wake(at(second));
        }
        for guest in self.guests.keys().filter(|guest| self.up_at(guest) == Some(second)) {
            if let Some(Phase::Starting { epoch, .. }) = fleet.state(guest).map(|state| state.phase.clone()) {
                fleet.happened(guest, Event::StartReturned(epoch, Ok(())), at(second));
                let running = Observation::Running(super::init(100));
                fleet.observed(guest, Some(epoch), running, at(second));
            }
        }
    }

    /// Does what a daemon wants done, once that is stored.
    fn dispatch(&mut self, fleet: &mut Fleet, second: u64) {
        loop {
            self.stored.take(fleet.take_job_records(at(second)));
            let tasks = fleet.take_tasks();
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                match task.effect {
                    Effect::Start(_) => {
                        let before = self.started.insert(task.guest.clone(), second);
                        assert_eq!(before, None, "{} is started twice", task.guest);
                    }
                    Effect::Probe => fleet.happened(&task.guest, self.look(&task.guest, second), at(second)),
                    _ => {}
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn everybody_is_started_once_in_order_and_no_delay_is_cut_short(
        shape in proptest::collection::vec((0..4i32, 0..4u64, 1..5u64), NAMES.len()),
        kills in proptest::collection::btree_map(0..60u64, any::<bool>(), 0..10),
    ) {
        let mut host = Host::new(&shape);
        let mut fleet = host.daemon(0);
        let all = Selection { all: true, ..Selection::default() };
        let job = fleet.autostart(Action::Start, &all, StopWait::Configured, at(0)).unwrap();
        host.dispatch(&mut fleet, 0);
        for second in 1..END {
            host.tick(&mut fleet, second);
            if let Some(stores) = kills.get(&second) {
                if *stores {
                    host.stored.take(fleet.take_job_records(at(second)));
                }
                fleet = host.daemon(second);
            }
            host.dispatch(&mut fleet, second);
        }
        fleet.publish(&Arc::default());
        let status = &fleet.published().jobs[&job];
        prop_assert_eq!((status.state, status.results.len()), (JobState::Done, NAMES.len()), "{:?}", status);
        for (guest, second) in &host.started {
            for (other, its) in &host.guests {
                if its.start.order > host.guests[guest].start.order {
                    let until = host.up_at(other).unwrap() + its.start.delay.as_secs();
                    prop_assert!(until <= *second, "{guest} came at {second}, {other} held it back until {until}");
                }
            }
        }
    }
}
