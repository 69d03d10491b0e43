//! Events in orders that are rare: a reload, a hold, a stop or another daemon in the middle of something else.

use std::{sync::Arc, time::Duration};

use super::{
    Scene, at,
    fleet::{World, requiring},
    guest, init, name,
};
use crate::{
    engine::{Epoch, Observation, Probe},
    model::{
        Argv, Condition, Follows, Guest, Health, HealthAction, Hold, HookStage, OnTimeout, Outcome,
        Probe as Question, Restart, Verb, WaitStatus, status::PhaseWord,
    },
    supervise::{
        effect::Effect,
        event::{Check, Checking, Event, Found, Remembered},
        state::{Intent, Phase},
    },
};

fn patient(mut guest: Guest) -> Guest {
    guest.restart = Restart { delay: Duration::from_secs(8), ..Restart::default() };
    guest
}

fn crashes(world: &mut World, seconds: u64, guest: &str) {
    world.sees(seconds, guest, Observation::InitExited(Some(WaitStatus(9))));
    world.sees(seconds, guest, Observation::Gone);
}

fn phase(world: &mut World, guest: &str) -> PhaseWord {
    world.published().guests[guest].phase
}

fn looks(world: &mut World, guest: &str, probe: Probe, remembered: Option<Remembered>) {
    world.fleet.happened(&name(guest), Event::Probed(Found::State { probe, remembered }), at(5));
}

fn left(follows: Follows) -> Option<Remembered> {
    Some(Remembered { was_seen: false, follows: Some(follows), ..super::remembered() })
}

fn well(path: &str) -> Health {
    Health { threshold: 1, action: HealthAction::Restart, ..Health::new(Question::File(path.into())) }
}

#[test]
fn a_canceled_stop_leaves_those_wanted_up_that_are_on_their_way() {
    let mut world = World::up([patient(guest("a")), requiring("b", "a")]);
    crashes(&mut world, 10, "a");
    let job = world.operate(10, Verb::Stop, "a").unwrap();
    assert_eq!(world.begun(), ["stop b"]);
    world.fleet.cancel(job, at(11)).unwrap();
    world.fleet.wake(at(18));
    assert_eq!(world.begun(), ["start a"]);
}

#[test]
fn a_canceled_stop_leaves_those_wanted_down_whom_another_one_stops() {
    let mut quick = patient(guest("a"));
    quick.restart.delay = Duration::ZERO;
    let mut world = World::up([quick, requiring("b", "a")]);
    let jobs = [10, 11].map(|second| world.operate(second, Verb::Stop, "a").unwrap());
    world.fleet.cancel(jobs[0], at(12)).unwrap();
    assert!(!world.published().guests["a"].intent_up);
    world.fleet.cancel(jobs[1], at(13)).unwrap();
    assert!(world.published().guests["a"].intent_up);
}

#[test]
fn nobody_is_given_up_before_everybody_was_looked_at() {
    let mut world = World::new(9, [guest("a"), patient(requiring("b", "a"))]);
    world.fleet.looks_around();
    looks(&mut world, "b", Probe::Down, left(Follows::Retry("it crashed".into())));
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!(phase(&mut world, "b"), PhaseWord::BackingOff);
    looks(&mut world, "a", Probe::Up(init(100)), None);
    world.fleet.has_looked_around(at(6));
    assert_eq!(world.begun(), ["start b"]);
}

#[test]
fn nobody_is_given_up_for_a_guest_that_others_are_just_starting() {
    let mut world = World::new(9, [guest("a"), patient(requiring("b", "a"))]);
    looks(&mut world, "b", Probe::Up(init(100)), None);
    looks(&mut world, "a", Probe::Changing, None);
    crashes(&mut world, 10, "b");
    world.fleet.wake(at(18));
    assert_eq!(phase(&mut world, "b"), PhaseWord::BackingOff);
    looks(&mut world, "a", Probe::Up(init(101)), None);
    assert_eq!(world.begun(), ["start b"]);
}

#[test]
fn a_failure_of_before_is_no_news() {
    let mut guests = [guest("a"), requiring("b", "a")];
    guests[0].hooks.on_failure = vec![Argv::new(vec!["/bin/true".into()]).unwrap()];
    let mut world = World::new(9, guests);
    looks(&mut world, "b", Probe::Up(init(100)), None);
    looks(&mut world, "a", Probe::Down, left(Follows::Failed("it crashed".into())));
    assert_eq!(phase(&mut world, "a"), PhaseWord::Failed);
    let tasks = world.tasks();
    assert!(!tasks.iter().any(|task| matches!(task.effect, Effect::Hook(HookStage::OnFailure, _))));
    assert_eq!(phase(&mut world, "b"), PhaseWord::Up, "whoever started it beside that meant it");
}

