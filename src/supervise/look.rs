//! The machine's part for what a look at a guest has shown.

use std::time::Duration;

use super::{
    backoff,
    effect::{Effect, Level, Topic},
    event::{Found, Remembered},
    machine::Turn,
    reboot,
    state::{Doubt, Failure, Intent, Next, Phase, Run, Service, Then},
};
use crate::{
    engine::{Epoch, Init, Probe},
    model::{End, Follows, Now, ProcessId},
};

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
        self.state.seen_down |=
            matches!(found, Found::State { probe: Probe::Down | Probe::Ended { .. }, .. });
        if let Found::State { remembered: Some(remembered), .. } = &found
            && self.state.epoch == Epoch(0)
            // They may be known from what outlives a boot as well.
            && self.state.retries.at.is_empty()
        {
            let wall_times = remembered.failures.iter();
            let failures = wall_times.map(|wall| Now { instant: self.now.instant_of(*wall), wall: *wall });
            self.state.retries = backoff::recalled(failures, &self.guest.restart, self.now.instant);
        }
        self.state.kept = kept(&found).or(self.state.kept);
        let known = self.state.doubt.take();
        if matches!(phase, Phase::Down(_) | Phase::Failed { remains: None, .. } | Phase::BackingOff { .. }) {
            self.state.doubt = self.doubt(known, &found);
        }
        match (phase, found) {
            (
                phase @ (Phase::Down(_) | Phase::Failed { remains: None, .. }),
                Found::State { probe, remembered },
            ) => match probe {
                Probe::Up(_) | Probe::Frozen(_) => self.found_running(phase, probe, remembered),
                Probe::Ended { status, .. } => self.has_ended(phase, Some(status), remembered),
                Probe::Down => self.found_down(phase, remembered),
                Probe::Changing => phase,
            },
            // Others started it before our own start could begin: what is remembered is that intention.
            (phase @ (Phase::Starting { .. } | Phase::BackingOff { .. }), Found::State { probe, .. }) => {
                self.found_running(phase, probe, None)
            }
            (Phase::Up(run), Found::State { probe: Probe::Frozen(init), .. })
                if run.init.is_some_and(|seen| seen.pid == init.pid) =>
            {
                Phase::Frozen(run)
            }
            (phase, _) => phase,
        }
    }

    fn found_running(&mut self, phase: Phase, probe: Probe, remembered: Option<Remembered>) -> Phase {
        // What had ended for good, or had a pause, was begun anew by others.
        let is_over = |known: &Remembered| {
            !known.was_seen && matches!(known.follows, Some(Follows::Retry(_) | Follows::Failed(_)))
        };
        let remembered = remembered.filter(|known| !is_over(known));
        let follows = remembered.as_ref().and_then(|remembered| remembered.follows.clone());
        let phase = match probe {
            Probe::Up(init) => Phase::Up(self.adopt(init, remembered)),
            Probe::Frozen(init) => Phase::Frozen(self.adopt(init, remembered)),
            Probe::Down | Probe::Ended { .. } | Probe::Changing => return phase,
        };
        self.resume(phase, follows)
    }

    fn found_down(&mut self, phase: Phase, remembered: Option<Remembered>) -> Phase {
        // That something of it has ended since, its helper may have told.
        let is_fresh = matches!(phase, Phase::Down(None | Some(End::Unknown)));
        let (follows, unwanted) = match &remembered {
            Some(known) if is_fresh => (known.follows.clone(), known.unwanted),
            _ => (None, false),
        };
        match (follows, remembered) {
            (Some(Follows::Retry(why)), _) => self.start_later(why, unwanted),
            (Some(Follows::Begin), _) => {
                self.start_later("guestd ended while it was being started".to_owned(), unwanted)
            }
            // A start that was to end before the next one.
            (Some(Follows::Start), Some(Remembered { was_seen: false, .. })) => {
                self.start_later("guestd ended while it was being restarted".to_owned(), unwanted)
            }
            (Some(Follows::Failed(_) | Follows::Recover(_)), known) => self.has_ended(phase, None, known),
            (_, known) if known.as_ref().is_some_and(|run| run.was_seen) => {
                self.has_ended(phase, None, known)
            }
            _ => phase,
        }
    }

    /// It runs, or did. Where it was to go down, only what outlives a boot tells who wanted that: somebody, or the host's stop.
    pub(super) fn want_as_before(&mut self, is_unwanted: bool) {
        if is_unwanted {
            self.state.intent = Intent::Down;
        } else {
            self.state.want(Intent::Up);
        }
    }

    /// Goes on with what the daemon before this one was at: as soon as nothing is in the way.
    fn start_later(&mut self, why: String, is_unwanted: bool) -> Phase {
        if is_unwanted {
            return self.ended(Then::Stay(End::Asked { killed: false }));
        }
        self.state.want(Intent::Up);
        self.log(Level::Info, format!("is to be started: {why}"));
        Phase::BackingOff { why: Failure::Earlier(why), next: Next::Due(String::new()) }
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
        let is_unwanted = remembered.as_ref().is_some_and(|remembered| remembered.unwanted);
        self.want_as_before(is_unwanted);
        let adopted = remembered.is_none();
        let fingerprint = remembered.as_ref().map(|remembered| remembered.fingerprint);
        let was_ready = remembered.as_ref().is_some_and(|remembered| remembered.ready == Some(init.pid));
        let service = if was_ready { Service::ready(self.now.instant) } else { self.service() };
        self.state.restarts = remembered.as_ref().map_or(self.state.restarts, |known| known.restarts);
        // They may be known from the spool, or from what outlives a boot, as well.
        let reboots = remembered.into_iter().flat_map(|remembered| remembered.reboots);
        reboot::remember_earlier(self.state, reboots);
        self.effects.push(Effect::Watch(epoch));
        self.tell(Topic::Up, Level::Info, format!("runs already, with init {}: adopted", init.pid));
        let run = Run::new(epoch, fingerprint, self.now.instant);
        Run { init: Some(init), adopted, service, ..run }
    }
}

/// Who kept a run going that is over, or keeps it going, where a look tells that.
fn kept(found: &Found) -> Option<ProcessId> {
    let Found::State { probe, remembered } = found else { return None };
    let told = if let Probe::Ended { keeper, .. } = probe { *keeper } else { None };
    told.or(remembered.as_ref().and_then(|known| known.kept))
}
