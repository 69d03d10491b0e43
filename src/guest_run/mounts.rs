//! What is mounted in a guest beside the usual.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    mount::MountAttrFlags,
};

use super::{
    beneath,
    tree::{self, Change},
    trouble::{Doing, Run, RunError},
};
use crate::model::Mount;

/// Options of mount(8) that are attributes of the mount: the name, what it sets, what it clears (mount_setattr(2)).
const ATTRIBUTES: [(&str, u64, u64); 13] = [
    ("ro", libc::MOUNT_ATTR_RDONLY, 0),
    ("rw", 0, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, 0),
    ("suid", 0, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV, 0),
    ("dev", 0, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, 0),
    ("exec", 0, libc::MOUNT_ATTR_NOEXEC),
    ("noatime", libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
    ("relatime", 0, libc::MOUNT_ATTR__ATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, 0),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
];
/// Options of fstab(5) that are for other programs than the kernel, and of LXC.
const IGNORED: [&str; 12] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "_netdev",
    "nofail",
    "bind",
    "rbind",
    "create=dir",
    "optional",
];

/// A mount's options, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options<'m> {
    set: u64,
    clear: u64,
    data: Vec<(&'m str, &'m str)>,
}

impl<'m> Options<'m> {
    fn of(mount: &'m Mount) -> Self {
        let mut options = Self::default();
        for word in mount.options.iter().map(String::as_str) {
            if let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) {
                options.clear = (options.clear & !set) | clear;
                options.set = (options.set & !clear) | set;
            } else if !IGNORED.contains(&word) && !word.starts_with("x-") && !word.starts_with("comment=") {
                options.data.push(word.split_once('=').unwrap_or((word, "")));
            }
        }
        options
    }
}

/// Whether its source is a path of the host.
fn is_of_host(mount: &Mount) -> bool {
    mount.kind == "bind" || mount.source.starts_with('/')
}

/// Whether it shows a folder: it may show a file of the host.
pub fn is_of_folder(mount: &Mount) -> bool {
    mount.kind != "bind" || Path::new(&mount.source).is_dir()
}

/// Takes those out whose source is missing and may be.
pub fn retain_present(mounts: &mut Vec<Mount>) {
    mounts.retain(|mount| !is_missing(mount));
}

/// Whether a mount's source is missing, and may be.
pub fn is_missing(mount: &Mount) -> bool {
    mount.optional && is_of_host(mount) && !Path::new(&mount.source).exists()
}

/// A mount that the monitor makes, since the guest's process does not see or may not use its source; none where that is to be
/// made inside.
///
/// # Errors
/// When it cannot be made.
pub fn made_outside(mount: &Mount, ids: Option<BorrowedFd<'_>>) -> Run<Option<OwnedFd>> {
    if !is_of_host(mount) {
        return Ok(None);
    }
    let doing = || format!("mount {} at {}", mount.source, mount.target);
    let tree = make(mount).doing(doing())?;
    if let Some(ids) = ids {
        let set = if shows_devices(mount) { 0 } else { libc::MOUNT_ATTR_NODEV };
        let change = Change { set, ids: Some(ids), recursive: true, ..Change::default() };
        tree::change(tree.as_fd(), change).map_err(|error| unmapped(&doing(), &error))?;
    }
    Ok(Some(tree))
}

/// Whether devices in it are meant for the guest, though they would be its root's: where it says so.
fn shows_devices(mount: &Mount) -> bool {
    mount
        .options
        .iter()
        .rev()
        .find(|word| matches!(word.as_str(), "dev" | "nodev"))
        .is_some_and(|word| word == "dev")
}

/// Why files cannot be shown by the ids of the guest's users.
pub fn unmapped(doing: &str, error: &io::Error) -> RunError {
    if error.raw_os_error() == Some(libc::EINVAL) {
        return RunError::Configuration(format!(
            "cannot {doing}: its file system, or one below it, cannot show files by other ids (idmapped mounts need ext4, xfs, btrfs \
             or the like, and Linux 5.12); move it, or set user-namespace = false"
        ));
    }
    RunError::System {
        doing: format!("{doing} by the ids of its users"),
        source: io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0)),
    }
}

/// A mount that hangs nowhere yet.
///
/// # Errors
/// When its source is missing, or the kernel refuses an option.
pub fn make(mount: &Mount) -> io::Result<OwnedFd> {
    if mount.kind == "bind" {
        return copy(Path::new(&mount.source), mount);
    }
    let options = Options::of(mount);
    let mut data = options.data;
    if options.set & libc::MOUNT_ATTR_RDONLY != 0 {
        data.push(("ro", ""));
    }
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(options.set).unwrap_or(0));
    tree::new(&mount.kind, Some(&mount.source), &data, attributes)
}

