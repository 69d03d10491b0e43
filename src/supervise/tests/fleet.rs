//! Jobs over several guests: order, delays, slots, results.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{at, failed, guest, init, name};
use crate::{
    engine::{Epoch, Observation, Probe},
    helper::wire,
    model::{
        Action, Groups, Guest, GuestName, HoldWish, JobId, JobState, Order, Outcome, Pressure, Rejection,
        Selection, StopWait, Timestamp, Verb,
        status::{DaemonStatus, JobStatus, PhaseWord, Snapshot},
    },
    plan::Guests,
    supervise::{
        effect::{Effect, Task},
        event::{Event, Found, HelperId},
        fleet::{Fleet, Recalled, Rules},
    },
};

/// A fleet, with a world that does what it is told.
pub(super) struct World {
    pub(super) fleet: Fleet,
    /// What was begun, newest last: `start web`.
    begun: Vec<String>,
    pid: i32,
}

pub(super) fn rules(max_starting: usize) -> Rules {
    Rules { order: Order::HighestFirst, max_starting, pressure: Pressure::NONE, boot_groups: vec![None] }
}

fn all() -> Selection {
    Selection { all: true, ..Selection::default() }
}

/// A guest with an order and a delay in seconds.
pub(super) fn ranked(text: &str, order: i32, delay: u64) -> Guest {
    let mut guest = guest(text);
    guest.start.order = order;
    guest.start.delay = Duration::from_secs(delay);
    guest
}

pub(super) fn requiring(text: &str, required: &str) -> Guest {
    let mut guest = guest(text);
    guest.start.requires = vec![name(required)];
    guest
}

impl World {
    pub(super) fn new(max_starting: usize, guests: impl IntoIterator<Item = Guest>) -> Self {
        let mut fleet = Fleet::new(rules(max_starting), BTreeSet::new());
        let guests: Guests = guests.into_iter().map(|g| (g.name.clone(), Arc::new(g))).collect();
        fleet.load(rules(max_starting), guests, at(0));
        let mut world = Self { fleet, begun: Vec::new(), pid: 100 };
        assert!(world.tasks().iter().all(|task| task.effect == Effect::Probe));
        world
    }

    pub(super) fn tasks(&mut self) -> Vec<Task> {
        let tasks = self.fleet.take_tasks();
        for Task { guest, effect } in &tasks {
            match effect {
                Effect::Start(_) => self.begun.push(format!("start {guest}")),
                Effect::Request(_, request) => self.begun.push(format!("{request:?} {guest}").to_lowercase()),
                Effect::Kill(_) => self.begun.push(format!("kill {guest}")),
                _ => {}
            }
        }
        tasks
    }

    /// What has begun since the last look.
    pub(super) fn begun(&mut self) -> Vec<String> {
        self.tasks();
        std::mem::take(&mut self.begun)
    }

    pub(super) fn epoch(&self, guest: &str) -> Epoch {
        self.fleet.state(&name(guest)).unwrap().epoch
    }

    pub(super) fn comes_up(&mut self, seconds: u64, guest: &str) {
        self.pid += 1;
        let (epoch, pid) = (self.epoch(guest), self.pid);
        self.fleet.happened(&name(guest), Event::StartReturned(epoch, Ok(())), at(seconds));
        self.sees(seconds, guest, Observation::Running(init(pid)));
    }

    pub(super) fn sees(&mut self, seconds: u64, guest: &str, what: Observation) {
        let epoch = self.epoch(guest);
        self.fleet.observed(&name(guest), Some(epoch), what, at(seconds));
    }

    pub(super) fn fails_to_start(&mut self, seconds: u64, guest: &str) {
        let epoch = self.epoch(guest);
        self.fleet.happened(&name(guest), Event::StartReturned(epoch, Err(failed())), at(seconds));
    }

    pub(super) fn job(&mut self, id: JobId) -> JobStatus {
        (*self.published().jobs[&id]).clone()
    }

    pub(super) fn published(&mut self) -> Snapshot {
        self.fleet.publish(&Arc::default());
        self.fleet.published().clone()
    }

    pub(super) fn start_all(&mut self, seconds: u64) -> JobId {
        self.fleet.autostart(Action::Start, &all(), StopWait::Configured, at(seconds)).unwrap()
    }

    pub(super) fn operate(&mut self, seconds: u64, verb: Verb, guest: &str) -> Result<JobId, Rejection> {
        self.fleet.operate(verb, &name(guest), StopWait::Configured, HoldWish::default(), at(seconds))
    }

