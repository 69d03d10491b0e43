//! What outlives the daemon and the boot: what is wanted, ends, counters; the host's own stop; a cluster's guests.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Scene, at,
    fleet::{World, rules},
    guest, name,
};
use crate::{
    engine::{Epoch, Observation, Probe},
    model::{
        Action, Auto, Follows, Guest, GuestName, Hold, Owner, PastEnd, Restart, Selection, StopWait, Verb,
        WaitStatus, status::PhaseWord,
    },
    supervise::{
        effect::Effect,
        event::{Event, Found, Remembered, StopKind},
        fleet::Fleet,
        recollection::Recollection,
        state::{Intent, Phase, Retries},
    },
};

const ASK: StopKind = StopKind::Ask(Some(Duration::from_secs(60)));

fn all() -> Selection {
    Selection { all: true, ..Selection::default() }
}

fn kept(world: &World, text: &str) -> Recollection {
    Recollection::of(world.fleet.state(&name(text)).expect("it is known"))
}

fn goes_down(world: &mut World, text: &str, seconds: u64) {
    let epoch = world.fleet.state(&name(text)).expect("it is known").epoch;
    for what in [Observation::InitExited(Some(WaitStatus(0))), Observation::Gone] {
        world.fleet.observed(&name(text), Some(epoch), what, at(seconds));
    }
}

#[test]
fn the_host_s_stop_changes_nothing_of_what_is_wanted() {
    for (action, how) in
        [(Action::Shutdown, "stopped with the host"), (Action::Kill, "stopped with the host")]
    {
        let mut world = World::up(["a", "b"].map(guest));
        world.operate(1, Verb::Stop, "b").unwrap();
        goes_down(&mut world, "b", 2);
        world.fleet.host_stops(true);
        world.fleet.autostart(action, &all(), StopWait::Configured, at(3)).unwrap();
        assert!(kept(&world, "a").is_wanted, "already when it is asked for");
        assert_eq!(world.fleet.state(&name("a")).unwrap().intent, Intent::Down);
        goes_down(&mut world, "a", 4);
        if action == Action::Kill {
            world.fleet.happened(&name("a"), Event::KillReturned(Epoch(1), Ok(())), at(4));
        }
        let (a, b) = (kept(&world, "a"), kept(&world, "b"));
        assert_eq!((a.is_wanted, b.is_wanted), (true, false), "{action}");
        assert_eq!(*a.history, [PastEnd { at: at(4).wall, how: how.into() }]);
        assert_eq!(*b.history, [PastEnd { at: at(2).wall, how: "stopped by request".into() }]);
    }
}

#[test]
fn without_the_host_s_stop_a_bulk_stop_is_an_operator_s_wish() {
    let mut world = World::up([guest("a")]);
    world.fleet.host_stops(false);
    world.fleet.autostart(Action::Shutdown, &all(), StopWait::Configured, at(1)).unwrap();
    assert!(!kept(&world, "a").is_wanted);
}

#[test]
fn last_state_starts_who_was_up_whatever_has_happened_since() {
    let mut guests = ["a", "b"].map(guest);
    guests.iter_mut().for_each(|guest| guest.start.auto = Auto::LastState);
    let mut fleet = Fleet::new(rules(9), BTreeSet::new());
    let was_up = Recollection { is_wanted: true, was_up: true, ..Recollection::default() };
    fleet.recollect([(name("a"), was_up)]);
    fleet.load(rules(9), guests.map(|guest| (guest.name.clone(), Arc::new(guest))).into(), at(0));
    let planned = |fleet: &Fleet| -> Vec<GuestName> {
        let outlook = fleet.plan(Action::Start, &all()).unwrap();
        outlook.steps.into_iter().map(|step| step.guest).collect()
    };
    assert_eq!(planned(&fleet), [name("a")]);
    // What is wanted now counts at the next boot only.
    fleet.happened(&name("a"), Event::StopRequested(ASK), at(1));
    fleet.happened(&name("b"), Event::StartRequested, at(1));
    fleet.happened(&name("b"), Event::StopRequested(StopKind::Kill), at(2));
    assert_eq!(planned(&fleet), [name("a")]);
    assert!(!Recollection::of(fleet.state(&name("a")).unwrap()).is_wanted);
}

/// A daemon that has recollected this of web and found it like this.
fn next_daemon(web: Guest, kept: Recollection, follows: Option<Follows>) -> Fleet {
    let mut fleet = Fleet::new(rules(9), BTreeSet::new());
    fleet.recollect([(name("web"), kept)]);
    fleet.looks_around();
    fleet.load(rules(9), [(name("web"), Arc::new(web))].into(), at(100));
    let remembered =
        follows.map(|follows| Remembered { was_seen: false, follows: Some(follows), ..super::remembered() });
    let found = Found::State { probe: Probe::Down, remembered };
    fleet.happened(&name("web"), Event::Probed(found), at(101));
    fleet
}

fn starts(fleet: &mut Fleet) -> usize {
    fleet.take_tasks().iter().filter(|task| matches!(task.effect, Effect::Start(_))).count()
}

