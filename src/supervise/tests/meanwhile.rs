//! What others do meanwhile: guests that stop, start or are held between a request and its turns.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    at,
    fleet::{World, ranked, requiring, rules},
    guest, name,
};
use crate::{
    engine::Observation,
    model::{Action, JobState, Outcome, Selection, StopWait, Verb, WaitStatus, status::DaemonStatus},
};

#[test]
fn a_held_guest_that_runs_serves_those_who_require_it() {
    let mut world = World::new(9, [guest("db"), requiring("web", "db")]);
    world.operate(1, Verb::Start, "db").unwrap();
    world.comes_up(2, "db");
    world.operate(3, Verb::Hold, "db").unwrap();
    world.begun();
    let job = world.start_all(4);
    assert_eq!(world.begun(), ["start web"]);
    world.comes_up(5, "web");
    assert_eq!(world.job(job).state, JobState::Done);
}

#[test]
fn a_guest_does_not_start_when_what_it_requires_was_stopped_meanwhile() {
    for crash in [false, true] {
        let mut world = World::new(9, [ranked("db", 9, 10), requiring("web", "db")]);
        let job = world.start_all(1);
        world.comes_up(2, "db");
        if crash {
            world.sees(3, "db", Observation::InitExited(Some(WaitStatus(9))));
        } else {
            world.operate(3, Verb::Kill, "db").unwrap();
        }
        world.begun();
        world.fleet.wake(at(12));
        assert_eq!(world.begun(), [] as [&str; 0], "it is still ending");
        world.sees(13, "db", Observation::Gone);
        assert_eq!(world.begun(), [] as [&str; 0]);
        let Outcome::Failed(why) = &world.job(job).results["web"] else { panic!("{:?}", world.job(job)) };
        assert!(why.starts_with("db, which it requires, is not up: "), "{why}");
    }
}

#[test]
fn another_jobs_start_of_those_before_is_waited_for() {
    let mut web = guest("web");
    web.start.after = vec![name("db")];
    let mut world = World::new(9, [guest("db"), web]);
    world.operate(1, Verb::Start, "db").unwrap();
    assert_eq!(world.begun(), ["start db"]);
    let job = world.operate(2, Verb::Start, "web").unwrap();
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!(world.job(job).status, "waiting for the start of db");
    world.comes_up(3, "db");
    assert_eq!(world.begun(), ["start web"]);
}

#[test]
fn restarts_take_slots_to_start_in() {
    let mut world = World::up(["a", "b", "c"].map(guest));
    world.fleet.load(rules(2), world.fleet.guests.clone(), at(1));
    for one in ["a", "b", "c"] {
        world.operate(2, Verb::Restart, one).unwrap();
    }
    assert_eq!(world.begun(), ["stop a", "stop b"]);
    world.sees(3, "a", Observation::Gone);
    assert_eq!(world.begun(), ["start a"]);
    world.comes_up(4, "a");
    assert_eq!(world.begun(), ["stop c"]);
}

#[test]
fn a_boot_that_was_cancelled_or_of_one_lxcpath_can_be_made_up_for() {
    let mut world = World::new(1, ["a", "b"].map(guest));
    let daemon = DaemonStatus { lxcpaths: vec!["/lxc".into()], ..DaemonStatus::default() };
    world.fleet.publish(&Arc::new(daemon));
    let boot = Selection { boot: true, ..Selection::default() };
    let part = Selection { lxcpath: Some("/lxc".into()), ..boot.clone() };
    let job = world.fleet.autostart(Action::Start, &part, StopWait::Configured, at(1)).unwrap();
    world.comes_up(2, "a");
    world.fleet.cancel(job, at(2)).unwrap();
    world.comes_up(3, "b");
    world.operate(3, Verb::Kill, "a").unwrap();
    world.sees(3, "a", Observation::Gone);
    world.begun();
    let job = world.fleet.autostart(Action::Start, &boot, StopWait::Configured, at(4)).unwrap();
    assert_eq!(world.begun(), ["start a"]);
    world.fleet.cancel(job, at(5)).unwrap();
    world.comes_up(5, "a");
    assert_eq!(world.fleet.booted(), &BTreeSet::new());
    world.fleet.autostart(Action::Start, &boot, StopWait::Configured, at(6)).unwrap();
    assert_eq!(world.fleet.booted(), &BTreeSet::from([None]));
}

#[test]
fn whoever_asks_for_much_at_once_finds_every_result_and_a_long_job_its_own() {
    let mut world = World::new(9, [guest("db"), guest("web")]);
    let long = world.operate(1, Verb::Start, "db").unwrap();
    let many = Vec::from_iter((0..150).map(|_| world.operate(2, Verb::Hold, "web").unwrap()));
    world.operate(62, Verb::Release, "web").unwrap();
    let known = world.published().jobs;
    assert!(known.contains_key(&long) && !known.contains_key(&many[0]), "{:?}", known.keys());
    world.comes_up(63, "db");
    let many = Vec::from_iter((0..150).map(|_| world.operate(64, Verb::Hold, "web").unwrap()));
    let known = world.published().jobs;
    assert!(many.iter().chain([&long]).all(|id| known.contains_key(id)), "{:?}", known.keys());
    assert_eq!(known[&long].state, JobState::Done);
}

#[test]
fn a_freeze_ends_with_the_run_that_it_was_for() {
    let mut world = World::up([guest("a")]);
    let job = world.operate(1, Verb::Freeze, "a").unwrap();
    world.operate(2, Verb::Restart, "a").unwrap();
    world.sees(3, "a", Observation::Gone);
    world.comes_up(4, "a");
    assert_eq!(world.job(job).results["a"], Outcome::Failed("it was started again meanwhile".into()));
}
