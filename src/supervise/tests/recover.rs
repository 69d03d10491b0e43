//! What follows each end under each restart policy: the table of `recover`, and of the manual page guestd.toml(5).

use std::time::Duration;

use super::{Scene, failed, init};
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Observation},
    model::{
        Condition, End, Health, HealthAction, Limit, OnTimeout, Probe, RebootAction, Restart, RestartPolicy,
        WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Check, Checking, Event, Grant, StopKind},
        state::{Failure, Intent, Next, Phase},
        status::word,
    },
};

const ASK: StopKind = StopKind::Ask(Some(Duration::from_secs(60)));

/// How a run ends, in the words of the table.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Asked,
    WithTheHost,
    Halt,
    Reboot,
    RebootRefused,
    NoNewInit,
    CleanExit,
    Crash,
    Starved,
    Ill,
    Vanished,
    StartFails,
    NeverReady,
    Misconfigured,
}

fn under(policy: RestartPolicy) -> Scene {
    let mut scene = Scene::new();
    scene.guest.restart = Restart { policy, ..Restart::default() };
    scene
}

fn up(mut scene: Scene) -> Scene {
    scene.happens(1, Event::StartRequested);
    scene.happens(1, Event::StartReturned(Epoch(1), Ok(())));
    scene.sees(1, Observation::Running(init(100)));
    scene
}

fn checks(scene: &mut Scene, seconds: u64, check: Check, result: Result<(), &str>) -> Vec<Effect> {
    let checking = Checking { epoch: scene.state.epoch, init: 100, check };
    scene.happens(seconds, Event::Checked(checking, result.map_err(str::to_owned)))
}

/// The phase in which a guest is once nothing of that run is left.
fn after(policy: RestartPolicy, ends: Ends) -> &'static str {
    let mut scene = under(policy);
    match ends {
        Ends::NeverReady => {
            scene.guest.ready.when = Condition::Notify;
            scene.guest.ready.on_timeout = OnTimeout::Fail;
        }
        Ends::RebootRefused => scene.guest.reboot.action = RebootAction::Stop,
        Ends::Ill => {
            let health = Health::new(Probe::File("/run/well".into()));
            scene.guest.health = Some(Health { threshold: 1, action: HealthAction::Restart, ..health });
        }
        _ => {}
    }
    scene.happens(1, Event::StartRequested);
    if let Ends::StartFails | Ends::Misconfigured = ends {
        let kind =
            if matches!(ends, Ends::StartFails) { ErrorKind::Failed } else { ErrorKind::Misconfigured };
        scene.happens(2, Event::StartReturned(Epoch(1), Err(EngineError { kind, ..failed() })));
    } else {
        scene.sees(1, Observation::Running(init(100)));
        plays(&mut scene, ends);
    }
    word(&scene.state.phase, false).as_str()
}

/// Lets its run end so.
fn plays(scene: &mut Scene, ends: Ends) {
    match ends {
        Ends::Asked => drop(scene.happens(5, Event::StopRequested(ASK))),
        Ends::WithTheHost => drop(scene.happens(5, Event::HostStopRequested(ASK))),
        Ends::Halt => drop(scene.exits(5, 2)),
        Ends::Reboot | Ends::RebootRefused | Ends::NoNewInit => drop(scene.exits(5, 1)),
        Ends::CleanExit => drop(scene.exits(5, 0)),
        Ends::Crash => drop(scene.exits(5, 0x300)),
        Ends::Starved => drop(scene.sees(5, Observation::OutOfMemory)),
        Ends::Ill => drop(checks(scene, 5, Check::Health, Err("no such file"))),
        Ends::NeverReady => drop(scene.happens(61, Event::TimedOut)),
        Ends::Vanished | Ends::StartFails | Ends::Misconfigured => {}
    }
    match ends {
        Ends::Reboot => drop(scene.sees(6, Observation::Running(init(101)))),
        Ends::NoNewInit => {
            scene.happens(300, Event::TimedOut);
            scene.happens(301, Event::KillReturned(Epoch(1), Ok(())));
        }
        _ => drop(scene.sees(62, Observation::Gone)),
    }
}

#[test]
fn the_table_of_ends_holds() {
    use Ends::*;
    let policies = [RestartPolicy::Never, RestartPolicy::OnFailure, RestartPolicy::Always];
    for (ends, phases) in [
        (Asked, ["down", "down", "down"]),
        (WithTheHost, ["down", "down", "down"]),
        (Halt, ["down", "down", "backing-off"]),
        (Reboot, ["up", "up", "up"]),
        (RebootRefused, ["down", "down", "down"]),
        (NoNewInit, ["failed", "backing-off", "backing-off"]),
        (CleanExit, ["down", "down", "backing-off"]),
        (Crash, ["failed", "backing-off", "backing-off"]),
        (Starved, ["failed", "backing-off", "backing-off"]),
        (Ill, ["failed", "backing-off", "backing-off"]),
        (Vanished, ["failed", "backing-off", "backing-off"]),
        (StartFails, ["failed", "backing-off", "backing-off"]),
        (NeverReady, ["failed", "backing-off", "backing-off"]),
        (Misconfigured, ["failed", "failed", "failed"]),
    ] {
        assert_eq!(policies.map(|policy| after(policy, ends)), phases, "{ends:?}");
    }
}

