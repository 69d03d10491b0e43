//! Guests in units of their own, registered with systemd-machined: `machinectl list` shows them. It takes the unit of
//! the leader for the machine's, and stops that on `machinectl terminate`; so a guest that is in no unit of its own is
//! not registered. It forgets a machine by itself when its unit has ended, but looks at the unit only then, and stops it: one
//! that was started again by that time would be stopped too. So guestd has it forget machines in time.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use zbus::{Connection, fdo, proxy::CacheProperties};
use zbus_systemd::machine1::{MachineProxy, ManagerProxy};

use crate::{
    daemon::handle::Handle,
    launch::{cgroup, systemd, unit},
    model::{
        GuestName,
        status::{PhaseWord, Snapshot},
    },
};

/// Who registers, in machined's words.
const SERVICE: &str = "guestd";
/// machined's errors for a machine that is known already, and for one that is not (sd-bus, bus-common-errors.h).
const EXISTS: &str = "org.freedesktop.machine1.MachineExists";
const NO_SUCH_MACHINE: &str = "org.freedesktop.machine1.NoSuchMachine";
/// How long machined may take for one guest.
const WITHIN: Duration = Duration::from_secs(10);
/// How long registrations wait for starts that are under way.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a start waits for machined to let go of the run before.
const RELEASED: Duration = Duration::from_secs(2);
/// The longest name of a machine: that of a host on Linux.
const NAME_MAX: usize = 64;

/// Who is about to start again, and whom to tell that machined has let go of it.
type Leaving = (GuestName, oneshot::Sender<()>);

/// Has machined let go of guests.
#[derive(Debug, Clone)]
pub struct Machines(mpsc::UnboundedSender<Leaving>);

/// Takes what [`Machines`] asks for.
#[derive(Debug)]
pub struct Releases(mpsc::UnboundedReceiver<Leaving>);

/// Makes both ends. Without a taker nobody waits.
pub fn machines() -> (Machines, Releases) {
    let (ask, asked) = mpsc::unbounded_channel();
    (Machines(ask), Releases(asked))
}

impl Machines {
    /// Returns once machined has let go of the last run of a guest, before its unit may start again: machined stops the
    /// unit of a machine that has ended, even if that is up again by then.
    pub async fn release(&self, guest: &GuestName) {
        let (tell, told) = oneshot::channel();
        if self.0.send((guest.clone(), tell)).is_ok() && timeout(RELEASED, told).await.is_err() {
            tracing::debug!("{guest}: machined does not let go of it in time");
        }
    }
}

