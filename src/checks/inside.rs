//! Paths inside a guest, as its init sees them. Everything below the root is the guest's doing: symbolic links lead
//! back into the guest, never to the host.
//!
//! The walk is made here, step by step: openat2(2), which could do it, is closed in the daemon's sandbox, where systemd
//! cannot see its flags (`RestrictSUIDSGID=`).

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

/// How many symbolic links are followed (path_resolution(7)).
const LINKS: usize = 40;
/// How deep folders may lie in each other: each is open meanwhile.
const DEPTH: usize = 256;

/// A guest as its init sees it.
#[derive(Debug)]
pub struct Inside {
    init: i32,
    held: OwnedFd,
}

impl Inside {
    /// That of this init. It is held from now on, so that its number cannot come to mean another process.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn of(init: i32) -> io::Result<Self> {
        let number = Pid::from_raw(init).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { init, held: pidfd_open(number, PidfdFlags::empty())? })
    }

    /// Finds what is at a path, without opening it. May block for as long as the guest likes.
    ///
    /// # Errors
    /// When there is nothing, or the init has ended.
    pub fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(walk(self.root()?, path)?)
    }

    /// Connects to a unix stream socket, and hangs up. May block like [`Self::find`].
    ///
    /// # Errors
    /// When nobody takes the connection at once.
    pub fn connect(&self, path: &Path) -> io::Result<()> {
        let found = self.find(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        // The only way to a socket that was found: its address would be looked up on the host.
        let address = UnixAddr::new(format!("/proc/self/fd/{}", found.as_raw_fd()).as_str())?;
        match connect(socket.as_raw_fd(), &address) {
            Err(nix::errno::Errno::EAGAIN) => Err(io::Error::other("its queue of connections is full")),
            result => Ok(result?),
        }
    }

    /// The guest's root. It is opened by the number of the init, which is its own as long as it has not ended.
    fn root(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/{}/root", self.init);
        let root = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match self.has_ended()? {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "its init has ended")),
            false => Ok(root),
        }
    }

    fn has_ended(&self) -> io::Result<bool> {
        // A pidfd becomes readable when its process ends (pidfd_open(2)).
        let mut waited = [PollFd::new(&self.held, PollFlags::IN)];
        Ok(poll(&mut waited, Some(&Timespec::default()))? > 0)
    }
}

/// Goes from a root to a path. Each step leads from a folder to what is in it, or back to where it came from; so no step
/// leads out, whatever is moved meanwhile.
fn walk(root: OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let mut way = vec![root];
    let mut left = steps(path);
    let mut links = 0;
    while let Some(step) = left.pop() {
        let here = way.last().ok_or(Errno::NOENT)?;
        match Path::new(&step).components().next() {
            None | Some(Component::CurDir | Component::Prefix(_)) => {}
            Some(Component::RootDir) => way.truncate(1),
            // Above the root is the root.
            Some(Component::ParentDir) if way.len() == 1 => {}
            Some(Component::ParentDir) => drop(way.pop()),
            Some(Component::Normal(name)) => {
                let next =
                    openat(here, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
                if !FileType::from_raw_mode(fstat(&next)?.st_mode).is_symlink() {
                    way.push(next);
                } else if links == LINKS {
                    return Err(Errno::LOOP);
                } else {
                    // Also those of `/proc` that lead elsewhere are taken by their words.
                    let target = readlinkat(&next, "", Vec::new())?;
                    left.extend(steps(Path::new(OsStr::from_bytes(target.to_bytes()))));
                    links += 1;
                }
            }
        }
        if way.len() > DEPTH || left.len() > DEPTH * 2 {
            return Err(Errno::NAMETOOLONG);
        }
    }
    way.pop().ok_or(Errno::NOENT)
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|step| step.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::{
            fs::{MetadataExt, symlink},
            net::UnixListener,
        },
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn what_is_there_is_found_and_a_dead_init_has_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut init = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let inside = Inside::of(i32::try_from(init.id()).unwrap()).unwrap();
        inside.connect(&path).unwrap();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(inside.connect(&folder.path().join("none"))), io::ErrorKind::NotFound);
        drop(listener);
        assert_eq!(kind(inside.connect(&path)), io::ErrorKind::ConnectionRefused);
        assert_eq!(kind(inside.connect(folder.path())), io::ErrorKind::ConnectionRefused);
        drop(init.stdin.take());
        init.wait().unwrap();
        assert_eq!(inside.find(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn links_lead_back_into_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("file"), "inside").unwrap();
        fs::write(folder.path().join("file"), "outside").unwrap();
        for (name, target) in [
            ("absolute", "/file"),
            ("up", "../../../file"),
            ("a/up", "../../file"),
            ("a/b/chain", "/./a/../up"),
            ("loop", "/loop"),
            ("host", folder.path().join("file").to_str().unwrap()),
            ("self", &format!("/proc/{}/root", std::process::id())),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        let find = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            walk(openat(CWD, &root, flags, Mode::empty()).unwrap(), Path::new(path))
        };
        let file = fs::metadata(root.join("file")).unwrap().ino();
        for path in
            ["/file", "file", "/absolute", "/up", "/a/up", "/a/b/chain", "/a/b/../../file", "/../file"]
        {
            let found = File::from(find(path).unwrap());
            assert_eq!(found.metadata().unwrap().ino(), file, "{path}");
        }
        assert_eq!(
            File::from(find("/").unwrap()).metadata().unwrap().ino(),
            fs::metadata(&root).unwrap().ino()
        );
        for (path, error) in [
            ("/host", Errno::NOENT),
            ("/self/etc", Errno::NOENT),
            ("/loop", Errno::LOOP),
            ("/file/x", Errno::NOTDIR),
            (&"a/b/../..".repeat(200), Errno::NAMETOOLONG),
        ] {
            assert_eq!(find(path).unwrap_err(), error, "{path}");
        }
    }

    #[test]
    fn a_full_queue_takes_no_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        nix::sys::socket::bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let inside = Inside::of(std::process::id().cast_signed()).unwrap();
        inside.connect(&path).unwrap();
        assert_eq!(inside.connect(&path).unwrap_err().to_string(), "its queue of connections is full");
    }
}
