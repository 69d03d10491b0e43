//! The machine's part for the past: how a guest ended before.

use std::sync::Arc;

use super::state::{Failure, Phase, State, Then};
use crate::model::{End, Now, PastEnd};

/// So many ends are kept of a guest.
const KEPT: usize = 16;
/// What is said of an end after which it is started at once.
const AGAIN: &str = "ended, to be started again";

/// What was to be said of a guest before an event.
pub(super) enum Before {
    /// It had ended, and that is noted.
    Over,
    /// It had ended, and nobody knew how.
    Unknown,
    /// It was about to end and to be started again.
    Restarting,
    /// Nothing.
    Other,
}

impl Before {
    pub(super) fn of(phase: &Phase) -> Self {
        match phase {
            Phase::Down(Some(End::Unknown)) => Self::Unknown,
            Phase::Down(Some(_)) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. } => {
                Self::Over
            }
            Phase::Stopping { then: Then::Start, .. } => Self::Restarting,
            _ => Self::Other,
        }
    }
}

/// Notes the end that an event has been to a guest, if it was one.
pub(super) fn note(state: &mut State, before: Before, now: Now) {
    let how = match (&state.phase, before) {
        (_, Before::Over) => return,
        (Phase::Starting { .. }, Before::Restarting) => AGAIN.to_owned(),
        (Phase::Down(Some(End::Unknown)), Before::Unknown) => return,
        (Phase::Down(Some(end)), Before::Unknown) => {
            let told = state.history.len().saturating_sub(1);
            state.history = state.history[..told].into();
            end.to_string()
        }
        (Phase::Down(Some(end)), _) => end.to_string(),
        // It is noted since the daemon before this one.
        (
            Phase::Failed { why: Failure::Earlier(_), .. }
            | Phase::BackingOff { why: Failure::Earlier(_), .. },
            _,
        ) => return,
        (Phase::Failed { why, remains: None } | Phase::BackingOff { why, .. }, _) => why.to_string(),
        _ => return,
    };
    let first = (state.history.len() + 1).saturating_sub(KEPT);
    let kept = state.history[first..].iter().cloned();
    state.history = kept.chain([PastEnd { at: now.wall, how }]).collect::<Arc<[_]>>();
}