/// Crashes at this second, and is gone.
fn crashes(scene: &mut Scene, seconds: u64) {
    scene.exits(seconds, 9);
    scene.sees(seconds, Observation::Gone);
}

/// Its pause is over, nothing is in the way, and it is up again.
fn comes_back(scene: &mut Scene, seconds: u64) {
    scene.happens(seconds, Event::TimedOut);
    let effects = scene.happens(seconds, Event::Retried(Grant::Now));
    let epoch = scene.state.epoch;
    assert_eq!(effects, [Effect::Start(epoch)]);
    scene.happens(seconds, Event::StartReturned(epoch, Ok(())));
    scene.sees(seconds, Observation::Running(init(100)));
    assert_eq!(word(&scene.state.phase, false).as_str(), "up");
}

#[test]
fn a_guest_that_keeps_crashing_is_given_up_after_its_limit_and_started_by_hand_counts_anew() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    scene.guest.restart.limit = Limit { count: 2, window: Duration::from_secs(60) };
    for second in [10, 20] {
        crashes(&mut scene, second);
        comes_back(&mut scene, second + 1);
    }
    assert_eq!(scene.state.restarts, 2);
    crashes(&mut scene, 30);
    let Phase::Failed { why: Failure::RestartLimit { last, .. }, .. } = &scene.state.phase else {
        panic!("{:?}", scene.state.phase)
    };
    assert_eq!(**last, Failure::Ended(End::Crash(WaitStatus(9))));
    assert_eq!(scene.state.intent, Intent::Up, "it was to run");
    scene.happens(31, Event::StartRequested);
    assert_eq!(scene.state.retries, Default::default());
}

#[test]
fn a_run_that_was_ready_long_enough_ends_the_count_and_the_growth() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    scene.guest.restart.limit = Limit { count: 2, window: Duration::from_secs(3600) };
    crashes(&mut scene, 10);
    comes_back(&mut scene, 11);
    // A minute is the longest delay.
    crashes(&mut scene, 70);
    assert_eq!((scene.state.retries.at.len(), scene.state.retries.streak), (2, 2));
    comes_back(&mut scene, 71);
    crashes(&mut scene, 131);
    assert_eq!((scene.state.retries.at.len(), scene.state.retries.streak), (1, 1));
}

#[test]
fn crashes_and_reboots_are_counted_apart() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    for second in 2..7 {
        scene.exits(second, 1);
        scene.sees(second, Observation::Running(init(100)));
    }
    assert_eq!((scene.state.reboots.len(), scene.state.retries.at.len()), (5, 0));
    crashes(&mut scene, 8);
    assert_eq!((scene.state.reboots.len(), scene.state.retries.at.len()), (5, 1));
    assert!(matches!(scene.state.phase, Phase::BackingOff { .. }));
}

#[test]
fn a_stop_and_a_start_end_a_pause() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    crashes(&mut scene, 10);
    assert!(matches!(scene.state.phase, Phase::BackingOff { next: Next::At { .. }, .. }));
    let mut other = Scene { guest: scene.guest.clone(), state: scene.state.clone() };
    scene.happens(10, Event::StopRequested(ASK));
    assert_eq!(scene.state.phase, Phase::Down(Some(End::Asked { killed: false })));
    assert_eq!(scene.happens(20, Event::TimedOut), []);
    let effects = other.happens(10, Event::StartRequested);
    assert_eq!(effects, [Effect::Start(Epoch(2))]);
}

#[test]
fn what_is_wanted_down_is_not_started_again() {
    let mut scene = up(under(RestartPolicy::Always));
    // A stop was accepted, and its turn has not come.
    scene.state.want(Intent::Down);
    crashes(&mut scene, 10);
    assert_eq!(scene.state.phase, Phase::Down(Some(End::Crash(WaitStatus(9)))));
    let mut scene = up(under(RestartPolicy::Always));
    scene.state.want(Intent::Down);
    scene.exits(10, 1);
    scene.sees(11, Observation::Running(init(101)));
    let asks = matches!(scene.state.phase, Phase::Stopping { .. });
    assert!(asks, "a reboot during a shutdown is a stop: {:?}", scene.state.phase);
}

#[test]
fn the_host_stops_and_what_was_wanted_counts_at_its_next_boot() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    scene.happens(5, Event::HostStopRequested(ASK));
    assert_eq!((scene.state.intent, scene.state.wanted_at_boot), (Intent::Down, Intent::Up));
    scene.sees(6, Observation::Gone);
    assert_eq!(scene.state.phase, Phase::Down(Some(End::HostStop)));
    let mut scene = up(under(RestartPolicy::OnFailure));
    scene.happens(5, Event::StopRequested(ASK));
    assert_eq!(scene.state.wanted_at_boot, Intent::Down);
}

#[test]
fn a_pause_without_length_is_due_at_once() {
    let mut scene = up(under(RestartPolicy::OnFailure));
    scene.guest.restart.delay = Duration::ZERO;
    crashes(&mut scene, 10);
    assert!(scene.state.is_due());
    scene.happens(10, Event::Retried(Grant::Waits("db".into())));
    assert!(scene.state.is_due());
    scene.happens(11, Event::Retried(Grant::Never("db is not up".into())));
    assert!(
        matches!(&scene.state.phase, Phase::Failed { why: Failure::Required(why), .. } if why == "db is not up")
    );
}