/// Registers every guest whose init is seen, and again when it has another one. Runs for as long as there are snapshots;
/// nobody waits for it.
pub async fn register(connection: Connection, handle: Handle, mut releases: Releases) {
    let manager = match ManagerProxy::new(&connection).await {
        Ok(manager) => manager,
        Err(error) => return tracing::debug!("guests are not registered with machined: {error}"),
    };
    let mut machined = Machined { connection, manager, leaders: BTreeMap::new(), stuck: None, missed: false };
    let mut snapshots = handle.subscribe();
    loop {
        let snapshot = tokio::select! {
            biased;
            Some(leaving) = releases.0.recv() => {
                machined.leave(leaving).await;
                continue;
            }
            snapshot = pause_in_starts(&mut snapshots) => snapshot,
        };
        // One at a time: the next release is not to wait for all of them.
        if machined.let_go_of_one(&snapshot).await || machined.take_one(&snapshot).await {
            continue;
        }
        tokio::select! {
            biased;
            Some(leaving) = releases.0.recv() => machined.leave(leaving).await,
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

/// Waits, for a while, until no guest is being started, which a registration would hold up: PID 1 and the bus have their
/// part in both.
async fn pause_in_starts(snapshots: &mut watch::Receiver<Arc<Snapshot>>) -> Arc<Snapshot> {
    let is_calm =
        |snapshot: &Arc<Snapshot>| snapshot.guests.values().all(|guest| guest.phase != PhaseWord::Starting);
    // Nobody publishes any more, or somebody takes long.
    let _ = timeout(PAUSE, snapshots.wait_for(is_calm)).await;
    snapshots.borrow_and_update().clone()
}

/// With which init a guest was seen.
struct Leader {
    init: i32,
    /// The machine is the one that was registered for it.
    is_ours: bool,
}

struct Machined {
    connection: Connection,
    manager: ManagerProxy<'static>,
    /// The inits with which guests were registered, or would have been.
    leaders: BTreeMap<GuestName, Leader>,
    /// Until when nobody waits for a machined that does not answer.
    stuck: Option<Instant>,
    /// That there is no machined was told.
    missed: bool,
}

impl Machined {
    /// Registers a guest that is not yet. Returns whether there may be more.
    async fn take_one(&mut self, snapshot: &Snapshot) -> bool {
        let leader = |name: &GuestName| snapshot.guests.get(name).and_then(|guest| guest.init_pid);
        let mut inits = snapshot.guests.keys().filter_map(|name| Some((name, leader(name)?)));
        let is_known =
            |name: &GuestName, init| self.leaders.get(name).is_some_and(|leader| leader.init == init);
        let Some((name, leader)) = inits.find(|(name, init)| !is_known(name, *init)) else { return false };
        self.leaders.insert(name.clone(), Leader { init: leader, is_ours: false });
        if !is_in_its_unit(leader, name) {
            return true;
        }
        match self.take(name, leader).await {
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::ServiceUnknown(_)) => {
                if !std::mem::replace(&mut self.missed, true) {
                    tracing::debug!("systemd-machined is not installed: machinectl shows no guests");
                }
            }
            Err(error) => tracing::debug!("{name} is not registered with machined: {error}"),
            Ok(()) => drop(self.leaders.insert(name.clone(), Leader { init: leader, is_ours: true })),
        }
        true
    }

    /// Lets go of a guest that is down. Returns whether there may be more.
    async fn let_go_of_one(&mut self, snapshot: &Snapshot) -> bool {
        let is_down = |name: &GuestName| {
            let guest = snapshot.guests.get(name);
            guest.is_none_or(|guest| matches!(guest.phase, PhaseWord::Down | PhaseWord::Failed))
        };
        let Some(name) = self.leaders.keys().find(|name| is_down(name)).cloned() else { return false };
        self.release(&name).await;
        true
    }

    async fn leave(&mut self, (guest, tell): Leaving) {
        self.release(&guest).await;
        // It may not have waited.
        let _ = tell.send(());
    }

    /// Lets machined forget a guest, if it knows it from us. Its unit is left alone.
    async fn release(&mut self, name: &GuestName) {
        let was_ours = self.leaders.remove(name).is_some_and(|leader| leader.is_ours);
        if !was_ours || self.stuck.is_some_and(|until| Instant::now() < until) {
            return;
        }
        match timeout(RELEASED, self.manager.unregister_machine(name.as_str().into())).await {
            Ok(Ok(())) => self.stuck = None,
            Ok(Err(error)) if systemd::is(&error, NO_SUCH_MACHINE) => {}
            Ok(Err(error)) => tracing::debug!("{name} is not unregistered from machined: {error}"),
            Err(_) => self.stuck = Some(Instant::now() + WITHIN),
        }
    }

    async fn take(&self, name: &GuestName, leader: i32) -> zbus::Result<()> {
        if !is_host_name(name.as_str()) {
            return Err(zbus::Error::Failure("its name is none that a host could have".into()));
        }
        let leader = leader.cast_unsigned();
        timeout(WITHIN, self.registered(name.as_str(), leader))
            .await
            .unwrap_or_else(|_| Err(zbus::Error::Failure("machined does not answer".into())))
    }

    async fn registered(&self, name: &str, leader: u32) -> zbus::Result<()> {
        match self.register(name, leader).await {
            Err(error) if systemd::is(&error, EXISTS) => {}
            result => return result,
        }
        if self.is_right(name, leader).await? {
            return Ok(());
        }
        // It has another init since then: machined has no other way to be told. The unit is left alone.
        match self.manager.unregister_machine(name.into()).await {
            Err(error) if !systemd::is(&error, NO_SUCH_MACHINE) => return Err(error),
            _ => {}
        }
        self.register(name, leader).await
    }

    async fn register(&self, name: &str, leader: u32) -> zbus::Result<()> {
        let (no_id, no_root) = (vec![0; 16], String::new());
        let class = "container".to_owned();
        self.manager
            .register_machine(name.into(), no_id, SERVICE.into(), class, leader, no_root)
            .await
            .map(drop)
    }

    /// Whether a machine that is registered already is this guest with this leader: the guestd before this one may have
    /// done it.
    async fn is_right(&self, name: &str, leader: u32) -> zbus::Result<bool> {
        let path = match self.manager.get_machine(name.into()).await {
            Err(error) if systemd::is(&error, NO_SUCH_MACHINE) => return Ok(false),
            path => path?,
        };
        let machine = MachineProxy::builder(&self.connection).path(path);
        let machine = machine.cache_properties(CacheProperties::No).build().await?;
        let service = machine.service().await?;
        if service != SERVICE {
            return Err(zbus::Error::Failure(format!("{service} has a machine of this name")));
        }
        Ok(machine.leader().await? == leader)
    }
}

/// Whether a guest's init is in the guest's own unit, as machined will look at it.
fn is_in_its_unit(init: i32, guest: &GuestName) -> bool {
    let table = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap_or_default();
    // From the root on: below its own cgroup a guest names them as it likes.
    let slice = Path::new("/").join(unit::SLICE);
    let mut paths = cgroup::paths(&table).filter(|path| path.starts_with(&slice));
    paths.any(|path| unit::of_cgroup(path) == Some(&unit::name(guest)))
}

/// Whether machined takes this name: labels of letters, digits and inner hyphens, with dots between them
/// (hostname(7)).
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= NAME_MAX && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_have_names_of_hosts() {
        for name in ["web", "web-1", "a.b-c.d", "0", &"x".repeat(64)] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a_b", "-a", "a-", "a..b", ".a", "a.", "a.-b", "ä", &"x".repeat(65)] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
