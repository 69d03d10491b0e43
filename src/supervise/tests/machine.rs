//! What one guest does, event by event.

use std::time::Duration;

use super::{Scene, at, failed, init};
use crate::{
    engine::{Epoch, Observation, Probe, Request},
    helper::wire::{self, Answer, Decision},
    model::{Limit, RebootAction, WaitStatus, status::PhaseWord},
    supervise::{
        effect::Effect,
        event::{Event, Found, HelperId, Remembered, StopKind},
        state::{Intent, State},
        status,
    },
};

fn word(state: &State) -> &'static str {
    status::word(&state.phase, false).as_str()
}

fn reason(scene: &Scene) -> String {
    status::of(&scene.guest, &scene.state, false).reason
}

fn reports_reboot(scene: &mut Scene, seconds: u64, id: u64) -> Option<Answer> {
    let effects = scene.happens(seconds, Event::Reported(HelperId(id), wire::Event::Reboot));
    effects.into_iter().find_map(|effect| match effect {
        Effect::Answer(_, answer) => Some(answer),
        _ => None,
    })
}

const ASK: StopKind = StopKind::Ask(Some(Duration::from_secs(60)));

#[test]
fn a_start_is_up_once_its_init_was_seen() {
    let mut scene = Scene::new();
    assert_eq!(scene.happens(1, Event::StartRequested), [Effect::Start(Epoch(1))]);
    assert_eq!((word(&scene.state), scene.state.intent), ("starting", Intent::Up));
    assert_eq!(scene.happens(2, Event::StartReturned(Epoch(1), Ok(()))), []);
    assert_eq!(word(&scene.state), "starting");
    scene.sees(2, Observation::Running(init(100)));
    assert_eq!(status::of(&scene.guest, &scene.state, false).init_pid, Some(100));
    assert_eq!(word(&scene.state), "up");
}

#[test]
fn a_failed_start_has_failed_with_the_engines_words() {
    let mut scene = Scene::new();
    scene.happens(1, Event::StartRequested);
    scene.happens(2, Event::StartReturned(Epoch(1), Err(failed())));
    assert_eq!((word(&scene.state), reason(&scene).as_str()), ("failed", "could not start it: no rootfs"));
    assert_eq!(scene.happens(3, Event::StartRequested), [Effect::Start(Epoch(2))]);
}

#[test]
fn every_end_is_classified() {
    for (raw, phase, words) in [
        (0x2, PhaseWord::Down, "halted by the guest"),
        (0x9, PhaseWord::Failed, "crashed: its init was killed by SIGKILL"),
        (0x0, PhaseWord::Down, "its init exited with status 0"),
        (0x300, PhaseWord::Failed, "crashed: its init exited with status 3"),
    ] {
        let mut scene = Scene::up();
        scene.exits(5, raw);
        assert_eq!(word(&scene.state), "stopping", "until its hooks are over");
        scene.sees(6, Observation::Gone);
        let status = status::of(&scene.guest, &scene.state, false);
        assert_eq!((status.phase, status.reason.as_str()), (phase, words));
    }
    let mut scene = Scene::up();
    scene.sees(5, Observation::Gone);
    assert_eq!(
        (word(&scene.state), reason(&scene).as_str()),
        ("failed", "it ended, and it was not seen how")
    );
}

#[test]
fn an_end_is_classified_though_nobody_saw_it_run() {
    for (raw, phase, words) in [
        (0x0, "down", "its init exited with status 0"),
        (0x2, "down", "halted by the guest"),
        (0x100, "failed", "crashed: its init exited with status 1"),
    ] {
        let mut ours = Scene::new();
        ours.happens(1, Event::StartRequested);
        ours.happens(2, Event::StartReturned(Epoch(1), Ok(())));
        ours.exits(2, raw);
        ours.sees(2, Observation::Gone);
        assert_eq!((word(&ours.state), reason(&ours).as_str()), (phase, words));
        let mut others = Scene::new();
        let probe = Probe::Ended { status: WaitStatus(raw), keeper: None };
        others.happens(5, Event::Probed(Found::State { probe, remembered: None }));
        assert_eq!((word(&others.state), reason(&others).as_str()), (phase, words));
        assert_eq!(others.state.since, at(5).wall);
    }
}

#[test]
fn only_the_guests_own_halt_changes_its_intent() {
    for (raw, intent) in [(0x2, Intent::Down), (0x9, Intent::Up), (0x0, Intent::Up)] {
        let mut scene = Scene::up();
        scene.exits(5, raw);
        scene.sees(6, Observation::Gone);
        assert_eq!(scene.state.intent, intent, "{raw:#x}");
    }
}

