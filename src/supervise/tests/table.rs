//! Every event in every phase: the invariants that hold whatever happens, and random histories.

use std::time::Duration;

use proptest::prelude::*;

use super::{Scene, failed, init};
use crate::{
    engine::{Epoch, Observation, Probe, Request},
    helper::wire::{self, Decision},
    model::{
        self, Condition, Guest, Health, HealthAction, OnTimeout, RebootAction, RestartPolicy, WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Check, Checking, Event, Found, Grant, HelperId, StopKind},
        state::{Intent, Next, Phase, Rebooting, Rung, Stage, State, Then},
    },
};

/// An event, with the current epoch filled in where it carries one.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Start,
    Stop,
    Hint,
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
    Declined,
    ScriptOk,
    ScriptNo,
    HostStop,
    Ready,
    NotReady,
    Well,
    Ill,
    Said,
    RetryNow,
    RetryWaits,
    RetryNever,
    RecalledRestart,
    RecalledStop,
    RecalledHalt,
    TimedOut,
}

const KINDS: [Kind; 45] = [
    Kind::Start,
    Kind::Stop,
    Kind::Kill,
    Kind::Restart,
    Kind::Reboot,
    Kind::Hint,
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
    Kind::Declined,
    Kind::ScriptOk,
    Kind::ScriptNo,
    Kind::HostStop,
    Kind::Ready,
    Kind::NotReady,
    Kind::Well,
    Kind::Ill,
    Kind::Said,
    Kind::RetryNow,
    Kind::RetryWaits,
    Kind::RetryNever,
    Kind::RecalledRestart,
    Kind::RecalledStop,
    Kind::RecalledHalt,
];

#[expect(clippy::too_many_lines, reason = "one arm for each kind")]
fn event(kind: Kind, epoch: Epoch) -> Event {
    let ask = StopKind::Ask(Some(Duration::from_secs(60)));
    let seen = |what| Event::Observed(epoch, what);
    match kind {
        Kind::Start => Event::StartRequested,
        Kind::Stop => Event::StopRequested(ask),
        Kind::Hint => Event::StopRequested(StopKind::Hint),
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
        Kind::Declined => Event::Reported(HelperId(3), wire::Event::Declined),
        Kind::ScriptOk => Event::ScriptEnded(HelperId(1), Some(0)),
        Kind::ScriptNo => Event::ScriptEnded(HelperId(1), Some(1)),
        Kind::HostStop => Event::HostStopRequested(ask),
        Kind::Ready => Event::Checked(checking(epoch, Check::Readiness), Ok(())),
        Kind::NotReady => Event::Checked(checking(epoch, Check::Readiness), Err("refused".into())),
        Kind::Well => Event::Checked(checking(epoch, Check::Health), Ok(())),
        Kind::Ill => Event::Checked(checking(epoch, Check::Health), Err("refused".into())),
        Kind::Said => Event::Said(checking(epoch, Check::Readiness), "loading".into()),
        Kind::RetryNow => Event::Retried(Grant::Now),
        Kind::RetryWaits => Event::Retried(Grant::Waits("db".into())),
        Kind::RetryNever => Event::Retried(Grant::Never("db is not up".into())),
        Kind::RecalledRestart => recalled(wire::Event::Reboot, Decision::Restart),
        Kind::RecalledStop => recalled(wire::Event::Reboot, Decision::Stop),
        Kind::RecalledHalt => recalled(wire::Event::Halt, Decision::Stop),
        Kind::TimedOut => Event::TimedOut,
    }
}

fn checking(epoch: Epoch, check: Check) -> Checking {
    Checking { epoch, init: 100, check }
}

fn recalled(event: wire::Event, decision: Decision) -> Event {
    Event::Recalled { event, at: super::at(9).wall, decision, reason: "by its policy".into(), tripped: None }
}

