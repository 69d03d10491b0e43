//! What is read of a folder of util-vserver, as plain data: the pure rooms see no disk.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    import::{Text, excerpt::FILE_MAX, fingerprint::Fingerprint},
    model::Origin,
};

/// The most entries of a guest's folder that are read.
pub const ENTRIES_MAX: usize = 2048;
/// How deep its folders may lie in each other.
pub const DEPTH_MAX: usize = 8;
/// The most bytes of text that are read of it.
pub const BYTES_MAX: usize = 4 * FILE_MAX;

/// Entries that are never looked into: they are, or lead to, a guest's own files, or change while it runs.
pub const CLOSED: [&str; 6] = ["vdir", "run", "cache", "vdirbase", "run.rev", "cachebase"];

/// A folder of util-vserver: a guest's, or `.defaults`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Where it lies.
    pub folder: Arc<Path>,
    /// What is in it, by its path from there. What begins with a dot is left out.
    pub nodes: BTreeMap<String, Node>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is, behind all symbolic links.
    pub what: What,
    /// Where it leads, as written, if it is a symbolic link.
    pub link: Option<PathBuf>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File {
        /// What it says; of a program nothing.
        text: Text,
        /// It is a program.
        executable: bool,
    },
    /// A folder, whose entries are in the tree too, but for one that is closed.
    Folder,
    /// A symbolic link out of the folder of all guests, or one that is not followed.
    Elsewhere {
        /// Where it ends: an absolute path without symbolic links.
        path: PathBuf,
        /// What is there.
        kind: Kind,
    },
    /// Nothing that can be used.
    Nothing(NodeError),
}

/// What is at the end of a link that leads elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A file that is a program.
    Program,
    /// Another file.
    File,
    /// A folder.
    Folder,
    /// A device, a FIFO or a socket.
    Other,
}

/// Why an entry cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It is a link, and there is nothing at its end.
    #[error("is a symbolic link to nothing")]
    Dangling,
    /// It is a link that leads to itself, or to a folder that it lies in.
    #[error("is a symbolic link that leads in a circle")]
    Loop,
    /// It is a device, a FIFO or a socket.
    #[error("is not a regular file")]
    NotRegular,
    /// The operating system forbids it.
    #[error("cannot be read: permission denied")]
    Denied,
    /// It lies too deep.
    #[error("lies more than {DEPTH_MAX} folders deep, and is not read")]
    Deep,
    /// The folder holds more than anybody means.
    #[error("is not read: the folder of a guest holds at most {ENTRIES_MAX} entries and 4 MiB of text")]
    Many,
    /// Something else went wrong.
    #[error("cannot be read: {0}")]
    Failed(std::io::ErrorKind),
}

/// A line of a file, without blanks around it, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

impl Tree {
    /// A folder with nothing in it.
    pub fn empty(folder: impl Into<Arc<Path>>) -> Self {
        Self { folder: folder.into(), nodes: BTreeMap::new() }
    }

    /// Where an entry lies.
    pub fn at(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The place of an entry.
    pub fn origin(&self, path: &str) -> Origin {
        Origin::file(self.at(path))
    }

    /// What an entry is; none if it is not there.
    pub fn what(&self, path: &str) -> Option<&What> {
        self.nodes.get(path).map(|node| &node.what)
    }

    /// Whether something is there, as `test -e` has it.
    pub fn has(&self, path: &str) -> bool {
        self.what(path).is_some_and(|what| !matches!(what, What::Nothing(_)))
    }

    /// The names in a folder, sorted.
    pub fn names<'t>(&'t self, folder: &'t str) -> impl Iterator<Item = &'t str> {
        let below = self.nodes.range(format!("{folder}/")..);
        below
            .map_while(move |(path, _)| path.strip_prefix(folder)?.strip_prefix('/'))
            .filter(|name| !name.contains('/'))
    }

    /// Every line of a file that is there, with its number.
    fn raw(&self, path: &str) -> impl Iterator<Item = (u32, String)> {
        let bytes: &[u8] = match self.what(path) {
            Some(What::File { text, .. }) => &text.bytes,
            _ => &[],
        };
        let lines = bytes.split(|byte| *byte == b'\n').zip(1..);
        lines.map(|(line, number)| (number, String::from_utf8_lossy(line).trim().to_owned()))
    }

    /// The lines of a file that say something: neither empty nor a comment.
    pub fn lines(&self, path: &str) -> Vec<Line> {
        let file: Arc<Path> = self.at(path).into();
        let said = self.raw(path).filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        said.map(|(number, text)| Line { text, origin: Origin::line(Arc::clone(&file), number) }).collect()
    }

    /// The first line of a file, if it says something.
    pub fn first(&self, path: &str) -> Option<Line> {
        let (number, text) = self.raw(path).next().filter(|(_, text)| !text.is_empty())?;
        Some(Line { text, origin: Origin::line(self.at(path), number) })
    }

    /// A digest of all that is in it, but for what changes while the guest runs.
    pub(super) fn digest(&self, fingerprint: &mut Fingerprint) {
        for (path, node) in self.nodes.iter().filter(|(path, _)| *path != "run") {
            fingerprint.write(path.as_bytes());
            match &node.what {
                What::File { text, executable } => {
                    fingerprint.write(&[b'f', u8::from(*executable)]);
                    fingerprint.write(&text.bytes);
                }
                What::Folder => fingerprint.write(b"d"),
                What::Elsewhere { path, .. } => fingerprint.write(path.as_os_str().as_encoded_bytes()),
                What::Nothing(error) => fingerprint.write(error.to_string().as_bytes()),
            }
            fingerprint.write(&[0]);
        }
    }

    /// Every file in it.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let files = self.nodes.iter().filter(|(_, node)| matches!(node.what, What::File { .. }));
        files.map(|(path, _)| self.at(path))
    }
}
