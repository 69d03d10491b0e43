//! How each effect is carried out, and with what.

use std::{path::Path, sync::Arc, time::Duration};

use super::{boundary, clock::Clock, hook, store, worker::Work};
use crate::{
    checks::notify::Places,
    engine::{Engine, EngineError, EngineResult, Epoch, ErrorKind, Probe},
    kill_point::KillPoint,
    launch::Launcher,
    model::{Guest, Resources},
    supervise::event::{Event, Found},
    systemd::{machined::Machines, message},
};

/// Between two looks at a guest that others start or stop while it is to be started; doubled up to the second.
const SETTLING: Duration = Duration::from_millis(20);
const SETTLING_MAX: Duration = Duration::from_secs(1);

/// What all workers share.
#[derive(Clone)]
pub struct Means {
    /// Runs guests.
    pub engine: Arc<dyn Engine>,
    /// Runs hooks.
    pub launcher: Arc<dyn Launcher>,
    /// Where guests that notify find their sockets.
    pub places: Arc<Places>,
    /// Lets machined forget a run before the next one.
    pub machines: Machines,
    /// What earlier daemons of this boot have left.
    pub runtime_dir: Arc<Path>,
    /// The time.
    pub clock: Clock,
}

impl Means {
    /// Carries out a piece of work. None for what decides nothing.
    pub async fn carry_out(&self, guest: Arc<Guest>, work: Work) -> Option<Event> {
        let engine = &*self.engine;
        Some(match work {
            Work::Start(epoch) => self.start(guest, epoch).await,
            Work::Hook(stage, reason) => {
                let (begins, ended) = boundary::around_hook(stage);
                begins.pass();
                hook::run_all(&*self.launcher, &guest, stage, &reason).await;
                ended.pass();
                return None;
            }
            Work::Request(epoch, request) => {
                let (begins, ended) = boundary::around_request(request);
                begins.pass();
                let result = engine.request(&guest, request).await;
                ended.pass();
                Event::RequestReturned(epoch, request, result)
            }
            Work::Kill(epoch) => {
                KillPoint::KillBegins.pass();
                let result = engine.kill(&guest).await;
                KillPoint::KillEnded.pass();
                Event::KillReturned(epoch, result)
            }
            Work::Watch(epoch) => {
                self.watch(guest, epoch).await;
                // Nothing is to be reported: the watch does that.
                Event::Probed(Found::Nothing)
            }
            Work::Adjust(resources) => {
                adjust(engine, &guest, &resources).await;
                return None;
            }
            Work::Probe => {
                KillPoint::ProbeBegins.pass();
                let found = self.look(&guest).await;
                KillPoint::ProbeEnded.pass();
                Event::Probed(found)
            }
        })
    }

    async fn watch(&self, guest: Arc<Guest>, epoch: Epoch) {
        KillPoint::WatchBegins.pass();
        self.engine.watch(guest.clone(), epoch);
        KillPoint::WatchEnded.pass();
        // They may have changed while no guestd was there.
        adjust(&*self.engine, &guest, &guest.resources).await;
    }

    /// Starts a guest, unless others have started it meanwhile: LXC would fail, and clearing up behind that failure would
    /// hit what the others started.
    async fn start(&self, guest: Arc<Guest>, epoch: Epoch) -> Event {
        KillPoint::StartBegins.pass();
        self.machines.release(&guest.name).await;
        let engine = &*self.engine;
        let result = match settled(engine, &guest).await {
            Ok(probe @ (Probe::Up(_) | Probe::Frozen(_))) => {
                return Event::Probed(Found::State { probe, remembered: None });
            }
            Ok(Probe::Down | Probe::Ended { .. } | Probe::Changing) => {
                // That the start was begun is stored: whatever ended before, it is over.
                engine.forget_end(&guest);
                KillPoint::PreStartBegins.pass();
                let prepared = hook::pre_start(&*self.launcher, &guest).await;
                KillPoint::PreStartEnded.pass();
                match prepared {
                    Ok(()) => {
                        self.places.open(&guest);
                        KillPoint::EngineBegins.pass();
                        engine.start(&guest).await
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        if result.is_ok() {
            KillPoint::Started.pass();
            engine.watch(guest, epoch);
            KillPoint::StartWatched.pass();
        }
        Event::StartReturned(epoch, result)
    }

    async fn look(&self, guest: &Guest) -> Found {
        match self.engine.probe(guest).await {
            Ok(probe) => {
                let found = store::found(&self.runtime_dir, &guest.name, probe, self.clock.now());
                if store::is_told_in_vain(probe, &found) {
                    self.engine.forget_end(guest);
                }
                found
            }
            Err(error) => Found::Failed(error.to_string()),
        }
    }
}

/// Looks at a guest until it is known whether it runs: others may be starting or stopping it.
async fn settled(engine: &dyn Engine, guest: &Guest) -> EngineResult<Probe> {
    let until = tokio::time::Instant::now() + guest.start.timeout;
    let mut pause = SETTLING;
    loop {
        let probe = engine.probe(guest).await?;
        if probe != Probe::Changing {
            return Ok(probe);
        }
        if tokio::time::Instant::now() >= until {
            let timeout = humantime::format_duration(guest.start.timeout);
            let reason = format!("others have been starting or stopping it for {timeout} (start.timeout)");
            return Err(EngineError { operation: "start it", kind: ErrorKind::Busy, reason });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(SETTLING_MAX);
    }
}

/// Gives a running guest what its settings say. What goes wrong with that changes nothing else of it.
async fn adjust(engine: &dyn Engine, guest: &Guest, resources: &Resources) {
    if resources.is_empty() {
        return;
    }
    let name = &guest.name;
    match engine.adjust(guest, resources).await {
        Ok(()) => {}
        Err(error) if error.kind == ErrorKind::Missing => {
            let text = "has no unit of its own: its [resources] count from its next start";
            message::warn(name, format_args!("{name} {text}"));
        }
        Err(error) => message::warn(name, format_args!("{name}: {error}; they count from its next start")),
    }
}
