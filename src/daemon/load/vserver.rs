//! util-vserver's folders on the disk, as the importer sees them.
//!
//! Every file is opened beneath the folder of all guests, step by step and through no symbolic link. Where an entry is a link,
//! it is looked up where it ends: beneath that folder it is read from there, elsewhere only told.

use std::{
    collections::BTreeMap,
    ffi::{CStr, OsStr},
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt, fs::PermissionsExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{CWD, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat},
};

use crate::{
    daemon::disk::{bounded, is_null},
    import::{
        ReadError, Text,
        vserver::{
            Node, NodeError, Tree, What,
            tree::{BYTES_MAX, CLOSED, DEPTH_MAX, ENTRIES_MAX, Kind},
        },
    },
};

/// The folder of all guests.
pub(super) struct Folder {
    /// As the settings write it.
    given: Arc<Path>,
    /// Without symbolic links.
    real: PathBuf,
    root: OwnedFd,
}

impl Folder {
    /// Opens it.
    ///
    /// # Errors
    /// When it is not there, is no folder, or may not be read.
    pub(super) fn open(given: &Arc<Path>) -> Result<Self, ReadError> {
        let real = fs::canonicalize(given)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, &real, flags, Mode::empty()).map_err(io::Error::from)?;
        Ok(Self { given: Arc::clone(given), real, root })
    }

    /// What may be guests: every entry without a dot in front, sorted, and whether it is a folder by itself.
    ///
    /// # Errors
    /// When it cannot be read, or holds more than anybody means.
    pub(super) fn entries(&self) -> Result<Vec<(String, bool)>, ReadError> {
        let names = names(&self.root).map_err(|error| match error {
            NodeError::Many => ReadError::TooMany { max: ENTRIES_MAX },
            NodeError::Denied => ReadError::Denied,
            _ => ReadError::Failed { kind: io::ErrorKind::Other },
        })?;
        let is_folder = |name: &str| {
            fs::symlink_metadata(self.real.join(name)).is_ok_and(|entry| entry.file_type().is_dir())
        };
        Ok(names.into_iter().map(|name| (is_folder(&name), name)).map(|(is, name)| (name, is)).collect())
    }

    /// Reads a guest's folder, or `.defaults`; none if there is no folder of this name.
    ///
    /// # Errors
    /// When it may not be read.
    pub(super) fn tree(&self, name: &str) -> Result<Option<Tree>, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match openat(&self.root, name, flags, Mode::empty()).map_err(io::Error::from) {
            Ok(folder) => folder,
            Err(error) => {
                let is_none =
                    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENOTDIR | libc::ENOENT));
                return if is_none { Ok(None) } else { Err(error.into()) };
            }
        };
        let mut walk =
            Walk { folder: self, name, nodes: BTreeMap::new(), bytes: 0, way: vec![identity(&self.root)] };
        walk.folder(&folder, "").map_err(|_| ReadError::Denied)?;
        Ok(Some(Tree { folder: self.given.join(name).into(), nodes: walk.nodes }))
    }
}

/// Which file of the host this is.
fn identity(file: impl AsFd) -> Option<(u64, u64)> {
    fstat(file).ok().map(|file| (file.st_dev, file.st_ino))
}

