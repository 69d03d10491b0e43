//! What keeps a guest from starting although its turn in a job has come: others may have stopped or started whom it
//! depends on since the plan was made.

use super::{
    job::Look,
    state::{Failure, Phase, Run, Service, Stage, State, Then},
    verdict::down_words,
};
use crate::{
    model::{Guest, GuestName},
    plan::Step,
};

/// What is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// It goes by, each such phase having a deadline: what is waited for.
    Passing(String),
    /// A required guest has failed, and will be started again, and may fail again; or nobody knows whether it runs: whom.
    Failing(GuestName),
    /// It stays: why the guest cannot start.
    Lasting(String),
}

/// Looks at a guest, at those whom it requires, and at those after whom it starts. One that waits for its turn in another job is
/// not waited for: jobs that wait for each other would never end.
pub(super) fn of<'a>(
    guest: &Guest,
    state: &State,
    look: &dyn Fn(&GuestName) -> Look<'a>,
) -> Option<Hindrance> {
    if matches!(state.phase, Phase::Stopping { .. }) {
        return Some(Hindrance::Passing(format!("the stop of {}", guest.name)));
    }
    let required = guest.start.requires.iter().filter_map(|name| missing(name, look(name)));
    let before = guest.start.after.iter().filter_map(|name| on_its_way(name, look(name)));
    // What cannot be waited for counts first.
    let (passing, lasting): (Vec<_>, Vec<_>) =
        required.chain(before).partition(|hindrance| !matches!(hindrance, Hindrance::Lasting(_)));
    lasting.into_iter().chain(passing).next()
}

/// A guest may be held since the plan was made. Whoever names it means it all the same, and what runs is not held back.
pub(super) fn held(step: &Step, state: &State) -> Option<Hindrance> {
    let hold = state.held.as_ref().filter(|_| !step.is_named && !state.is_running())?;
    Some(Hindrance::Lasting(format!("it is held: {}", hold.reason)))
}

/// A required guest must run.
fn missing(name: &GuestName, look: Look<'_>) -> Option<Hindrance> {
    let Some((guest, state)) = look else {
        return Some(Hindrance::Lasting(format!("{name}, which it requires, is no longer defined")));
    };
    match &state.phase {
        Phase::Up(Run { service: Service { stage: Stage::Awaited { .. }, .. }, .. }) => {
            Some(Hindrance::Passing(format!("{name} to be ready")))
        }
        Phase::Up(Run { service: Service { stage: Stage::Missed, words }, .. }) => {
            let failure = Failure::NotReady { within: guest.ready.timeout, words: words.clone() };
            Some(Hindrance::Lasting(format!("{name}, which it requires, is not ready: {failure}")))
        }
        Phase::Up(_) | Phase::Frozen(_) | Phase::Rebooting { .. } => None,
        Phase::BackingOff { .. } => Some(Hindrance::Failing(name.clone())),
        Phase::Starting { .. } => Some(Hindrance::Passing(format!("the start of {name}"))),
        Phase::Stopping { .. } => Some(Hindrance::Passing(format!("the stop of {name}"))),
        // It is yet to be looked at, or again, and may turn out to run.
        Phase::Down(_) | Phase::Failed { .. } if state.is_in_doubt() => {
            Some(Hindrance::Failing(name.clone()))
        }
        Phase::Down(_) | Phase::Failed { .. } => {
            Some(Hindrance::Lasting(format!("{name}, which it requires, is not up: {}", down_words(state))))
        }
    }
}

/// One after which a guest starts only counts while it is on its way up.
fn on_its_way(name: &GuestName, look: Look<'_>) -> Option<Hindrance> {
    match look?.1.phase {
        Phase::Starting { .. } | Phase::Stopping { then: Then::Start, .. } => {
            Some(Hindrance::Passing(format!("the start of {name}")))
        }
        Phase::Up(Run { service: Service { stage: Stage::Awaited { .. }, .. }, .. }) => {
            Some(Hindrance::Passing(format!("{name} to be ready")))
        }
        // It may go on failing for ever; `after` means only those that come up.
        Phase::BackingOff { .. }
        | Phase::Down(_)
        | Phase::Failed { .. }
        | Phase::Up(_)
        | Phase::Frozen(_)
        | Phase::Rebooting { .. }
        | Phase::Stopping { .. } => None,
    }
}
