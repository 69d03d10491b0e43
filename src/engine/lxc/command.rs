//! The client side of a monitor's command socket.
//!
//! A request is 16 bytes (command, length of the data, a word) with the caller's credentials, then the data; the
//! reply has the same form. A monitor is believed what it says, and obeyed: so connections are only made to those of
//! root or our own user. Who answered is known from the reply's credentials, which come from the kernel.

use std::{
    io,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    path::Path,
    time::Duration,
};

use nix::{
    cmsg_space,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, sendmsg, setsockopt,
        sockopt::PassCred,
    },
};
use tokio::{io::AsyncReadExt, io::Interest, net::UnixStream, time::timeout};

use super::{
    record::{self, STATES, State},
    socket::{self, Foreign},
};

/// The time a monitor has to answer a command.
pub(super) const ANSWER: Duration = Duration::from_secs(2);

/// The longest name of a container, with its NUL.
const NAME_MAX: usize = 256;

#[derive(Debug, Clone, Copy)]
enum Command {
    Stop = 2,
    GetState = 3,
    GetInitPid = 4,
    GetName = 8,
    AddStateClient = 10,
    GetInitPidfd = 18,
}

/// Why a monitor could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// Nobody listens: it is down.
    #[error("nobody listens on its command socket")]
    NotListening,
    /// The monitor went away in the middle.
    #[error("its monitor closed the connection")]
    Closed,
    /// No answer in time.
    #[error("its monitor did not answer within {ANSWER:?}")]
    TimedOut,
    /// The monitor refused; an `errno`.
    #[error("its monitor refused: {0}")]
    Refused(nix::errno::Errno),
    /// No monitor listens, but somebody who has no business there.
    #[error(transparent)]
    Foreign(Foreign),
    /// The system call failed.
    #[error("its command socket failed: {0}")]
    Socket(#[source] io::Error),
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        let error = match error.downcast::<Foreign>() {
            Ok(foreign) => return Self::Foreign(foreign),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::NotListening,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                Self::Closed
            }
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Socket(error),
        }
    }
}

type CommandResult<T> = Result<T, CommandError>;

struct Reply {
    result: i32,
    /// The length of the data behind it.
    length: i32,
    word: i64,
    fd: Option<OwnedFd>,
    /// The process that answered: the monitor.
    sender: i32,
}

/// Who runs a container and which init it has.
#[derive(Debug)]
pub(super) struct Inits {
    /// The monitor.
    pub(super) monitor: i32,
    /// The init's pidfd, which may belong to a dead process.
    pub(super) init: OwnedFd,
}

/// A command socket, by its container.
#[derive(Debug, Clone)]
pub(super) struct Monitor {
    address: Vec<u8>,
}

impl Monitor {
    pub(super) fn new(lxcpath: &Path, name: &str) -> Self {
        Self { address: socket::command(lxcpath, name) }
    }

    /// The monitor behind a socket whose name is hashed.
    pub(super) fn at(address: Vec<u8>) -> Self {
        Self { address }
    }

    /// The name of its container.
    pub(super) async fn name(&self) -> CommandResult<Vec<u8>> {
        let (mut stream, reply) = self.ask(Command::GetName, &[]).await?;
        let length = usize::try_from(reply.length).ok().filter(|length| *length <= NAME_MAX);
        let mut name = vec![0; length.ok_or(CommandError::Closed)?];
        stream.read_exact(&mut name).await?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }

    /// The same call with a deadline.
    pub(super) async fn within<T>(call: impl Future<Output = CommandResult<T>>) -> CommandResult<T> {
        timeout(ANSWER, call).await.unwrap_or(Err(CommandError::TimedOut))
    }

    /// Its state. Waits as long as the monitor takes.
    pub(super) async fn state(&self) -> CommandResult<State> {
        let (_, reply) = self.ask(Command::GetState, &[]).await?;
        State::of(reply.word).ok_or(CommandError::Closed)
    }