#[test]
fn a_stop_asks_then_kills_at_its_deadline() {
    let mut scene = Scene::up();
    assert_eq!(scene.happens(10, Event::StopRequested(ASK)), [Effect::Request(Epoch(1), Request::Stop)]);
    assert_eq!(scene.state.deadline(), Some(at(70).instant));
    assert_eq!(scene.happens(70, Event::TimedOut), [Effect::Kill(Epoch(1))]);
    scene.happens(71, Event::KillReturned(Epoch(1), Ok(())));
    let told = (word(&scene.state), reason(&scene));
    assert_eq!(told, ("down", "killed: it did not stop in time".to_owned()));
}

#[test]
fn a_stop_interrupts_a_start() {
    let mut scene = Scene::new();
    scene.happens(1, Event::StartRequested);
    assert_eq!(scene.happens(2, Event::StopRequested(ASK)), [Effect::Kill(Epoch(1))]);
    scene.happens(3, Event::StartReturned(Epoch(1), Err(failed())));
    assert_eq!(word(&scene.state), "stopping");
    scene.happens(3, Event::KillReturned(Epoch(1), Ok(())));
    assert_eq!((word(&scene.state), scene.state.intent), ("down", Intent::Down));
}

#[test]
fn a_frozen_guest_is_thawed_before_it_is_asked() {
    let mut scene = Scene::up();
    scene.happens(2, Event::FreezeRequested);
    scene.sees(2, Observation::Frozen);
    assert_eq!(word(&scene.state), "frozen");
    let effects = scene.happens(3, Event::StopRequested(ASK));
    let requests = [Request::Thaw, Request::Stop].map(|request| Effect::Request(Epoch(1), request));
    assert_eq!(effects, requests);
}

#[test]
fn what_would_not_die_is_said_and_can_be_killed_again() {
    let mut scene = Scene::up();
    scene.happens(2, Event::StopRequested(StopKind::Kill));
    scene.happens(3, Event::KillReturned(Epoch(1), Err(failed())));
    assert_eq!((word(&scene.state), reason(&scene).as_str()), ("failed", "it would not die: no rootfs"));
    assert_eq!(scene.happens(4, Event::StopRequested(StopKind::Kill)), [Effect::Kill(Epoch(1))]);
    scene.sees(5, Observation::Gone);
    assert!(!scene.state.is_running());
}

#[test]
fn a_reported_reboot_is_carried_out_in_place() {
    let mut scene = Scene::up();
    scene.exits(5, 0x1);
    let answer = reports_reboot(&mut scene, 5, 1).unwrap();
    assert_eq!((answer.decision, answer.anew), (Decision::Restart, false));
    assert_eq!(word(&scene.state), "starting");
    scene.sees(6, Observation::Running(init(200)));
    let status = status::of(&scene.guest, &scene.state, false);
    assert_eq!((status.phase, status.init_pid, status.restarts), (PhaseWord::Up, Some(200), 1));
    assert_eq!(status.helper.unwrap().decision, "restart");
}

#[test]
fn the_report_may_come_before_the_end_was_seen() {
    let mut scene = Scene::up();
    assert_eq!(reports_reboot(&mut scene, 5, 1).unwrap().decision, Decision::Restart);
    scene.exits(5, 0x1);
    scene.sees(6, Observation::Running(init(200)));
    assert_eq!((word(&scene.state), scene.state.reboots.len()), ("up", 1));
}

#[test]
fn the_sixth_reboot_in_a_minute_trips_the_guard() {
    let mut scene = Scene::up();
    for n in 0..5 {
        scene.exits(10 + n, 0x1);
        assert_eq!(reports_reboot(&mut scene, 10 + n, n + 1).unwrap().decision, Decision::Restart, "{n}");
        scene.sees(10 + n, Observation::Running(init(200 + n as i32)));
    }
    scene.exits(20, 0x1);
    assert_eq!(reports_reboot(&mut scene, 20, 6).unwrap().decision, Decision::Stop);
    scene.sees(21, Observation::Gone);
    assert_eq!(word(&scene.state), "failed");
    assert!(reason(&scene).contains("more than 5 times within 1m"), "{}", reason(&scene));

    scene.happens(22, Event::StartRequested);
    assert!(scene.state.reboots.is_empty(), "a start by hand forgets the loop");
}

