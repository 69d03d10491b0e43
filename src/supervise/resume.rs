//! What became of a guest whose turn in a job an earlier daemon had begun, by a look at its state once it was looked at.

use super::{
    entry::{Begun, Left},
    job::Look,
    state::{Phase, Run, Stage, State},
};
use crate::{
    engine::Epoch,
    model::{Guest, Instant, Now, Verb},
};

/// What to think of it.
#[derive(Debug)]
pub(super) enum Resumed {
    /// Whether it runs is not known yet.
    Unknown,
    /// It is not on its way: it gets its turn again, which does no harm where that had been given.
    Anew,
    /// It has come up meanwhile, and ran since then.
    CameUp(Instant),
    /// It is on its way, or has come out: it is judged as ever.
    GoesOn(Begun),
}

/// Judges what an earlier daemon left.
pub(super) fn of(verb: Verb, left: Left, look: Look<'_>, now: Now) -> Resumed {
    let Some((guest, state)) = look else { return Resumed::GoesOn(begun(verb, left, None, now)) };
    let goes_on = || Resumed::GoesOn(begun(verb, left, Some((guest, state)), now));
    match &state.phase {
        Phase::Down(_) if state.doubt.is_some() => {
            // It is looked at again and again. What is in the way for longer than a start, its turn will tell.
            let until = left.since.plus(guest.start.timeout);
            if now.instant < until { Resumed::Unknown } else { Resumed::Anew }
        }
        // No end of it was seen, so it had not begun to run.
        Phase::Down(None) if matches!(verb, Verb::Start | Verb::Restart) => Resumed::Anew,
        Phase::Up(run) | Phase::Frozen(run) => {
            let is_frozen = matches!(state.phase, Phase::Frozen(_));
            let is_same = run.init.is_some_and(|init| left.init == Some(init.pid));
            match verb {
                Verb::Start | Verb::Restart | Verb::Reboot if !is_ready(run) => goes_on(),
                Verb::Start => Resumed::CameUp(ran_at(run, now)),
                Verb::Restart | Verb::Reboot if !is_same => Resumed::CameUp(ran_at(run, now)),
                Verb::Restart | Verb::Reboot | Verb::Stop | Verb::Kill => Resumed::Anew,
                Verb::Freeze if !is_frozen => Resumed::Anew,
                Verb::Thaw if is_frozen => Resumed::Anew,
                Verb::Freeze | Verb::Thaw | Verb::Reset | Verb::Hold | Verb::Release => goes_on(),
            }
        }
        Phase::Down(_)
        | Phase::Failed { .. }
        | Phase::BackingOff { .. }
        | Phase::Starting { .. }
        | Phase::Rebooting { .. }
        | Phase::Stopping { .. } => goes_on(),
    }
}

fn is_ready(run: &Run) -> bool {
    matches!(run.service.stage, Stage::Ready { .. })
}

/// Since when it runs: its init may have been started by the daemon before this one.
fn ran_at(run: &Run, now: Now) -> Instant {
    run.init.map_or(run.ran_at, |init| now.instant_of(init.since).min(run.ran_at))
}

/// The beginning of its turn, as it would look in this daemon's life.
fn begun(verb: Verb, left: Left, look: Look<'_>, now: Now) -> Begun {
    let epoch = match look.map(|(_, state)| state) {
        // What was to be stopped has ended: the run that begins is the new one.
        Some(State { phase: Phase::Starting { .. }, .. }) | None => Epoch(0),
        Some(state) => state.epoch,
    };
    let deadline = |guest: &Guest| match verb {
        Verb::Reboot => Some(now.instant.plus(guest.stop.timeout)),
        Verb::Start | Verb::Restart => Some(now.instant.plus(guest.start.timeout)),
        _ => None,
    };
    Begun {
        at: now.instant,
        epoch,
        restarts: look.map_or(left.restarts, |(_, state)| state.restarts.min(left.restarts)),
        init: left.init,
        deadline: look.and_then(|(guest, _)| deadline(guest)),
        may_go_on: verb == Verb::Reboot,
    }
}
