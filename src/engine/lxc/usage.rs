//! What a container uses, by the cgroups that its init is in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::cgroup;
use crate::{
    launch::{cgroup::entries, usage},
    model::{GuestName, Usage},
};

/// Where a systemd inside keeps itself, below the container's own cgroup.
const INIT_SCOPE: &str = "init.scope";

/// What a container uses whose init this is; none when that has ended.
pub fn usage(name: &GuestName, init: i32) -> Option<Usage> {
    let table = fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
    let own = entries(&table).map(|(controllers, path)| (controllers, own(path, name.as_str())));
    Some(usage::read(&own.collect::<Vec<_>>()))
}

/// The container's own cgroup, of whom one of its processes is somewhere inside. One that was given another name than LXC's
/// by its configuration is known by its init alone.
fn own(path: &Path, name: &str) -> PathBuf {
    cgroup::up_to_lxc(path, name).unwrap_or_else(|| {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.ends_with(INIT_SCOPE) { path.parent().unwrap_or(path) } else { path }.to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_init_has_made_for_itself_is_inside() {
        for (path, expected) in [
            ("/lxc.payload.web/init.scope", "lxc.payload.web"),
            (
                "/machine.slice/guest-web.service/lxc.payload.web",
                "machine.slice/guest-web.service/lxc.payload.web",
            ),
            ("/own/name/init.scope", "own/name"),
            ("/own/name", "own/name"),
            ("/", ""),
        ] {
            assert_eq!(own(Path::new(path), "web"), Path::new(expected), "{path}");
        }
    }
}
