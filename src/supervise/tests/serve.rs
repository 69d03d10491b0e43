//! Readiness and health.

use super::{Scene, at, init};
use crate::{
    engine::{Epoch, Observation, Request},
    model::{Condition, End, Health, HealthAction, OnTimeout, Probe},
    supervise::{
        effect::Effect,
        event::{Check, Checking, Event},
        state::{Failure, Phase, Stage, Then},
        status,
    },
};

fn waiting() -> Scene {
    let mut scene = Scene::new();
    scene.guest.ready.when = Condition::Probe(Probe::File("/run/up".into()));
    scene
}

fn with_health(action: HealthAction) -> Scene {
    let mut scene = Scene::new();
    let health = Health::new(Probe::File("/run/well".into()));
    scene.guest.health = Some(Health { threshold: 2, action, ..health });
    scene
}

/// Starts it, and returns what that calls for beyond the start.
fn starts(scene: &mut Scene) -> Vec<Effect> {
    scene.happens(1, Event::StartRequested);
    scene.happens(1, Event::StartReturned(Epoch(1), Ok(())));
    scene.sees(1, Observation::Running(init(100)))
}

fn checking(pid: i32, check: Check) -> Checking {
    Checking { epoch: Epoch(1), init: pid, check }
}

fn checked(scene: &mut Scene, seconds: u64, check: Check, result: Result<(), &str>) -> Vec<Effect> {
    scene.happens(seconds, Event::Checked(checking(100, check), result.map_err(str::to_owned)))
}

fn shown(scene: &Scene) -> (bool, String) {
    let status = status::of(&scene.guest, &scene.state, false);
    (status.ready, status.reason)
}

#[test]
fn a_guest_with_a_condition_is_up_and_becomes_ready() {
    let mut scene = waiting();
    assert_eq!(starts(&mut scene), [Effect::Check(Some(checking(100, Check::Readiness)))]);
    assert_eq!(scene.state.deadline(), Some(at(61).instant));
    assert_eq!(shown(&scene), (false, "waits for readiness: file /run/up".into()));
    assert_eq!(checked(&mut scene, 2, Check::Readiness, Err("file /run/up: it does not exist")), []);
    assert_eq!(shown(&scene), (false, "waits for readiness: file /run/up: it does not exist".into()));
    assert_eq!(checked(&mut scene, 3, Check::Readiness, Ok(())), [Effect::Check(None)]);
    assert_eq!(shown(&scene), (true, String::new()));
    assert_eq!(scene.state.deadline(), None);
}

#[test]
fn a_late_guest_stays_up_and_may_still_become_ready() {
    let mut scene = waiting();
    starts(&mut scene);
    checked(&mut scene, 2, Check::Readiness, Err("refused"));
    assert_eq!(scene.happens(61, Event::TimedOut), []);
    assert_eq!(shown(&scene), (false, "it was not ready within 1m: refused".into()));
    checked(&mut scene, 70, Check::Readiness, Ok(()));
    assert_eq!(shown(&scene), (true, String::new()));
}

#[test]
fn a_late_guest_is_stopped_where_that_is_a_failure() {
    let mut scene = waiting();
    scene.guest.ready.on_timeout = OnTimeout::Fail;
    starts(&mut scene);
    let effects = scene.happens(61, Event::TimedOut);
    assert_eq!(effects, [Effect::Request(Epoch(1), Request::Stop), Effect::Check(None)]);
    let Phase::Stopping { then: Then::Recover(Failure::NotReady { .. }), .. } = &scene.state.phase else {
        panic!("{:?}", scene.state.phase)
    };
}

#[test]
fn each_init_is_waited_for_anew_and_only_its_own_checks_count() {
    let mut scene = waiting();
    starts(&mut scene);
    checked(&mut scene, 3, Check::Readiness, Ok(()));
    scene.exits(4, 1);
    let effects = scene.sees(5, Observation::Running(init(200)));
    assert_eq!(effects, [Effect::Check(Some(checking(200, Check::Readiness)))]);
    // Late news of the init before.
    checked(&mut scene, 6, Check::Readiness, Ok(()));
    assert!(!shown(&scene).0);
    scene.happens(7, Event::Checked(checking(200, Check::Readiness), Ok(())));
    assert!(shown(&scene).0);
}

#[test]
fn a_frozen_guest_is_not_checked_and_its_time_begins_anew() {
    let mut scene = waiting();
    starts(&mut scene);
    assert_eq!(scene.sees(30, Observation::Frozen), [Effect::Check(None)]);
    assert_eq!(scene.state.deadline(), None);
    let effects = scene.sees(100, Observation::Thawed);
    assert_eq!(effects, [Effect::Check(Some(checking(100, Check::Readiness)))]);
    assert_eq!(scene.state.deadline(), Some(at(160).instant));
}

#[test]
fn bad_health_is_told_from_the_threshold_on_and_ends_with_a_good_check() {
    let mut scene = with_health(HealthAction::Report);
    assert_eq!(starts(&mut scene), [Effect::Check(Some(checking(100, Check::Health)))]);
    checked(&mut scene, 10, Check::Health, Err("refused"));
    assert!(shown(&scene).0, "one bad check is none");
    checked(&mut scene, 20, Check::Health, Err("refused"));
    assert_eq!(shown(&scene), (false, "its health is bad: refused".into()));
    checked(&mut scene, 30, Check::Health, Ok(()));
    assert_eq!(shown(&scene), (true, String::new()));
}

#[test]
fn bad_health_restarts_where_that_is_wanted() {
    let mut scene = with_health(HealthAction::Restart);
    starts(&mut scene);
    checked(&mut scene, 10, Check::Health, Err("refused"));
    let effects = checked(&mut scene, 20, Check::Health, Err("timed out"));
    assert_eq!(effects, [Effect::Request(Epoch(1), Request::Stop), Effect::Check(None)]);
    let Phase::Stopping { then: Then::Recover(Failure::Ended(End::Ill { why })), .. } = &scene.state.phase
    else {
        panic!("{:?}", scene.state.phase)
    };
    assert_eq!(why, "timed out");
}

#[test]
fn what_a_guest_says_of_itself_is_shown() {
    let mut scene = Scene::new();
    scene.guest.ready.when = Condition::Notify;
    starts(&mut scene);
    scene.happens(2, Event::Said(checking(100, Check::Readiness), "loading".into()));
    assert_eq!(shown(&scene), (false, "waits for readiness: loading".into()));
    let effects = checked(&mut scene, 3, Check::Readiness, Ok(()));
    assert_eq!(effects, [Effect::Check(Some(checking(100, Check::Health)))], "it goes on talking");
    scene.happens(4, Event::Said(checking(100, Check::Health), "3 clients".into()));
    assert_eq!(shown(&scene), (true, "3 clients".into()));
    let Phase::Up(run) = &scene.state.phase else { panic!("{:?}", scene.state.phase) };
    assert_eq!(run.service.stage, Stage::Ready { since: at(3).instant, ill: 0 });
}
