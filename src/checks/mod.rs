//! Whether guests that are up serve: carries out what `supervise` wants checked, and tells how it came out.
//!
//! What is checked of one guest is in tasks of its own, so no guest's answer delays another's. Guests are asked by
//! `probe`, in the `rhythm` of their settings, or say themselves how they are (`notify`).

mod gate;
mod inside;
pub mod notify;
mod probe;
mod rhythm;

use std::{
    collections::HashMap, fs::File, io, os::unix::fs::MetadataExt, path::Path, pin::Pin, sync::Arc,
    time::Duration,
};

use tokio::{task::JoinSet, time::timeout};

use self::{gate::Gate, inside::Inside, notify::Places, probe::Prober, rhythm::Answer};
use crate::{
    engine::{entry::Ways, notify::INSIDE},
    launch::Launcher,
    model::{Condition, Guest, GuestName, Probe},
    supervise::event::{Check, Checking, Event},
};

/// Takes what is found out about a guest.
pub type Tell = Arc<dyn Fn(&GuestName, Event) + Send + Sync>;

/// How long may be looked for a guest's socket in it: its file systems need not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is checked of all guests.
pub struct Checks {
    launcher: Arc<dyn Launcher>,
    ways: Arc<Ways>,
    places: Arc<Places>,
    tell: Tell,
    running: HashMap<GuestName, Running>,
}

/// What is checked of one guest, until this is dropped.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    /// Outlives the tasks: what hangs, hangs on.
    gate: Gate,
}

impl Checks {
    /// Checks nothing yet. Programs are run by `launcher`, and get into guests by `ways`; `places` are the sockets of guests that
    /// notify.
    pub fn new(launcher: Arc<dyn Launcher>, ways: Ways, places: Arc<Places>, tell: Tell) -> Self {
        Self { launcher, ways: Arc::new(ways), places, tell, running: HashMap::new() }
    }

    /// From now on checks this of a guest, and nothing else.
    pub fn set(&mut self, guest: &Arc<Guest>, checking: Option<Checking>) {
        match checking {
            Some(checking) => {
                self.running.entry(guest.name.clone()).or_default().tasks = JoinSet::new();
                self.begin(guest, checking);
            }
            None => {
                self.places.hear(&guest.name, None);
                self.forget(&guest.name);
            }
        }
    }

    /// A guest is down, and needs no socket any more.
    pub fn down(&mut self, guest: &GuestName) {
        self.forget(guest);
        self.places.close(guest);
    }

    /// Ends what is checked of a guest. Where something of it hangs, that is remembered.
    fn forget(&mut self, guest: &GuestName) {
        match self.running.get_mut(guest) {
            Some(running) if !running.gate.is_free() => running.tasks.abort_all(),
            _ => drop(self.running.remove(guest)),
        }
    }

    /// All guests but these are down.
    pub fn retain(&mut self, is_up: impl Fn(&GuestName) -> bool) {
        self.places.retain(is_up);
    }

    fn begin(&mut self, guest: &Arc<Guest>, checking: Checking) {
        let notifies = guest.ready.when == Condition::Notify;
        let can_be_heard = notifies && self.places.hear(&guest.name, Some(checking));
        // An init that has ended has nothing more to answer, and its end is told by others.
        let Ok(inside) = Inside::of(checking.init).map(Arc::new) else { return };
        let Some(running) = self.running.get_mut(&guest.name) else { return };
        let (launcher, ways, gate) = (self.launcher.clone(), self.ways.clone(), running.gate.clone());
        let prober = Arc::new(Prober { guest: guest.clone(), inside, gate, launcher, ways });
        let (tell, name) = (self.tell.clone(), guest.name.clone());
        let tell = move |answer| tell(&name, Event::Checked(checking, answer));
        match (checking.check, &guest.ready.when, &guest.health) {
            (Check::Readiness, Condition::Probe(probe), _) => {
                let within = probe::patience(&guest.ready, probe);
                let ask = asking(prober, probe, within);
                running.tasks.spawn(rhythm::until_ready(guest.ready.interval, ask, tell));
            }
            (Check::Readiness, Condition::Notify, _) => {
                let folder = self.places.identity(&guest.name).filter(|_| can_be_heard);
                running.tasks.spawn(has_its_socket(prober, folder, tell));
            }
            (Check::Health, _, Some(health)) => {
                let ask = asking(prober, &health.probe, health.timeout);
                running.tasks.spawn(rhythm::for_ever(health.interval, ask, tell));
            }
            (Check::Readiness, Condition::Started, _) => tell(Ok(())),
            (Check::Health, _, None) => {}
        }
    }
}

/// Asks the same again and again.
fn asking(
    prober: Arc<Prober>,
    probe: &Probe,
    within: Duration,
) -> impl FnMut() -> Pin<Box<dyn Future<Output = Answer> + Send>> + use<> {
    let probe = Arc::new(probe.clone());
    move || {
        let (prober, probe) = (prober.clone(), probe.clone());
        Box::pin(async move { prober.ask(&probe, within).await })
    }
}

/// Says so where a guest that should notify cannot: others have started it, or LXC could not mount its folder.
async fn has_its_socket(prober: Arc<Prober>, folder: Option<(u64, u64)>, tell: impl Fn(Answer)) {
    let inside = prober.inside.clone();
    let look = prober.gate.through(move || -> io::Result<_> {
        let found = File::from(inside.find(Path::new(INSIDE))?).metadata()?;
        Ok((found.dev(), found.ino()))
    });
    let found = match timeout(PATIENCE, look).await {
        Ok(Ok(Ok(found))) => Some(found),
        Ok(Ok(Err(_))) => None,
        // Nobody knows: it may well be there.
        Ok(Err(_)) | Err(_) => return,
    };
    if folder.is_none() || found != folder {
        let why = format!("notify: it runs without {INSIDE}; restart it by guestd");
        tell(Err(why));
    }
}
