//! Reads one guest's socket for as long as the guest has it: a guest that wrote to a full one would wait, and init with it.

use std::{collections::VecDeque, future::pending, io, time::Duration};

use tokio::{
    net::UnixDatagram,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::{
    super::Tell,
    message::Message,
    origin::{Origin, Realm},
    place::Ground,
    receive,
    status::Status,
};
use crate::{
    engine,
    helper::in_full,
    model::{GuestName, ProcessId},
    supervise::event::{Check, Checking, Event},
    systemd::message,
};

/// How many datagrams are read at once, and how long none is read then.
const BATCH: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
/// How many are kept that came before it was known who may have sent them.
const EARLY: usize = 16;

/// Who is heard: what is checked, and by whose init.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) checking: Checking,
    pub(super) realm: Realm,
}

/// Came while nobody was to be heard: before the init was known, or while the guest was frozen.
struct Early {
    /// In the clock ticks in which processes start.
    at: u64,
    origin: Origin,
    message: Message,
}

/// Reads a guest's socket.
pub(super) struct Reader {
    guest: GuestName,
    ground: Ground,
    tell: Tell,
    heard: Option<Heard>,
    early: VecDeque<Early>,
    /// Which init has said that it is ready.
    ready: Option<ProcessId>,
    /// Whose status this is.
    speaker: Option<ProcessId>,
    status: Status,
}

impl Reader {
    pub(super) fn new(guest: GuestName, ground: Ground, tell: Tell) -> Self {
        let ready = ground.ready(&guest);
        let (early, status) = (VecDeque::new(), Status::default());
        Self { guest, ground, tell, heard: None, early, ready, speaker: None, status }
    }

    /// Reads until nobody says any more who is to be heard.
    pub(super) async fn follow(
        mut self,
        socket: UnixDatagram,
        mut who: mpsc::UnboundedReceiver<Option<Heard>>,
    ) {
        let mut next = Instant::now();
        loop {
            let written = async {
                sleep_until(next).await;
                socket.readable().await
            };
            tokio::select! {
                biased;
                heard = who.recv() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return,
                },
                () = until(self.due()) => {
                    if let Some(status) = self.status.take(Instant::now()) {
                        self.say(status);
                    }
                }
                ready = written => match ready.map(|()| self.read(&socket)) {
                    Ok(true) => next = Instant::now() + PAUSE,
                    Ok(false) => {}
                    // The runtime is ending.
                    Err(_) => return,
                },
            }
        }
    }

    /// Reads what there is, up to a batch; whether there may be more.
    fn read(&mut self, socket: &UnixDatagram) -> bool {
        for _ in 0..BATCH {
            match receive::receive(socket) {
                Ok(datagram) => self.received(&datagram),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => debug!("{}: its datagram is lost: {error}", self.guest),
            }
        }
        true
    }

    fn received(&mut self, datagram: &receive::Datagram) {
        let guest = &self.guest;
        let Some(text) = &datagram.text else { return debug!("{guest}: its datagram is too long") };
        let message = Message::read(text);
        let Some(sender) = datagram.sender.filter(|_| !message.is_empty()) else { return };
        // Looked at now: he may be gone soon.
        let origin = Origin::of(sender);
        if self.heard.is_some() {
            return self.take(&origin, message);
        }
        if self.early.len() == EARLY {
            self.early.pop_front();
        }
        self.early.push_back(Early { at: engine::ticks(), origin, message });
    }

    /// From now on this init is heard, and what it has said before counts.
    fn hear(&mut self, heard: Option<Heard>) {
        self.heard = heard;
        let Some(Heard { realm, checking }) = &self.heard else { return };
        let (init, checking) = (realm.init, *checking);
        if self.speaker != Some(init) {
            (self.speaker, self.status) = (Some(init), Status::default());
        }
        if checking.check == Check::Readiness && self.ready == Some(init) {
            (self.tell)(&self.guest, Event::Checked(checking, Ok(())));
        }
        for early in std::mem::take(&mut self.early) {
            // Not what the init before it said, whose numbers may be used again.
            if early.at >= init.started {
                self.take(&early.origin, early.message);
            }
        }
    }

    fn take(&mut self, origin: &Origin, message: Message) {
        let Some(Heard { realm, checking }) = &self.heard else { return };
        if !realm.has(origin) {
            return debug!("{}: a stranger's datagram is ignored: {origin:?}", self.guest);
        }
        let (init, checking) = (realm.init, *checking);
        if message.ready && self.ready != Some(init) {
            self.ready = Some(init);
            if let Err(error) = self.ground.set_ready(&self.guest, init) {
                message::warn(&self.guest, format_args!("{}: {}", self.guest, in_full(&error)));
            }
            if checking.check == Check::Readiness {
                (self.tell)(&self.guest, Event::Checked(checking, Ok(())));
            }
        }
        if let Some(status) = message.status.and_then(|status| self.status.said(status, Instant::now())) {
            self.say(status);
        }
    }

    fn due(&self) -> Option<Instant> {
        self.heard.as_ref().and_then(|_| self.status.due())
    }

    fn say(&self, status: String) {
        if let Some(heard) = &self.heard {
            (self.tell)(&self.guest, Event::Said(heard.checking, status));
        }
    }
}

/// Waits for a moment, or for ever.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => pending().await,
    }
}
