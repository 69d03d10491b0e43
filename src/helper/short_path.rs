//! Paths that are short enough for a socket's address, which takes 107 bytes (unix(7)): a runtime directory's own may be longer.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// A folder, held open: as long as it is, what lies in it has a short path.
#[derive(Debug)]
pub struct ShortPath(OwnedFd);

impl ShortPath {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, folder, flags, Mode::empty())?))
    }

    /// The path of what has this name in it.
    pub fn join(&self, name: &str) -> String {
        format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd())
    }
}
