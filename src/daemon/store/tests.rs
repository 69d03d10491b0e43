//! What one daemon leaves of a guest, and what the next one makes of it.

use std::{path::Path, sync::Arc, time::Duration};

use super::{of_probe, stored_policy};
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Init, Observation, Probe},
    model::{
        Argv, Condition, EngineSpec, Guest, GuestName, HookStage, Instant, LxcSpec, Now, OnTimeout,
        ProcessId, Timestamp, WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Event, Found, Grant, StopKind},
        machine::handle,
        state::{Intent, Phase, State},
    },
};

const POWEROFF: WaitStatus = WaitStatus(2);

fn guest() -> Guest {
    let engine = EngineSpec::Lxc(LxcSpec::new(Arc::from(Path::new("/lxc"))));
    Guest::new(GuestName::new("web").unwrap(), engine)
}

fn at(seconds: u64) -> Now {
    Now { instant: Instant(Duration::from_secs(seconds)), wall: Timestamp(1_000_000 * (1_000_000 + seconds)) }
}

fn init() -> Init {
    Init { pid: 100, since: Timestamp(7), keeper: Some(ProcessId { pid: 99, started: 1 }) }
}

/// A guest, and all that is known of it.
struct Scene {
    guest: Guest,
    state: State,
    /// Who keeps its run, as far as that is stored.
    keeper: Option<ProcessId>,
    /// What the last event called for.
    effects: Vec<Effect>,
}

impl Scene {
    fn starting(guest: Guest) -> Self {
        let state = State::new(at(0).wall);
        let mut scene = Self { guest, state, keeper: None, effects: Vec::new() };
        scene.happens(1, Event::StartRequested);
        scene.happens(1, Event::StartReturned(Epoch(1), Ok(())));
        scene
    }

    fn up(guest: Guest) -> Self {
        let mut scene = Self::starting(guest);
        scene.happens(2, Event::Observed(Epoch(1), Observation::Running(init())));
        scene
    }

    fn happens(&mut self, seconds: u64, event: Event) {
        self.effects = handle(&mut self.state, &self.guest, event, at(seconds));
        self.keeper = self.stored().and_then(|policy| policy.keeper);
    }

    fn stored(&self) -> Option<crate::helper::policy::StoredPolicy> {
        stored_policy(&self.guest, &self.state, self.keeper, at(99)).map(|(policy, _)| policy)
    }

    /// The daemon is killed, and the next one finds this.
    fn next(self, probe: Probe) -> Self {
        let found = of_probe(self.stored(), probe, at(99));
        let mut next = Self { state: State::new(at(99).wall), ..self };
        next.happens(100, Event::Probed(found));
        next
    }
}

#[test]
fn a_guest_that_is_stopped_for_not_being_ready_is_started_again_by_the_next_daemon() {
    for found in [Probe::Down, Probe::Ended { status: POWEROFF, keeper: None }] {
        let mut late = guest();
        late.ready.when = Condition::Notify;
        late.ready.on_timeout = OnTimeout::Fail;
        let mut scene = Scene::up(late);
        scene.happens(62, Event::TimedOut);
        assert!(matches!(scene.state.phase, Phase::Stopping { .. }));
        let next = scene.next(found);
        assert!(matches!(next.state.phase, Phase::BackingOff { .. }), "{found:?}: {:?}", next.state);
    }
}

#[test]
fn a_guest_whose_init_was_not_seen_in_time_is_started_again_by_the_next_daemon() {
    let mut scene = Scene::starting(guest());
    scene.happens(91, Event::TimedOut);
    assert!(matches!(scene.state.phase, Phase::Stopping { .. }));
    let next = scene.next(Probe::Down);
    assert!(matches!(next.state.phase, Phase::BackingOff { .. }), "{:?}", next.state);
}

#[test]
fn failures_are_counted_on_by_the_next_daemon() {
    let crash = |scene: &mut Scene, seconds| {
        scene.happens(
            seconds,
            Event::Observed(scene.state.epoch, Observation::InitExited(Some(WaitStatus(9)))),
        );
        scene.happens(seconds, Event::Observed(scene.state.epoch, Observation::Gone));
    };
    let mut limited = guest();
    limited.restart.limit.count = 2;
    let mut scene = Scene::up(limited);
    crash(&mut scene, 50);
    scene = scene.next(Probe::Down);
    scene.happens(101, Event::Retried(Grant::Now));
    scene.happens(102, Event::Observed(scene.state.epoch, Observation::Running(init())));
    scene = scene.next(Probe::Up(init()));
    assert_eq!((scene.state.retries.at.len(), scene.state.retries.streak), (1, 1));
    crash(&mut scene, 110);
    assert!(matches!(scene.state.phase, Phase::BackingOff { .. }), "{:?}", scene.state);
    scene = scene.next(Probe::Down);
    scene.happens(112, Event::Retried(Grant::Now));
    scene.happens(113, Event::Observed(scene.state.epoch, Observation::Running(init())));
    crash(&mut scene, 114);
    assert!(matches!(scene.state.phase, Phase::Failed { .. }), "{:?}", scene.state);
}

