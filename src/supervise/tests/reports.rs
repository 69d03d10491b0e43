//! Reboots that were reported and not seen, and those that were decided beforehand or without the daemon.

use std::time::Duration;

use super::{Scene, at, ends::recalled, init};
use crate::{
    engine::{Epoch, Init, Observation, Probe, Request},
    helper::wire::{self, Decision},
    model::{End, Follows, RebootAction, WaitStatus, status::PhaseWord},
    supervise::{
        effect::Effect,
        event::{Event, Found, HelperId, Remembered},
        state::{Intent, Phase},
        status,
    },
};

/// What a report of a reboot is answered with.
fn reported(scene: &mut Scene, seconds: u64, id: u64) -> Decision {
    let effects = scene.happens(seconds, Event::Reported(HelperId(id), wire::Event::Reboot));
    let [Effect::Answer(_, answer)] = &effects[..] else { panic!("{effects:?}") };
    answer.decision
}

/// A report about a guest whose init lives ends with the guest as it was.
#[track_caller]
fn is_left_up(scene: &mut Scene) {
    let deadline = scene.state.deadline().expect("it is not waited for ever");
    let seconds = deadline.0.as_secs();
    assert_eq!(scene.happens(seconds, Event::TimedOut), [Effect::Probe], "it is not killed");
    assert!(matches!(&scene.state.phase, Phase::Up(run) if run.init == Some(init(100))));
    assert_eq!(scene.state.deadline(), None);
    let probe = Found::State { probe: Probe::Frozen(init(100)), remembered: None };
    scene.happens(seconds, Event::Probed(probe));
    assert!(matches!(scene.state.phase, Phase::Frozen(_)), "if it is frozen, a look tells");
}

#[test]
fn a_reboot_that_was_only_reported_kills_nobody() {
    let mut carried_out = Scene::up();
    assert_eq!(reported(&mut carried_out, 5, 1), Decision::Restart);
    is_left_up(&mut carried_out);

    let mut anew = Scene::up();
    anew.guest.fingerprint = 2;
    assert_eq!(reported(&mut anew, 5, 1), Decision::Restart);
    is_left_up(&mut anew);

    let mut refused = Scene::up();
    refused.guest.reboot.action = RebootAction::Stop;
    assert_eq!(reported(&mut refused, 5, 1), Decision::Stop);
    is_left_up(&mut refused);
    assert_eq!(refused.state.intent, Intent::Up);

    let mut looping = Scene::up();
    looping.guest.reboot.limit.count = 0;
    assert_eq!(reported(&mut looping, 5, 1), Decision::Stop);
    is_left_up(&mut looping);

    for code in [0, 1] {
        let mut asked = Scene::up();
        asked.guest.reboot.action = RebootAction::Script("/decide".into());
        asked.happens(5, Event::Reported(HelperId(1), wire::Event::Reboot));
        asked.happens(6, Event::ScriptEnded(HelperId(1), Some(code)));
        is_left_up(&mut asked);
    }

    let mut recalled_as_refused = Scene::up();
    recalled_as_refused.happens(5, recalled(5, Decision::Stop));
    is_left_up(&mut recalled_as_refused);
}

