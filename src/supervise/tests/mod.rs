//! Tables and properties of the supervision core, with explicit moments.

mod bulk;
mod chaos;
mod disorder;
mod ends;
mod fleet;
mod holds;
mod killed;
mod lasting;
mod left;
mod machine;
mod meanwhile;
mod pressure;
mod recover;
mod reports;
mod restore;
mod retry;
mod serve;
mod table;
mod told;

use std::{sync::Arc, time::Duration};

use super::{
    event::{Event, Remembered},
    machine::handle,
    state::State,
};
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Init, Observation},
    model::{
        Auto, EngineSpec, Guest, GuestName, Instant, LxcSpec, Now, Restart, RestartPolicy, Start, Timestamp,
        WaitStatus,
    },
    supervise::effect::Effect,
};

pub(super) fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

pub(super) fn guest(text: &str) -> Guest {
    let engine = EngineSpec::Lxc(LxcSpec::new(Arc::from(std::path::Path::new("/lxc"))));
    let start = Start { auto: Auto::Yes, ..Start::default() };
    // What comes after failures has tests of its own.
    let restart = Restart { policy: RestartPolicy::Never, ..Restart::default() };
    Guest { start, restart, fingerprint: 1, ..Guest::new(name(text), engine) }
}

/// `seconds` after the host's boot.
pub(super) fn at(seconds: u64) -> Now {
    Now {
        instant: Instant(Duration::from_secs(seconds)),
        wall: Timestamp(1_000_000_000_000_000 + seconds * 1_000_000),
    }
}

pub(super) fn init(pid: i32) -> Init {
    Init { pid, since: Timestamp(7), keeper: None }
}

pub(super) fn failed() -> EngineError {
    EngineError { operation: "start it", kind: ErrorKind::Failed, reason: "no rootfs".into() }
}

/// What an earlier daemon leaves of a run whose init it has seen, and with which nothing else is the matter.
pub(super) fn remembered() -> Remembered {
    Remembered {
        fingerprint: 1,
        restarts: 0,
        reboots: Vec::new(),
        failures: Vec::new(),
        was_seen: true,
        kept: None,
        follows: None,
        unwanted: false,
        ready: None,
    }
}

/// A guest and its state, to which things happen.
pub(super) struct Scene {
    pub guest: Guest,
    pub state: State,
}

impl Scene {
    pub fn new() -> Self {
        Self::of(guest("web"))
    }

    pub fn of(guest: Guest) -> Self {
        Self { guest, state: State::new(at(0).wall) }
    }

    /// Up, with init 100, in epoch 1.
    pub fn up() -> Self {
        Self::up_of(guest("web"))
    }

    pub fn up_of(guest: Guest) -> Self {
        let mut scene = Self::of(guest);
        scene.happens(1, Event::StartRequested);
        scene.happens(1, Event::StartReturned(Epoch(1), Ok(())));
        scene.sees(1, Observation::Running(init(100)));
        scene
    }

    /// Effects without what is only for people.
    pub fn happens(&mut self, seconds: u64, event: Event) -> Vec<Effect> {
        let mut effects = handle(&mut self.state, &self.guest, event, at(seconds));
        effects.retain(|effect| !matches!(effect, Effect::Log(..) | Effect::KeepLastWords));
        effects
    }

    pub fn sees(&mut self, seconds: u64, what: Observation) -> Vec<Effect> {
        let epoch = self.state.epoch;
        self.happens(seconds, Event::Observed(epoch, what))
    }

    pub fn exits(&mut self, seconds: u64, raw: i32) -> Vec<Effect> {
        self.sees(seconds, Observation::InitExited(Some(WaitStatus(raw))))
    }
}
