//! Whether a guest whose turn in a job has begun has come out of it, by a look at its state.

use super::{
    entry::Begun,
    state::{Failure, Phase, Run, Service, Stage, State, Then},
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
        Verb::Start => came_up(guest, state, true).or_else(|| in_time(state, begun, now)),
        Verb::Restart => match &state.phase {
            Phase::Up(_) | Phase::Frozen(_) if state.epoch <= begun.epoch => {
                Some(Err("it did not stop when it was asked to, and is left up".into()))
            }
            _ => came_up(guest, state, state.epoch > begun.epoch).or_else(|| in_time(state, begun, now)),
        },
        Verb::Reboot => match rebooted(state, begun) {
            None if begun.deadline.is_some_and(|deadline| deadline <= now) => Some(Err(format!(
                "no new init was seen within {}; the guest is left up",
                humantime::format_duration(guest.stop.timeout)
            ))),
            verdict => verdict,
        },
        Verb::Stop | Verb::Kill => went_down(state),
        Verb::Freeze => match &state.phase {
            Phase::Frozen(_) => Some(Ok(None)),
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => Some(Err(down_words(state))),
            // The run that was to be frozen is over; nobody answers for it any more.
            _ if state.epoch > begun.epoch => Some(Err("it was started again meanwhile".into())),
            _ => None,
        },
        Verb::Thaw => match &state.phase {
            Phase::Frozen(_) => None,
            Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => Some(Err(down_words(state))),
            _ => Some(Ok(None)),
        },
        Verb::Reset | Verb::Hold | Verb::Release => Some(Ok(None)),
    }
}

/// Whether it is up and ready, with an init that is new enough to count. One that is started again after a failure is
/// waited for.
fn came_up(guest: &Guest, state: &State, is_new: bool) -> Option<Result<Option<Instant>, String>> {
    match &state.phase {
        Phase::Up(Run { service: Service { stage: Stage::Awaited { .. }, .. }, .. }) => None,
        Phase::Up(Run { service: Service { stage: Stage::Missed, words }, .. }) if is_new => {
            let failure = Failure::NotReady { within: guest.ready.timeout, words: words.clone() };
            Some(Err(format!("it is up, but {failure}")))
        }
        Phase::Up(run) | Phase::Frozen(run) if is_new => Some(Ok(Some(run.ran_at))),
        Phase::Up(_)
        | Phase::Frozen(_)
        | Phase::Starting { .. }
        | Phase::Rebooting { .. }
        | Phase::BackingOff { .. }
        | Phase::Stopping { .. } => None,
        Phase::Down(_) | Phase::Failed { .. } => Some(Err(down_words(state))),
    }
}

/// A guest that keeps failing may do so for ever: what was asked for has failed when its time is over.
fn in_time(state: &State, begun: Begun, now: Instant) -> Option<Result<Option<Instant>, String>> {
    let is_over = begun.deadline.is_some_and(|deadline| deadline <= now);
    (is_over && matches!(state.phase, Phase::BackingOff { .. })).then(|| Err(down_words(state)))
}

/// Whether it has another init than when it was asked.
fn rebooted(state: &State, begun: Begun) -> Option<Result<Option<Instant>, String>> {
    match &state.phase {
        Phase::Up(run) | Phase::Frozen(run) if state.restarts > begun.restarts => Some(Ok(Some(run.ran_at))),
        Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => Some(Err(down_words(state))),
        Phase::Up(_)
        | Phase::Frozen(_)
        | Phase::Starting { .. }
        | Phase::Rebooting { .. }
        | Phase::Stopping { .. } => None,
    }
}

fn went_down(state: &State) -> Option<Result<Option<Instant>, String>> {
    match &state.phase {
        Phase::Down(_) | Phase::Failed { remains: None, .. } => Some(Ok(None)),
        Phase::Failed { why, remains: Some(_) } => Some(Err(why.to_string())),
        Phase::Stopping { then: Then::Stay(_) | Then::Fail(_) | Then::Recover(_), .. } => None,
        Phase::Stopping { then: Then::Start, .. }
        | Phase::BackingOff { .. }
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
        Phase::BackingOff { why, .. } => format!("{why}; it will be tried again"),
        Phase::Down(Some(end)) => format!("it went down: {end}"),
        _ => "it is down".into(),
    }
}
