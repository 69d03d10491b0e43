//! Starts while the host is hard pressed, and while too many start.

use super::{
    at,
    fleet::{World, rules},
    guest, name,
};
use crate::{
    engine::Observation,
    model::{JobState, Limit, Outcome, Pressure, Restart, RestartPolicy, Verb, status::PhaseWord},
    supervise::{fleet::Rules, pressure::Strain},
};

const NOTHING: [&str; 0] = [];

/// A world whose host may be pressed for memory up to 40 percent.
fn limited(max_starting: usize, names: &[&str]) -> World {
    let guests = names.iter().map(|name| guest(name));
    let mut world = World::new(max_starting, guests);
    limit(&mut world, max_starting);
    world
}

fn limit(world: &mut World, max_starting: usize) {
    let guests = world.published().guests.into_keys();
    let guests = guests.map(|name| (name.clone(), world.fleet.guest(&name).unwrap().clone())).collect();
    let pressure = Pressure { memory: Some(40), io: None };
    world.fleet.load(Rules { pressure, ..rules(max_starting) }, guests, at(0));
}

fn memory(share: f32) -> Strain {
    Strain { memory: Some(share), io: None }
}

#[test]
fn nobody_looks_until_somebody_starts_and_starts_wait_until_the_pressure_falls() {
    let mut world = limited(9, &["a", "b"]);
    assert!(!world.fleet.wants_look(at(1)));
    let job = world.start_all(1);
    assert!(world.fleet.wants_look(at(1)));
    world.fleet.press(memory(56.2), at(1));
    assert!(!world.fleet.wants_look(at(1)));
    assert_eq!(world.begun(), NOTHING);
    let words = "the host's memory pressure to fall to 40 % (it is 57 %)";
    assert_eq!(world.job(job).status, format!("waiting for {words}"));
    assert_eq!(world.fleet.held_back(), Some(words));
    let shown = world.published().guests["b"].clone();
    let reason = "waits for the host's memory pressure to fall to 40 %";
    assert_eq!((shown.phase, shown.reason.as_str()), (PhaseWord::Waiting, reason));
    assert_eq!(world.fleet.deadline(), Some(at(2).instant));

    world.fleet.wake(at(2));
    assert!(world.fleet.wants_look(at(2)));
    assert_eq!(world.fleet.held_back(), Some(words), "until somebody has looked");
    world.fleet.press(memory(40.0), at(2));
    assert_eq!(world.begun(), ["start a", "start b"]);
    assert_eq!((world.fleet.held_back(), world.fleet.deadline()), (None, None));
    assert_eq!(world.published().guests["b"].reason, "");
}

#[test]
fn a_look_counts_for_a_second() {
    let mut world = limited(1, &["a", "b", "c"]);
    world.start_all(10);
    world.fleet.press(memory(0.0), at(10));
    world.comes_up(10, "a");
    assert_eq!(world.begun(), ["start a", "start b"]);
    assert!(!world.fleet.wants_look(at(10)));
    world.comes_up(11, "b");
    assert_eq!(world.begun(), NOTHING);
    assert!(world.fleet.wants_look(at(11)));
    world.fleet.press(Strain::default(), at(11));
    assert_eq!(world.begun(), ["start c"], "a kernel that tells nothing holds nobody back");
}

#[test]
fn who_waits_for_a_slot_asks_for_no_look() {
    let mut world = limited(1, &["a", "b"]);
    let job = world.start_all(1);
    world.fleet.press(memory(0.0), at(1));
    world.fleet.wake(at(100));
    assert!(!world.fleet.wants_look(at(100)));
    assert_eq!(world.job(job).status, "start: a; waiting for a free slot to start in");
}

#[test]
fn when_nobody_wants_to_start_any_more_nobody_looks_again() {
    let mut world = limited(9, &["a", "b"]);
    let job = world.start_all(1);
    world.fleet.press(memory(90.0), at(1));
    world.fleet.cancel(job, at(1)).unwrap();
    assert_eq!((world.fleet.deadline(), world.fleet.held_back()), (None, None));
    assert_eq!(world.published().guests["a"].reason, "");
    assert_eq!(world.job(job).state, JobState::Canceled);
}

#[test]
fn limits_that_are_taken_away_hold_nobody_back() {
    let mut world = limited(9, &["a"]);
    world.start_all(1);
    world.fleet.press(memory(90.0), at(1));
    let guests = [(name("a"), world.fleet.guest(&name("a")).unwrap().clone())].into();
    world.fleet.load(rules(9), guests, at(1));
    world.fleet.wake(at(2));
    assert_eq!((world.begun(), world.fleet.held_back()), (vec!["start a".to_owned()], None));
}

#[test]
fn a_restart_of_one_that_runs_is_not_held_back() {
    let mut world = World::up([guest("a"), guest("b")]);
    limit(&mut world, 9);
    world.operate(1, Verb::Kill, "b").unwrap();
    world.sees(1, "b", Observation::Gone);
    world.begun();
    world.operate(1, Verb::Restart, "a").unwrap();
    assert_eq!(world.begun(), ["stop a"]);
    world.operate(1, Verb::Restart, "b").unwrap();
    world.fleet.press(memory(90.0), at(1));
    assert_eq!(world.begun(), NOTHING, "it is down");
}

#[test]
fn a_new_start_after_a_crash_waits_too() {
    let mut web = guest("web");
    web.restart = Restart { policy: RestartPolicy::OnFailure, ..Restart::default() };
    let mut world = World::new(9, [web]);
    limit(&mut world, 9);
    world.start_all(1);
    world.fleet.press(memory(0.0), at(1));
    world.comes_up(1, "web");
    world.begun();
    world.sees(10, "web", Observation::Gone);
    world.fleet.wake(at(11));
    assert!(world.fleet.wants_look(at(11)));
    world.fleet.press(memory(80.0), at(11));
    let shown = world.published().guests["web"].clone();
    assert_eq!(shown.phase, PhaseWord::BackingOff);
    let reason = "it ended, and it was not seen how; it waits for the host's memory pressure to fall to 40 %";
    assert_eq!(shown.reason, reason);
    assert_eq!(world.fleet.deadline(), Some(at(12).instant));
    world.fleet.wake(at(12));
    world.fleet.press(memory(20.0), at(12));
    assert_eq!(world.begun(), ["start web"]);
}

#[test]
fn a_guests_time_begins_with_its_slot() {
    let mut slow = guest("b");
    slow.restart.policy = RestartPolicy::OnFailure;
    slow.restart.limit = Limit { count: 999, ..slow.restart.limit };
    let timeout = slow.start.timeout.as_secs();
    let mut world = World::new(1, [guest("a"), slow]);
    let job = world.start_all(1);
    let granted = 10 * timeout;
    world.comes_up(granted, "a");
    assert_eq!(world.begun(), ["start a", "start b"]);
    // It fails at once, again and again.
    world.fails_to_start(granted, "b");
    world.fleet.wake(at(granted + timeout - 1));
    assert_eq!(world.job(job).results.get("b"), None, "{:?}", world.job(job));
    world.fails_to_start(granted + timeout - 1, "b");
    world.fleet.wake(at(granted + timeout));
    assert!(matches!(world.job(job).results["b"], Outcome::Failed(_)));
}
