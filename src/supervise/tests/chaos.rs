//! Anything in any order, over several guests: whatever the engine answers, the guests do and the operators want,
//! every job ends, no start comes before its time, and the last wish is obeyed.

mod world;

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use self::world::{Real, World, defined};
use super::name;
use crate::{
    model::{HoldWish, Outcome, StopWait, Verb, status::PhaseWord},
    supervise::state::Phase,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const VERBS: [Verb; 10] = [
    Verb::Start,
    Verb::Stop,
    Verb::Restart,
    Verb::Reboot,
    Verb::Kill,
    Verb::Freeze,
    Verb::Thaw,
    Verb::Reset,
    Verb::Hold,
    Verb::Release,
];
const WAITS: [StopWait; 3] =
    [StopWait::Configured, StopWait::AskOnly, StopWait::AtMost(Duration::from_secs(5))];

/// One thing that happens. The numbers choose among what is possible at that moment.
#[derive(Debug, Clone, Copy)]
enum Act {
    Operate(usize, usize, usize),
    Bulk(usize, usize),
    /// The engine finishes a piece of work: well, or badly.
    Answers(usize, bool),
    /// A guest does something by itself.
    Guest(usize, usize),
    /// Its configuration goes, or comes.
    Undefine(usize),
    Define(usize),
    Wait(u64),
    Cancel(u32),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..5usize, 0..VERBS.len(), 0..WAITS.len()).prop_map(|(g, v, w)| Act::Operate(g, v, w)),
        1 => (0..4usize, 0..WAITS.len()).prop_map(|(a, w)| Act::Bulk(a, w)),
        8 => (0..9usize, any::<bool>()).prop_map(|(n, well)| Act::Answers(n, well)),
        3 => (0..5usize, 0..12usize).prop_map(|(g, n)| Act::Guest(g, n)),
        1 => (0..5usize).prop_map(Act::Undefine),
        2 => (0..5usize).prop_map(Act::Define),
        2 => (1..40u64).prop_map(Act::Wait),
        1 => (1..9u32).prop_map(Act::Cancel),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_every_job_ends_and_the_last_wish_is_obeyed(
        acts in proptest::collection::vec(act(), 0..80),
        engine_works in any::<bool>(),
        up_in_the_end in any::<bool>(),
    ) {
        let mut world = World::new();
        for act in acts {
            world.acts(act);
        }
        world.settles(engine_works);
        let unfinished = world.unfinished();
        prop_assert!(unfinished.is_empty(), "{unfinished:#?}\n{:#?}", world.fleet.states);
        prop_assert!(world.unanswered.is_empty(), "{:?}", world.unanswered);
        for state in world.fleet.states.values() {
            // One that waits to be started again waits for somebody's release.
            let at_rest = state.is_due()
                || matches!(state.phase, Phase::Down(_) | Phase::Failed { .. } | Phase::Up(_) | Phase::Frozen(_));
            prop_assert!(at_rest, "{state:?}");
        }
        obeys(&mut world, up_in_the_end)?;
    }
}

/// With a working engine, a wish comes true for everybody.
fn obeys(world: &mut World, up: bool) -> Result<(), TestCaseError> {
    for text in NAMES {
        let now = world.now();
        world.fleet.define(Arc::new(defined(text)), now);
        let released =
            world.fleet.operate(Verb::Release, &name(text), StopWait::Configured, HoldWish::default(), now);
        prop_assert!(released.is_ok(), "{released:?}");
        world.take();
    }
    world.settles(true);
    let verb = if up { Verb::Start } else { Verb::Kill };
    for round in 0..2 {
        for text in NAMES {
            let now = world.now();
            let asked = world.fleet.operate(
                if round == 0 { Verb::Kill } else { verb },
                &name(text),
                StopWait::Configured,
                HoldWish::default(),
                now,
            );
            prop_assert!(asked.is_ok(), "{asked:?}");
            world.take();
        }
        world.settles(true);
    }
    prop_assert!(world.unfinished().is_empty());
    world.fleet.publish(&Arc::default());
    let published = world.fleet.published().clone();
    for guest in published.guests.values() {
        let wanted = if up { PhaseWord::Up } else { PhaseWord::Down };
        let is_so = guest.phase == wanted || (!up && guest.phase == PhaseWord::Failed);
        prop_assert!(is_so, "{} is {:?}: {}", guest.name, guest.phase, guest.reason);
    }
    let runs = world.real.values().filter(|real| **real != Real::Nothing).count();
    prop_assert_eq!(runs, if up { NAMES.len() } else { 0 });
    let last = published.jobs.values().next_back().expect("a job");
    prop_assert!(last.results.values().all(Outcome::is_success), "{last:?}");
    Ok(())
}
