//! Every event in every phase: the invariants that hold whatever happens, and random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::{Scene, failed, init};
use crate::{
    engine::{Epoch, Observation, Probe, Request},
    helper::wire,
    model::{RebootAction, WaitStatus},
    supervise::{
        effect::Effect,
        event::{Event, Found, HelperId, StopKind},
        state::{Intent, Phase, State},
    },
};

/// An event, with the current epoch filled in where it carries one.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Start,
    Stop,
    Kill,
    Restart,
    Reboot,
    Freeze,
    Thaw,
    Reset,
    StartOk,
    StartErr,
    StopErr,
    FreezeOk,
    ThawOk,
    KillOk,
    KillErr,
    FoundUp,
    FoundFailed,
    FoundChanging,
    Running(i32),
    Frozen,
    Thawed,
    Exited(i32),
    Starved,
    ExitUnknown,
    Gone,
    Reported,
    ReportedStop,
    ScriptOk,
    ScriptNo,
    TimedOut,
}

const KINDS: [Kind; 31] = [
    Kind::Start,
    Kind::Stop,
    Kind::Kill,
    Kind::Restart,
    Kind::Reboot,
    Kind::Freeze,
    Kind::Thaw,
    Kind::Reset,
    Kind::StartOk,
    Kind::StartErr,
    Kind::StopErr,
    Kind::FreezeOk,
    Kind::ThawOk,
    Kind::KillOk,
    Kind::KillErr,
    Kind::FoundUp,
    Kind::FoundFailed,
    Kind::FoundChanging,
    Kind::Running(100),
    Kind::Running(200),
    Kind::Frozen,
    Kind::Thawed,
    Kind::Exited(1),
    Kind::Exited(9),
    Kind::Starved,
    Kind::ExitUnknown,
    Kind::Gone,
    Kind::Reported,
    Kind::ReportedStop,
    Kind::ScriptOk,
    Kind::ScriptNo,
];

fn event(kind: Kind, epoch: Epoch) -> Event {
    let ask = StopKind::Ask(Some(Duration::from_secs(60)));
    let seen = |what| Event::Observed(epoch, what);
    match kind {
        Kind::Start => Event::StartRequested,
        Kind::Stop => Event::StopRequested(ask),
        Kind::Kill => Event::StopRequested(StopKind::Kill),
        Kind::Restart => Event::RestartRequested(ask),
        Kind::Reboot => Event::RebootRequested,
        Kind::Freeze => Event::FreezeRequested,
        Kind::Thaw => Event::ThawRequested,
        Kind::Reset => Event::ResetRequested,
        Kind::StartOk => Event::StartReturned(epoch, Ok(())),
        Kind::StartErr => Event::StartReturned(epoch, Err(failed())),
        Kind::StopErr => Event::RequestReturned(epoch, Request::Stop, Err(failed())),
        Kind::FreezeOk => Event::RequestReturned(epoch, Request::Freeze, Ok(())),
        Kind::ThawOk => Event::RequestReturned(epoch, Request::Thaw, Ok(())),
        Kind::KillOk => Event::KillReturned(epoch, Ok(())),
        Kind::KillErr => Event::KillReturned(epoch, Err(failed())),
        Kind::FoundUp => Event::Probed(Found::State { probe: Probe::Up(init(100)), remembered: None }),
        Kind::FoundFailed => Event::Probed(Found::Failed("no answer".into())),
        Kind::FoundChanging => Event::Probed(Found::State { probe: Probe::Changing, remembered: None }),
        Kind::Running(pid) => seen(Observation::Running(init(pid))),
        Kind::Frozen => seen(Observation::Frozen),
        Kind::Thawed => seen(Observation::Thawed),
        Kind::Exited(raw) => seen(Observation::InitExited(Some(WaitStatus(raw)))),
        Kind::Starved => seen(Observation::OutOfMemory),
        Kind::ExitUnknown => seen(Observation::InitExited(None)),
        Kind::Gone => seen(Observation::Gone),
        Kind::Reported => Event::Reported(HelperId(1), wire::Event::Reboot),
        Kind::ReportedStop => Event::Reported(HelperId(2), wire::Event::Stop),
        Kind::ScriptOk => Event::ScriptEnded(HelperId(1), Some(0)),
        Kind::ScriptNo => Event::ScriptEnded(HelperId(1), Some(1)),
        Kind::TimedOut => Event::TimedOut,
    }
}

