//! The first three files of what runs in a guest, and is run by somebody outside.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{FileType, MemfdFlags, Mode, OFlags, fstat, makedev, memfd_create, open},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout},
};

/// Whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// The caller's, so that he hears what is said. But not the host's `/dev/null`: a guest whose root is the host's root owns that.
    Callers,
    /// The guest's console.
    Guests,
}

impl Standard {
    /// Puts them in place, once the process is in the guest and has no other rights than that: whatever lies in its `/dev` is its
    /// own doing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn put(self) -> io::Result<()> {
        if self == Self::Callers {
            let is_null = [is_null(stdin()), is_null(stdout()), is_null(stderr())];
            return if is_null == [false; 3] { Ok(()) } else { replace(&null()?, is_null) };
        }
        let console = within("/dev/console");
        replace(&console.or_else(|_| null())?, [true; 3])
    }
}

/// `/dev/null`, wherever its node lies (null(4)).
fn is_null(file: impl std::os::fd::AsFd) -> bool {
    fstat(file).is_ok_and(|found| {
        found.st_rdev == makedev(1, 3) && FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice
    })
}

/// The guest's own; a file in memory where it has none.
fn null() -> io::Result<OwnedFd> {
    within("/dev/null").or_else(|_| Ok(memfd_create("null", MemfdFlags::CLOEXEC)?))
}

fn within(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    rustix::fs::fcntl_setfl(&file, OFlags::RDWR)?;
    Ok(file)
}

fn replace(by: &OwnedFd, which: [bool; 3]) -> io::Result<()> {
    if which[0] {
        dup2_stdin(by)?;
    }
    if which[1] {
        dup2_stdout(by)?;
    }
    if which[2] {
        dup2_stderr(by)?;
    }
    Ok(())
}
