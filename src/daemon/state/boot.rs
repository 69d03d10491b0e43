//! Which boot of the host this is.
//!
//! The kernel's boot id alone does not tell: a host that is itself a container, and reboots, goes on under the same kernel. The
//! runtime directory goes with each boot, where it is a tmpfs as it should be; so the first guestd of a boot leaves a mark there,
//! and the boot is told by both.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    helper::{in_full, record},
    model::{Now, Timestamp},
};

/// Where the kernel tells one boot from another (random(4)).
const KERNEL: &str = "/proc/sys/kernel/random/boot_id";
/// The mark in the runtime directory.
const MARK: &str = "boot.json";
const MARK_MAX: u64 = 4096;

/// The mark that the first guestd of a boot leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The kernel's boot id; empty where it is not told.
    kernel: String,
    /// When it was left.
    began: Timestamp,
}

impl Mark {
    fn id(&self) -> String {
        format!("{}-{}", self.kernel, self.began.0)
    }
}

fn kernel() -> String {
    fs::read_to_string(KERNEL).map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// What this boot is called, if a guestd of it has been here.
pub fn known(runtime: &Path) -> Option<String> {
    let mark: Option<Mark> = record::read(&runtime.join(MARK), MARK_MAX).ok()?;
    mark.filter(|mark| mark.kernel == kernel()).map(|mark| mark.id())
}

/// The same; where none of it has, this one leaves its mark.
pub fn id(runtime: &Path, now: Now) -> String {
    if let Some(id) = known(runtime) {
        return id;
    }
    let mark = Mark { kernel: kernel(), began: now.wall };
    let room = match record::read::<Mark>(&runtime.join(MARK), MARK_MAX) {
        Ok(_) => Ok(None),
        Err(_) => record::set_aside(&runtime.join(MARK)),
    };
    if let Err(error) = room.and_then(|_| record::write(runtime, MARK, &mark, MARK_MAX)) {
        tracing::warn!("{}; the next guestd takes this boot for another one", in_full(&error));
    }
    mark.id()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Now {
        Now { wall: Timestamp(micros), ..Now::default() }
    }

    #[test]
    fn a_boot_is_one_for_as_long_as_its_runtime_directory_and_its_kernel() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(known(dir.path()), None);
        let first = id(dir.path(), at(1));
        assert_eq!((id(dir.path(), at(2)), known(dir.path())), (first.clone(), Some(first.clone())));
        let next = tempfile::tempdir().unwrap();
        assert_ne!(id(next.path(), at(3)), first);
        // On a disk it would outlive the boot.
        let stale = Mark { kernel: "another".into(), began: Timestamp(1) };
        record::write(next.path(), MARK, &stale, MARK_MAX).unwrap();
        assert_eq!(known(next.path()), None);
        assert_ne!(id(next.path(), at(4)), stale.id());
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MARK), "[").unwrap();
        let boot = id(dir.path(), at(1));
        assert_eq!(known(dir.path()), Some(boot));
        assert_eq!(fs::read_to_string(dir.path().join("boot.json.bad")).unwrap(), "[");
    }
}