/// A copy of what is mounted at a path, with the attributes that a mount is to have.
///
/// # Errors
/// When nothing is there, or the kernel refuses.
pub fn copy(path: &Path, mount: &Mount) -> io::Result<OwnedFd> {
    let Options { set, clear, .. } = Options::of(mount);
    let tree = tree::copy(path)?;
    tree::change(tree.as_fd(), Change { set, clear, recursive: true, ..Change::default() })?;
    Ok(tree)
}

/// A mount that the guest's process makes by itself.
///
/// # Errors
/// When it cannot be made.
pub fn made_inside(mount: &Mount) -> Run<Option<OwnedFd>> {
    if is_of_host(mount) {
        return Ok(None);
    }
    make(mount).map(Some).doing(format_args!("mount {} at {}", mount.kind, mount.target))
}

/// Attaches a tree at a path below a root, which no link and no `..` leaves; makes what is missing on the way.
///
/// # Errors
/// When it cannot be made, or the kernel refuses.
pub fn attach_beneath(root: BorrowedFd<'_>, tree: BorrowedFd<'_>, target: &str) -> io::Result<()> {
    let at = make_beneath(root, target, tree::is_folder(tree)?)?;
    tree::attach_at(tree, at.as_fd())
}

/// Opens a path below a root, as a place.
///
/// # Errors
/// When it is not there, or the kernel refuses.
pub fn open_beneath(root: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    Ok(beneath::open(root, path, OFlags::PATH, Mode::empty())?)
}

/// The same, made if it is missing: folders on the way, and a folder or an empty file at its end.
///
/// # Errors
/// When it cannot be made.
pub fn make_beneath(root: BorrowedFd<'_>, path: &str, is_folder: bool) -> io::Result<OwnedFd> {
    match open_beneath(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let trimmed = path.trim_matches('/');
    let (above, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let above = if above.is_empty() { root.try_clone_to_owned()? } else { make_beneath(root, above, true)? };
    if matches!(name, "" | "." | "..") {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // The name is one component, so that it can lead nowhere else.
    if is_folder {
        mkdirat(&above, name, Mode::from_raw_mode(0o777))?;
    } else {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&above, name, flags, Mode::from_raw_mode(0o644))?;
    }
    open_beneath(above.as_fd(), name)
}

/// Opens a folder of the host as a root.
///
/// # Errors
/// When it is none.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mount(options: &[&str]) -> Mount {
        Mount {
            source: "/srv".into(),
            target: "/data".into(),
            kind: "bind".into(),
            options: options.iter().map(|word| (*word).into()).collect(),
            optional: false,
        }
    }

    #[test]
    fn the_last_of_contrary_options_counts() {
        let (ro, nodev) = (libc::MOUNT_ATTR_RDONLY, libc::MOUNT_ATTR_NODEV);
        for (written, set, clear) in [
            (&["ro", "nodev"][..], ro | nodev, 0),
            (&["ro", "rw"], 0, ro),
            (&["rw", "ro"], ro, 0),
            (&["defaults", "noauto", "x-systemd.automount"], 0, 0),
        ] {
            let mount = mount(written);
            assert_eq!(Options::of(&mount), Options { set, clear, data: vec![] }, "{written:?}");
        }
        let mount = mount(&["size=10m", "ro", "usrquota"]);
        assert_eq!(Options::of(&mount).data, [("size", "10m"), ("usrquota", "")]);
    }

    #[test]
    fn nothing_is_made_outside_a_root() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("root");
        fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink(folder.path(), inside.join("out")).unwrap();
        std::os::unix::fs::symlink("../../..", inside.join("up")).unwrap();
        let root = open_root(&inside).unwrap();
        for path in ["/out/made", "/up/made", "/../made", "/a/../../made"] {
            // Where it goes wrong, it goes wrong inside.
            let _ = make_beneath(root.as_fd(), path, true);
            assert!(!folder.path().join("made").exists(), "{path}");
        }
        make_beneath(root.as_fd(), "/etc/deep/file", false).unwrap();
        assert!(inside.join("etc/deep/file").is_file());
        make_beneath(root.as_fd(), "/up/there", true).unwrap();
        assert!(inside.join("there").is_dir());
    }
}
