//! Which hooks an event calls for, by what it has made of a guest: every run that this daemon, or one before it, began gets
//! its post-stop hooks, also one that failed on its way up, so that what pre-start hooks have done is undone.

use super::{
    effect::Effect,
    state::{Phase, Rung, State},
};
use crate::{
    engine::{Epoch, Request},
    model::{Guest, HookStage},
};

/// What of a phase matters for hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    /// The run that this daemon, or one before it, began.
    own_run: Option<Epoch>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Starting,
    Serving,
    Asked,
    Failed,
    Other,
}

impl Before {
    pub(super) fn of(phase: &Phase) -> Self {
        let own_run = match phase {
            Phase::Starting { epoch, .. } => Some(*epoch),
            Phase::Failed { remains, .. } => *remains,
            phase => phase.run().filter(|run| !run.adopted).map(|run| run.epoch),
        };
        let kind = match phase {
            Phase::Starting { .. } => Kind::Starting,
            Phase::Up(_) | Phase::Frozen(_) => Kind::Serving,
            Phase::Stopping { rung: Rung::Asked | Rung::Hinted, .. } => Kind::Asked,
            Phase::Failed { .. } => Kind::Failed,
            _ => Kind::Other,
        };
        Self { own_run, kind }
    }

    /// It was running, although nobody here has seen it.
    pub(super) fn was_running(&mut self) {
        // No run that begins here has this number.
        self.own_run = self.own_run.or(Some(Epoch(0)));
    }

    /// It had failed before.
    pub(super) fn has_failed(&mut self) {
        self.kind = Kind::Failed;
    }
}

/// Puts the hooks where they belong among the effects: before a guest is asked or started again.
pub(super) fn add(before: &Before, state: &State, guest: &Guest, effects: &mut Vec<Effect>) {
    let after = Before::of(&state.phase);
    let is_over = before.own_run.is_some() && before.own_run != after.own_run && after.kind != Kind::Serving;
    let stages = [
        (
            HookStage::PostStart,
            before.kind == Kind::Starting && after.kind == Kind::Serving && after.own_run == before.own_run,
        ),
        (HookStage::PreStop, before.kind == Kind::Serving && after.kind == Kind::Asked),
        (HookStage::PostStop, is_over),
        (HookStage::OnFailure, before.kind != Kind::Failed && after.kind == Kind::Failed),
    ];
    let due = stages.into_iter().filter(|(stage, is_due)| *is_due && !guest.hooks.of(*stage).is_empty());
    for (stage, _) in due {
        let hook = Effect::Hook(stage, words(&state.phase));
        let is_after = |effect: &Effect| {
            matches!(effect, Effect::Start(_) | Effect::Request(_, Request::Stop | Request::Hint))
        };
        let place = effects.iter().position(is_after).unwrap_or(effects.len());
        effects.insert(place, hook);
    }
}

/// What led there.
fn words(phase: &Phase) -> String {
    match phase {
        Phase::Down(Some(end)) => end.to_string(),
        Phase::Failed { why, .. } | Phase::BackingOff { why, .. } => why.to_string(),
        _ => String::new(),
    }
}