/// The names in a folder, without those that begin with a dot.
fn names(folder: &OwnedFd) -> Result<Vec<String>, NodeError> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(|error| failed(&error.into()))? {
        let entry = entry.map_err(|error| failed(&error.into()))?;
        let name = CStr::to_string_lossy(entry.file_name());
        if !name.starts_with('.') {
            names.push(name.into_owned());
        }
        if names.len() > ENTRIES_MAX {
            return Err(NodeError::Many);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn failed(error: &io::Error) -> NodeError {
    match (error.raw_os_error(), error.kind()) {
        (Some(libc::ELOOP), _) => NodeError::Loop,
        (_, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => NodeError::Dangling,
        (_, io::ErrorKind::PermissionDenied) => NodeError::Denied,
        (_, kind) => NodeError::Failed(kind),
    }
}

/// A way through one folder.
struct Walk<'w> {
    folder: &'w Folder,
    name: &'w str,
    nodes: BTreeMap<String, Node>,
    bytes: usize,
    /// The folders that what is looked at lies in, as they were reached.
    way: Vec<Option<(u64, u64)>>,
}

impl Walk<'_> {
    /// Reads what is in a folder, which is at this path.
    fn folder(&mut self, folder: &OwnedFd, path: &str) -> Result<(), NodeError> {
        let entries = names(folder)?;
        self.way.push(identity(folder));
        for name in entries {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if self.nodes.len() >= ENTRIES_MAX {
                self.nodes.insert(path, Node { what: What::Nothing(NodeError::Many), link: None });
                break;
            }
            let node = self.node(folder, &name, &path);
            self.nodes.insert(path, node);
        }
        self.way.pop();
        Ok(())
    }

    fn node(&mut self, folder: &OwnedFd, name: &str, path: &str) -> Node {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = match openat(folder, name, flags, Mode::empty()) {
            Ok(entry) => entry,
            Err(error) => return Node { what: What::Nothing(failed(&error.into())), link: None },
        };
        let kind = fstat(&entry).map(|entry| FileType::from_raw_mode(entry.st_mode));
        if kind.is_ok_and(|kind| kind.is_symlink()) {
            let link = readlinkat(&entry, "", Vec::new());
            let link = link.ok().map(|link| PathBuf::from(OsStr::from_bytes(link.to_bytes())));
            let what = self.behind(path).unwrap_or_else(What::Nothing);
            return Node { what, link };
        }
        if CLOSED.contains(&path) && kind.is_ok_and(FileType::is_dir) {
            return Node { what: What::Folder, link: None };
        }
        Node { what: self.what(folder, name, path).unwrap_or_else(What::Nothing), link: None }
    }

    /// What is at the end of a symbolic link.
    fn behind(&mut self, path: &str) -> Result<What, NodeError> {
        let link = self.folder.real.join(self.name).join(path);
        let end = fs::canonicalize(link).map_err(|error| failed(&error))?;
        let metadata = fs::symlink_metadata(&end).map_err(|error| failed(&error))?;
        if is_null(&metadata) {
            return Ok(What::File { text: Text::default(), executable: false });
        }
        match end.strip_prefix(&self.folder.real) {
            Ok(below) if !CLOSED.contains(&path) => self.beneath(below, path),
            _ => Ok(What::Elsewhere { kind: kind(&metadata), path: end }),
        }
    }

    /// Reads what is at a path beneath the folder of all guests, as if it were at another.
    fn beneath(&mut self, below: &Path, path: &str) -> Result<What, NodeError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: Option<OwnedFd> = None;
        let mut parts = below.components().peekable();
        while let Some(Component::Normal(part)) = parts.next() {
            let here = at.as_ref().unwrap_or(&self.folder.root);
            if parts.peek().is_none() {
                let folder = here.try_clone().map_err(|error| failed(&error))?;
                return self.what(&folder, &part.to_string_lossy(), path);
            }
            at = Some(openat(here, part, flags, Mode::empty()).map_err(|error| failed(&error.into()))?);
        }
        // The folder of all guests itself.
        Err(NodeError::Loop)
    }

    /// An entry of a folder that is no symbolic link.
    fn what(&mut self, folder: &OwnedFd, name: &str, path: &str) -> Result<What, NodeError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let kind = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .and_then(fstat)
            .map(|entry| FileType::from_raw_mode(entry.st_mode));
        match kind.map_err(|error| failed(&error.into()))? {
            FileType::Directory => {
                let inner = openat(folder, name, flags | OFlags::DIRECTORY, Mode::empty());
                let inner = inner.map_err(|error| failed(&error.into()))?;
                if self.way.contains(&identity(&inner)) {
                    return Err(NodeError::Loop);
                }
                if self.way.len() > DEPTH_MAX {
                    return Err(NodeError::Deep);
                }
                self.folder(&inner, path)?;
                Ok(What::Folder)
            }
            FileType::RegularFile => {
                let file = openat(folder, name, flags, Mode::empty());
                self.file(file.map_err(|error| failed(&error.into()))?.into(), path)
            }
            _ => Err(NodeError::NotRegular),
        }
    }

    fn file(&mut self, file: File, path: &str) -> Result<What, NodeError> {
        let metadata = file.metadata().map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            return Err(NodeError::NotRegular);
        }
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let is_program = executable && (path.starts_with("scripts/") || path.starts_with("apps/vshelper"));
        if is_program {
            return Ok(What::File { text: Text::default(), executable });
        }
        if self.bytes >= BYTES_MAX {
            return Err(NodeError::Many);
        }
        let expected = usize::try_from(metadata.size()).unwrap_or(usize::MAX).min(4096);
        let text = bounded(file, expected).map_err(|error| failed(&error))?;
        self.bytes += text.bytes.len();
        Ok(What::File { text, executable })
    }
}

/// What is at the end of a link that is not followed.
fn kind(metadata: &fs::Metadata) -> Kind {
    match metadata.file_type() {
        kind if kind.is_dir() => Kind::Folder,
        kind if kind.is_file() && metadata.permissions().mode() & 0o111 != 0 => Kind::Program,
        kind if kind.is_file() => Kind::File,
        _ => Kind::Other,
    }
}
