//! Nothing waits for ever, and nothing is counted or obeyed twice: one test for each way in which it could.

use std::time::Duration;

use super::{Scene, at, guest, name};
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Observation, Probe, Request},
    helper::wire::{self, Decision},
    model::{Action, End, JobState, Outcome, RebootAction, Selection, StopWait, Verb, status::PhaseWord},
    supervise::{
        effect::Effect,
        event::{Event, Found, HelperId, StopKind},
        state::{Failure, Phase, Rung},
        tests::fleet::World,
    },
};

pub(super) fn recalled(seconds: u64, decision: Decision) -> Event {
    let (event, at) = (wire::Event::Reboot, at(seconds).wall);
    Event::Recalled { event, at, decision, reason: "its reboot action is restart".into(), tripped: None }
}

#[test]
fn a_restart_of_one_that_is_starting_starts_it_anew() {
    let mut world = World::new(9, [guest("a")]);
    world.operate(1, Verb::Start, "a").unwrap();
    let job = world.operate(2, Verb::Restart, "a").unwrap();
    assert_eq!(world.begun(), ["start a", "kill a"]);
    let epoch = world.epoch("a");
    world.fleet.happened(&name("a"), Event::KillReturned(epoch, Ok(())), at(3));
    assert_eq!(world.begun(), ["start a"]);
    world.comes_up(4, "a");
    assert_eq!(world.job(job).state, JobState::Done);
}

#[test]
fn what_would_not_die_can_be_killed_again_and_restarted() {
    for verb in [Verb::Kill, Verb::Stop, Verb::Restart] {
        let mut world = World::up([guest("a")]);
        world.operate(1, Verb::Kill, "a").unwrap();
        let epoch = world.epoch("a");
        let stuck = Event::KillReturned(epoch, Err(super::failed()));
        world.fleet.happened(&name("a"), stuck.clone(), at(2));
        assert_eq!(world.published().guests["a"].phase, PhaseWord::Failed);
        let again = world.operate(3, verb, "a").unwrap();
        assert_eq!(world.job(again).state, JobState::Running, "{verb}: it is judged by what comes of it");
        world.fleet.happened(&name("a"), Event::KillReturned(epoch, Ok(())), at(4));
        if verb == Verb::Restart {
            world.comes_up(5, "a");
        }
        assert_eq!(world.job(again).state, JobState::Done, "{verb}");
    }
}

#[test]
fn a_start_whose_init_is_never_seen_ends() {
    let mut world = World::new(9, [guest("a")]);
    let job = world.operate(1, Verb::Start, "a").unwrap();
    let epoch = world.epoch("a");
    world.fleet.happened(&name("a"), Event::StartReturned(epoch, Ok(())), at(2));
    assert_eq!(world.fleet.deadline(), Some(at(92).instant), "start.timeout");
    world.fleet.wake(at(92));
    assert_eq!(world.begun(), ["start a", "kill a"]);
    world.fleet.happened(&name("a"), Event::KillReturned(epoch, Ok(())), at(93));
    let Outcome::Failed(why) = &world.job(job).results["a"] else { panic!() };
    assert!(why.contains("its init was not seen in time"), "{why}");
}

#[test]
fn hooks_that_hang_after_the_end_are_killed_in_time() {
    let mut scene = Scene::up();
    scene.exits(5, 0x2);
    assert_eq!(scene.state.deadline(), Some(at(65).instant), "stop.timeout");
    assert_eq!(scene.happens(65, Event::TimedOut), [Effect::Kill(Epoch(1))]);
    scene.happens(66, Event::KillReturned(Epoch(1), Ok(())));
    assert_eq!(scene.state.phase, Phase::Down(Some(End::GuestHalt)), "why it ended stays known");
}

