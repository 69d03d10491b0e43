//! Whether a guest whose turn in a job has begun has come out of it, by a look at its state.

use super::{
    job::Begun,
    state::{Phase, State, Then},
};
use crate::model::{Guest, Instant, Verb};

/// Whether a guest whose turn has begun has come out: when it ran, or why it did not.
pub(super) fn of(
    verb: Verb,
    begun: Begun,
    guest: &Guest,
    state: &State,
    now: Instant,
) -> Option<Result<Option<Instant>, String>> {
    match verb {
        Verb::Start => came_up(state, true),
        Verb::Restart => match &state.phase {
            Phase::Up(_) | Phase::Frozen(_) if state.epoch <= begun.epoch => {
                Some(Err("it did not stop when it was asked to, and is left up".into()))
            }
            _ => came_up(state, state.epoch > begun.epoch),
        },
        Verb::Reboot => match came_up(state, state.restarts > begun.restarts) {
            None if begun.deadline.is_some_and(|deadline| deadline <= now) => Some(Err(format!(
                "no new init was seen within {}; the guest is left up",
                humantime::format_duration(guest.stop.timeout)
            ))),
            verdict => verdict,
        },
        Verb::Stop | Verb::Kill => went_down(state),
        Verb::Freeze => match &state.phase {
            Phase::Frozen(_) => Some(Ok(None)),
            Phase::Down(_) | Phase::Failed { .. } => Some(Err(down_words(state))),
            // The run that was to be frozen is over; nobody answers for it any more.
            _ if state.epoch > begun.epoch => Some(Err("it was started again meanwhile".into())),
            _ => None,
        },
        Verb::Thaw => match &state.phase {
            Phase::Frozen(_) => None,
            Phase::Down(_) | Phase::Failed { .. } => Some(Err(down_words(state))),
            _ => Some(Ok(None)),
        },
        Verb::Reset | Verb::Hold | Verb::Release => Some(Ok(None)),
    }
}

/// Whether it is up, with an init that is new enough to count.
fn came_up(state: &State, is_new: bool) -> Option<Result<Option<Instant>, String>> {
    match &state.phase {
        Phase::Up(run) | Phase::Frozen(run) if is_new => Some(Ok(Some(run.ran_at))),
        Phase::Up(_) | Phase::Frozen(_) | Phase::Starting { .. } | Phase::Rebooting { .. } => None,
        Phase::Stopping { .. } => None,
        Phase::Down(_) | Phase::Failed { .. } => Some(Err(down_words(state))),
    }
}

fn went_down(state: &State) -> Option<Result<Option<Instant>, String>> {
    match &state.phase {
        Phase::Down(_) | Phase::Failed { remains: None, .. } => Some(Ok(None)),
        Phase::Failed { why, remains: Some(_) } => Some(Err(why.to_string())),
        Phase::Stopping { then: Then::Stay(_) | Then::Fail(_), .. } => None,
        Phase::Stopping { then: Then::Start, .. }
        | Phase::Starting { .. }
        | Phase::Up(_)
        | Phase::Frozen(_)
        | Phase::Rebooting { .. } => {
            Some(Err("it did not stop, or was started again by another request".into()))
        }
    }
}

/// Why a guest that does not run does not.
pub(super) fn down_words(state: &State) -> String {
    match &state.phase {
        Phase::Failed { why, .. } => why.to_string(),
        Phase::Down(Some(end)) => format!("it went down: {end}"),
        _ => "it is down".into(),
    }
}
