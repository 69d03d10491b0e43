//! Guests that are started again by themselves, among others: dependencies, slots, jobs that wait for them.

use std::time::Duration;

use super::{
    at,
    fleet::{World, requiring},
    guest, name,
};
use crate::{
    engine::{Epoch, Observation},
    model::{Condition, Guest, Limit, Outcome, Probe, Restart, Verb, WaitStatus, status::PhaseWord},
    supervise::event::{Check, Checking, Event},
};

/// Started again at once, at most twice a minute.
fn tenacious(mut guest: Guest) -> Guest {
    let limit = Limit { count: 2, window: Duration::from_secs(60) };
    guest.restart = Restart { delay: Duration::ZERO, limit, ..Restart::default() };
    guest
}

fn patient(mut guest: Guest) -> Guest {
    guest.restart = Restart { delay: Duration::from_secs(8), ..tenacious(guest.clone()).restart };
    guest
}

fn waited_for(mut guest: Guest) -> Guest {
    guest.ready.when = Condition::Probe(Probe::File("/up".into()));
    guest
}

impl World {
    fn crashes(&mut self, seconds: u64, guest: &str) {
        self.sees(seconds, guest, Observation::InitExited(Some(WaitStatus(9))));
        self.sees(seconds, guest, Observation::Gone);
    }

    fn is_ready(&mut self, seconds: u64, guest: &str) {
        let run = self.fleet.state(&name(guest)).unwrap().run().unwrap();
        let checking = Checking { epoch: run.epoch, init: run.init.unwrap().pid, check: Check::Readiness };
        self.fleet.happened(&name(guest), Event::Checked(checking, Ok(())), at(seconds));
    }

    fn phase(&mut self, guest: &str) -> (PhaseWord, String) {
        let status = self.published().guests[guest].clone();
        (status.phase, status.reason.clone())
    }

    fn outcome(&mut self, id: crate::model::JobId, guest: &str) -> Option<Outcome> {
        self.job(id).results.get(guest).cloned()
    }
}

#[test]
fn a_crash_is_followed_by_a_start_when_its_pause_is_over() {
    let mut world = World::up([patient(guest("a"))]);
    world.crashes(10, "a");
    assert_eq!(world.begun(), Vec::<String>::new());
    let next = world.published().guests["a"].next_try.expect("it is known when");
    assert!(next > at(10).wall && next <= at(18).wall);
    assert!(world.fleet.deadline().is_some_and(|deadline| deadline <= at(18).instant));
    world.fleet.wake(at(18));
    assert_eq!(world.begun(), ["start a"]);
    world.comes_up(19, "a");
    let status = world.published().guests["a"].clone();
    assert_eq!((status.phase, status.restarts, status.next_try), (PhaseWord::Up, 1, None));
}

#[test]
fn a_start_waits_for_a_guest_that_is_started_again_and_for_its_readiness() {
    let mut world = World::new(9, [tenacious(waited_for(guest("a"))), requiring("b", "a")]);
    let job = world.operate(1, Verb::Start, "b").unwrap();
    assert_eq!(world.begun(), ["start a"]);
    world.fails_to_start(2, "a");
    assert_eq!(world.begun(), ["start a"], "tried again");
    world.comes_up(3, "a");
    assert_eq!(world.begun(), Vec::<String>::new(), "up is not ready");
    assert!(!world.job(job).state.is_over());
    world.is_ready(4, "a");
    assert_eq!(world.begun(), ["start b"]);
    world.comes_up(5, "b");
    assert!(world.job(job).results.values().all(Outcome::is_success), "{:?}", world.job(job));
}

