//! The daemon's end of a monitor's socket.

use std::{io, time::Duration};

use tokio::time::timeout;
use tokio_seqpacket::{UnixSeqpacket, UnixSeqpacketListener};

use crate::{
    engine::{
        Init,
        process::{identified, is_trusted_user, stat},
    },
    guest_run::spec::{Ask, PACKET_MAX, Place, SOCKET, Told},
    helper::short_path::ShortPath,
};

/// How long a monitor may take to say how its guest is: one that carries steps out says nothing.
const ANSWER: Duration = Duration::from_secs(1);

/// A connection to a monitor.
pub(super) struct Connection {
    socket: UnixSeqpacket,
    /// The monitor's process.
    pub(super) monitor: i32,
}

impl Connection {
    /// Connects; fails where no monitor is.
    pub(super) async fn open(place: &Place) -> io::Result<Self> {
        let folder = ShortPath::of(place.folder())?;
        Self::trusted(UnixSeqpacket::connect(folder.join(SOCKET)).await?)
    }

    /// Connects, and is told how the guest stands and what happens from now on.
    pub(super) async fn watching(place: &Place) -> io::Result<Self> {
        let connection = Self::open(place).await?;
        connection.ask(Ask::Watch).await?;
        Ok(connection)
    }

    /// Waits for a monitor that is to connect by itself.
    pub(super) async fn accept(listener: &mut UnixSeqpacketListener) -> io::Result<Self> {
        let socket = listener.accept().await?;
        Self::trusted(socket)
    }

    fn trusted(socket: UnixSeqpacket) -> io::Result<Self> {
        let peer = socket.peer_cred()?;
        if !is_trusted_user(peer.uid()) {
            return Err(io::Error::other("the monitor is none of ours"));
        }
        Ok(Self { monitor: peer.pid().unwrap_or(0), socket })
    }

    /// Asks for something that is not answered.
    pub(super) async fn ask(&self, ask: Ask) -> io::Result<()> {
        let packet = serde_json::to_vec(&ask)?;
        self.socket.send(&packet).await.map(drop)
    }

    /// Waits for what the monitor tells next; none when it has ended.
    pub(super) async fn told(&self) -> io::Result<Option<Told>> {
        let mut buffer = [0; PACKET_MAX];
        match self.socket.recv(&mut buffer).await {
            Ok(received) if received.bytes_read() == 0 => Ok(None),
            Ok(received) => Ok(Some(serde_json::from_slice(&buffer[..received.bytes_read()])?)),
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the guest stands; an error of the kind `TimedOut` where the monitor is busy.
    pub(super) async fn now(&self) -> io::Result<Option<Told>> {
        match self.ask(Ask::Watch).await {
            // It has ended since it took the connection.
            Err(error) if is_end(&error) => return Ok(None),
            result => result?,
        }
        timeout(ANSWER, self.told()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Waits until the monitor is gone.
    pub(super) async fn closed(&self) {
        while let Ok(Some(_)) = self.told().await {}
    }

    /// An init of this monitor's guest. None when it has ended meanwhile.
    pub(super) fn init(&self, pid: i32) -> Option<Init> {
        let known = stat(pid)?;
        Some(Init { pid, since: known.since(), keeper: identified(self.monitor) })
    }
}

/// Whether an error says that the other end is gone.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
