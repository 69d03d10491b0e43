//! The monitor's socket: guestd asks there how the guest stands, and hears what happens.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, getsockopt, listen, recv,
    send, socket, sockopt::PeerCredentials,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::{
    namespace::Child,
    spec::{Ask, ENGINE, PACKET_MAX, Place, SOCKET, Told},
    trouble::{Doing, Run, RunError},
};
use crate::helper::short_path::ShortPath;

/// The most connections at once; guestd needs two or three.
const CLIENTS_MAX: usize = 16;

/// What a packet of a console's reader begins with: what was typed, or the terminal's size as two numbers of 16 bits, the low
/// byte first: rows, then columns.
pub const TYPED: u8 = 0;
/// See [`TYPED`].
pub const SIZE: u8 = 1;

/// How long a monitor may take to end after its guest was killed.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// The socket, and who is connected.
#[derive(Debug)]
pub struct Control {
    listener: OwnedFd,
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    connection: OwnedFd,
    role: Role,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing was asked yet.
    New,
    /// It hears what happens.
    Watch,
    /// It sees the console.
    Console,
}

/// What the monitor has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Shut the guest down.
    Stop,
    /// Have it reboot.
    Reboot,
    /// End it at once.
    Kill,
    /// This was typed at the console.
    Typed(Vec<u8>),
    /// The console's size is this: rows and columns.
    Size(u16, u16),
}

impl Control {
    /// Begins to listen, in place of an earlier run.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(place: &Place) -> Run<Self> {
        let made = || -> io::Result<OwnedFd> {
            let folder = ShortPath::of(place.folder())?;
            let path = folder.join(SOCKET);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
            bind(listener.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
            listen(&listener, Backlog::new(16)?)?;
            Ok(listener)
        };
        let listener = made().doing(format_args!("listen at {}", place.socket().display()))?;
        // The engine that starts it, if one waits; another one connects later.
        let engine = connect(place, ENGINE).ok().map(|connection| Client { connection, role: Role::Watch });
        Ok(Self { listener, clients: engine.into_iter().collect() })
    }

    /// The files to wait for, the listener first.
    pub fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd())
            .chain(self.clients.iter().map(|client| client.connection.as_fd()))
    }

    /// Takes whoever connects. Others than root are sent away: the socket's mode keeps them out already.
    pub fn accept(&mut self) {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        while let Ok(raw) = accept4(self.listener.as_raw_fd(), flags) {
            // SAFETY: the kernel has just made it for us.
            let connection = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(raw) };
            let own = rustix::process::geteuid().as_raw();
            let is_own =
                getsockopt(&connection, PeerCredentials).is_ok_and(|peer| [0, own].contains(&peer.uid()));
            if is_own && self.clients.len() < CLIENTS_MAX {
                self.clients.push(Client { connection, role: Role::New });
            }
        }
    }

    /// Reads what a client says: the one with this place in [`Control::files`] behind the listener. `now` is told to who begins to
    /// watch.
    pub fn hear(&mut self, at: usize, now: Told) -> Option<Wish> {
        let client = self.clients.get_mut(at)?;
        let mut buffer = [0; PACKET_MAX];
        let length = match recv(client.connection.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => None,
            Ok(length) => Some(length),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return None,
            Err(_) => None,
        };
        let packet = &buffer[..length.unwrap_or(0)];
        let (Some(_), false) = (length, packet.is_empty()) else {
            self.clients.remove(at);
            return None;
        };
        if client.role == Role::Console {
            return typed(packet);
        }
        match serde_json::from_slice(packet) {
            Ok(Ask::Stop) => return Some(Wish::Stop),
            Ok(Ask::Reboot) => return Some(Wish::Reboot),
            Ok(Ask::Kill) => return Some(Wish::Kill),
            Ok(Ask::Console) => client.role = Role::Console,
            Ok(Ask::Watch) if tell(client, now) => client.role = Role::Watch,
            // It speaks another language, or has gone.
            Ok(Ask::Watch) | Err(_) => drop(self.clients.remove(at)),
        }
        None
    }

    /// Tells all who watch.
    pub fn tell(&mut self, what: Told) {
        self.clients.retain(|client| client.role != Role::Watch || tell(client, what));
    }

    /// Shows all who look at the console what was written there. Who is too slow misses it.
    pub fn show(&mut self, text: &[u8]) {
        for client in self.clients.iter().filter(|client| client.role == Role::Console) {
            for packet in text.chunks(PACKET_MAX) {
                let _ = send(
                    client.connection.as_raw_fd(),
                    packet,
                    MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL,
                );
            }
        }
    }
}

