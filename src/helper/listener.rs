//! The daemon's end of `helper.sock`: a listening socket that only root can reach.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    sys::{
        socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr},
        stat::{Mode, fchmod},
    },
};
use tokio_seqpacket::UnixSeqpacketListener;

/// The name of the socket in the runtime directory.
pub const SOCKET_NAME: &str = "helper.sock";
/// How many connections the kernel keeps waiting.
const BACKLOG: i32 = 128;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixSeqpacketListener,
}

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process listens there.
    #[error("{} is in use by a running daemon; stop it, or give this one another --runtime-dir", .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is no socket; remove it", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path is longer than a socket's address.
    #[error("{} is too long for a socket's path; give a shorter --runtime-dir", .path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The operating system says no.
    #[error("could not {operation} {}", .path.display())]
    Io {
        /// What was tried, as a verb phrase: "listen on".
        operation: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Listens on a path, with mode 0600. What a dead daemon left there is replaced. Call it inside a tokio runtime, and
/// once a daemon is known to be alone on its runtime directory: two that start at the same moment could both find
/// the path free.
///
/// # Errors
/// [`BindError`] says what is in the way.
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let failed = |operation| {
        move |error: Errno| BindError::Io { operation, path: path.to_owned(), source: error.into() }
    };
    let address = address(path)?;
    make_way(path, &address)?;
    let socket = new_socket().map_err(failed("make the socket"))?;
    // The mode of the socket itself becomes that of the path (unix(7) leaves the umask out of it): no moment in which
    // others could connect, and no change of the process-wide umask.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed("restrict"))?;
    socket::bind(socket.as_raw_fd(), &address).map_err(failed("bind"))?;
    let backlog = Backlog::new(BACKLOG).map_err(failed("listen on"))?;
    socket::listen(&socket, backlog).map_err(failed("listen on"))?;
    let socket = UnixSeqpacketListener::try_from(socket).map_err(|source| BindError::Io {
        operation: "watch",
        path: path.to_owned(),
        source,
    })?;
    Ok(Listener { socket })
}

fn address(path: &Path) -> Result<UnixAddr, BindError> {
    UnixAddr::new(path).map_err(|_| BindError::PathTooLong { path: path.to_owned() })
}

fn new_socket() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

/// Removes a socket that nobody listens on.
fn make_way(path: &Path, address: &UnixAddr) -> Result<(), BindError> {
    let failed = |operation| move |source| BindError::Io { operation, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let probe = new_socket().map_err(|error| failed("probe")(error.into()))?;
    match socket::connect(probe.as_raw_fd(), address) {
        // EAGAIN: it listens, and its backlog is full. EPROTOTYPE: a socket of another type listens.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(BindError::InUse { path: path.to_owned() }),
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(failed("replace")),
        Err(error) => Err(failed("probe")(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[tokio::test]
    async fn the_socket_is_private_and_a_stale_one_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET_NAME);
        for _ in 0..2 {
            let listener = bind(&path).unwrap();
            assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let error = bind(&path).unwrap_err();
            assert!(matches!(error, BindError::InUse { .. }), "{error}");
            drop(listener);
            assert!(path.exists(), "left behind, as by a daemon that was killed");
        }
    }

    #[tokio::test]
    async fn what_is_no_stale_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET_NAME);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        fs::rename(&path, dir.path().join("file")).unwrap();
        symlink(dir.path().join("file"), &path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "precious");

        let stream = dir.path().join("stream.sock");
        let _other = std::os::unix::net::UnixListener::bind(&stream).unwrap();
        assert!(matches!(bind(&stream), Err(BindError::InUse { .. })));
    }

    #[tokio::test]
    async fn impossible_paths_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        assert!(matches!(bind(&long), Err(BindError::PathTooLong { .. })));
        let error = bind(&dir.path().join("missing/helper.sock")).unwrap_err();
        assert!(matches!(error, BindError::Io { operation: "bind", .. }), "{error}");
    }
}
