//! Answers helper requests for the daemon: one short task a connection, one request a connection.
//!
//! Nothing that comes in can hurt more than its own connection: the peer must be root, the packet is bounded, each
//! step has a deadline, and the number of connections is bounded. Failing to accept is logged and tried again.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::AsFd;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_seqpacket::UnixSeqpacket;

use super::in_full;
pub use super::listener::{BindError, Listener, SOCKET_NAME, bind};
use super::wire::{About, Answer, ContextEvent, Decision, Event, PACKET_MAX, Reply, Request, RequestError};
use crate::{
    daemon::handle::{Handle, HelperRequest},
    kill_point::KillPoint,
    model::GuestName,
    systemd::message,
};

/// At most so many connections are served at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may take to send its packet, and to take its answer.
const PACKET_WITHIN: Duration = Duration::from_secs(5);
/// How long a refused peer may take to hang up.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);
/// How often a request that takes longer is looked at: is the reporter still there, and what is being done?
const PROGRESS_EVERY: Duration = Duration::from_millis(150);
/// After a failed accept: the first pause, doubled up to the last.
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What the server must know of the daemon besides the manager's answer. Given by the composition root; called from
/// the server's tasks, so each method returns at once.
pub trait Facts: Send + Sync {
    /// The guest that runs as this VServer context. None by default: this version runs none.
    fn guest_of(&self, _id: u32) -> Option<GuestName> {
        None
    }

    /// What is being done for the request of a guest that takes long, in words ("running /path/script"); none when
    /// nothing is known to be done. Only a request for which this says something keeps its reporter waiting longer
    /// than two seconds.
    fn progress(&self, _guest: &GuestName) -> Option<String> {
        None
    }

    /// A reporter went away before it could be answered: it has decided by the stored policy, and its request lies
    /// in the spool. If the manager had been asked already, its reply finds a closed channel.
    fn abandoned(&self, _guest: &GuestName) {}
}

/// Facts for a daemon that has none: no contexts, no progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFacts;

impl Facts for NoFacts {}

/// Serves for ever. Drop the future to stop; connections being served then end with the runtime.
pub async fn serve(mut listener: Listener, handle: Handle, facts: Arc<dyn Facts>) -> Infallible {
    accept_from(async move || listener.socket.accept().await, handle, facts).await
}

/// Accepts for ever, from anything that can be accepted from.
async fn accept_from(
    mut accept: impl AsyncFnMut() -> io::Result<UnixSeqpacket>,
    handle: Handle,
    facts: Arc<dyn Facts>,
) -> Infallible {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut pause = ACCEPT_PAUSE.0;
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
        match accept().await {
            Ok(socket) => {
                pause = ACCEPT_PAUSE.0;
                tokio::spawn(serve_one(socket, handle.clone(), Arc::clone(&facts), slot));
            }
            // Want of descriptors or memory passes; until then the reporters' own two seconds protect the guests.
            Err(error) => {
                tracing::error!(%error, "could not accept a helper connection; trying again in {pause:?}");
                sleep(pause).await;
                pause = (pause * 2).min(ACCEPT_PAUSE.1);
            }
        }
    }
}

/// Why a connection ends without an answer from the manager.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("only root may report; the peer is uid {uid}")]
    NotRoot { uid: u32 },
    #[error("the peer cannot be told")]
    NoPeer { source: io::Error },
    #[error("no packet came within {} s", PACKET_WITHIN.as_secs())]
    Silent,
    #[error("the packet could not be received")]
    Receive { source: io::Error },
    #[error(transparent)]
    Malformed(#[from] RequestError),
}

/// Serves one connection. The slot is given back when it is over.
async fn serve_one(
    socket: UnixSeqpacket,
    handle: Handle,
    facts: Arc<dyn Facts>,
    _slot: OwnedSemaphorePermit,
) {
    let request = match receive(&socket).await {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(refusal) => return refuse(&socket, &refusal).await,
    };
    tracing::debug!(?request, "helper request");
    match named(request.about, facts.as_ref()) {
        Named::Nobody(reply) => {
            send(&socket, &reply).await;
        }
        Named::Guest(guest, event) => {
            let asked = Asked { socket: &socket, guest, event, wants_progress: request.progress };
            asked.serve(&handle, facts.as_ref()).await;
        }
    }
}

