//! A guest's root file system, as the monitor prepares it in a mount namespace of its own: whatever it mounts there goes with
//! the monitor.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags, mount_change, unmount},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::{
    inside::BUILT,
    mounts::{self, unmapped},
    spec::{Place, Spec},
    tree::{self, Change},
    trouble::{Doing, Run, RunError},
};
use crate::model::Mount;

/// The layer over the host's own root may grow to so much of the memory.
const VOLATILE: &str = "25%";

/// Enters a mount namespace that hears of the host's mounts, and of which the host hears nothing.
///
/// # Errors
/// When the kernel refuses.
pub fn set_apart() -> Run<()> {
    // SAFETY: there are no other threads, which might count on sharing their file systems' state.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.doing("enter a mount namespace")?;
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", flags).doing("keep its mounts from the host")
}

/// The folder of the guest's root, before anything is mounted in it.
///
/// # Errors
/// When it is not there, or the layer cannot be made.
pub fn prepare(spec: &Spec, place: &Place) -> Run<PathBuf> {
    match &spec.root {
        Some(root) => {
            let found = fs::metadata(root).map_err(|error| missing(root, &error))?;
            if !found.is_dir() {
                return Err(RunError::Configuration(format!("the root {} is no folder", root.display())));
            }
            if rustix::fs::stat(root).ok().map(identity) == rustix::fs::stat("/").ok().map(identity) {
                let text = format!(
                    "the root {} is the host's own; root = \"volatile-host\" shows that",
                    root.display()
                );
                return Err(RunError::Configuration(text));
            }
            Ok(root.clone())
        }
        None => volatile(place),
    }
}

/// Which folder it is.
fn identity(found: rustix::fs::Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

fn missing(root: &Path, error: &std::io::Error) -> RunError {
    RunError::Configuration(format!("the root {} cannot be used: {error}", root.display()))
}

/// The host's root under a layer in memory.
fn volatile(place: &Place) -> Run<PathBuf> {
    let at = place.root();
    let memory =
        tree::new("tmpfs", Some("tmpfs"), &[("size", VOLATILE), ("mode", "0755")], MountAttrFlags::empty());
    let memory = memory.doing("make a file system in memory")?;
    tree::attach(memory.as_fd(), &at).doing(format_args!("mount at {}", at.display()))?;
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| at.join(name));
    for folder in [&upper, &work, &merged] {
        fs::create_dir(folder).doing(format_args!("make {}", folder.display()))?;
    }
    let [upper, work] = [upper, work].map(|path| path.display().to_string());
    let options = [("lowerdir", "/"), ("upperdir", upper.as_str()), ("workdir", work.as_str())];
    let layered = tree::new("overlay", Some("overlay"), &options, MountAttrFlags::empty());
    let layered = layered.doing("lay a file system in memory over the host's (overlay)")?;
    tree::attach(layered.as_fd(), &merged).doing(format_args!("mount at {}", merged.display()))?;
    Ok(merged)
}

/// Makes what the guest's process will mount something over, where it will find it can make nothing.
///
/// # Errors
/// When the kernel refuses.
pub fn furnish(root: &Path, spec: &Spec) -> Run<()> {
    let root = mounts::open_root(root).doing(format_args!("open {}", root.display()))?;
    for name in BUILT {
        mounts::make_beneath(root.as_fd(), name, true).doing(format_args!("make /{name} in its root"))?;
    }
    let is_built = |mount: &&Mount| {
        let first = mount.target.trim_start_matches('/').split('/').next();
        first.is_some_and(|first| BUILT.contains(&first))
    };
    for mount in spec.native.mounts.iter().filter(|mount| !is_built(mount)) {
        let made = mounts::make_beneath(root.as_fd(), &mount.target, mounts::is_of_folder(mount));
        made.doing(format_args!("make {} in its root", mount.target))?;
    }
    Ok(())
}

/// The root with everything that is mounted in it, ready to be attached by the guest's process.
///
/// # Errors
/// When it cannot be copied, or not shown by the ids of the guest's users.
pub fn detach(root: &Path, ids: Option<&OwnedFd>, read_only: bool) -> Run<OwnedFd> {
    let doing = format!("use {} as root", root.display());
    let tree = tree::copy(root).doing(&doing)?;
    if let Some(ids) = ids {
        // A device in it would be its root's: nothing else keeps those from a guest with users of its own.
        let set = libc::MOUNT_ATTR_NODEV;
        let change = Change { set, ids: Some(ids.as_fd()), recursive: true, ..Change::default() };
        tree::change(tree.as_fd(), change).map_err(|error| unmapped(&doing, &error))?;
    }
    if read_only {
        let change = Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() };
        tree::change(tree.as_fd(), change).doing("make its root read-only")?;
    }
    Ok(tree)
}

/// Takes away what [`prepare`] and the steps of a run have mounted.
pub fn clear(spec: &Spec, place: &Place, mounted: &mut Vec<OwnedFd>) {
    // What is still in use goes with the monitor.
    for tree in mounted.drain(..).rev() {
        let _ = unmount(format!("/proc/self/fd/{}", tree.as_raw_fd()), UnmountFlags::DETACH);
    }
    if spec.root.is_none() {
        let _ = unmount(place.root().join("merged"), UnmountFlags::DETACH);
        let _ = unmount(place.root(), UnmountFlags::DETACH);
    }
}