#[test]
fn a_kill_for_want_of_memory_is_a_failure_of_its_own() {
    let mut scene = Scene::up();
    scene.sees(5, Observation::OutOfMemory);
    scene.sees(6, Observation::Gone);
    let why = Failure::Ended(End::OutOfMemory);
    assert_eq!(scene.state.phase, Phase::Failed { why, remains: None });
    let mut asked = Scene::up();
    asked.happens(4, Event::StopRequested(StopKind::Kill));
    asked.sees(5, Observation::OutOfMemory);
    asked.sees(6, Observation::Gone);
    assert_eq!(asked.state.phase, Phase::Down(Some(End::Asked { killed: true })));
}

#[test]
fn a_later_wish_to_wait_longer_breaks_no_promise() {
    for later in [StopKind::Hint, StopKind::Ask(None), StopKind::Ask(Some(Duration::from_secs(500)))] {
        let mut scene = Scene::up();
        scene.happens(2, Event::StopRequested(StopKind::Ask(Some(Duration::from_secs(10)))));
        scene.happens(3, Event::StopRequested(later));
        assert_eq!(scene.state.deadline(), Some(at(12).instant), "{later:?}");
        assert_eq!(scene.happens(12, Event::TimedOut), [Effect::Kill(Epoch(1))], "{later:?}");
    }
}

#[test]
fn who_only_asks_is_told_why_it_was_in_vain() {
    let mut world = World::up([guest("deaf"), guest("gone"), guest("mute")]);
    let all = Selection { all: true, ..Selection::default() };
    let job = world.fleet.autostart(Action::Shutdown, &all, StopWait::AskOnly, at(1)).unwrap();
    assert_eq!(world.fleet.deadline(), Some(at(66).instant), "later than the engine gives up");
    let answer =
        |kind, reason: &str| Err(EngineError { operation: "ask it to stop", kind, reason: reason.into() });
    for (text, answer) in [
        ("deaf", answer(ErrorKind::TimedOut, "it does not listen")),
        ("gone", answer(ErrorKind::Busy, "nobody listens")),
    ] {
        let event = Event::RequestReturned(world.epoch(text), Request::Hint, answer);
        world.fleet.happened(&name(text), event, at(61));
    }
    assert_eq!(world.published().guests["deaf"].phase, PhaseWord::Up, "it is left up");
    world.sees(62, "gone", Observation::Gone);
    world.fleet.wake(at(66));
    let results = world.job(job).results;
    let of = |text: &str| results[text].to_string();
    assert_eq!(of("deaf"), "failed: could not ask it to stop: it does not listen");
    assert_eq!(of("gone"), "done");
    assert!(of("mute").starts_with("failed: "), "{}", of("mute"));
}

#[test]
fn a_guest_that_is_frozen_while_it_stops_is_thawed() {
    let mut scene = Scene::up();
    scene.happens(1, Event::StopRequested(StopKind::Ask(None)));
    assert_eq!(scene.sees(2, Observation::Frozen), [Effect::Request(Epoch(1), Request::Thaw)]);
}

#[test]
fn a_freeze_that_comes_too_late_ends_and_does_not_hold_up_the_stop() {
    let mut world = World::up([guest("a")]);
    let freeze = world.operate(1, Verb::Freeze, "a").unwrap();
    let stop = world.operate(2, Verb::Stop, "a").unwrap();
    assert_eq!(world.begun(), ["freeze a", "stop a"]);
    let epoch = world.epoch("a");
    world.fleet.happened(&name("a"), Event::RequestReturned(epoch, Request::Freeze, Ok(())), at(3));
    assert_eq!(world.begun(), ["thaw a"], "frozen it would never hear of the stop");
    assert!(world.job(freeze).state.is_over());
    world.sees(4, "a", Observation::Gone);
    assert_eq!(world.job(stop).state, JobState::Done);
}

#[test]
fn a_guest_that_is_destroyed_while_it_stops_has_stopped() {
    let mut world = World::up([guest("a")]);
    let job = world.operate(1, Verb::Stop, "a").unwrap();
    world.fleet.undefine(&name("a"), at(2));
    world.sees(3, "a", Observation::Gone);
    assert_eq!(world.job(job).results["a"], Outcome::Done);
    assert!(!world.published().guests.contains_key("a"));
}

