//! Where a monitor sets out what it has mounted for its guest. The guest's process takes copies from there, in a copy of the
//! mount namespace that belongs to its own users: in such a copy the kernel locks what a mount forbids, so that nobody inside can
//! mount it again to write to it or to use its devices (mount_namespaces(7)). What is passed in a file is not locked.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::mount::{MountAttrFlags, UnmountFlags, unmount};

use super::tree;

/// A folder in memory over another one, in the monitor's mount namespace; gone when it is dropped.
#[derive(Debug)]
pub struct Staging(PathBuf);

impl Staging {
    /// Mounts it over a folder.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn over(place: &Path) -> io::Result<Self> {
        let memory = tree::new("tmpfs", Some("tmpfs"), &[("mode", "0755")], MountAttrFlags::empty())?;
        tree::attach(memory.as_fd(), place)?;
        Ok(Self(place.to_owned()))
    }

    /// Sets trees out, in this order.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_out(&self, trees: &[OwnedFd]) -> io::Result<()> {
        for (number, tree) in trees.iter().enumerate() {
            let at = at(&self.0, number);
            if tree::is_folder(tree.as_fd())? {
                fs::create_dir(&at)?
            } else {
                drop(File::create(&at)?)
            }
            tree::attach(tree.as_fd(), &at)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // It goes with the monitor at the latest.
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

/// Copies all that is set out over a folder, in order.
///
/// # Errors
/// When the kernel refuses.
pub fn take(place: &Path) -> io::Result<Vec<OwnedFd>> {
    let numbers = (0..).take_while(|number| at(place, *number).exists());
    numbers.map(|number| tree::copy(&at(place, number))).collect()
}

fn at(place: &Path, number: usize) -> PathBuf {
    place.join(number.to_string())
}