    /// Its monitor and init. Waits as long as the monitor takes.
    pub(super) async fn inits(&self) -> CommandResult<Inits> {
        let (_, reply) = self.ask(Command::GetInitPidfd, &[]).await?;
        if let (0, Some(init)) = (reply.result, reply.fd) {
            return Ok(Inits { monitor: reply.sender, init });
        }
        // Built without pidfds, or too old for them.
        let (_, reply) = self.ask(Command::GetInitPid, &[]).await?;
        let pid = i32::try_from(reply.word).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or(CommandError::Closed)?;
        let init = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .map_err(|error| CommandError::Socket(error.into()))?;
        Ok(Inits { monitor: reply.sender, init })
    }

    /// Registers for the next change into one of the states that [`StateClient`] listens for.
    pub(super) async fn register(&self) -> CommandResult<StateClient> {
        // Value 2, unlike 1: also when it is in that state now, and, for RUNNING, across a reboot.
        let mut wanted = [0_i32; STATES];
        for state in [State::Running, State::Frozen, State::Thawed] {
            wanted[state as usize] = 2;
        }
        let data: Vec<u8> = wanted.iter().flat_map(|flag| flag.to_ne_bytes()).collect();
        let (stream, reply) = self.ask(Command::AddStateClient, &data).await?;
        if usize::try_from(reply.result) != Ok(STATES) {
            return Err(CommandError::Refused(nix::errno::Errno::from_raw(-reply.result)));
        }
        Ok(StateClient(stream))
    }

    /// Asks it to end its init at once, by `lxc.signal.stop`. There is no answer; the connection closes with the end.
    pub(super) async fn stop(&self) -> CommandResult<()> {
        let stream = socket::connect(&self.address).await?;
        send(&stream, Command::Stop, &[]).await?;
        Ok(())
    }

    async fn ask(&self, command: Command, data: &[u8]) -> CommandResult<(UnixStream, Reply)> {
        let stream = socket::connect(&self.address).await?;
        setsockopt(&stream, PassCred, &true).map_err(|error| CommandError::Socket(error.into()))?;
        send(&stream, command, data).await?;
        let reply = receive(&stream).await?;
        if reply.result < 0 && !matches!(command, Command::GetInitPidfd) {
            return Err(CommandError::Refused(nix::errno::Errno::from_raw(-reply.result)));
        }
        Ok((stream, reply))
    }
}

/// A registration for one change of state.
#[derive(Debug)]
pub(super) struct StateClient(UnixStream);

impl StateClient {
    /// Returns true when it changed; false when the monitor closed the connection, as it does at a final stop.
    pub(super) async fn changed(mut self) -> bool {
        self.0.read_exact(&mut [0; record::SIZE]).await.is_ok()
    }
}

async fn send(stream: &UnixStream, command: Command, data: &[u8]) -> io::Result<()> {
    let mut request = Vec::with_capacity(16 + data.len());
    request.extend((command as i32).to_ne_bytes());
    request.extend(i32::try_from(data.len()).unwrap_or_default().to_ne_bytes());
    request.extend([0; 8]);
    request.extend(data);
    let credentials = UnixCredentials::new();
    stream
        .async_io(Interest::WRITABLE, || {
            let control = [ControlMessage::ScmCredentials(&credentials)];
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            // So few bytes fit into any socket's buffer at once.
            sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&request)], &control, flags, None)
                .map_err(io::Error::from)
        })
        .await?;
    Ok(())
}

async fn receive(stream: &UnixStream) -> io::Result<Reply> {
    stream.async_io(Interest::READABLE, || receive_now(stream.as_raw_fd())).await
}

fn receive_now(socket: RawFd) -> io::Result<Reply> {
    let mut bytes = [0; 16];
    let mut space = cmsg_space!(RawFd, UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut space), flags)?;
    let (mut fd, mut sender) = (None, 0);
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::ScmRights(fds) => {
                for raw in fds {
                    // SAFETY: the kernel has just installed this descriptor for us; nobody else owns it.
                    fd = Some(unsafe { OwnedFd::from_raw_fd(raw) });
                }
            }
            ControlMessageOwned::ScmCredentials(credentials) => sender = credentials.pid(),
            _ => {}
        }
    }
    let length = message.bytes;
    if length != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let [r0, r1, r2, r3, l0, l1, l2, l3, word @ ..] = bytes;
    Ok(Reply {
        result: i32::from_ne_bytes([r0, r1, r2, r3]),
        length: i32::from_ne_bytes([l0, l1, l2, l3]),
        word: i64::from_ne_bytes(word),
        fd,
        sender,
    })
}
