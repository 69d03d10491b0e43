//! Bulk starts of any shape: order, delays, requirements and slots are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::{at, failed, guest, init, name};
use crate::{
    engine::{Epoch, Observation},
    model::{Action, Guest, GuestName, Order, Pressure, Selection, StopWait},
    supervise::{
        effect::Effect,
        event::Event,
        fleet::{Fleet, Rules},
    },
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const MAX_STARTING: usize = 2;

pub(super) fn rules() -> Rules {
    Rules {
        order: Order::HighestFirst,
        max_starting: MAX_STARTING,
        pressure: Pressure::NONE,
        boot_groups: vec![None],
    }
}

/// A start that a job gives: what it waits for, and the delays before it.
#[derive(Debug)]
struct Started {
    guest: GuestName,
    second: u64,
}

proptest! {
    #[test]
    fn bulk_starts_keep_order_delays_and_slots(
        shape in proptest::collection::vec((0..3i32, 0..4u64, proptest::option::of(0..5usize)), 5),
        durations in proptest::collection::vec((1..9u64, any::<bool>()), 5),
    ) {
        let guests: Vec<Guest> = NAMES.iter().zip(&shape).enumerate().map(|(n, (text, (order, delay, needs)))| {
            let mut guest = guest(text);
            guest.start.order = *order;
            guest.start.delay = Duration::from_secs(*delay);
            guest.start.requires = needs.filter(|m| *m < n).map(|m| name(NAMES[m])).into_iter().collect();
            guest
        }).collect();
        let (mut started, ended) = play(&guests, &durations);
        prop_assert_eq!(started.len() + failed_before_start(&guests, &durations), NAMES.len());
        started.sort_by_key(|start| start.second);
        for start in &started {
            let own = guests.iter().find(|guest| guest.name == start.guest).expect("it is one of them");
            for required in &own.start.requires {
                let (second, well) = ended[required];
                prop_assert!(well && second <= start.second, "{start:?} came before {required}");
            }
            let under_way = started.iter().filter(|other| {
                other.second <= start.second && ended[&other.guest].0 > start.second
            });
            prop_assert!(under_way.count() <= MAX_STARTING);
            for other in &guests {
                let (second, well) = ended.get(&other.name).copied().unwrap_or_default();
                let before = other.start.order > own.start.order && own.start.requires.is_empty()
                    && other.start.requires.is_empty() && nobody_needs(&guests, own);
                if before {
                    prop_assert!(second <= start.second, "{start:?} came before {} of a higher tier", other.name);
                    let until = second + other.start.delay.as_secs();
                    prop_assert!(!well || until <= start.second, "{start:?} broke the delay of {}", other.name);
                }
            }
        }
    }
}

fn nobody_needs(guests: &[Guest], own: &Guest) -> bool {
    !guests.iter().any(|guest| guest.start.requires.contains(&own.name))
}

/// Guests that never get a turn, since what they require fails.
fn failed_before_start(guests: &[Guest], durations: &[(u64, bool)]) -> usize {
    let mut well: BTreeMap<GuestName, bool> = BTreeMap::new();
    let mut without = 0;
    for (guest, (_, starts)) in guests.iter().zip(durations) {
        let can = guest.start.requires.iter().all(|required| well[required]);
        without += usize::from(!can);
        well.insert(guest.name.clone(), can && *starts);
    }
    without
}

/// Starts all; each start takes its seconds, and goes well or not. When each began, and when and how it ended.
fn play(guests: &[Guest], durations: &[(u64, bool)]) -> (Vec<Started>, BTreeMap<GuestName, (u64, bool)>) {
    let mut fleet = Fleet::new(rules(), BTreeSet::new());
    fleet.load(rules(), guests.iter().map(|g| (g.name.clone(), Arc::new(g.clone()))).collect(), at(0));
    let all = Selection { all: true, ..Selection::default() };
    let job = fleet.autostart(Action::Start, &all, StopWait::Configured, at(0)).expect("a job");
    let (mut started, mut ended, mut due) = (Vec::new(), BTreeMap::new(), Vec::new());
    for second in 0..500 {
        if fleet.deadline().is_some_and(|deadline| deadline <= at(second).instant) {
            fleet.wake(at(second));
        }
        due.retain(|(end, guest, epoch, well): &(u64, GuestName, Epoch, bool)| {
            if *end == second {
                ended.insert(guest.clone(), (second, *well));
                let result = if *well { Ok(()) } else { Err(failed()) };
                fleet.happened(guest, Event::StartReturned(*epoch, result), at(second));
                fleet.observed(guest, Some(*epoch), Observation::Running(init(7)), at(second));
            }
            *end > second
        });
        for task in fleet.take_tasks() {
            if let Effect::Start(epoch) = task.effect {
                let at = guests.iter().position(|guest| guest.name == task.guest).expect("it is one of them");
                due.push((second + durations[at].0, task.guest.clone(), epoch, durations[at].1));
                started.push(Started { guest: task.guest, second });
            }
        }
    }
    fleet.publish(&Arc::default());
    let status = fleet.published().jobs[&job].clone();
    assert!(status.state.is_over(), "{status:?}");
    (started, ended)
}