#[test]
fn reboots_far_apart_never_trip_the_guard() {
    let mut scene = Scene::up();
    for n in 0..20 {
        scene.exits(10 + 13 * n, 0x1);
        assert_eq!(
            reports_reboot(&mut scene, 10 + 13 * n, n + 1).unwrap().decision,
            Decision::Restart,
            "{n}"
        );
        scene.sees(10 + 13 * n, Observation::Running(init(200 + n as i32)));
    }
}

#[test]
fn a_changed_configuration_is_started_anew() {
    let mut scene = Scene::up();
    scene.guest.fingerprint = 2;
    scene.exits(5, 0x1);
    let answer = reports_reboot(&mut scene, 5, 1).unwrap();
    assert_eq!((answer.decision, answer.anew), (Decision::Restart, true));
    assert_eq!(scene.sees(6, Observation::Gone), [Effect::Start(Epoch(2))]);
    scene.sees(7, Observation::Running(init(200)));
    assert!(!status::of(&scene.guest, &scene.state, false).config_changed);

    let mut ephemeral = Scene::up();
    let crate::model::EngineSpec::Lxc(spec) = &mut ephemeral.guest.engine else { panic!("no container") };
    spec.ephemeral = true;
    ephemeral.guest.fingerprint = 2;
    let answer = reports_reboot(&mut ephemeral, 5, 1).unwrap();
    assert!(!answer.anew, "it would be destroyed");
}

#[test]
fn a_refused_reboot_leaves_it_down() {
    let mut scene = Scene::up();
    scene.guest.reboot.action = RebootAction::Stop;
    scene.exits(5, 0x1);
    assert_eq!(reports_reboot(&mut scene, 5, 1).unwrap().decision, Decision::Stop);
    scene.sees(6, Observation::Gone);
    assert_eq!((word(&scene.state), scene.state.intent), ("down", Intent::Down));
    assert!(reason(&scene).contains("its settings say stop"), "{}", reason(&scene));
}

