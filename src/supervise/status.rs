//! What readers see of a guest: its state and its configuration, flattened.

use super::{
    recover, serve,
    state::{Failure, Intent, Next, Phase, Rebooting, Run, Service, Stage, State},
};
use crate::model::{
    Guest, Timestamp,
    status::{GuestStatus, PhaseWord, Upkeep},
};

/// A guest as readers see it. `waits` says that a job keeps it waiting for its turn to start.
pub fn of(guest: &Guest, state: &State, waits: bool) -> GuestStatus {
    let run = state.run();
    let init = run.and_then(|run| run.init);
    let since = match (&state.phase, init) {
        (Phase::Up(_), Some(init)) => init.since,
        _ => state.since,
    };
    GuestStatus {
        name: guest.name.clone(),
        engine: guest.engine_kind(),
        phase: word(&state.phase, waits),
        intent_up: state.intent == Intent::Up,
        ready: is_ready(guest, &state.phase),
        reason: reason(guest, state, waits),
        next_try: next_try(&state.phase),
        auto: guest.start.auto,
        order: guest.start.order,
        delay: guest.start.delay,
        groups: guest.start.groups.names().into(),
        after: guest.start.after.as_slice().into(),
        wants: guest.start.wants.as_slice().into(),
        requires: guest.start.requires.as_slice().into(),
        init_pid: init.map(|init| init.pid),
        since: Some(since),
        restarts: state.restarts,
        adopted: run.is_some_and(|run| run.adopted),
        held: state.held.clone(),
        last_words: state.last_words.clone(),
        owner: guest.owner,
        history: state.history.clone(),
        helper: state.helper.clone(),
        deciding: match &state.phase {
            Phase::Rebooting { decision: Rebooting::Script { .. }, .. } => Some("its reboot script runs"),
            _ => None,
        },
        lxcpath: guest.lxcpath().map(Into::into),
        config_changed: run
            .and_then(|run| run.fingerprint)
            .is_some_and(|started| started != guest.fingerprint),
        upkeep: upkeep(guest, state),
    }
}

fn next_try(phase: &Phase) -> Option<Timestamp> {
    match phase {
        Phase::BackingOff { next: Next::At { wall, .. }, .. } => Some(*wall),
        _ => None,
    }
}

fn upkeep(guest: &Guest, state: &State) -> Upkeep {
    let ill = match &state.phase {
        Phase::Up(Run { service: Service { stage: Stage::Ready { ill, .. }, .. }, .. }) => *ill,
        _ => 0,
    };
    Upkeep {
        policy: recover::policy(guest),
        limit: guest.restart.limit,
        failures: state.retries.at.iter().map(|at| at.wall).collect(),
        ready: guest.ready.when.clone(),
        health: guest.health.clone(),
        ill,
    }
}

/// The word for a phase. Between two inits of a reboot a guest is starting.
pub fn word(phase: &Phase, waits: bool) -> PhaseWord {
    match phase {
        Phase::Down(_) | Phase::Failed { .. } | Phase::BackingOff { .. } if waits => PhaseWord::Waiting,
        Phase::BackingOff { .. } => PhaseWord::BackingOff,
        Phase::Down(_) => PhaseWord::Down,
        Phase::Failed { .. } => PhaseWord::Failed,
        Phase::Starting { .. } | Phase::Rebooting { .. } => PhaseWord::Starting,
        Phase::Up(_) => PhaseWord::Up,
        Phase::Frozen(_) => PhaseWord::Frozen,
        Phase::Stopping { .. } => PhaseWord::Stopping,
    }
}

/// Without conditions a guest serves as soon as it runs.
fn is_ready(guest: &Guest, phase: &Phase) -> bool {
    let Phase::Up(run) = phase else { return false };
    matches!(run.service.stage, Stage::Ready { .. }) && !serve::is_ill(&run.service, guest)
}

/// What is to be said of one that runs.
fn service(guest: &Guest, service: &Service) -> String {
    let words = &service.words;
    match service.stage {
        Stage::Awaited { .. } if words.is_empty() => format!("waits for readiness: {}", guest.ready.when),
        Stage::Awaited { .. } => format!("waits for readiness: {words}"),
        Stage::Missed => Failure::NotReady { within: guest.ready.timeout, words: words.clone() }.to_string(),
        Stage::Ready { .. } if serve::is_ill(service, guest) => format!("its health is bad: {words}"),
        Stage::Ready { .. } => words.clone(),
    }
}

fn reason(guest: &Guest, state: &State, waits: bool) -> String {
    match &state.phase {
        Phase::Down(_) | Phase::Failed { .. } if waits => "waits for its turn".into(),
        Phase::BackingOff { why, next: Next::Due(what) } if !what.is_empty() => {
            format!("{why}; it waits for {what}")
        }
        Phase::BackingOff { why, .. } => why.to_string(),
        Phase::Up(run) => service(guest, &run.service),
        Phase::Down(_) if let Some(doubt) = &state.doubt => doubt.why.clone(),
        Phase::Down(None) => state.last_end.clone().unwrap_or_default(),
        Phase::Down(Some(end)) => end.to_string(),
        Phase::Failed { why, .. } => why.to_string(),
        Phase::Rebooting { .. } => "rebooting".into(),
        Phase::Starting { .. } | Phase::Frozen(_) | Phase::Stopping { .. } => String::new(),
    }
}
