//! The machine's part for what a look at a guest has shown.

use std::time::Duration;

use super::{
    effect::{Effect, Level, Topic},
    event::{Found, Remembered},
    machine::Turn,
    state::{Doubt, Intent, Phase, Run, Service},
};
use crate::engine::{Init, Probe};

/// How long after a look that failed the next one comes.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long after a look that came between down and up; doubled each time, up to the former.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// What such a look shows.
const CHANGING: &str = "somebody is starting or stopping it";

impl Turn<'_> {
    pub(super) fn probed(&mut self, phase: Phase, found: Found) -> Phase {
        if matches!(found, Found::Nothing) {
            return phase;
        }
        self.state.seen_down |= matches!(found, Found::State { probe: Probe::Down | Probe::Ended(_), .. });
        let known = self.state.doubt.take();
        if matches!(phase, Phase::Down(_) | Phase::Failed { remains: None, .. }) {
            self.state.doubt = self.doubt(known, &found);
        }
        match (phase, found) {
            (
                phase @ (Phase::Down(_)
                | Phase::Failed { remains: None, .. }
                | Phase::BackingOff { .. }
                | Phase::Starting { .. }),
                Found::State { probe, remembered },
            ) => {
                // Others started it before our own start could begin: what is remembered is that intention.
                let remembered = remembered
                    .filter(|_| !matches!(phase, Phase::Starting { .. } | Phase::BackingOff { .. }));
                let follows = remembered.as_ref().and_then(|remembered| remembered.follows.clone());
                match probe {
                    Probe::Up(init) => {
                        let run = self.adopt(init, remembered);
                        self.resume(Phase::Up(run), follows)
                    }
                    Probe::Frozen(init) => {
                        let run = self.adopt(init, remembered);
                        self.resume(Phase::Frozen(run), follows)
                    }
                    Probe::Ended(status) if matches!(phase, Phase::Down(_) | Phase::Failed { .. }) => {
                        self.has_ended(phase, Some(status), remembered)
                    }
                    Probe::Down if remembered.as_ref().is_some_and(|run| run.was_seen) => {
                        self.has_ended(phase, None, remembered)
                    }
                    Probe::Down | Probe::Ended(_) | Probe::Changing => phase,
                }
            }
            (Phase::Up(run), Found::State { probe: Probe::Frozen(init), .. })
                if run.init.is_some_and(|seen| seen.pid == init.pid) =>
            {
                Phase::Frozen(run)
            }
            (phase, _) => phase,
        }
    }

    /// What a look leaves in doubt, and when the next one comes. What was known to be in the way is told once.
    fn doubt(&mut self, known: Option<Doubt>, found: &Found) -> Option<Doubt> {
        let (why, first) = match found {
            Found::Failed(why) => (&**why, LOOK_AGAIN),
            Found::State { probe: Probe::Changing, .. } => (CHANGING, LOOK_SOON),
            Found::State { .. } | Found::Nothing => return None,
        };
        let known = known.filter(|known| known.why == why);
        if known.is_none() && matches!(found, Found::Failed(_)) {
            self.log(Level::Warning, format!("may run: {why}"));
        }
        let pause = known.map_or(first, |known| known.pause.saturating_mul(2).min(LOOK_AGAIN));
        Some(Doubt { why: why.to_owned(), again: Some(self.now.instant.plus(pause)), pause })
    }

    fn adopt(&mut self, init: Init, remembered: Option<Remembered>) -> Run {
        let epoch = self.state.next_epoch();
        self.state.want(Intent::Up);
        let adopted = remembered.is_none();
        let fingerprint = remembered.as_ref().map(|remembered| remembered.fingerprint);
        let was_ready = remembered.as_ref().is_some_and(|remembered| remembered.ready == Some(init.pid));
        let service = if was_ready { Service::ready(self.now.instant) } else { self.service() };
        self.state.reboots.extend(remembered.into_iter().flat_map(|remembered| remembered.reboots));
        self.effects.push(Effect::Watch(epoch));
        self.tell(Topic::Up, Level::Info, format!("runs already, with init {}: adopted", init.pid));
        let run = Run::new(epoch, fingerprint, self.now.instant);
        Run { init: Some(init), adopted, service, ..run }
    }
}