/// What a packet of a console's reader means.
fn typed(packet: &[u8]) -> Option<Wish> {
    match *packet {
        [TYPED, ref text @ ..] => Some(Wish::Typed(text.to_vec())),
        [SIZE, a, b, c, d] => Some(Wish::Size(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))),
        _ => None,
    }
}

fn tell(client: &Client, what: Told) -> bool {
    let Ok(packet) = serde_json::to_vec(&what) else { return false };
    send(client.connection.as_raw_fd(), &packet, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL).is_ok()
}

/// Connects to a socket of a guest's.
fn connect(place: &Place, name: &str) -> io::Result<OwnedFd> {
    let folder = ShortPath::of(place.folder())?;
    let connection = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    nix::sys::socket::connect(connection.as_raw_fd(), &UnixAddr::new(folder.join(name).as_str())?)?;
    Ok(connection)
}

/// A connection to the monitor of a guest.
///
/// # Errors
/// When there is none.
pub fn dial(place: &Place) -> Run<OwnedFd> {
    connect(place, SOCKET).map_err(|_| RunError::Inside("it does not run".into()))
}

/// Asks a monitor for something.
///
/// # Errors
/// When it does not hear.
pub fn ask(connection: &OwnedFd, ask: &Ask) -> Run<()> {
    let ask = serde_json::to_vec(ask).unwrap_or_default();
    send(connection.as_raw_fd(), &ask, MsgFlags::MSG_NOSIGNAL).map(drop).doing("ask its monitor")
}

/// The init of a guest that runs, by what its monitor says: as a process that nobody has waited for.
///
/// # Errors
/// When it does not run.
pub fn running(place: &Place) -> Run<Child> {
    let gone = || RunError::Inside("it does not run".into());
    let connection = dial(place)?;
    let init = || -> Run<i32> {
        ask(&connection, &Ask::Watch)?;
        let mut buffer = [0; PACKET_MAX];
        let length =
            recv(connection.as_raw_fd(), &mut buffer, MsgFlags::empty()).doing("hear from its monitor")?;
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Told::Running(pid)) => Ok(pid),
            _ => Err(gone()),
        }
    };
    let pid = init()?;
    let pidfd = pidfd_open(Pid::from_raw(pid).ok_or_else(gone)?, PidfdFlags::empty());
    // The file is that of the init if the monitor has not waited for it meanwhile.
    if init()? != pid {
        return Err(gone());
    }
    Ok(Child { pid, pidfd: pidfd.doing("open its init")? })
}

/// Whether a guest has a monitor, as far as the caller may know: its socket is root's.
pub fn is_kept(place: &Place) -> bool {
    match connect(place, SOCKET) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && place.socket().exists(),
    }
}

/// Has a guest shut down, as guestd does, and kills it when that takes too long. Returns when it is gone.
///
/// # Errors
/// When its monitor does not hear.
pub fn stop(place: &Place, within: Duration) -> Run<()> {
    let Ok(connection) = dial(place) else { return Ok(()) };
    ask(&connection, &Ask::Stop)?;
    if !hangs_up(&connection, within) {
        ask(&connection, &Ask::Kill)?;
        hangs_up(&connection, AFTER_KILL);
    }
    Ok(())
}

/// Waits until the monitor ends, no longer than this.
fn hangs_up(connection: &OwnedFd, within: Duration) -> bool {
    let time = Timespec { tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX), tv_nsec: 0 };
    // Who did not ask for news is told nothing: what comes is the end.
    poll(&mut [PollFd::new(connection, PollFlags::IN)], Some(&time)).is_ok_and(|ready| ready > 0)
}
