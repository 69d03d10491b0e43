//! What `lxc-start` is told of the socket by which a container says that it is ready.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use crate::{
    engine::notify::{INSIDE, SOCKET, folder},
    model::{Condition, Guest},
};

/// The arguments by which `lxc-start` gives a guest that notifies its socket; none where that is not there. The mount is
/// read-only, so that a guest cannot fill the host's memory, and optional: where it fails, the guest runs, and is not ready.
pub(super) fn settings(runtime_dir: &Path, guest: &Guest) -> Vec<OsString> {
    // LXC looks for it from another working directory.
    let folder = std::path::absolute(folder(runtime_dir, &guest.name));
    let Ok(folder) = folder else { return Vec::new() };
    if guest.ready.when != Condition::Notify || !folder.join(SOCKET).exists() {
        return Vec::new();
    }
    let mut entry = b"lxc.mount.entry = ".to_vec();
    escape(folder.as_os_str(), &mut entry);
    entry.push(b' ');
    entry.extend(INSIDE.trim_start_matches('/').as_bytes());
    entry.extend(b" none bind,ro,nosuid,nodev,noexec,create=dir,optional 0 0");
    let variable = format!("lxc.environment = NOTIFY_SOCKET={INSIDE}/{SOCKET}").into();
    [OsString::from_vec(entry), variable].into_iter().flat_map(|setting| ["-s".into(), setting]).collect()
}

/// A path as a field of fstab(5): what separates fields, and the backslash, in octal.
fn escape(path: &OsStr, entry: &mut Vec<u8>) {
    for byte in path.as_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => entry.extend(format!("\\{byte:03o}").bytes()),
            _ => entry.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_field() {
        let mut entry = Vec::new();
        escape(OsStr::new("/a b#c'\\\t\n"), &mut entry);
        assert_eq!(entry, br"/a\040b#c'\134\011\012");
    }
}
