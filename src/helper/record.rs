//! Small JSON files below the runtime directory and the state directory: written whole, read bounded, symbolic links never followed.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{fs::RenameFlags, io::Errno};
use serde::{Serialize, de::DeserializeOwned};

use crate::kill_point::KillPoint;

/// Why a file could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system says no.
    #[error("could not {operation} {}", .path.display())]
    Io {
        /// What was tried, as a verb: "write".
        operation: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not a file or folder of our own.
    #[error("{} is {what}; refusing to use it", .path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// It is larger than anything ever written.
    #[error("{} is larger than {max} bytes, the most that is allowed", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is allowed, in bytes.
        max: u64,
    },
    /// The value has no form in JSON (a path that is not UTF-8).
    #[error("could not put into words what belongs into {}", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It does not hold what it should.
    #[error("{} does not hold what it should", .path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the parser says, with the line.
        #[source]
        source: serde_json::Error,
    },
}

impl RecordError {
    fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { operation, path: path.to_owned(), source }
    }
}

/// Makes a folder (mode 0700) unless it is there; its parent must be. A symbolic link and a folder of another user
/// are refused.
///
/// # Errors
/// [`RecordError`] with the folder.
pub fn ensure_folder(folder: &Path) -> Result<(), RecordError> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(RecordError::io("create", folder)(error));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(folder).map_err(RecordError::io("look at", folder))?;
    let foreign = |what| Err(RecordError::Foreign { path: folder.to_owned(), what });
    match () {
        () if !found.is_dir() => foreign("no folder"),
        () if found.uid() != nix::unistd::geteuid().as_raw() => foreign("another user's"),
        () => Ok(()),
    }
}

/// Writes a value as `folder/name` (mode 0600), whole or not at all: to a temporary file, fsync, rename. The folder
/// is made if need be.
///
/// # Errors
/// [`RecordError`] with the file. An earlier file of this name is untouched then.
pub fn write<T: Serialize>(folder: &Path, name: &str, value: &T, max: u64) -> Result<(), RecordError> {
    let encoded = serde_json::to_vec(value);
    let bytes = encoded.map_err(|source| RecordError::Encode { path: folder.join(name), source })?;
    write_bytes(folder, name, &bytes, max)
}

/// The same with bytes of any form.
///
/// # Errors
/// [`RecordError`] with the file. An earlier file of this name is untouched then.
pub fn write_bytes(folder: &Path, name: &str, bytes: &[u8], max: u64) -> Result<(), RecordError> {
    let path = folder.join(name);
    if bytes.len() as u64 > max {
        return Err(RecordError::TooLarge { path, max });
    }
    ensure_folder(folder)?;
    let temporary = folder.join(temporary_name(name));
    let written = create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        KillPoint::TemporaryWritten.pass();
        fs::rename(&temporary, &path)
    });
    written.map_err(|error| {
        // What is left of it is of no use to anyone; that it cannot be removed either adds nothing to the error.
        let _ = fs::remove_file(&temporary);
        RecordError::io("write", &path)(error)
    })
}

/// Adds bytes to the end of a file that is there, which grows to `max` bytes at most. Whoever is killed meanwhile may leave
/// the beginning of them. Nothing is forced to the disk: what is only of use in this boot need not outlive it.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn append(path: &Path, bytes: &[u8], max: u64) -> Result<(), RecordError> {
    let mut options = OpenOptions::new();
    let options = options.append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let mut file = options.open(path).map_err(RecordError::io("open", path))?;
    let length = own(&file, path)?.len();
    if length.saturating_add(bytes.len() as u64) > max {
        return Err(RecordError::TooLarge { path: path.to_owned(), max });
    }
    file.write_all(bytes).map_err(RecordError::io("write", path))
}

/// The name of the temporary file of a process for a file; no guest's name starts with a dot.
fn temporary_name(name: &str) -> String {
    format!(".{name}.{}", std::process::id())
}

/// Whether a file name is that of a temporary file, left behind if its writer is gone.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.')
}

/// Removes the temporary files in a folder that is there, whose writers are gone. What stays is in nobody's way.
pub fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_left = entry.file_name().to_str().is_some_and(is_temporary);
        if is_left && entry.file_type().is_ok_and(|kind| !kind.is_dir()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates a file that was not there. One that was is left over from a dead process with this number.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        result => result,
    }
}

/// Reads a file; none if it is not there. Only a regular file of this user is read, and at most `max` bytes.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn read<T: DeserializeOwned>(path: &Path, max: u64) -> Result<Option<T>, RecordError> {
    let Some(bytes) = read_bytes(path, max)? else { return Ok(None) };
    decode(path, &bytes).map(Some)
}

/// What bytes of a file say.
///
/// # Errors
/// [`RecordError::Decode`] with the file.
pub fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(bytes).map_err(|source| RecordError::Decode { path: path.to_owned(), source })
}