/// What must hold after any event.
fn check(before: &State, after: &State, kind: Kind, effects: &[Effect]) {
    let starts: Vec<_> = effects.iter().filter(|e| matches!(e, Effect::Start(_))).collect();
    assert!(starts.len() <= 1, "{kind:?} starts twice");
    if let [Effect::Start(epoch)] = starts[..] {
        assert!(*epoch > before.epoch, "{kind:?}: an epoch is used once");
        assert_eq!(after.live_epoch(), Some(*epoch), "{kind:?}: the run that begins is the live one");
        assert!(
            !matches!(before.phase, Phase::Up(_) | Phase::Frozen(_) | Phase::Starting { .. }),
            "{kind:?} starts what runs"
        );
    }
    for effect in effects {
        if let Effect::Request(epoch, _) | Effect::Kill(epoch) | Effect::Watch(epoch) = effect {
            assert_eq!(after.live_epoch(), Some(*epoch), "{kind:?}: {effect:?} is about a dead run");
        }
    }
    if matches!(kind, Kind::Stop | Kind::Kill) {
        assert_eq!(after.intent, Intent::Down);
        assert!(starts.is_empty(), "{kind:?} starts");
    }
    if matches!(kind, Kind::Reported | Kind::ReportedStop) {
        let answered = effects.iter().filter(|e| matches!(e, Effect::Answer(..) | Effect::RunScript(..)));
        assert_eq!(answered.count(), 1, "{kind:?}: every helper request is answered");
    }
    assert!(after.epoch >= before.epoch);
}

#[test]
fn every_event_in_every_reachable_phase_keeps_the_invariants() {
    for action in [RebootAction::Restart, RebootAction::Stop, RebootAction::Script("/decide".into())] {
        let mut frontier = vec![Scene::new(), Scene::up()];
        let mut seen = std::collections::HashSet::new();
        for depth in 0..4 {
            let mut next = Vec::new();
            for scene in frontier {
                for kind in KINDS.into_iter().chain([Kind::TimedOut]) {
                    let mut state = scene.state.clone();
                    let mut guest = scene.guest.clone();
                    guest.reboot.action = action.clone();
                    let before = state.clone();
                    let epoch = state.epoch;
                    let now = super::at(10 + depth);
                    let effects =
                        crate::supervise::machine::handle(&mut state, &guest, event(kind, epoch), now);
                    check(&before, &state, kind, &effects);
                    if seen.insert(format!("{:?}{:?}{:?}", state.phase, state.intent, state.reboots.len())) {
                        next.push(Scene { guest, state });
                    }
                }
            }
            frontier = next;
        }
        assert!(seen.len() > 100, "only {} states were reached", seen.len());
    }
}

proptest! {
    #[test]
    fn random_histories_keep_the_invariants_and_obey_the_last_intent(
        kinds in proptest::collection::vec(proptest::sample::select(KINDS.to_vec()), 0..60),
        stop_in_the_end in any::<bool>(),
    ) {
        let mut scene = Scene::new();
        for (n, kind) in kinds.into_iter().enumerate() {
            let before = scene.state.clone();
            let epoch = before.epoch;
            let effects = scene.happens(10 + n as u64, event(kind, epoch));
            check(&before, &scene.state, kind, &effects);
        }
        // The world settles: whatever was asked for is done, and the guest obeys.
        let wish = if stop_in_the_end { Kind::Kill } else { Kind::Start };
        for _ in 0..4 {
            for kind in [wish, Kind::ScriptOk, Kind::KillOk, Kind::Gone, Kind::StartOk, Kind::Running(300)] {
                let epoch = scene.state.epoch;
                if kind_makes_sense(kind, &scene.state) {
                    scene.happens(1000, event(kind, epoch));
                }
            }
        }
        prop_assert_eq!(scene.state.is_running(), !stop_in_the_end, "{:?}", scene.state);
    }
}

/// Whether a well-behaved engine could report this now.
fn kind_makes_sense(kind: Kind, state: &State) -> bool {
    match kind {
        Kind::Gone | Kind::KillOk => matches!(state.phase, Phase::Stopping { .. } | Phase::Failed { .. }),
        Kind::Running(_) | Kind::StartOk => {
            matches!(state.phase, Phase::Starting { .. } | Phase::Rebooting { .. })
        }
        _ => true,
    }
}
