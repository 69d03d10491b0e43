//! Whether a request about a guest makes sense now: accept, already so, or denied with a reason.

use Admission::{Accept, Already, Denied};

use super::state::{Intent, Phase, Stage, State};
use crate::model::{Guest, Verb};

/// The answer to a request, before anything happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It will be tried.
    Accept,
    /// It is so.
    Already,
    /// It cannot be done now, for this reason.
    Denied(&'static str),
}

/// Decides about a request. Exhaustive over verbs and phases.
pub fn admit(verb: Verb, state: &State, guest: &Guest) -> Admission {
    match verb {
        Verb::Start => start(state),
        Verb::Stop | Verb::Kill => already_unless(state.may_run()),
        Verb::Restart if guest.is_ephemeral() => {
            Denied("it is ephemeral: LXC destroys it when it stops, so it cannot be restarted")
        }
        Verb::Restart | Verb::Hold => Accept,
        Verb::Reboot => reboot(&state.phase),
        Verb::Freeze => freeze(&state.phase),
        Verb::Thaw => thaw(&state.phase),
        Verb::Reset => already_unless(matches!(state.phase, Phase::Failed { .. } | Phase::BackingOff { .. })),
        Verb::Release => already_unless(state.held.is_some()),
    }
}

fn already_unless(differs: bool) -> Admission {
    if differs { Accept } else { Already }
}

fn start(state: &State) -> Admission {
    match &state.phase {
        // One that is to be stopped, and whose turn has not come, is wanted up again.
        Phase::Up(_) | Phase::Frozen(_) if state.intent == Intent::Down => Accept,
        Phase::Up(run) if !matches!(run.service.stage, Stage::Ready { .. }) => Accept,
        Phase::Up(_) | Phase::Frozen(_) => Already,
        Phase::Failed { remains: Some(_), .. } => {
            Denied("something of its last run would not die; \"guestctl kill\" tries again")
        }
        Phase::Down(_)
        | Phase::Failed { remains: None, .. }
        | Phase::BackingOff { .. }
        | Phase::Starting { .. }
        | Phase::Rebooting { .. }
        | Phase::Stopping { .. } => Accept,
    }
}

fn reboot(phase: &Phase) -> Admission {
    match phase {
        Phase::Up(_) | Phase::Rebooting { .. } => Accept,
        Phase::Frozen(_) => Denied("it is frozen; thaw it first"),
        Phase::Starting { .. } => Denied("it is being started"),
        Phase::Stopping { .. } => Denied("it is being stopped"),
        Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => {
            Denied("it is down; start it instead")
        }
    }
}

fn freeze(phase: &Phase) -> Admission {
    match phase {
        Phase::Up(_) => Accept,
        Phase::Frozen(_) => Already,
        Phase::Starting { .. } | Phase::Rebooting { .. } => Denied("it is being started"),
        Phase::Stopping { .. } => Denied("it is being stopped"),
        Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => Denied("it is down"),
    }
}

fn thaw(phase: &Phase) -> Admission {
    match phase {
        Phase::Frozen(_) => Accept,
        Phase::Up(_) | Phase::Starting { .. } | Phase::Rebooting { .. } => Already,
        Phase::Stopping { .. } => Denied("it is being stopped"),
        Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } => Denied("it is down"),
    }
}
