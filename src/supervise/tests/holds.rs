//! Holds: what they keep back, how they end, and what a clock that is set does to them.

use std::time::Duration;

use super::{
    at,
    fleet::{World, ranked},
    guest, name,
};
use crate::{
    engine::{Epoch, Observation},
    model::{GuestName, Now, Outcome, Restart, Timestamp, Verb, WaitStatus, status::PhaseWord},
    supervise::{event::Event, hold::LOOK},
};

const SECOND: u64 = 1_000_000;

fn wall(seconds: u64) -> Timestamp {
    at(seconds).wall
}

fn is_held(world: &mut World, text: &str) -> bool {
    world.published().guests[&name(text)].held.is_some()
}

/// This long after the boot, with a wall clock that was set by so much.
fn set(seconds: u64, by: i64) -> Now {
    let Now { instant, wall } = at(seconds);
    Now { instant, wall: Timestamp(wall.0.checked_add_signed(by * SECOND as i64).unwrap()) }
}

#[test]
fn a_hold_ends_by_itself() {
    let mut world = World::new(9, [guest("a")]);
    world.hold(1, "a", "backup", Some(wall(61))).unwrap();
    assert_eq!(world.fleet.deadline(), Some(at(61).instant));
    world.fleet.wake(at(60));
    assert!(is_held(&mut world, "a"));
    world.fleet.wake(at(61));
    assert!(!is_held(&mut world, "a"));
    assert_eq!(world.fleet.deadline(), None);
}

#[test]
fn a_clock_that_is_set_ends_no_hold_early_and_keeps_none_for_ever() {
    const DAY: i64 = 86_400;
    let hour = 3600;
    for (by, over_at) in [(0, hour), (-DAY, hour + DAY as u64), (DAY, LOOK.as_secs())] {
        let mut world = World::new(9, [guest("a")]);
        world.hold(0, "a", "backup", Some(wall(hour))).unwrap();
        let mut looks = 0;
        while let Some(next) = world.fleet.deadline() {
            looks += 1;
            let seconds = next.0.as_secs();
            assert!(is_held(&mut world, "a"), "set by {by}: over before {seconds}");
            world.fleet.wake(set(seconds, by));
            if !is_held(&mut world, "a") {
                assert_eq!(seconds, over_at, "set by {by}");
            }
        }
        assert!(!is_held(&mut world, "a") && looks < 200, "set by {by}: {looks} looks");
    }
}

#[test]
fn a_hold_without_an_end_asks_for_no_look() {
    let mut world = World::new(9, [guest("a")]);
    world.hold(1, "a", "backup", Some(wall(99))).unwrap();
    world.hold(2, "a", "backup", None).unwrap();
    assert_eq!(world.fleet.deadline(), None);
    world.hold(3, "a", "backup", Some(wall(99))).unwrap();
    world.operate(4, Verb::Release, "a").unwrap();
    assert_eq!(world.fleet.deadline(), None);
}

#[test]
fn held_again_it_keeps_its_reason_and_gets_the_new_end() {
    let mut world = World::new(9, [guest("a")]);
    world.hold(1, "a", "backup", None).unwrap();
    world.operate(5, Verb::Hold, "a").unwrap();
    let hold = world.published().guests["a"].held.clone().unwrap();
    assert_eq!((hold.reason.as_str(), hold.since, hold.until), ("backup", wall(1), None));
    let refused = world.hold(9, "a", "too late", Some(wall(9))).unwrap_err().to_string();
    assert_eq!(refused, "guest a: the end of its hold lies in the past");
    assert_eq!(world.published().guests["a"].held, Some(hold), "what was so stays so");
}

#[test]
fn a_guest_that_crashes_while_it_is_held_waits_for_its_release() {
    let mut web = guest("web");
    web.restart = Restart { delay: Duration::from_secs(1), ..Restart::default() };
    let mut world = World::up([web]);
    world.hold(1, "web", "disk full", Some(wall(100))).unwrap();
    let crash = Observation::InitExited(Some(WaitStatus(9)));
    for what in [crash, Observation::Gone] {
        world.fleet.observed(&name("web"), Some(Epoch(1)), what, at(2));
    }
    world.fleet.wake(at(4));
    assert_eq!(world.begun(), [] as [&str; 0]);
    let status = world.published().guests["web"].clone();
    assert_eq!(status.phase, PhaseWord::BackingOff);
    assert!(status.reason.ends_with("it waits for its release: it is held: disk full"), "{}", status.reason);
    world.fleet.wake(at(100));
    assert_eq!(world.begun(), ["start web"], "its hold is over");
}

#[test]
fn a_hold_keeps_back_whom_a_job_would_start_later_but_not_whom_somebody_named() {
    let mut world = World::new(1, [ranked("a", 9, 0), ranked("b", 1, 0)]);
    let job = world.start_all(1);
    assert_eq!(world.begun(), ["start a"]);
    let named = world.operate(2, Verb::Start, "b").unwrap();
    world.hold(3, "b", "disk full", None).unwrap();
    world.comes_up(4, "a");
    let result = |world: &mut World, job| world.job(job).results.get("b" as &str).cloned();
    assert_eq!(result(&mut world, job), Some(Outcome::Failed("it is held: disk full".into())));
    assert_eq!(world.begun(), ["start b"]);
    world.comes_up(5, "b");
    assert_eq!(result(&mut world, named), Some(Outcome::Done));
}

#[test]
fn a_held_guest_is_told_of_when_its_hold_is_over() {
    let mut world = World::new(9, [guest("a")]);
    world.hold(1, "a", "backup", Some(wall(61))).unwrap();
    world.fleet.take_tasks();
    world.fleet.wake(at(61));
    let told = world.fleet.take_tasks().into_iter().map(|task| format!("{task:?}")).collect::<String>();
    assert!(told.contains("is held no longer: the time of its hold (backup) is over"), "{told}");
}

#[test]
fn a_guest_that_is_forgotten_leaves_no_look_behind() {
    let mut world = World::new(9, [guest("a")]);
    world.hold(1, "a", "backup", Some(wall(61))).unwrap();
    let a: GuestName = name("a");
    world.fleet.undefine(&a, at(2));
    assert_eq!(world.fleet.deadline(), None);
    world.fleet.happened(&a, Event::TimedOut, at(99));
}
