//! Mounts that hang nowhere yet (open_tree(2)): made by the monitor, which may, and attached by the guest's process, which
//! sees where.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, mkdirat, statat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
};

/// A copy of what is mounted at a path, with everything below it.
pub fn copy(path: &Path) -> io::Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

/// A new file system.
pub fn new(
    kind: &str,
    source: Option<&str>,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let system = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = source {
        fsconfig_set_string(system.as_fd(), "source", source)?;
    }
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(system.as_fd(), *key)?;
        } else {
            fsconfig_set_string(system.as_fd(), *key, *value)?;
        }
    }
    fsconfig_create(system.as_fd())?;
    Ok(fsmount(system.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Attaches a tree at a path.
pub fn attach(tree: BorrowedFd<'_>, at: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Attaches a tree at an open place.
pub fn attach_at(tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", at, "", flags)?)
}

/// Moves what is mounted at a path to a folder with this name in another, which is made if it is missing. A link there is refused.
pub fn move_below(from: &Path, above: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) | Ok(()) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(move_mount(CWD, from, above, name, MoveMountFlags::empty())?)
}

/// Whether a tree is one of a folder: it may be that of a file.
///
/// # Errors
/// When the kernel refuses.
pub fn is_folder(tree: BorrowedFd<'_>) -> io::Result<bool> {
    let found = statat(tree, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(found.st_mode).is_dir())
}

/// What is to become of a tree's mounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Attributes that are set (`MOUNT_ATTR_*`).
    pub set: u64,
    /// Attributes that are cleared.
    pub clear: u64,
    /// How mounts are passed on (`MS_PRIVATE` and the like); 0 leaves that.
    pub propagation: u64,
    /// The user namespace by whose ids the files are shown.
    pub ids: Option<BorrowedFd<'a>>,
    /// Everything below is changed too.
    pub recursive: bool,
}

/// Changes the mount, or the tree of mounts, that a file descriptor stands for (mount_setattr(2)).
pub fn change(tree: BorrowedFd<'_>, change: Change<'_>) -> io::Result<()> {
    let ids = if change.ids.is_some() { libc::MOUNT_ATTR_IDMAP } else { 0 };
    let attributes = libc::mount_attr {
        attr_set: change.set | ids,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.ids.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0)),
    };
    let flags = libc::AT_EMPTY_PATH | if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a string that ends, and the structure lives through the call and is as large as is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