#[test]
fn who_was_to_be_started_again_is_once_everybody_was_looked_at() {
    let mut web = guest("web");
    web.restart = Restart::default();
    let mut scene = Scene { guest: web.clone(), ..Scene::up() };
    scene.exits(5, 9);
    scene.sees(5, Observation::Gone);
    assert!(matches!(scene.state.phase, Phase::BackingOff { .. }));
    let again = Follows::Retry("crashed: its init was killed by SIGKILL".into());
    let kept = Recollection::of(&scene.state);
    assert_eq!((kept.is_wanted, kept.retries.at.len(), kept.retries.streak), (true, 1, 1));

    let mut fleet = next_daemon(web, kept.clone(), Some(again));
    assert_eq!(starts(&mut fleet), 0, "others may be what it requires");
    assert_eq!(Recollection::of(fleet.state(&name("web")).unwrap()), kept, "nothing is counted twice");
    fleet.has_looked_around(at(102));
    assert_eq!(starts(&mut fleet), 1);
}

#[test]
fn who_is_held_waits_for_its_release_under_the_next_daemon_too() {
    let hold = Hold { reason: "disk full".into(), since: at(1).wall, until: Some(at(200).wall) };
    let kept = Recollection { is_wanted: true, hold: Some(hold), ..Recollection::default() };
    let mut fleet = next_daemon(guest("web"), kept, Some(Follows::Retry("crashed".into())));
    fleet.has_looked_around(at(102));
    assert_eq!(starts(&mut fleet), 0);
    assert_eq!(fleet.deadline(), Some(at(200).instant));
    fleet.wake(at(200));
    assert_eq!(starts(&mut fleet), 1);
}

#[test]
fn who_had_failed_stays_so_and_tells_since_when() {
    let history = [PastEnd { at: at(7).wall, how: "reboot loop".into() }].into();
    let kept = Recollection { is_wanted: true, history, ..Recollection::default() };
    let mut fleet = next_daemon(guest("web"), kept.clone(), Some(Follows::Failed("reboot loop".into())));
    fleet.has_looked_around(at(102));
    fleet.publish(&Arc::default());
    let status = fleet.published().guests["web"].clone();
    assert_eq!(
        (status.phase, &*status.reason, status.since),
        (PhaseWord::Failed, "reboot loop", Some(at(7).wall))
    );
    assert_eq!(status.history.len(), 1, "it is no new end");
    // Another boot: nothing has failed yet, and its last end is still known.
    let mut fleet = next_daemon(guest("web"), kept, None);
    fleet.publish(&Arc::default());
    let status = fleet.published().guests["web"].clone();
    assert_eq!((status.phase, &*status.reason), (PhaseWord::Down, "reboot loop"));
}

#[test]
fn reboots_that_are_told_of_twice_count_once() {
    let moment = |millis| at(50).instant.plus(Duration::from_millis(millis));
    let kept = Recollection { reboots: [moment(0), moment(900)].into(), ..Recollection::default() };
    let mut fleet = Fleet::new(rules(9), BTreeSet::new());
    fleet.recollect([(name("web"), kept)]);
    fleet.load(rules(9), [(name("web"), Arc::new(guest("web")))].into(), at(60));
    let remembered =
        Some(Remembered { reboots: vec![moment(1), moment(899), moment(2000)], ..super::remembered() });
    let found = Found::State { probe: Probe::Up(super::init(100)), remembered };
    fleet.happened(&name("web"), Event::Probed(found), at(61));
    assert_eq!(fleet.state(&name("web")).unwrap().reboots, [moment(0), moment(900), moment(2000)]);
}

#[test]
fn sixteen_ends_are_kept_and_each_only_once() {
    let mut scene = Scene::new();
    for round in 0..20 {
        let seconds = 10 * round + 1;
        scene.happens(seconds, Event::StartRequested);
        let epoch = scene.state.epoch;
        scene.happens(seconds, Event::StartReturned(epoch, Ok(())));
        scene.sees(seconds, Observation::Running(super::init(100)));
        scene.exits(seconds + 5, 0);
        scene.sees(seconds + 6, Observation::Gone);
        scene.happens(seconds + 7, Event::ResetRequested);
        scene.happens(seconds + 7, Event::Probed(Found::Nothing));
    }
    let ends: Vec<_> = scene.state.history.iter().map(|end| end.at).collect();
    let expected: Vec<_> = (4..20).map(|round| at(10 * round + 7).wall).collect();
    assert_eq!(ends, expected);
}

#[test]
fn a_restart_is_an_end_too() {
    let mut scene = Scene::up();
    scene.happens(2, Event::RestartRequested(ASK));
    scene.exits(3, 0);
    scene.sees(3, Observation::Gone);
    assert!(matches!(scene.state.phase, Phase::Starting { .. }));
    assert_eq!(*scene.state.history, [PastEnd { at: at(3).wall, how: "ended, to be started again".into() }]);
}

#[test]
fn nothing_is_to_be_kept_of_a_guest_to_which_nothing_has_happened() {
    assert_eq!(Recollection::of(&Scene::new().state), Recollection::default());
    assert_eq!(Recollection::default().retries, Retries::default());
}

#[test]
fn whom_the_cluster_starts_is_waited_for_and_never_started() {
    let db = Guest { owner: Owner::Cluster, ..guest("db") };
    let mut web = guest("web");
    web.start.requires = vec![name("db")];
    let mut world = World::new(9, [db, web]);
    let refused = world.operate(1, Verb::Start, "web").unwrap_err().to_string();
    let why = "it requires db, which cannot start: it is down, and its cluster manager starts it";
    assert_eq!(refused, format!("guest web: {why}"));
    world.operate(2, Verb::Start, "db").unwrap();
    assert_eq!(world.begun(), ["start db"], "by name");
    world.operate(3, Verb::Start, "web").unwrap();
    assert_eq!(world.begun(), [] as [&str; 0], "its start is waited for");
    world.comes_up(4, "db");
    assert_eq!(world.begun(), ["start web"]);
}
