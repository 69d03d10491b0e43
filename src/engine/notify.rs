//! Where a guest that is to tell when it is ready finds guestd's socket: a folder of the runtime directory, mounted
//! into it. In `/run` it would be hidden by a container's own file system there; `/dev` is filled before init runs, and
//! no init mounts another one on it.

use std::path::{Path, PathBuf};

use crate::model::GuestName;

/// The folder in the runtime directory.
pub const FOLDER: &str = "notify";
/// The socket in a guest's folder.
pub const SOCKET: &str = "socket";
/// Where a guest has its folder.
pub const INSIDE: &str = "/dev/guestd";

/// The folder of a guest that is mounted into it.
pub fn folder(runtime_dir: &Path, guest: &GuestName) -> PathBuf {
    runtime_dir.join(FOLDER).join(guest.as_str())
}