/// Asked to stop, and it would not die.
fn stuck() -> Scene {
    let mut scene = Scene::up(guest());
    scene.happens(5, Event::StopRequested(StopKind::Kill));
    let error = EngineError { operation: "kill it", kind: ErrorKind::TimedOut, reason: "it lives".into() };
    scene.happens(15, Event::KillReturned(Epoch(1), Err(error)));
    assert!(matches!(scene.state.phase, Phase::Failed { remains: Some(_), .. }));
    scene
}

#[test]
fn one_that_would_not_die_is_not_wanted_up_by_the_next_daemon() {
    let mut next = stuck().next(Probe::Up(init()));
    assert_eq!(next.state.intent, Intent::Down);
    next.happens(110, Event::Observed(next.state.epoch, Observation::Gone));
    assert!(matches!(next.state.phase, Phase::Down(_)), "{:?}", next.state);
    for found in [Probe::Down, Probe::Ended { status: WaitStatus(9), keeper: None }] {
        let next = stuck().next(found);
        assert_eq!(next.state.intent, Intent::Down);
        assert!(matches!(next.state.phase, Phase::Failed { remains: None, .. }), "{:?}", next.state);
    }
}

#[test]
fn what_somebody_wants_down_is_not_started_by_the_next_daemon() {
    let restarted = || {
        let mut scene = Scene::up(guest());
        scene.happens(5, Event::RestartRequested(StopKind::Ask(None)));
        scene
    };
    let backing_off = || {
        let mut scene = Scene::up(guest());
        scene.happens(5, Event::Observed(Epoch(1), Observation::InitExited(Some(WaitStatus(9)))));
        scene.happens(5, Event::Observed(Epoch(1), Observation::Gone));
        scene
    };
    for (scene, found) in [
        (Scene::starting(guest()), Probe::Down),
        (backing_off(), Probe::Down),
        (restarted(), Probe::Down),
        (restarted(), Probe::Ended { status: POWEROFF, keeper: None }),
    ] {
        let mut scene = scene;
        // Its turn to stop has not come.
        scene.state.want(Intent::Down);
        let next = scene.next(found);
        assert_eq!(next.state.intent, Intent::Down);
        assert!(matches!(next.state.phase, Phase::Down(Some(_))), "{found:?}: {:?}", next.state);
    }
    let mut scene = restarted();
    scene.state.want(Intent::Down);
    let mut next = scene.next(Probe::Up(init()));
    next.happens(110, Event::Observed(next.state.epoch, Observation::Gone));
    assert!(matches!(next.state.phase, Phase::Down(Some(_))), "{:?}", next.state);
}

#[test]
fn a_run_that_ended_without_a_daemon_has_its_last_hooks_once() {
    let hooked = || {
        let mut guest = guest();
        guest.hooks.post_stop = vec![Argv::new(vec!["/bin/true".into()]).unwrap()];
        guest
    };
    let crashed = || {
        let mut scene = Scene::up(hooked());
        scene.happens(5, Event::Observed(Epoch(1), Observation::Gone));
        scene
    };
    let restarted = || {
        let mut scene = Scene::up(hooked());
        scene.happens(5, Event::RestartRequested(StopKind::Ask(None)));
        scene
    };
    let [down, halted] = [Probe::Down, Probe::Ended { status: POWEROFF, keeper: None }];
    for (scene, found, hooks) in [
        (Scene::up(hooked()), down, 1),
        (Scene::up(hooked()), halted, 1),
        (Scene::up(hooked()), Probe::Up(init()), 0),
        (Scene::starting(hooked()), down, 1),
        (restarted(), halted, 1),
        // The daemon before has seen its end.
        (crashed(), down, 0),
    ] {
        let mut next = scene.next(found);
        let count = |scene: &Scene| {
            let is_hook = |effect: &&Effect| matches!(effect, Effect::Hook(HookStage::PostStop, _));
            scene.effects.iter().filter(is_hook).count()
        };
        assert_eq!(count(&next), hooks, "{found:?}: {:?}", next.state);
        let starts = |effect: &Effect| matches!(effect, Effect::Start(_));
        assert!(hooks == 0 || !next.effects.first().is_some_and(starts), "before it starts again");
        next.happens(101, Event::Probed(Found::State { probe: down, remembered: None }));
        assert_eq!(count(&next), 0);
    }
}
