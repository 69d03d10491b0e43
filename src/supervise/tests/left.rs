//! What one daemon had begun and did not live to see, as the next one finds it by its looks and in the spool.

use super::{
    Scene, at,
    ends::recalled,
    fleet::{World, requiring},
    guest, init, name,
};
use crate::{
    engine::Probe,
    helper::wire::{self, Decision},
    model::{Follows, Instant, Timestamp},
    supervise::{
        event::{Event, Found, Remembered},
        state::Phase,
    },
};

fn remembered(follows: Option<Follows>, reboots: Vec<Instant>) -> Option<Remembered> {
    let was_seen = follows.is_none();
    Some(Remembered { reboots, was_seen, follows, ..super::remembered() })
}

fn begun() -> Found {
    Found::State { probe: Probe::Down, remembered: remembered(Some(Follows::Begin), Vec::new()) }
}

#[test]
fn a_start_goes_on_though_what_there_was_of_it_has_ended() {
    let mut scene = Scene::new();
    let ended = Event::Recalled {
        event: wire::Event::Stop,
        at: at(3).wall,
        decision: Decision::Stop,
        reason: "it ended".into(),
        tripped: None,
    };
    scene.happens(4, ended);
    scene.happens(5, Event::Probed(begun()));
    assert!(matches!(scene.state.phase, Phase::BackingOff { .. }), "{:?}", scene.state.phase);
}

#[test]
fn whoever_requires_others_is_not_given_up_before_they_were_looked_at() {
    let mut world = World::new(9, [guest("z"), requiring("a", "z")]);
    world.fleet.happened(&name("a"), Event::Probed(begun()), at(1));
    let changing = Found::State { probe: Probe::Changing, remembered: None };
    world.fleet.happened(&name("z"), Event::Probed(changing), at(1));
    assert_eq!(world.begun(), Vec::<String>::new());
    let up = Found::State { probe: Probe::Up(init(42)), remembered: remembered(None, Vec::new()) };
    world.fleet.happened(&name("z"), Event::Probed(up), at(2));
    assert_eq!(world.begun(), ["start a"]);
}

#[test]
fn a_reboot_that_was_stored_and_still_lies_in_the_spool_is_counted_once() {
    let mut scene = Scene::new();
    scene.happens(9, recalled(5, Decision::Restart));
    let stored = vec![at(4).instant, at(5).instant.plus(std::time::Duration::from_micros(30))];
    let up = Probe::Up(crate::engine::Init { since: Timestamp(at(6).wall.0), ..init(42) });
    scene.happens(9, Event::Probed(Found::State { probe: up, remembered: remembered(None, stored) }));
    assert_eq!(scene.state.reboots.len(), 2);
}
