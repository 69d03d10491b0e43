//! Reading configuration: text in, guests and diagnostics out (design section 3).
//!
//! Pure: files are seen through [`Files`], which the daemon's shell implements over the disk and tests over a map. Each
//! source of settings becomes a [`Layer`]; layers are laid over one another, and [`Imported`] is what comes out, with
//! the place that each setting came from. Lenient everywhere: what can be used is used, everything else is a
//! [`Diagnostic`](crate::model::Diagnostic) with file, line and the way to mend it.

use std::{
    borrow::Cow,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::model::{Guest, Origin};

pub mod excerpt;
mod findings;
pub(crate) mod fingerprint;
mod hook;
pub mod layer;
pub mod lxc;
pub mod native;
pub mod network;
pub mod oci;
pub mod overlay;
mod probe;
mod ready;
mod resource;
mod restart;
pub mod settings;
mod toml;
mod value;
pub mod vserver;

pub use findings::nearest;
pub use hook::HooksLayer;
pub use layer::{Layer, Sourced};
pub use ready::{HealthLayer, ReadyLayer};
pub use restart::RestartLayer;
pub use settings::{LauncherChoice, Settings};

/// The most names that a list of groups or guests may hold; more is nobody's meaning, and would cost time.
const LIST_MAX: usize = 256;

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    /// Its bytes: all of them, or as many as [`excerpt`] keeps.
    pub bytes: Vec<u8>,
    /// The file is larger than [`excerpt::FILE_MAX`]; its end is missing.
    pub cut: bool,
}

/// Why a file or folder could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not exist.
    #[error("does not exist")]
    Missing,
    /// The operating system forbids it.
    #[error("cannot be read: permission denied")]
    Denied,
    /// It is a folder, a FIFO, a device or a socket.
    #[error("is not a regular file")]
    NotRegular,
    /// A folder holds more files than anybody means.
    #[error("holds more than {max} files")]
    TooMany {
        /// The most that is allowed.
        max: usize,
    },
    /// Something else went wrong.
    #[error("cannot be read: {kind}")]
    Failed {
        /// What kind of failure.
        kind: io::ErrorKind,
    },
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::IsADirectory => Self::NotRegular,
            kind => Self::Failed { kind },
        }
    }
}

/// The files that importers see.
pub trait Files {
    /// Reads a regular file, bounded as [`excerpt`] says.
    ///
    /// # Errors
    /// [`ReadError`] says why it could not be read.
    fn read(&self, path: &Path) -> Result<Text, ReadError>;

    /// The files in a folder whose names end in `suffix` and are longer than it, sorted by name; with the folder's path
    /// in front.
    ///
    /// # Errors
    /// [`ReadError`] says why the folder could not be read.
    fn list(&self, folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, ReadError>;

    /// Whether this is a folder.
    fn is_folder(&self, path: &Path) -> bool;
}

/// One setting in force, for showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Its name: `start.auto`, or an LXC key such as `lxc.signal.halt`.
    pub key: Cow<'static, str>,
    /// Its value: as TOML writes it, for LXC keys as LXC writes it.
    pub value: String,
    /// Where it was written; none for a built-in default.
    pub origin: Option<Origin>,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{} = {}  # {origin}", self.key, self.value),
            None => write!(f, "{} = {}  # default", self.key, self.value),
        }
    }
}

/// A guest, and how it came to be what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The guest.
    pub guest: Guest,
    /// Every setting in force, with the place it came from.
    pub effective: Vec<Effective>,
    /// Every file that was read for it, in the order of reading.
    pub files: Vec<PathBuf>,
}
