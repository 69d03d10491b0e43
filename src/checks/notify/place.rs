//! The folders and sockets in which guests say that they are ready, and what is known of that by the next daemon.
//!
//! A guest's folder is mounted into it, so a guest that may mount may also write there: nothing is opened or changed by a
//! path in it. The socket is made beside it and moved there. The folders above can be passed through, as LXC mounts
//! for unprivileged guests as their root; so whoever sends is looked at, and every other user of the host is a stranger.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixDatagram as Unconnected,
        },
    },
    path::{Path, PathBuf},
};

use nix::sys::socket::{setsockopt, sockopt::PassCred};
use tokio::net::UnixDatagram;

use crate::{
    engine::notify::{FOLDER, SOCKET, folder},
    helper::{
        record::{self, RecordError},
        short_path::ShortPath,
    },
    model::{GuestName, ProcessId},
};

/// Where it lies which init of a guest has said that it is ready, below the runtime directory.
const READY: &str = "ready";
/// The longest such file, in bytes.
const READY_MAX: u64 = 256;

/// The runtime directory, as far as guests that notify are concerned.
#[derive(Debug, Clone)]
pub(super) struct Ground(PathBuf);

impl Ground {
    pub(super) fn new(runtime_dir: &Path) -> Self {
        Self(runtime_dir.to_owned())
    }

    /// Makes a guest's folder and socket anew.
    pub(super) fn make(&self, guest: &GuestName) -> io::Result<UnixDatagram> {
        self.remove(guest)?;
        make_folder(&self.0.join(FOLDER), 0o711)?;
        make_folder(&folder(&self.0, guest), 0o755)?;
        self.bind(guest)
    }

    /// Makes a socket where the one of an earlier daemon was: in the folder that a running guest has.
    pub(super) fn again(&self, guest: &GuestName) -> io::Result<UnixDatagram> {
        fs::symlink_metadata(folder(&self.0, guest))?;
        self.bind(guest)
    }

    fn bind(&self, guest: &GuestName) -> io::Result<UnixDatagram> {
        let above = self.0.join(FOLDER);
        // No guest's name begins so.
        let name = format!(".{guest}");
        gone(fs::remove_file(above.join(&name)))?;
        let short = ShortPath::of(&above)?;
        let socket = Unconnected::bind(short.join(&name))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, PassCred, &true)?;
        fs::set_permissions(above.join(&name), Permissions::from_mode(0o666))?;
        fs::rename(above.join(&name), folder(&self.0, guest).join(SOCKET))?;
        UnixDatagram::from_std(socket)
    }

    /// Takes over a socket that was kept for a guest, if it still is where the guest looks for it.
    pub(super) fn take_over(&self, guest: &GuestName, kept: OwnedFd) -> io::Result<UnixDatagram> {
        let found = fs::symlink_metadata(folder(&self.0, guest).join(SOCKET))?;
        if !found.file_type().is_socket() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let socket = Unconnected::from(kept);
        socket.set_nonblocking(true)?;
        UnixDatagram::from_std(socket)
    }

    /// Removes what a guest had.
    pub(super) fn remove(&self, guest: &GuestName) -> io::Result<()> {
        gone(fs::remove_dir_all(folder(&self.0, guest)))?;
        gone(fs::remove_file(self.0.join(READY).join(guest.as_str())))
    }

    /// The guests of whom there is something.
    pub(super) fn guests(&self) -> Vec<GuestName> {
        let entries = fs::read_dir(self.0.join(FOLDER)).into_iter().flatten().flatten();
        entries.filter_map(|entry| GuestName::new(entry.file_name().to_str()?).ok()).collect()
    }

    /// What tells a guest's folder from every other; none where there is none.
    pub(super) fn identity(&self, guest: &GuestName) -> Option<(u64, u64)> {
        fs::symlink_metadata(folder(&self.0, guest)).ok().map(|found| (found.dev(), found.ino()))
    }

    /// Keeps which init has said that it is ready.
    pub(super) fn set_ready(&self, guest: &GuestName, init: ProcessId) -> Result<(), RecordError> {
        record::write(&self.0.join(READY), guest.as_str(), &init, READY_MAX)
    }

    /// Which init has said so last.
    pub(super) fn ready(&self, guest: &GuestName) -> Option<ProcessId> {
        let read = record::read(&self.0.join(READY).join(guest.as_str()), READY_MAX);
        read.inspect_err(|error| tracing::debug!("{guest}: {error}")).ok().flatten()
    }
}

/// Makes a folder of exactly this mode, or gives it to the one that is there.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// That it is gone already is well.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_folder_of_a_guest_is_made_anew_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(120));
        fs::create_dir(&long).unwrap();
        let (ground, web) = (Ground::new(&long), GuestName::new("web").unwrap());
        let first = ground.make(&web).unwrap();
        let identity = ground.identity(&web);
        let second = ground.make(&web).unwrap();
        assert_ne!(ground.identity(&web), identity, "what an earlier guest has mounted is not this");
        let own = folder(&long, &web);
        assert_eq!([mode(&long.join(FOLDER)), mode(&own), mode(&own.join(SOCKET))], [0o711, 0o755, 0o666]);
        assert_eq!(ground.guests(), std::slice::from_ref(&web));
        drop((first, second));
        let init = ProcessId { pid: 7, started: 9 };
        ground.set_ready(&web, init).unwrap();
        assert_eq!(ground.ready(&web), Some(init));
        ground.remove(&web).unwrap();
        ground.remove(&web).unwrap();
        assert_eq!((ground.guests(), ground.identity(&web), ground.ready(&web)), (Vec::new(), None, None));
        assert!(ground.again(&web).is_err());
    }

    #[tokio::test]
    async fn what_a_guest_leaves_in_its_folder_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (ground, web) = (Ground::new(dir.path()), GuestName::new("web").unwrap());
        drop(ground.make(&web).unwrap());
        let precious = dir.path().join("precious");
        fs::write(&precious, "").unwrap();
        fs::set_permissions(&precious, Permissions::from_mode(0o600)).unwrap();
        let socket = folder(dir.path(), &web).join(SOCKET);
        fs::remove_file(&socket).unwrap();
        symlink(&precious, &socket).unwrap();
        drop(ground.again(&web).unwrap());
        assert!(fs::symlink_metadata(&socket).unwrap().file_type().is_socket());
        assert_eq!(mode(&precious), 0o600);
        fs::remove_file(&socket).unwrap();
        fs::create_dir(&socket).unwrap();
        assert!(ground.again(&web).is_err());
        let (kept, _) = Unconnected::pair().unwrap();
        assert!(ground.take_over(&web, kept.into()).is_err());
    }
}
