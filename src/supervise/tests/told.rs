//! What the journal is told: topics that others may wait for, and the jobs they belong to.

use super::{
    fleet::{World, ranked},
    guest,
};
use crate::{
    engine::Observation,
    helper::wire,
    model::{RebootAction, Verb, WaitStatus},
    supervise::{
        effect::{Effect, Level, Topic},
        event::HelperId,
    },
};

impl World {
    /// What was told of guests since the last look.
    fn told(&mut self) -> Vec<(String, Topic, Option<u32>)> {
        let lines = self.tasks().into_iter().filter_map(|task| match task.effect {
            Effect::Log(line) => {
                Some((format!("{} {}", task.guest, line.text), line.topic, line.job.map(|job| job.0)))
            }
            _ => None,
        });
        lines.collect()
    }

    /// What was told of jobs since the last look, and the guest that it was about alone.
    fn told_of_jobs(&mut self) -> Vec<(String, Topic, Level, Option<String>)> {
        let lines = self.fleet.take_job_lines().into_iter().map(|job| {
            assert!(job.line.job.is_some());
            (job.line.text, job.line.topic, job.line.level, job.guest.map(|guest| guest.to_string()))
        });
        lines.collect()
    }
}

#[test]
fn a_job_is_told_from_begin_to_end_and_its_guests_lines_name_it() {
    let mut world = World::new(9, [ranked("a", 2, 0), ranked("b", 1, 0)]);
    world.start_all(1);
    assert_eq!(
        world.told_of_jobs(),
        [("job 1 begins: start a, b".into(), Topic::JobBegun, Level::Info, None)]
    );
    world.comes_up(2, "a");
    assert_eq!(world.told(), [("a is up, with init 101".into(), Topic::Up, Some(1))]);
    assert_eq!(world.told_of_jobs(), []);
    world.fails_to_start(3, "b");
    let failed = "has failed: could not start it: no rootfs";
    assert_eq!(world.told(), [(format!("b {failed}"), Topic::Failed, Some(1))]);
    let over = "job 1 (start) is over: failed; b: could not start it: no rootfs";
    assert_eq!(world.told_of_jobs(), [(over.into(), Topic::JobEnded, Level::Warning, None)]);
    world.sees(4, "a", Observation::InitExited(Some(WaitStatus(2))));
    world.sees(4, "a", Observation::Gone);
    let told = world.told();
    assert_eq!(told.last(), Some(&("a is down: halted by the guest".into(), Topic::Down, None)));
}

#[test]
fn a_job_for_one_guest_is_among_the_lines_of_that_guest() {
    let mut world = World::up([guest("a"), guest("b")]);
    world.operate(1, Verb::Freeze, "a").unwrap();
    world.operate(1, Verb::Hold, "b").unwrap();
    let told = world.told_of_jobs();
    let texts: Vec<_> = told.iter().map(|(text, _, _, guest)| (text.as_str(), guest.as_deref())).collect();
    assert_eq!(
        texts,
        [
            ("job 1 begins: freeze a", Some("a")),
            ("job 2 begins: hold b", Some("b")),
            ("job 2 (hold) is over: done", Some("b")),
        ]
    );
    world.start_all(2);
    assert_eq!(world.told_of_jobs().last().unwrap().0, "job 3 (start) is over: done");
}

#[test]
fn reboots_are_told_as_carried_out_or_as_refused() {
    let mut stubborn = guest("a");
    stubborn.reboot.action = RebootAction::Stop;
    let mut world = World::up([stubborn, guest("b")]);
    for name in ["a", "b"] {
        world.fleet.reported(&name.parse().unwrap(), HelperId(1), wire::Event::Reboot, super::at(2));
    }
    let told: Vec<_> = world.told().into_iter().map(|(_, topic, _)| topic).collect();
    assert_eq!(told, [Topic::RebootRefused, Topic::Other]);
    world.sees(3, "b", Observation::Running(super::init(900)));
    assert_eq!(world.told(), [("b has rebooted: its new init is 900".into(), Topic::Rebooted, None)]);
    world.sees(3, "a", Observation::Gone);
    assert_eq!(world.told()[0].1, Topic::Down);
}
