//! `proc` and `sysfs` of a guest with users of its own, where its process may not mount them: the kernel refuses both where those
//! of the host are covered in part, as they are in most containers (`mount_too_revealing` in its fs/namespace.c), and `sysfs` to
//! whoever does not own the network it shows. The monitor may, from the guest's namespaces of processes and network.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::mount::MountAttrFlags;

use super::{
    inside::word,
    launch::reap,
    link::Link,
    namespace::{self, Child, Fork},
    tree,
    trouble::{Doing, Run, RunError},
};

/// How each is mounted, by its name as a type of file system.
pub const KINDS: [(&str, MountAttrFlags); 2] = [
    ("proc", MountAttrFlags::MOUNT_ATTR_NOSUID.union(EXEC).union(MountAttrFlags::MOUNT_ATTR_NODEV)),
    (
        "sysfs",
        MountAttrFlags::MOUNT_ATTR_NOSUID
            .union(EXEC)
            .union(MountAttrFlags::MOUNT_ATTR_NODEV)
            .union(MountAttrFlags::MOUNT_ATTR_RDONLY),
    ),
];
const EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;

/// Mounts one of [`KINDS`], that hangs nowhere yet.
///
/// # Errors
/// When the kernel refuses, to this process too.
pub fn mount(init: &Child, kind: &str) -> Run<OwnedFd> {
    let (own, other) = Link::pair().doing("make a socket")?;
    // SAFETY: a monitor has one thread.
    match unsafe { namespace::fork(None, None) }.map_err(namespace::refused)? {
        Fork::Child => {
            drop(own);
            // Whoever waits sees the end of the line.
            let _ = enter(init, kind, &other);
            std::process::exit(0)
        }
        Fork::Parent(child) => {
            drop(other);
            let received = own.receive();
            reap(&child);
            let (reason, files) = received.doing("hear from a process")?.unwrap_or_default();
            let reason = String::from_utf8_lossy(reason.get(1..).unwrap_or_default()).into_owned();
            files.into_iter().next().ok_or(RunError::Inside(reason))
        }
    }
}

/// In a process of its own: enters, and makes another one, which alone is in the guest's PID namespace.
fn enter(init: &Child, kind: &str, link: &Link) -> io::Result<()> {
    // SAFETY: it takes numbers; this process has one thread.
    if unsafe { libc::setns(init.pidfd.as_raw_fd(), libc::CLONE_NEWPID | libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    match unsafe { namespace::fork(None, None) }? {
        Fork::Child => {
            let attributes = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, attributes)| *attributes);
            let made = attributes.ok_or(io::ErrorKind::InvalidInput.into());
            let made = made.and_then(|attributes| tree::new(kind, Some(kind), &[], attributes));
            let _ = match made {
                Ok(tree) => link.send(&[word::MOUNT], &[tree]),
                Err(error) => link.send(&[&[word::FAILED], error.to_string().as_bytes()].concat(), &[]),
            };
            std::process::exit(0)
        }
        Fork::Parent(child) => {
            reap(&child);
            Ok(())
        }
    }
}