    pub(super) fn hold(
        &mut self,
        seconds: u64,
        guest: &str,
        reason: &str,
        until: Option<Timestamp>,
    ) -> Result<JobId, Rejection> {
        let wish = HoldWish { reason: Some(reason.into()), until };
        self.fleet.operate(Verb::Hold, &name(guest), StopWait::Configured, wish, at(seconds))
    }

    /// A world in which these guests are up.
    pub(super) fn up(guests: impl IntoIterator<Item = Guest>) -> Self {
        let mut world = Self::new(99, guests);
        let names: Vec<GuestName> = world.published().guests.keys().cloned().collect();
        for name in names {
            world.pid += 1;
            let found = Found::State { probe: Probe::Up(init(world.pid)), remembered: None };
            world.fleet.happened(&name, Event::Probed(found), at(0));
        }
        world.begun();
        world
    }
}

#[test]
fn the_documented_example_waits_its_five_seconds() {
    let mut p1 = guest("p1");
    p1.start.groups = Groups::In(vec!["ubuntu".parse().unwrap()]);
    let mut world = World::new(4, [p1, ranked("p2", 100, 5)]);
    let job = world.start_all(10);
    assert_eq!(world.begun(), ["start p2"]);
    world.comes_up(12, "p2");
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!(world.fleet.deadline(), Some(at(17).instant), "five seconds from the moment it runs");
    assert_eq!(world.job(job).status, "waiting for the delay of p2");
    world.fleet.wake(at(16));
    assert_eq!(world.begun(), [] as [&str; 0]);
    world.fleet.wake(at(17));
    assert_eq!(world.begun(), ["start p1"]);
    world.comes_up(18, "p1");
    let status = world.job(job);
    assert_eq!((status.state, status.done, status.total), (JobState::Done, 2, 2));
}

#[test]
fn equals_start_together_up_to_the_limit() {
    let mut world = World::new(2, ["a", "b", "c"].map(guest));
    let job = world.start_all(1);
    assert_eq!(world.begun(), ["start a", "start b"]);
    assert!(world.job(job).status.contains("waiting for a free slot"), "{}", world.job(job).status);
    assert_eq!(world.published().guests["c"].phase, PhaseWord::Waiting);
    world.comes_up(2, "b");
    assert_eq!(world.begun(), ["start c"]);
}

#[test]
fn a_lower_tier_waits_for_the_higher_one_to_be_up_or_failed() {
    let mut world = World::new(9, [ranked("a", 2, 0), ranked("b", 2, 7), ranked("c", 1, 0)]);
    let job = world.start_all(1);
    assert_eq!(world.begun(), ["start a", "start b"]);
    world.comes_up(2, "a");
    assert_eq!(world.begun(), [] as [&str; 0]);
    world.fails_to_start(3, "b");
    assert_eq!(world.begun(), ["start c"], "a failed guest's delay holds nothing back");
    world.comes_up(4, "c");
    let status = world.job(job);
    assert_eq!(status.state, JobState::Failed);
    assert_eq!(status.results["b"], Outcome::Failed("could not start it: no rootfs".into()));
    assert_eq!(status.results["c"], Outcome::Done);
}

#[test]
fn what_is_required_comes_first_and_its_failure_fails_its_dependent() {
    let mut world = World::new(9, [guest("db"), requiring("web", "db")]);
    let job = world.operate(1, Verb::Start, "web").unwrap();
    assert_eq!(world.begun(), ["start db"]);
    world.fails_to_start(2, "db");
    assert_eq!(world.begun(), [] as [&str; 0]);
    let status = world.job(job);
    assert_eq!(status.results["web"], Outcome::Failed("db, which it requires, did not start".into()));
    assert_eq!(world.published().guests["web"].phase, PhaseWord::Down);
}

#[test]
fn a_required_guest_that_is_still_starting_is_waited_for() {
    let mut world = World::new(9, [guest("db"), requiring("web", "db")]);
    world.operate(1, Verb::Start, "db").unwrap();
    world.operate(2, Verb::Start, "web").unwrap();
    assert_eq!(world.begun(), ["start db"]);
    world.comes_up(3, "db");
    assert_eq!(world.begun(), ["start web"]);
}