#[test]
fn holds_forget_no_failure_and_cancel_no_stop() {
    let mut world = World::new(9, [guest("a")]);
    world.operate(1, Verb::Start, "a").unwrap();
    world.fails_to_start(2, "a");
    for verb in [Verb::Hold, Verb::Release] {
        let job = world.operate(3, verb, "a").unwrap();
        assert_eq!(world.job(job).results["a"], Outcome::Done, "{verb}");
        assert_eq!(world.published().guests["a"].phase, PhaseWord::Failed, "{verb}");
    }
    let job = world.operate(4, Verb::Release, "a").unwrap();
    assert_eq!(world.job(job).results["a"], Outcome::Already);
}

#[test]
fn only_an_opposite_wish_cancels_what_waits() {
    let mut first = guest("first");
    first.start.order = 9;
    let mut world = World::up([first, guest("last")]);
    let all = Selection { all: true, ..Selection::default() };
    let job = world.fleet.autostart(Action::Shutdown, &all, StopWait::Configured, at(1)).unwrap();
    assert_eq!(world.begun(), ["stop last"]);
    for verb in [Verb::Thaw, Verb::Hold, Verb::Release, Verb::Reboot] {
        world.operate(2, verb, "first").unwrap();
    }
    world.begun();
    world.sees(3, "last", Observation::Gone);
    assert_eq!(world.begun(), ["stop first"]);
    world.sees(4, "first", Observation::Gone);
    assert_eq!(world.job(job).state, JobState::Done);
}

#[test]
fn a_job_says_that_it_waits_for_a_stop() {
    let mut world = World::up([guest("a")]);
    world.operate(1, Verb::Stop, "a").unwrap();
    let job = world.operate(2, Verb::Start, "a").unwrap();
    assert_eq!(world.job(job).status, "waiting for the stop of a");
}

#[test]
fn what_others_started_at_the_same_time_is_adopted_not_started() {
    let mut scene = Scene::new();
    scene.happens(1, Event::StartRequested);
    let remembered = Some(super::remembered());
    let found = Found::State { probe: Probe::Up(super::init(7)), remembered };
    assert_eq!(scene.happens(2, Event::Probed(found)), [Effect::Watch(Epoch(2))]);
    let Phase::Up(run) = &scene.state.phase else { panic!("{:?}", scene.state) };
    assert!(run.adopted);
}

#[test]
fn a_look_that_fails_is_repeated() {
    let mut scene = Scene::new();
    scene.happens(1, Event::Probed(Found::Failed("no answer".into())));
    assert_eq!(scene.state.deadline(), Some(at(6).instant));
    let mut unknown = Scene { guest: scene.guest.clone(), state: scene.state.clone() };
    let kill = unknown.happens(2, Event::StopRequested(StopKind::Kill));
    assert_eq!(kill, [Effect::Watch(Epoch(1)), Effect::Kill(Epoch(1))], "it may run");
    assert_eq!(scene.happens(6, Event::TimedOut), [Effect::Probe]);
    scene.happens(7, Event::Probed(Found::State { probe: Probe::Down, remembered: None }));
    assert_eq!(scene.state.deadline(), None);
}

#[test]
fn one_between_down_and_up_may_run_and_is_looked_at_again_soon() {
    let changing = || Event::Probed(Found::State { probe: Probe::Changing, remembered: None });
    let mut scene = Scene::new();
    let mut pauses = Vec::new();
    for _ in 0..7 {
        scene.happens(1, changing());
        assert!(scene.state.may_run());
        let again = scene.state.deadline().expect("another look");
        pauses.push(again.since(at(1).instant).as_millis());
        assert_eq!(scene.happens(1, Event::TimedOut), [Effect::Probe]);
        assert!(scene.state.may_run() && scene.state.deadline().is_none(), "while it is looked at");
    }
    assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000]);
    // A watch that began is no look.
    scene.happens(1, Event::Probed(Found::Nothing));
    assert!(scene.state.may_run());
    let stop = StopKind::Ask(Some(Duration::from_secs(9)));
    assert_eq!(
        scene.happens(2, Event::StopRequested(stop)),
        [Effect::Watch(Epoch(1)), Effect::Request(Epoch(1), Request::Stop)]
    );
    scene.sees(3, Observation::Running(super::init(9)));
    assert_eq!(scene.exits(4, 0x2), []);
    scene.sees(4, Observation::Gone);
    assert!(!scene.state.may_run(), "{:?}", scene.state);
}