/// The one request of a connection; none if the peer hung up without a word.
async fn receive(socket: &UnixSeqpacket) -> Result<Option<Request>, Refusal> {
    match socket.peer_cred() {
        Ok(peer) if peer.uid() != 0 => return Err(Refusal::NotRoot { uid: peer.uid() }),
        Ok(_) => {}
        Err(source) => return Err(Refusal::NoPeer { source }),
    }
    let mut buffer = [0; PACKET_MAX];
    let received = timeout(PACKET_WITHIN, socket.recv(&mut buffer)).await.map_err(|_| Refusal::Silent)?;
    let info = received.map_err(|source| Refusal::Receive { source })?;
    if info.truncated() {
        return Err(RequestError::TooLarge { max: PACKET_MAX }.into());
    }
    // A read of nothing is the end of the connection, or an empty packet, which is no JSON.
    if info.bytes_read() == 0 && has_hung_up(socket) {
        return Ok(None);
    }
    Ok(Some(Request::decode(&buffer[..info.bytes_read()])?))
}

/// Says why, and lets the peer hear it.
async fn refuse(socket: &UnixSeqpacket, refusal: &Refusal) {
    let peer = socket.peer_cred().ok().and_then(|peer| peer.pid());
    let words = in_full(refusal);
    tracing::warn!(pid = peer, "refused a helper request: {words}");
    send(socket, &Reply::Refused(words)).await;
    // Closing with a packet unread would make the peer's next read fail, so that it never sees the reason.
    let _ = timeout(GOODBYE_WITHIN, socket.recv(&mut [0; 1])).await;
}

/// Sends a reply. Answers whether the peer was there to get it.
async fn send(socket: &UnixSeqpacket, reply: &Reply) -> bool {
    match timeout(PACKET_WITHIN, socket.send(&reply.encode())).await {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => tracing::warn!(%error, "a helper did not wait for its answer"),
        Err(_) => tracing::warn!("a helper does not take its answer"),
    }
    false
}

/// Whether the peer has closed the connection; one that has only finished sending still listens.
fn has_hung_up(socket: &UnixSeqpacket) -> bool {
    // POLLHUP and POLLERR are always reported, asked for or not.
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    matches!(nix::poll::poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0)
}

/// Whom a request is about, once ids are looked up.
enum Named {
    Guest(GuestName, Event),
    Nobody(Reply),
}

fn named(about: About, facts: &dyn Facts) -> Named {
    let (id, event) = match about {
        About::Guest { guest, event } => return Named::Guest(guest, event),
        About::Context { id, event, environment: _ } => (id, event),
    };
    // The id of a network context is a number of its own kind.
    let known = match event {
        ContextEvent::Netup | ContextEvent::Netdown => None,
        _ => facts.guest_of(id),
    };
    match (known, event.guest_event()) {
        (None, _) => Named::Nobody(Reply::Unknown(format!("no guest has the id {id}"))),
        (Some(guest), Some(event)) => Named::Guest(guest, event),
        (Some(_), None) => Named::Nobody(Reply::Answer(Answer {
            decision: Decision::Ignore,
            reason: format!("nothing is done on {}", event.as_str()),
            anew: false,
        })),
    }
}

/// A request that the manager is to answer.
struct Asked<'a> {
    socket: &'a UnixSeqpacket,
    guest: GuestName,
    event: Event,
    wants_progress: bool,
}

impl Asked<'_> {
    /// Gets the answer and hands it over. Where that cannot be done, the reporter decides by the stored policy and
    /// leaves its request in the spool.
    async fn serve(&self, handle: &Handle, facts: &dyn Facts) {
        let handed_over = match self.answer(handle, facts).await {
            Some(answer) => {
                let sent = send(self.socket, &Reply::Answer(answer)).await;
                KillPoint::AnswerSent.pass();
                sent
            }
            None => false,
        };
        if !handed_over {
            let text = "was not answered in time; it lies in the spool";
            message::warn(&self.guest, format_args!("a helper request of {} {text}", self.guest));
            facts.abandoned(&self.guest);
        }
    }

    /// Asks the manager, and keeps the reporter posted meanwhile; none when the reporter is gone, or the daemon is
    /// going down.
    async fn answer(&self, handle: &Handle, facts: &dyn Facts) -> Option<Answer> {
        // It may have waited in the socket while this daemon hung: its reporter has decided by itself since then.
        if has_hung_up(self.socket) {
            return None;
        }
        let mut answer = pin!(handle.helper(HelperRequest { guest: self.guest.clone(), event: self.event }));
        let mut ticks = interval(PROGRESS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.ok(),
                _ = ticks.tick() => self.look(facts).await?,
            }
        }
    }

    /// Tells the reporter what is being done; none when it is gone.
    async fn look(&self, facts: &dyn Facts) -> Option<()> {
        if has_hung_up(self.socket) {
            return None;
        }
        if let Some(words) = facts.progress(&self.guest).filter(|_| self.wants_progress) {
            send(self.socket, &Reply::Progress(words)).await;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