#[test]
fn a_guest_that_is_given_up_fails_the_start_and_stops_those_that_require_it() {
    let mut world = World::up([tenacious(guest("a")), requiring("b", "a"), requiring("c", "b"), guest("d")]);
    for second in [10, 11] {
        world.crashes(second, "a");
        assert_eq!(world.begun(), ["start a"], "and those that require it are left alone");
        world.comes_up(second, "a");
    }
    world.crashes(12, "a");
    assert_eq!(world.phase("a").0, PhaseWord::Failed);
    assert_eq!(world.begun(), ["stop c"], "in reverse");
    world.sees(13, "c", Observation::Gone);
    assert_eq!(world.begun(), ["stop b"]);
    world.sees(14, "b", Observation::Gone);
    assert_eq!(world.begun(), Vec::<String>::new());
    assert_eq!((world.phase("b").0, world.phase("d").0), (PhaseWord::Down, PhaseWord::Up));
}

#[test]
fn a_restart_by_itself_waits_for_whom_it_requires() {
    let mut world = World::up([patient(guest("a")), tenacious(requiring("b", "a"))]);
    world.crashes(10, "a");
    world.crashes(10, "b");
    assert_eq!(world.begun(), Vec::<String>::new());
    let (phase, reason) = world.phase("b");
    assert_eq!(phase, PhaseWord::BackingOff);
    assert!(reason.ends_with("it waits for a, which it requires"), "{reason}");
    world.fleet.wake(at(18));
    assert_eq!(world.begun(), ["start a"]);
    world.comes_up(19, "a");
    assert_eq!(world.begun(), ["start b"]);
}

#[test]
fn one_that_requires_a_guest_which_is_down_has_failed() {
    let mut world = World::up([guest("a"), tenacious(requiring("b", "a"))]);
    world.sees(10, "a", Observation::InitExited(Some(WaitStatus(2))));
    world.sees(10, "a", Observation::Gone);
    assert_eq!(world.phase("b").0, PhaseWord::Up, "a halt leaves it alone");
    world.crashes(11, "b");
    let (phase, reason) = world.phase("b");
    assert_eq!(phase, PhaseWord::Failed);
    assert_eq!(reason, "a, which it requires, is not up: it went down: halted by the guest");
}

#[test]
fn restarts_take_slots_in_turn() {
    let names = ["a", "b", "c", "d"];
    let mut world = World::up(names.map(|text| tenacious(guest(text))));
    let rules = super::fleet::rules(2);
    let guests = names.map(|text| (name(text), std::sync::Arc::new(tenacious(guest(text)))));
    world.fleet.load(rules, guests.into(), at(5));
    names.iter().for_each(|text| world.crashes(10, text));
    assert_eq!(world.begun(), ["start a", "start b"]);
    assert!(world.phase("c").1.ends_with("it waits for a free slot to start in"));
    world.comes_up(11, "a");
    assert_eq!(world.begun(), ["start c"]);
    world.comes_up(12, "b");
    world.comes_up(12, "c");
    assert_eq!(world.begun(), ["start d"]);
}

#[test]
fn a_held_guest_is_started_again_once_it_is_released() {
    let mut world = World::up([tenacious(guest("a"))]);
    world.operate(9, Verb::Hold, "a").unwrap();
    world.crashes(10, "a");
    assert_eq!(world.begun(), Vec::<String>::new());
    assert_eq!(world.phase("a").0, PhaseWord::BackingOff);
    world.operate(20, Verb::Release, "a").unwrap();
    assert_eq!(world.begun(), ["start a"]);
}

#[test]
fn a_stop_ends_the_pause_of_a_guest_and_of_those_that_require_it() {
    let mut world = World::up([patient(guest("a")), patient(requiring("b", "a"))]);
    world.crashes(10, "a");
    world.crashes(10, "b");
    let job = world.operate(11, Verb::Stop, "a").unwrap();
    assert!(world.job(job).state.is_over(), "{:?}", world.job(job));
    assert_eq!((world.phase("a").0, world.phase("b").0), (PhaseWord::Down, PhaseWord::Down));
    world.fleet.wake(at(99));
    assert_eq!(world.begun(), Vec::<String>::new());
}