#[test]
fn an_earlier_reboots_script_does_not_decide_about_a_later_one() {
    let mut scene = Scene::up();
    scene.guest.reboot.action = RebootAction::Script("/decide".into());
    scene.happens(2, Event::Reported(HelperId(1), wire::Event::Reboot));
    scene.happens(3, Event::StopRequested(StopKind::Kill));
    scene.sees(4, Observation::Gone);
    scene.happens(5, Event::StartRequested);
    scene.sees(6, Observation::Running(super::init(200)));
    scene.happens(7, Event::Reported(HelperId(2), wire::Event::Reboot));
    let [Effect::Answer(HelperId(1), answer)] =
        &scene.happens(8, Event::ScriptEnded(HelperId(1), Some(0)))[..]
    else {
        panic!("{:?}", scene.state)
    };
    assert_eq!(answer.decision, Decision::Stop);
    let [Effect::Answer(HelperId(2), answer)] =
        &scene.happens(9, Event::ScriptEnded(HelperId(2), Some(0)))[..]
    else {
        panic!("{:?}", scene.state)
    };
    assert_eq!(answer.decision, Decision::Restart);
}

#[test]
fn a_reboot_that_its_helper_decided_alone_counts_once() {
    let reboot = Observation::InitExited(Some(crate::model::WaitStatus(1)));
    for early in [true, false] {
        let mut scene = Scene::up();
        if early {
            scene.happens(5, recalled(5, Decision::Restart));
        }
        scene.sees(5, reboot.clone());
        if !early {
            scene.happens(5, recalled(5, Decision::Restart));
        }
        scene.sees(6, Observation::Running(super::init(200)));
        assert_eq!((scene.state.reboots.len(), scene.state.restarts), (1, 1), "early: {early}");
    }
    let mut answered = Scene::up();
    answered.happens(5, Event::Reported(HelperId(1), wire::Event::Reboot));
    answered.happens(5, recalled(7, Decision::Restart));
    answered.sees(6, Observation::Running(super::init(200)));
    assert_eq!(answered.state.reboots.len(), 1, "its helper did not wait for the answer");
}

#[test]
fn a_reboot_that_its_helper_refused_alone_stays_refused() {
    let mut scene = Scene::up();
    scene.sees(5, Observation::InitExited(Some(crate::model::WaitStatus(1))));
    scene.happens(5, recalled(5, Decision::Stop));
    assert_eq!(scene.sees(6, Observation::Gone), []);
    assert!(matches!(scene.state.phase, Phase::Down(Some(_))), "{:?}", scene.state);
    assert!(!matches!(scene.state.phase, Phase::Failed { why: Failure::RebootLoop(_), .. }));
}

#[test]
fn asking_again_while_its_init_is_dead_never_puts_the_end_off() {
    let mut scene = Scene::up();
    scene.exits(5, 0x2);
    assert_eq!(scene.happens(6, Event::StopRequested(StopKind::Ask(Some(Duration::from_secs(60))))), []);
    assert_eq!(scene.state.deadline(), Some(at(65).instant), "its last hooks have so long");
    let Phase::Stopping { rung: Rung::Ending, .. } = scene.state.phase else { panic!("{:?}", scene.state) };
    assert_eq!(scene.happens(7, Event::StopRequested(StopKind::Kill)), [Effect::Kill(Epoch(1))]);
}