#[test]
fn an_operators_stop_stops_the_dependents_first() {
    let mut world = World::up([guest("db"), requiring("web", "db"), guest("other")]);
    let job = world.operate(1, Verb::Stop, "db").unwrap();
    assert_eq!(world.begun(), ["stop web"]);
    world.sees(2, "web", Observation::Gone);
    assert_eq!(world.begun(), ["stop db"]);
    world.sees(3, "db", Observation::Gone);
    assert_eq!(world.job(job).state, JobState::Done);
    assert_eq!(world.published().guests["other"].phase, PhaseWord::Up);
}

#[test]
fn shutdown_goes_backwards_and_parallel_inside_a_tier() {
    let mut world = World::up([ranked("a", 2, 9), ranked("b", 1, 9), ranked("c", 1, 9)]);
    world.fleet.autostart(Action::Shutdown, &all(), StopWait::Configured, at(1)).unwrap();
    assert_eq!(world.begun(), ["stop c", "stop b"]);
    world.sees(2, "b", Observation::Gone);
    assert_eq!(world.begun(), [] as [&str; 0]);
    world.sees(3, "c", Observation::Gone);
    assert_eq!(world.begun(), ["stop a"], "delays hold back no stop");
}

#[test]
fn asking_only_does_not_wait_and_never_kills_and_leaves_up_who_does_not_listen() {
    let mut world = World::up([guest("a")]);
    let job = world.fleet.autostart(Action::Shutdown, &all(), StopWait::AskOnly, at(1)).unwrap();
    let epoch = world.epoch("a");
    let asked = Event::RequestReturned(epoch, crate::engine::Request::Hint, Ok(()));
    world.fleet.happened(&name("a"), asked, at(2));
    assert_eq!(world.job(job).results["a"], Outcome::Asked);
    world.begun();
    world.fleet.wake(at(66));
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!(world.published().guests["a"].phase, PhaseWord::Up);
}

#[test]
fn a_reboot_that_does_not_come_is_reported_and_the_guest_left_up() {
    let mut world = World::up([guest("a")]);
    let job = world.operate(1, Verb::Reboot, "a").unwrap();
    assert_eq!(world.begun(), ["reboot a"]);
    assert_eq!(world.fleet.deadline(), Some(at(61).instant));
    world.fleet.wake(at(61));
    let Outcome::Failed(why) = &world.job(job).results["a"] else { panic!() };
    assert!(why.starts_with("no new init was seen within 1m"), "{why}");
    assert_eq!(world.published().guests["a"].phase, PhaseWord::Up);
}

#[test]
fn cancelling_lets_go_on_what_has_begun_and_nothing_else_begin() {
    let mut world = World::new(1, ["a", "b"].map(guest));
    let job = world.start_all(1);
    world.fleet.cancel(job, at(2)).unwrap();
    world.comes_up(3, "a");
    assert_eq!(world.begun(), ["start a"]);
    let status = world.job(job);
    assert_eq!(status.state, JobState::Canceled);
    assert_eq!((&status.results["a"], &status.results["b"]), (&Outcome::Done, &Outcome::Canceled));
    assert_eq!(world.fleet.cancel(JobId(77), at(4)), Err(Rejection::NoSuchJob(JobId(77))));
}

#[test]
fn a_stop_cancels_a_start_that_waits_elsewhere() {
    let mut world = World::new(1, ["a", "b"].map(guest));
    let job = world.start_all(1);
    world.operate(2, Verb::Stop, "b").unwrap();
    world.comes_up(3, "a");
    assert_eq!(world.begun(), ["start a"]);
    assert_eq!(world.job(job).results["b"], Outcome::Canceled);
}

#[test]
fn nonsense_is_refused_at_once() {
    let mut world = World::up([guest("a")]);
    assert_eq!(world.operate(1, Verb::Start, "nobody"), Err(Rejection::NoSuchGuest("nobody".into())));
    let job = world.operate(1, Verb::Start, "a").unwrap();
    assert_eq!(world.job(job).results["a"], Outcome::Already);
    world.operate(2, Verb::Kill, "a").unwrap();
    let refused = world.operate(3, Verb::Freeze, "a").unwrap_err().to_string();
    assert_eq!(refused, "guest a: it is being stopped");
    let foreign = Selection { lxcpath: Some("/else".into()), ..all() };
    let refused = world.fleet.plan(Action::Start, &foreign).unwrap_err().to_string();
    assert!(refused.contains("/else is not managed"), "{refused}");
}

