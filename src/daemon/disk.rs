//! The disk, as importers see it.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
};

use crate::import::{
    Files, ReadError, Text,
    excerpt::{Excerpt, FILE_MAX, LINE_MAX, LOOK_MAX},
};

/// The most files of one folder that are listed.
const LIST_MAX: usize = 4096;

/// What follows for a user who may not read something: guestd, which is root, may; so nothing else can be said of it.
/// None for root, and where that is not the reason.
pub fn hidden_from_user(error: ReadError) -> Option<&'static str> {
    (error == ReadError::Denied && !nix::unistd::geteuid().is_root())
        .then_some(" to this user; run this as root")
}

/// Reads from the disk. Follows symbolic links, as LXC does, but reads regular files only, and never waits on a FIFO or
/// a device. A link to `/dev/null` is an empty file, which is how a file is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> Result<Text, ReadError> {
        let Some((file, length)) = open(path)? else { return Ok(Text::default()) };
        Ok(bounded(file, length.min(LINE_MAX))?)
    }

    fn list(&self, folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, ReadError> {
        let mut list = Vec::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            if name.len() > suffix.len() && name.as_bytes().ends_with(suffix.as_bytes()) {
                list.push(folder.join(name));
            }
            if list.len() > LIST_MAX {
                return Err(ReadError::TooMany { max: LIST_MAX });
            }
        }
        list.sort_unstable();
        Ok(list)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }
}

impl Disk {
    /// Reads a regular file as it is, however long its lines are; of a larger one than [`FILE_MAX`] the beginning.
    ///
    /// # Errors
    /// [`ReadError`] says why it could not be read.
    pub fn read_whole(self, path: &Path) -> Result<Text, ReadError> {
        let Some((file, length)) = open(path)? else { return Ok(Text::default()) };
        let mut bytes = Vec::with_capacity(length.min(FILE_MAX) + 1);
        file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
        let cut = bytes.len() > FILE_MAX;
        bytes.truncate(FILE_MAX);
        Ok(Text { bytes, cut })
    }
}

/// Opens a regular file, whose length it tells; none for `/dev/null`.
fn open(path: &Path) -> Result<Option<(File, usize)>, ReadError> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if is_null(&metadata) {
        return Ok(None);
    }
    if !metadata.is_file() {
        return Err(ReadError::NotRegular);
    }
    Ok(Some((file, usize::try_from(metadata.len()).unwrap_or(usize::MAX))))
}

/// Whether this is the device `/dev/null`.
pub(super) fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == libc::makedev(1, 3)
}

/// Reads a file's bounded part. A file no longer than one line may be is bounded as it is.
pub(super) fn bounded(file: File, expected: usize) -> io::Result<Text> {
    let mut bytes = Vec::with_capacity(expected + 1);
    let mut file = file.take(LOOK_MAX);
    (&mut file).take(LINE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() <= LINE_MAX {
        return Ok(Text { bytes, cut: false });
    }
    let mut excerpt = Excerpt::default();
    let mut piece = bytes.as_slice();
    let mut buffer = vec![0; LINE_MAX];
    while excerpt.push(piece) {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            if file.limit() == 0 {
                excerpt.stopped();
            }
            break;
        }
        piece = &buffer[..length];
    }
    Ok(excerpt.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "a\n").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(Disk.read(&at("file")).unwrap().bytes, b"a\n");
        assert_eq!(Disk.read(&at("link")).unwrap().bytes, b"a\n");
        std::os::unix::fs::symlink("/dev/null", at("masked")).unwrap();
        assert_eq!(Disk.read(&at("masked")), Ok(Text::default()));
        assert_eq!(Disk.read(&at("fifo")), Err(ReadError::NotRegular));
        assert_eq!(Disk.read(folder.path()), Err(ReadError::NotRegular));
        assert_eq!(Disk.read(Path::new("/dev/zero")), Err(ReadError::NotRegular));
        assert_eq!(Disk.read(&at("none")), Err(ReadError::Missing));
        assert_eq!(Disk.read(&at("file/config")), Err(ReadError::Missing));
    }

    #[test]
    fn ten_megabytes_of_one_line_cost_only_that_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let mut bytes = b"a\n".to_vec();
        bytes.resize(10 * 1024 * 1024, b'x');
        bytes.extend_from_slice(b"\nb\n");
        fs::write(&path, bytes).unwrap();
        let text = Disk.read(&path).unwrap();
        assert!(!text.cut);
        assert_eq!(text.bytes.len(), 2 + LINE_MAX + 1 + 3);
        assert!(text.bytes.ends_with(b"x\nb\n"));
        let whole = Disk.read_whole(&path).unwrap();
        assert_eq!((whole.bytes.len(), whole.cut), (FILE_MAX, true));
        assert!(whole.bytes.ends_with(b"xx"));
    }

    #[test]
    fn folders_are_listed_by_suffix_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", ".conf", "a.conf~", "conf"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let list = Disk.list(folder.path(), ".conf").unwrap();
        assert_eq!(list, [folder.path().join("a.conf"), folder.path().join("b.conf")]);
        assert_eq!(Disk.list(&folder.path().join("none"), ".conf"), Err(ReadError::Missing));
    }
}