/// Guests whose settings lead to every decision.
fn kinds_of_guests() -> Vec<Guest> {
    let mut guests = Vec::new();
    for action in [RebootAction::Restart, RebootAction::Stop, RebootAction::Script("/decide".into())] {
        for policy in RestartPolicy::ALL {
            let mut plain = super::guest("web");
            plain.reboot.action = action.clone();
            plain.restart.policy = policy;
            let mut checked = plain.clone();
            checked.ready.when = Condition::Notify;
            checked.ready.on_timeout = OnTimeout::Fail;
            let health = Health::new(model::Probe::File("/run/well".into()));
            checked.health = Some(Health { threshold: 1, action: HealthAction::Restart, ..health });
            guests.extend([plain, checked]);
        }
    }
    guests
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
    if let Phase::BackingOff { .. } = after.phase {
        assert_eq!(after.intent, Intent::Up, "{kind:?}: what is wanted down is not to be started again");
        assert_eq!(after.live_epoch(), None);
    }
    let checks = effects.iter().filter_map(|effect| match effect {
        Effect::Check(checking) => Some(checking),
        _ => None,
    });
    for checking in checks {
        assert_eq!(checking.map(|checking| checking.epoch), checking.and(after.live_epoch()), "{kind:?}");
    }
    if matches!(kind, Kind::Stop | Kind::Kill | Kind::HostStop) {
        assert_eq!(after.intent, Intent::Down);
        assert!(starts.is_empty(), "{kind:?} starts");
    }
    if matches!(kind, Kind::Reported | Kind::ReportedStop | Kind::Declined) {
        let answered = effects.iter().filter(|e| matches!(e, Effect::Answer(..) | Effect::RunScript(..)));
        assert_eq!(answered.count(), 1, "{kind:?}: every helper request is answered");
    }
    assert!(after.epoch >= before.epoch);
}

/// Every phase, with what its data makes of it for decisions.
const PHASES: [&str; 19] = [
    "backing off",
    "backing off, due",
    "down",
    "failed",
    "failed, with remains",
    "frozen",
    "rebooting, allowed",
    "rebooting, by script",
    "rebooting, undecided",
    "starting",
    "stopping, asked",
    "stopping, asked, then recover",
    "stopping, asked, then start",
    "stopping, ending",
    "stopping, hinted",
    "stopping, killing",
    "up, awaited",
    "up, missed",
    "up, ready",
];

fn label(phase: &Phase) -> &'static str {
    match phase {
        Phase::Down(_) => "down",
        Phase::Failed { remains: None, .. } => "failed",
        Phase::Failed { remains: Some(_), .. } => "failed, with remains",
        Phase::BackingOff { next: Next::At { .. }, .. } => "backing off",
        Phase::BackingOff { next: Next::Due(_), .. } => "backing off, due",
        Phase::Starting { .. } => "starting",
        Phase::Up(run) => match run.service.stage {
            Stage::Awaited { .. } => "up, awaited",
            Stage::Missed => "up, missed",
            Stage::Ready { .. } => "up, ready",
        },
        Phase::Frozen(_) => "frozen",
        Phase::Rebooting { decision: Rebooting::Undecided, .. } => "rebooting, undecided",
        Phase::Rebooting { decision: Rebooting::Script { .. }, .. } => "rebooting, by script",
        Phase::Rebooting { decision: Rebooting::Allowed, .. } => "rebooting, allowed",
        Phase::Stopping { rung: Rung::Ending, .. } => "stopping, ending",
        Phase::Stopping { rung: Rung::Hinted, .. } => "stopping, hinted",
        Phase::Stopping { rung: Rung::Killing, .. } => "stopping, killing",
        Phase::Stopping { rung: Rung::Asked, then: Then::Start, .. } => "stopping, asked, then start",
        Phase::Stopping { rung: Rung::Asked, then: Then::Recover(_), .. } => "stopping, asked, then recover",
        Phase::Stopping { rung: Rung::Asked, then: Then::Stay(_) | Then::Fail(_), .. } => "stopping, asked",
    }
}

#[test]
fn every_event_in_every_phase_keeps_the_invariants() {
    let mut phases = std::collections::BTreeSet::new();
    for guest in kinds_of_guests() {
        let mut frontier = vec![Scene::of(guest.clone()), Scene::up_of(guest)];
        let mut seen = std::collections::HashSet::new();
        for depth in 0..4 {
            let mut next = Vec::new();
            for scene in frontier {
                for kind in KINDS.into_iter().chain([Kind::TimedOut]) {
                    let (mut state, guest) = (scene.state.clone(), scene.guest.clone());
                    let before = state.clone();
                    let epoch = state.epoch;
                    let now = super::at(10 + depth);
                    let effects =
                        crate::supervise::machine::handle(&mut state, &guest, event(kind, epoch), now);
                    check(&before, &state, kind, &effects);
                    phases.insert(label(&state.phase));
                    let (reboots, retries) = (state.reboots.len(), state.retries.at.len());
                    if seen.insert(format!("{:?}{:?}{reboots}{retries}", state.phase, state.intent)) {
                        next.push(Scene { guest, state });
                    }
                }
            }
            frontier = next;
        }
        assert!(seen.len() > 100, "only {} states were reached", seen.len());
    }
    assert_eq!(Vec::from_iter(phases), PHASES);
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