#[test]
fn an_lxcpath_may_be_spelt_in_several_ways() {
    let mut world = World::new(9, [guest("a")]);
    let daemon = DaemonStatus { lxcpaths: vec!["/else".into(), "/lxc".into()], ..DaemonStatus::default() };
    world.fleet.publish(&Arc::new(daemon));
    for (path, count) in [("/lxc", 1), ("/lxc//", 1), ("/x/.././lxc/", 1), ("//else", 0)] {
        let selection = Selection { lxcpath: Some(path.into()), ..all() };
        let outlook = world.fleet.plan(Action::Start, &selection).unwrap();
        assert_eq!(outlook.steps.len(), count, "{path}");
    }
}

#[test]
fn a_boot_happens_once() {
    let mut world = World::new(9, [guest("a")]);
    let boot = Selection { boot: true, ..Selection::default() };
    world.fleet.autostart(Action::Start, &boot, StopWait::Configured, at(1)).unwrap();
    assert_eq!(world.begun(), ["start a"]);
    world.comes_up(2, "a");
    world.operate(3, Verb::Kill, "a").unwrap();
    world.sees(4, "a", Observation::Gone);
    world.begun();
    let again = world.fleet.autostart(Action::Start, &boot, StopWait::Configured, at(5)).unwrap();
    assert_eq!(world.begun(), [] as [&str; 0]);
    assert_eq!((world.job(again).state, world.job(again).total), (JobState::Done, 0));
    assert_eq!(world.fleet.booted(), &BTreeSet::from([None]));
}

#[test]
fn a_held_guest_is_not_started_with_the_others() {
    let mut world = World::new(9, ["a", "b"].map(guest));
    world.hold(1, "a", "disk", None).unwrap();
    assert_eq!(world.published().guests["a"].held.as_ref().unwrap().reason, "disk");
    world.start_all(2);
    assert_eq!(world.begun(), ["start b"]);
    world.operate(3, Verb::Release, "a").unwrap();
    world.start_all(4);
    assert_eq!(world.begun(), ["start a"]);
}

#[test]
fn a_guest_whose_configuration_vanishes_is_kept_while_it_runs() {
    let mut world = World::up([guest("a"), guest("b")]);
    world.fleet.undefine(&name("a"), at(1));
    assert_eq!(world.published().guests["a"].phase, PhaseWord::Up);
    world.sees(2, "a", Observation::Gone);
    assert!(!world.published().guests.contains_key("a"));
    world.fleet.undefine(&name("b"), at(3));
    world.fleet.define(Arc::new(guest("b")), at(4));
    world.sees(5, "b", Observation::Gone);
    assert_eq!(world.published().guests["b"].phase, PhaseWord::Failed, "it was defined again");
}

#[test]
fn somebody_elses_start_is_looked_at() {
    let mut world = World::new(9, [guest("a")]);
    world.fleet.observed(&name("a"), None, Observation::Appeared, at(1));
    let tasks = world.tasks();
    assert_eq!(tasks, [Task { guest: name("a"), effect: Effect::Probe }]);
    world.fleet.observed(&name("unknown"), None, Observation::Appeared, at(1));
    assert!(world.tasks().is_empty());
}

#[test]
fn a_request_of_an_unknown_guest_is_ignored() {
    let mut world = World::new(9, []);
    world.fleet.reported(&name("x"), HelperId(3), wire::Event::Reboot, at(1));
    let [Task { effect: Effect::Answer(HelperId(3), answer), .. }] = &world.tasks()[..] else { panic!() };
    assert_eq!(answer.decision, wire::Decision::Ignore);
}

#[test]
fn what_was_answered_without_the_daemon_is_remembered() {
    let mut world = World::new(9, [guest("a")]);
    let recalled = Recalled {
        guest: name("a"),
        event: wire::Event::Reboot,
        at: at(5).wall,
        decision: wire::Decision::Stop,
        reason: "it is held".into(),
        tripped: None,
    };
    world.fleet.recall(recalled, at(9));
    let status = world.published().guests["a"].clone();
    assert_eq!(status.reason, "rebooted by the guest, not started again: it is held");
    let helper = status.helper.as_ref().unwrap();
    assert_eq!((helper.at, helper.decision), (at(5).wall, "stop"));
}

#[test]
fn a_thousand_guests_are_moved_along_quickly() {
    let mut world = World::new(2000, (0..1000).map(|n| guest(&format!("g{n:04}"))));
    let job = world.start_all(1);
    for n in 0..1000 {
        world.comes_up(2, &format!("g{n:04}"));
    }
    assert_eq!(world.job(job).state, JobState::Done);
}
