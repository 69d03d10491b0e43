//! Guests that say themselves when they are ready, with sd_notify(3): each has a socket of its own, from before its start
//! until it is down. It outlives this daemon: systemd keeps it, with what is written to it meanwhile.

mod message;
mod origin;
mod place;
mod reader;
mod receive;
mod status;

use std::{
    collections::HashMap,
    os::fd::AsFd,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{net::UnixDatagram, sync::mpsc, task::JoinSet};

use self::{
    origin::Realm,
    place::Ground,
    reader::{Heard, Reader},
};
use super::Tell;
use crate::{
    model::{Condition, Guest, GuestName},
    supervise::event::Checking,
    systemd::{
        fdstore::{self, Kept},
        message as journal,
    },
};

/// How the names begin under which systemd keeps the sockets.
const KEPT: &str = "guestd-notify-";

/// The sockets of all guests that notify. Needs a running Tokio runtime.
pub struct Places {
    ground: Ground,
    tell: Tell,
    open: Mutex<HashMap<GuestName, Place>>,
}

/// A guest's socket, which is read as long as this is there.
struct Place {
    who: mpsc::UnboundedSender<Option<Heard>>,
    _reader: JoinSet<()>,
}

impl Places {
    /// Goes on with the sockets that the daemon before this one had; others that were kept are handed back.
    pub fn new(runtime_dir: &Path, tell: Tell, kept: Kept) -> (Self, Kept) {
        let places = Self { ground: Ground::new(runtime_dir), tell, open: Mutex::default() };
        let mut others = Kept::new();
        for (name, file) in kept {
            match name.strip_prefix(KEPT).map(GuestName::new) {
                Some(Ok(guest)) => match places.ground.take_over(&guest, file) {
                    Ok(socket) => places.begin(&guest, socket),
                    Err(error) => {
                        tracing::debug!("{guest}: its socket is not taken over: {error}");
                        fdstore::forget(&name);
                    }
                },
                _ => others.push((name, file)),
            }
        }
        (places, others)
    }

    /// A guest is about to be started: makes its socket, if it notifies. Where that fails it starts all the same.
    pub fn open(&self, guest: &Guest) {
        let name = &guest.name;
        if guest.ready.when != Condition::Notify {
            return self.close(name);
        }
        self.locked().remove(name);
        fdstore::forget(&kept_as(name));
        match self.ground.make(name) {
            Ok(socket) => self.keep(name, socket),
            Err(error) => {
                journal::warn(name, format_args!("{name} cannot say when it is ready: no socket: {error}"));
            }
        }
    }

    /// From now on a guest's init is heard, or nobody. Whether the guest can be heard.
    pub(super) fn hear(&self, guest: &GuestName, checking: Option<Checking>) -> bool {
        let Some(checking) = checking else {
            if let Some(place) = self.locked().get(guest) {
                place.hear(None);
            }
            return true;
        };
        if !self.locked().contains_key(guest) {
            // The daemon before this one had it, and nobody has kept it.
            match self.ground.again(guest) {
                Ok(socket) => self.keep(guest, socket),
                Err(error) => {
                    tracing::debug!("{guest}: its socket is not made anew: {error}");
                    return false;
                }
            }
        }
        // Without an init there is nothing to hear; that it has ended is told by others.
        let heard = Realm::of(checking.init).map(|realm| Heard { checking, realm });
        if let Some(place) = self.locked().get(guest) {
            place.hear(heard);
        }
        true
    }

    /// What tells the folder that a guest should have from every other.
    pub(super) fn identity(&self, guest: &GuestName) -> Option<(u64, u64)> {
        self.ground.identity(guest)
    }

    /// A guest is down: removes its socket.
    pub fn close(&self, guest: &GuestName) {
        if self.locked().remove(guest).is_some() {
            fdstore::forget(&kept_as(guest));
        }
        if let Err(error) = self.ground.remove(guest) {
            journal::warn(guest, format_args!("{guest}'s notification socket cannot be removed: {error}"));
        }
    }

    /// Removes the sockets of all guests but these.
    pub fn retain(&self, is_up: impl Fn(&GuestName) -> bool) {
        let mut guests = self.ground.guests();
        guests.extend(self.locked().keys().cloned());
        guests.iter().filter(|guest| !is_up(guest)).for_each(|guest| self.close(guest));
    }

    fn keep(&self, guest: &GuestName, socket: UnixDatagram) {
        fdstore::keep(&kept_as(guest), socket.as_fd());
        self.begin(guest, socket);
    }

    fn begin(&self, guest: &GuestName, socket: UnixDatagram) {
        let (who, heard) = mpsc::unbounded_channel();
        let reader = Reader::new(guest.clone(), self.ground.clone(), self.tell.clone());
        let mut task = JoinSet::new();
        task.spawn(reader.follow(socket, heard));
        self.locked().insert(guest.clone(), Place { who, _reader: task });
    }

    /// What a panic elsewhere left behind is still whole: every change is a single insertion or removal.
    fn locked(&self) -> MutexGuard<'_, HashMap<GuestName, Place>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn hear(&self, heard: Option<Heard>) {
        // Its reader lives as long as it does.
        let _ = self.who.send(heard);
    }
}

fn kept_as(guest: &GuestName) -> String {
    format!("{KEPT}{guest}")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixDatagram as Plain, sync::Arc, time::Duration};

    use tokio::time::timeout;

    use super::*;
    use crate::{
        engine::{
            Epoch,
            notify::{SOCKET, folder},
        },
        supervise::event::{Check, Event},
    };

    type Told = mpsc::UnboundedReceiver<Event>;

    fn places(runtime_dir: &Path, kept: Kept) -> (Places, Kept, Told) {
        let (sink, told) = mpsc::unbounded_channel();
        let tell: Tell = Arc::new(move |_: &GuestName, event| drop(sink.send(event)));
        let (places, others) = Places::new(runtime_dir, tell, kept);
        (places, others, told)
    }

    async fn next(told: &mut Told) -> Event {
        timeout(Duration::from_secs(10), told.recv()).await.expect("nothing is told").unwrap()
    }

    #[tokio::test]
    async fn what_is_said_while_no_daemon_is_there_is_heard_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let web = GuestName::new("web").unwrap();
        // As the daemon before this one left it.
        let ground = Ground::new(dir.path());
        let kept = ground.make(&web).unwrap().into_std().unwrap();
        let socket = folder(dir.path(), &web).join(SOCKET);
        Plain::unbound().unwrap().send_to(b"READY=1\nSTATUS=up", socket).unwrap();
        let other = std::fs::File::open("/dev/null").unwrap();
        let kept = vec![
            ("guestd-notify-gone".to_owned(), Plain::unbound().unwrap().into()),
            (kept_as(&web), kept.into()),
            ("lxc-monitor-fifo-1-2".to_owned(), other.into()),
        ];
        let (places, others, mut told) = places(dir.path(), kept);
        assert_eq!(others.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["lxc-monitor-fifo-1-2"]);
        // This process stands for the guest, whose init it is not: nothing else tells it from the host.
        let checking =
            Checking { epoch: Epoch(1), init: std::process::id().cast_signed(), check: Check::Readiness };
        assert!(places.hear(&web, Some(checking)));
        assert_eq!(next(&mut told).await, Event::Checked(checking, Ok(())));
        assert_eq!(next(&mut told).await, Event::Said(checking, "up".to_owned()));
        assert!(!places.hear(&GuestName::new("gone").unwrap(), Some(checking)), "it has no folder");
        places.retain(|_| false);
        assert!(ground.guests().is_empty() && places.locked().is_empty());
    }
}