#[test]
fn a_restart_does_not_go_past_a_required_guest_that_fails_meanwhile() {
    let mut world = World::up([guest("a"), requiring("b", "a")]);
    let job = world.operate(10, Verb::Restart, "b").unwrap();
    crashes(&mut world, 11, "a");
    assert_eq!(phase(&mut world, "a"), PhaseWord::Failed);
    world.begun();
    world.sees(12, "b", Observation::Gone);
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!(phase(&mut world, "b"), PhaseWord::Down);
    assert!(matches!(world.job(job).results["b"], Outcome::Failed(_)));
}

#[test]
fn a_reload_changes_what_is_checked_of_a_guest_that_runs() {
    let with = |health: Option<Health>| Arc::new(Guest { health, ..guest("a") });
    let mut world = World::up([guest("a")]);
    world.tasks();
    let mut checks = |health| {
        world.fleet.define(with(health), at(10));
        let checks = world.tasks().into_iter().filter_map(|task| match task.effect {
            Effect::Check(checking) => Some(checking.map(|checking| checking.check)),
            _ => None,
        });
        checks.collect::<Vec<_>>()
    };
    assert_eq!(checks(Some(well("/a"))), [Some(Check::Health)]);
    assert_eq!(checks(Some(well("/b"))), [Some(Check::Health)], "another question");
    assert_eq!(checks(Some(well("/b"))), []);
    assert_eq!(checks(None), [None]);
}

#[test]
fn a_reload_begins_the_count_of_bad_answers_anew() {
    let with =
        |path, threshold| Arc::new(Guest { health: Some(Health { threshold, ..well(path) }), ..guest("a") });
    let mut world = World::up([guest("a")]);
    world.fleet.define(with("/a", 2), at(10));
    let pid = world.fleet.state(&name("a")).unwrap().run().unwrap().init.unwrap().pid;
    let checking = Checking { epoch: Epoch(1), init: pid, check: Check::Health };
    let is_bad = |world: &mut World| {
        world.fleet.happened(&name("a"), Event::Checked(checking, Err("no".into())), at(11))
    };
    is_bad(&mut world);
    world.fleet.define(with("/b", 2), at(12));
    is_bad(&mut world);
    assert_eq!(phase(&mut world, "a"), PhaseWord::Up);
    is_bad(&mut world);
    assert_eq!(phase(&mut world, "a"), PhaseWord::Stopping);
}

#[test]
fn a_held_guest_is_not_restarted_for_its_health_or_readiness() {
    let mut world = World::up([Guest { health: Some(well("/a")), ..guest("a") }]);
    world.operate(10, Verb::Hold, "a").unwrap();
    world.begun();
    let run = world.fleet.state(&name("a")).unwrap().run().unwrap();
    let checking = Checking { epoch: run.epoch, init: run.init.unwrap().pid, check: Check::Health };
    let bad = || Event::Checked(checking, Err("no".into()));
    world.fleet.happened(&name("a"), bad(), at(11));
    assert_eq!(world.begun(), [] as [&str; 0]);
    world.operate(12, Verb::Release, "a").unwrap();
    world.fleet.happened(&name("a"), bad(), at(21));
    assert_eq!(world.begun(), ["stop a"], "still ill");

    let mut late = guest("a");
    late.ready.when = Condition::Notify;
    late.ready.on_timeout = OnTimeout::Fail;
    let mut scene = Scene::up_of(late);
    scene.state.held = Some(Hold { reason: "repairs".into(), since: at(1).wall, until: None });
    assert_eq!(scene.happens(61, Event::TimedOut), []);
    assert!(matches!(scene.state.phase, Phase::Up(_)));
}

#[test]
fn whoever_starts_a_failed_guest_beside_guestd_wants_it_up_and_has_it_in_hand() {
    let mut world = World::up([guest("a")]);
    crashes(&mut world, 10, "a");
    assert_eq!(phase(&mut world, "a"), PhaseWord::Failed);
    let unwanted =
        left(Follows::Failed("it crashed".into())).map(|left| Remembered { unwanted: true, ..left });
    looks(&mut world, "a", Probe::Up(init(200)), unwanted);
    let state = world.fleet.state(&name("a")).unwrap();
    assert_eq!((state.intent, state.run().map(|run| run.adopted)), (Intent::Up, Some(true)));
}

#[test]
fn the_last_hooks_of_a_guest_that_is_gone_have_what_they_need() {
    let mut own = guest("a");
    own.hooks.post_stop = vec![Argv::new(vec!["/bin/true".into()]).unwrap()];
    let mut world = World::new(9, [own.clone()]);
    world.start_all(1);
    world.comes_up(2, "a");
    world.tasks();
    world.fleet.undefine(&name("a"), at(10));
    world.sees(11, "a", Observation::InitExited(Some(WaitStatus(2))));
    world.sees(11, "a", Observation::Gone);
    let tasks = world.tasks();
    let hook = tasks.iter().find(|task| matches!(task.effect, Effect::Hook(HookStage::PostStop, _)));
    assert!(hook.is_some());
    assert_eq!(
        world.fleet.guest(&name("a")).map(|guest| &**guest),
        Some(&own),
        "it is still known to whoever runs them"
    );
    world.fleet.retire(at(11));
    assert_eq!(world.fleet.guest(&name("a")), None);
}