#[test]
fn a_script_decides_by_its_exit_status() {
    for (code, decision) in [(Some(0), Decision::Restart), (Some(1), Decision::Stop), (None, Decision::Stop)]
    {
        let mut scene = Scene::up();
        scene.guest.reboot.action = RebootAction::Script("/decide".into());
        scene.exits(5, 0x1);
        let asked = scene.happens(5, Event::Reported(HelperId(9), wire::Event::Reboot));
        assert_eq!(asked, [Effect::RunScript(HelperId(9), "/decide".into())]);
        let effects = scene.happens(6, Event::ScriptEnded(HelperId(9), code));
        let [Effect::Answer(HelperId(9), answer)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(answer.decision, decision, "{code:?}");
    }
}

#[test]
fn a_reboot_seen_only_by_its_status_is_decided_afterwards() {
    let mut scene = Scene::up();
    scene.exits(5, 0x1);
    scene.sees(6, Observation::Running(init(200)));
    assert_eq!((word(&scene.state), scene.state.reboots.len()), ("up", 1));

    scene.guest.reboot.action = RebootAction::Stop;
    scene.exits(7, 0x1);
    let effects = scene.sees(8, Observation::Running(init(300)));
    assert_eq!(effects, [Effect::Request(Epoch(1), Request::Stop)], "its new init is stopped");
    scene.exits(9, 0x9);
    scene.sees(9, Observation::Gone);
    assert!(reason(&scene).contains("its settings say stop"), "{}", reason(&scene));
}

#[test]
fn a_cancelled_reboot_is_started_again() {
    let mut unreported = Scene::up();
    unreported.exits(5, 0x1);
    assert_eq!(unreported.sees(6, Observation::Gone), [Effect::Start(Epoch(2))]);

    let mut reported = Scene::up();
    reported.exits(5, 0x1);
    reports_reboot(&mut reported, 5, 1);
    assert_eq!(reported.sees(6, Observation::Gone), [Effect::Start(Epoch(2))]);
}

#[test]
fn an_operators_reboot_is_neither_refused_nor_counted() {
    let mut scene = Scene::up();
    scene.guest.reboot = crate::model::Reboot {
        action: RebootAction::Stop,
        limit: Limit { count: 0, window: Duration::from_secs(60) },
    };
    assert_eq!(scene.happens(5, Event::RebootRequested), [Effect::Request(Epoch(1), Request::Reboot)]);
    scene.exits(6, 0x1);
    assert_eq!(reports_reboot(&mut scene, 6, 1).unwrap().decision, Decision::Restart);
    scene.sees(7, Observation::Running(init(200)));
    assert_eq!((word(&scene.state), scene.state.reboots.len()), ("up", 0));
    scene.exits(8, 0x1);
    assert_eq!(reports_reboot(&mut scene, 8, 2).unwrap().decision, Decision::Stop, "the next is its own");
}

#[test]
fn a_reboot_during_a_stop_is_a_stop() {
    let mut scene = Scene::up();
    scene.happens(5, Event::StopRequested(ASK));
    scene.exits(6, 0x1);
    assert_eq!(reports_reboot(&mut scene, 6, 1).unwrap().decision, Decision::Stop);
    scene.sees(7, Observation::Gone);
    assert_eq!((word(&scene.state), reason(&scene).as_str()), ("down", "stopped by request"));

    let mut unhooked = Scene::up();
    unhooked.happens(5, Event::StopRequested(ASK));
    unhooked.exits(6, 0x1);
    let effects = unhooked.sees(7, Observation::Running(init(200)));
    assert_eq!(effects, [Effect::Request(Epoch(1), Request::Stop)], "the new init is asked too");
}

#[test]
fn a_restart_ends_the_run_and_begins_another() {
    let mut scene = Scene::up();
    scene.happens(5, Event::RestartRequested(ASK));
    scene.exits(6, 0x2);
    assert_eq!(scene.sees(7, Observation::Gone), [Effect::Start(Epoch(2))]);
    assert_eq!((scene.state.intent, scene.state.restarts), (Intent::Up, 1));
}

#[test]
fn a_stop_overrides_a_restart_under_way() {
    let mut scene = Scene::up();
    scene.happens(5, Event::RestartRequested(ASK));
    scene.happens(6, Event::StopRequested(ASK));
    assert_eq!(scene.sees(7, Observation::Gone), []);
    assert_eq!((word(&scene.state), reason(&scene).as_str()), ("down", "stopped by request"));
}

#[test]
fn a_stop_of_a_crashing_guest_still_tells_of_the_crash() {
    let mut scene = Scene::up();
    scene.exits(5, 0x9);
    scene.happens(5, Event::StopRequested(ASK));
    scene.sees(6, Observation::Gone);
    assert_eq!(reason(&scene), "crashed: its init was killed by SIGKILL");
}

#[test]
fn no_new_init_in_time_is_a_failure() {
    let mut scene = Scene::up();
    scene.exits(5, 0x1);
    reports_reboot(&mut scene, 5, 1);
    assert_eq!(scene.state.deadline(), Some(at(95).instant));
    assert_eq!(scene.happens(95, Event::TimedOut), [Effect::Kill(Epoch(1))]);
    scene.happens(96, Event::KillReturned(Epoch(1), Ok(())));
    assert_eq!(word(&scene.state), "failed");
}

#[test]
fn news_of_an_earlier_run_are_dropped() {
    let mut scene = Scene::up();
    scene.exits(5, 0x9);
    scene.sees(6, Observation::Gone);
    scene.happens(7, Event::StartRequested);
    let before = scene.state.clone();
    for event in [
        Event::Observed(Epoch(1), Observation::Gone),
        Event::Observed(Epoch(1), Observation::Running(init(100))),
        Event::StartReturned(Epoch(1), Err(failed())),
        Event::KillReturned(Epoch(1), Ok(())),
    ] {
        assert_eq!(scene.happens(8, event), []);
        assert_eq!(scene.state, before);
    }
}

#[test]
fn what_runs_already_is_adopted() {
    let mut scene = Scene::new();
    let found = Found::State { probe: Probe::Up(init(42)), remembered: None };
    assert_eq!(scene.happens(1, Event::Probed(found)), [Effect::Watch(Epoch(1))]);
    let status = status::of(&scene.guest, &scene.state, false);
    assert_eq!((status.phase, status.init_pid, status.adopted), (PhaseWord::Up, Some(42), true));
    assert_eq!(status.since, Some(init(42).since));

    let mut ours = Scene::new();
    let reboots = vec![at(0).instant; 5];
    let remembered = Some(Remembered { fingerprint: 9, reboots, ..super::remembered() });
    ours.happens(1, Event::Probed(Found::State { probe: Probe::Frozen(init(42)), remembered }));
    let status = status::of(&ours.guest, &ours.state, false);
    assert_eq!((status.phase, status.adopted, status.config_changed), (PhaseWord::Frozen, false, true));
    assert_eq!(reports_reboot(&mut ours, 2, 1).unwrap().decision, Decision::Stop, "the guard remembers");
}