/// Reads the bytes of a file in the same way.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn read_bytes(path: &Path, max: u64) -> Result<Option<Vec<u8>>, RecordError> {
    // A FIFO would block the open for ever, hence O_NONBLOCK; it means nothing for a regular file.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(RecordError::io("open", path))?,
    };
    let length = own(&file, path)?.len();
    // One byte more, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(length.min(max)).unwrap_or(0) + 1);
    file.take(max + 1).read_to_end(&mut bytes).map_err(RecordError::io("read", path))?;
    if bytes.len() as u64 > max {
        return Err(RecordError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}

/// What is known of an open file, if it is a regular one of this user.
fn own(file: &File, path: &Path) -> Result<Metadata, RecordError> {
    let found = file.metadata().map_err(RecordError::io("look at", path))?;
    let foreign = |what| RecordError::Foreign { path: path.to_owned(), what };
    if !found.is_file() {
        return Err(foreign("no regular file"));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(foreign("another user's"));
    }
    Ok(found)
}

/// What is added to the name of a file that cannot be used.
pub const ASIDE: &str = ".bad";

/// Moves a file aside that cannot be used, so that another may take its place: as `NAME.bad`, or `NAME.bad.2` and so on where
/// that is there. Returns where it is now; none if there was no file.
///
/// # Errors
/// [`RecordError`] with the file, which is untouched then.
pub fn set_aside(path: &Path) -> Result<Option<PathBuf>, RecordError> {
    let name = path.file_name().unwrap_or_default().to_owned();
    for number in 1_u64.. {
        let mut aside = name.clone();
        aside.push(ASIDE);
        if number > 1 {
            aside.push(format!(".{number}"));
        }
        let aside = path.with_file_name(aside);
        match rustix::fs::renameat_with(
            rustix::fs::CWD,
            path,
            rustix::fs::CWD,
            &aside,
            RenameFlags::NOREPLACE,
        ) {
            Ok(()) => return Ok(Some(aside)),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(RecordError::io("move aside", path)(error.into())),
        }
    }
    Ok(None)
}

/// Removes a file; one that is not there is as good.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn remove(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(RecordError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn files_are_private_whole_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("policy");
        for n in [1u32, 2] {
            write(&folder, "web.json", &n, 100).unwrap();
            assert_eq!(read::<u32>(&folder.join("web.json"), 100).unwrap(), Some(n));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("web.json"))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
        remove(&folder.join("web.json")).unwrap();
        remove(&folder.join("web.json")).unwrap();
        assert_eq!(read::<u32>(&folder.join("web.json"), 100).unwrap(), None);
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "1").unwrap();
        let folder = dir.path().join("spool");
        ensure_folder(&folder).unwrap();
        symlink(&victim, folder.join(temporary_name("a"))).unwrap();
        symlink(&victim, folder.join("a")).unwrap();
        assert!(matches!(read::<u32>(&folder.join("a"), 9), Err(RecordError::Io { operation: "open", .. })));
        write(&folder, "a", &2u32, 9).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "1");
        assert_eq!(read::<u32>(&folder.join("a"), 9).unwrap(), Some(2));

        symlink(&folder, dir.path().join("linked")).unwrap();
        let error = write(&dir.path().join("linked"), "b", &3u32, 9).unwrap_err();
        assert!(matches!(error, RecordError::Foreign { what: "no folder", .. }), "{error}");
    }

    #[test]
    fn what_a_dead_writer_has_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".folder")).unwrap();
        fs::write(dir.path().join(temporary_name("web.json")), "{").unwrap();
        write(dir.path(), "web.json", &1u32, 9).unwrap();
        sweep(dir.path());
        sweep(&dir.path().join("missing"));
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".folder", "web.json"]);
    }

    #[test]
    fn lines_are_added_up_to_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("job");
        let missing = append(&path, b"x", 9).unwrap_err();
        assert!(matches!(missing, RecordError::Io { operation: "open", .. }), "it is never made");
        write_bytes(dir.path(), "job", b"1\n", 9).unwrap();
        append(&path, b"2\n", 4).unwrap();
        assert!(matches!(append(&path, b"3", 4), Err(RecordError::TooLarge { max: 4, .. })));
        assert_eq!(read_bytes(&path, 4).unwrap().unwrap(), b"1\n2\n");
        set_aside(&path).unwrap();
        assert_eq!(fs::read(dir.path().join("job.bad")).unwrap(), b"1\n2\n");
        symlink(dir.path().join("job.bad"), &path).unwrap();
        assert!(matches!(append(&path, b"3", 9), Err(RecordError::Io { operation: "open", .. })));
    }

    #[test]
    fn what_is_moved_aside_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.json");
        assert_eq!(set_aside(&path).unwrap(), None);
        for name in ["web.json.bad", "web.json.bad.2", "web.json.bad.3"] {
            fs::write(&path, name).unwrap();
            assert_eq!(set_aside(&path).unwrap(), Some(dir.path().join(name)));
        }
        for name in ["web.json.bad", "web.json.bad.2", "web.json.bad.3"] {
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.json");
        assert!(matches!(write(dir.path(), "x", &"long", 5), Err(RecordError::TooLarge { max: 5, .. })));
        fs::write(&path, "123456").unwrap();
        assert!(matches!(read::<u32>(&path, 5), Err(RecordError::TooLarge { max: 5, .. })));
        fs::write(&path, "x").unwrap();
        assert!(matches!(read::<u32>(&path, 5), Err(RecordError::Decode { .. })));
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read::<u32>(&path, 5), Err(RecordError::Foreign { what: "no regular file", .. })));
    }
}