#[test]
fn what_a_guests_own_helper_declines_stays_down() {
    let declined = |scene: &mut Scene| {
        let effects = scene.happens(5, Event::Reported(HelperId(3), wire::Event::Declined));
        let [Effect::Answer(_, answer)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(answer.decision, Decision::Stop);
        let reason = answer.reason.clone();
        scene.exits(5, 0x1);
        assert_eq!(scene.sees(6, Observation::Gone), [], "it is not started again");
        assert_eq!(scene.state.reboots.len(), 0, "a reboot that is not carried out does not count");
        reason
    };
    let mut scene = Scene::up();
    assert_eq!(declined(&mut scene), "its own helper declined");
    assert!(
        matches!(&scene.state.phase, Phase::Down(Some(End::GuestReboot { why })) if why.contains("helper"))
    );

    let mut seen = Scene::up();
    seen.exits(4, 0x1);
    declined(&mut seen);
    assert!(matches!(&seen.state.phase, Phase::Down(Some(End::GuestReboot { .. }))));

    let mut asked = Scene::up();
    asked.guest.reboot.action = RebootAction::Script("/decide".into());
    declined(&mut asked);

    let mut settled = Scene::up();
    settled.guest.reboot.action = RebootAction::Stop;
    assert_eq!(declined(&mut settled), "its settings say stop", "guestd's own reason is the one");
}

#[test]
fn a_frozen_guest_that_was_only_reported_to_reboot_is_frozen_again() {
    let mut scene = Scene::up();
    scene.sees(2, Observation::Frozen);
    assert_eq!(reported(&mut scene, 5, 1), Decision::Restart);
    is_left_up(&mut scene);
}

#[test]
fn what_really_happens_after_a_report_counts() {
    // It halts instead.
    let mut halts = Scene::up();
    halts.guest.fingerprint = 2;
    reported(&mut halts, 5, 1);
    halts.exits(6, 0x2);
    assert_eq!(halts.sees(7, Observation::Gone), [], "it is not started anew");
    assert_eq!(halts.state.phase, Phase::Down(Some(End::GuestHalt)));

    // It does reboot, late: its new init has its whole time.
    let mut late = Scene::up();
    reported(&mut late, 5, 1);
    late.exits(90, 0x1);
    assert_eq!(late.state.deadline(), Some(at(180).instant), "start.timeout from its end");
    late.sees(91, Observation::Running(init(200)));
    assert!(matches!(&late.state.phase, Phase::Up(run) if run.init == Some(init(200))));

    // The end is seen first by its new init, as after an adoption.
    let mut unseen = Scene::up();
    reported(&mut unseen, 5, 1);
    unseen.sees(6, Observation::Running(init(100)));
    assert!(matches!(unseen.state.phase, Phase::Rebooting { .. }), "this is the old one");
    unseen.sees(7, Observation::Running(init(200)));
    assert!(matches!(unseen.state.phase, Phase::Up(_)));
}

#[test]
fn a_refused_reboot_that_is_seen_to_end_late_is_still_refused() {
    let mut scene = Scene::up();
    scene.guest.reboot.action = RebootAction::Stop;
    reported(&mut scene, 5, 1);
    scene.exits(5, 0x1);
    assert_eq!(scene.happens(65, Event::TimedOut), [Effect::Kill(Epoch(1))], "its hooks hang");
    scene.happens(66, Event::KillReturned(Epoch(1), Ok(())));
    assert!(matches!(scene.state.phase, Phase::Down(Some(End::GuestReboot { .. }))));
}

#[test]
fn a_decision_made_beforehand_is_about_one_reboot_soon() {
    let ignoring = || {
        let mut scene = Scene::up();
        scene.guest.reboot.action = RebootAction::Stop;
        scene.happens(5, Event::RebootRequested);
        scene
    };
    let mut late = ignoring();
    assert_eq!(reported(&mut late, 65, 1), Decision::Stop, "its stop.timeout is over: this one is its own");

    let mut unreported = ignoring();
    unreported.exits(65, 0x1);
    let stop = [Effect::Request(Epoch(1), Request::Stop)];
    assert_eq!(unreported.sees(66, Observation::Running(init(200))), stop);

    let mut slow = ignoring();
    slow.exits(64, 0x1);
    slow.sees(70, Observation::Running(init(200)));
    assert!(matches!(slow.state.phase, Phase::Up(_)), "it began in time");
    assert_eq!(slow.state.reboots.len(), 0);

    let mut recalled_only = Scene::up();
    recalled_only.guest.reboot.limit.window = Duration::from_secs(3600);
    recalled_only.happens(5, recalled(5, Decision::Restart));
    reported(&mut recalled_only, 95, 1);
    assert_eq!(recalled_only.state.reboots.len(), 2);
}

#[test]
fn a_loop_guard_that_tripped_without_the_daemon_has_the_same_end() {
    let trips = |scene: &mut Scene, seconds: u64| {
        let Event::Recalled { event, at, decision, reason, .. } = recalled(seconds, Decision::Stop) else {
            unreachable!()
        };
        let tripped = Some(scene.guest.reboot.limit);
        scene.happens(seconds, Event::Recalled { event, at, decision, reason, tripped });
    };
    let mut away = Scene::new();
    trips(&mut away, 5);
    away.happens(6, Event::Probed(Found::State { probe: Probe::Down, remembered: None }));
    let mut hung = Scene::up();
    hung.exits(5, 0x1);
    trips(&mut hung, 5);
    hung.sees(6, Observation::Gone);
    for scene in [away, hung] {
        let status = status::of(&scene.guest, &scene.state, false);
        assert_eq!((status.phase, status.intent_up), (PhaseWord::Failed, true));
        assert!(status.reason.starts_with("reboot loop: it rebooted more than 5 times"), "{}", status.reason);
    }
}

/// A look finds that a run ended so, which the daemon before this one had started.
fn found_ended(raw: i32, follows: Option<Follows>) -> Event {
    let remembered = Some(Remembered { follows, ..super::remembered() });
    Event::Probed(Found::State { probe: Probe::Ended { status: WaitStatus(raw), keeper: None }, remembered })
}

#[test]
fn an_end_without_the_daemon_is_what_its_status_says_and_what_is_known_of_the_run() {
    let asked = || Some(Follows::End(End::Asked { killed: false }));
    let crash = || Some(Follows::End(End::Crash(WaitStatus(0x300))));
    for (raw, follows, phase, reason, intent) in [
        (0x2, None, PhaseWord::Down, "halted by the guest", Intent::Down),
        (0x300, None, PhaseWord::Failed, "crashed: its init exited with status 3", Intent::Up),
        (0x2, asked(), PhaseWord::Down, "stopped by request", Intent::Down),
        (0x9, asked(), PhaseWord::Down, "stopped by request", Intent::Down),
        (0x300, crash(), PhaseWord::Failed, "crashed: its init exited with status 3", Intent::Up),
        (0x2, Some(Follows::Start), PhaseWord::Starting, "", Intent::Up),
    ] {
        let mut scene = Scene::new();
        scene.happens(7, found_ended(raw, follows));
        let status = status::of(&scene.guest, &scene.state, false);
        assert_eq!((status.phase, status.reason.as_str()), (phase, reason), "{raw:#x}");
        assert_eq!(scene.state.intent, intent, "{raw:#x}");
    }
}

#[test]
fn what_was_begun_with_a_run_goes_on_with_the_next_daemon() {
    for (follows, effects, word) in [
        (Some(Follows::End(End::Asked { killed: false })), 2, PhaseWord::Stopping),
        (Some(Follows::Start), 2, PhaseWord::Stopping),
        (Some(Follows::End(End::GuestHalt)), 1, PhaseWord::Up),
        (None, 1, PhaseWord::Up),
    ] {
        let mut scene = Scene::new();
        let remembered = Some(Remembered { follows: follows.clone(), ..super::remembered() });
        let told = scene.happens(7, Event::Probed(Found::State { probe: Probe::Up(init(42)), remembered }));
        assert_eq!(told.len(), effects, "{follows:?}: {told:?}");
        assert_eq!(status::of(&scene.guest, &scene.state, false).phase, word, "{follows:?}");
        scene.exits(8, 0x2);
        scene.sees(8, Observation::Gone);
        let again = follows == Some(Follows::Start);
        let phase = if again { PhaseWord::Starting } else { PhaseWord::Down };
        assert_eq!(status::of(&scene.guest, &scene.state, false).phase, phase, "{follows:?}");
    }
}

#[test]
fn an_end_of_which_nothing_is_known_is_told_as_such() {
    for (was_seen, reason) in [(true, "ended unobserved"), (false, "")] {
        let remembered = Some(Remembered { was_seen, ..super::remembered() });
        let mut scene = Scene::new();
        scene.happens(7, Event::Probed(Found::State { probe: Probe::Down, remembered }));
        assert_eq!(status::of(&scene.guest, &scene.state, false).reason, reason);
    }
}

#[test]
fn what_was_decided_of_a_reboot_without_the_daemon_stands_before_its_status() {
    let mut scene = Scene::new();
    scene.happens(5, recalled(5, Decision::Stop));
    let before = scene.state.phase.clone();
    assert!(matches!(&before, Phase::Down(Some(End::GuestReboot { .. }))), "{before:?}");
    scene.happens(6, found_ended(0x1, None));
    assert_eq!(scene.state.phase, before);
    scene.happens(7, found_ended(0x2, None));
    assert_eq!(scene.state.phase, Phase::Down(Some(End::GuestHalt)), "it came back, and halted later");
}

#[test]
fn a_reboot_without_the_daemon_that_is_over_decides_nothing_about_the_next() {
    for (began, decided) in [(5, false), (4, true)] {
        let mut scene = Scene::new();
        let init = Init { since: at(began).wall, ..init(42) };
        scene.happens(6, Event::Probed(Found::State { probe: Probe::Up(init), remembered: None }));
        scene.happens(6, recalled(5, Decision::Restart));
        let run = scene.state.run().expect("it runs");
        assert_eq!(run.is_reboot_decided(at(7).instant), decided, "an init since {began}");
        assert_eq!(scene.state.reboots.len(), 1, "it counts");
    }
}