#[test]
fn a_start_gives_up_on_a_guest_that_fails_for_ever() {
    let mut endless = patient(guest("a"));
    endless.restart.limit = Limit { count: 1000, window: Duration::from_secs(1) };
    let mut world = World::new(9, [endless, requiring("b", "a")]);
    let job = world.operate(1, Verb::Start, "b").unwrap();
    let mut second = 1;
    while !world.job(job).state.is_over() {
        assert!(second < 300, "it never ends: {:?}", world.job(job));
        world.tasks();
        if world.phase("a").0 == PhaseWord::Starting {
            world.fails_to_start(second, "a");
        }
        second = world.fleet.deadline().expect("something comes").0.as_secs() + 1;
        world.fleet.wake(at(second));
    }
    assert!((91..120).contains(&second), "{second}: start.timeout");
    assert!(
        matches!(world.outcome(job, "b"), Some(Outcome::Failed(why)) if why == "a, which it requires, did not start")
    );
    assert_eq!(world.phase("a").0, PhaseWord::BackingOff, "it goes on by itself");
}

#[test]
fn one_that_is_not_ready_in_time_fails_those_that_require_it_and_no_other() {
    let mut after = guest("c");
    after.start.after = vec![name("a")];
    let mut world = World::new(9, [waited_for(guest("a")), requiring("b", "a"), after]);
    let job = world.start_all(1);
    world.tasks();
    world.comes_up(2, "a");
    assert_eq!(world.begun(), ["start a"]);
    world.fleet.wake(at(62));
    assert_eq!(world.begun(), ["start c"]);
    world.comes_up(63, "c");
    let words = |outcome: Option<Outcome>| format!("{outcome:?}");
    assert!(words(world.outcome(job, "a")).contains("it is up, but it was not ready within 1m"));
    assert!(words(world.outcome(job, "b")).contains("a, which it requires, did not start"));
    assert_eq!(world.outcome(job, "c"), Some(Outcome::Done));
}

#[test]
fn a_canceled_stop_leaves_guests_wanted_up() {
    let mut world = World::up([requiring("b", "a"), tenacious(guest("a"))]);
    let job = world.operate(10, Verb::Stop, "a").unwrap();
    assert_eq!(world.begun(), ["stop b"]);
    assert!(!world.published().guests["a"].intent_up, "its turn has not come, and it is wanted down");
    world.fleet.cancel(job, at(11)).unwrap();
    assert!(world.published().guests["a"].intent_up);
    world.crashes(12, "a");
    assert_eq!(world.begun(), ["start a"]);
    assert_eq!(world.epoch("a"), Epoch(2));
}

#[test]
fn a_thousand_that_crash_together_come_back_a_few_at_a_time() {
    let names: Vec<String> = (0..1000).map(|number| format!("g{number:03}")).collect();
    let restart = Restart { max_delay: Duration::from_secs(1), ..Restart::default() };
    let guests = || names.iter().map(|text| Guest { restart, ..guest(text) });
    let mut world = World::up(guests());
    let defined = guests().map(|guest| (guest.name.clone(), std::sync::Arc::new(guest)));
    world.fleet.load(super::fleet::rules(4), defined.collect(), at(5));
    world.begun();
    names.iter().for_each(|text| world.crashes(10, text));
    assert_eq!(world.begun(), Vec::<String>::new(), "each has its pause");
    // All pauses are over at the same second here, and slots are few.
    world.fleet.wake(at(12));
    let (mut second, mut started) = (12, 0);
    loop {
        let starts = world.begun();
        if starts.is_empty() {
            break;
        }
        assert!(starts.len() <= 4, "{starts:?}");
        started += starts.len();
        second += 1;
        for start in starts {
            let text = start.strip_prefix("start ").expect("a start").to_owned();
            world.comes_up(second, &text);
        }
    }
    assert_eq!(started, 1000, "each once");
    let up = world.published().guests.values().filter(|guest| guest.phase == PhaseWord::Up).count();
    assert_eq!(up, 1000);
}
