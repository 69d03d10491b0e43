//! Finding a container's init without its monitor's word: the monitor may be stopped, or dead.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use super::{cgroup, process, process::Process, table, table::Found};
use crate::{
    launch::cgroup::processes,
    model::{Guest, LxcSpec},
};

/// A running container.
#[derive(Debug)]
pub(super) struct Located {
    /// Who runs it. None when that one is dead and the init goes on without it.
    pub(super) monitor: Option<Process>,
    /// Its init.
    pub(super) init: Process,
}

/// Finds the monitor that listens on the command socket but does not answer, and its init. None while there is no
/// init, or none yet.
pub(super) async fn by_processes(guest: &Guest, spec: &LxcSpec) -> Option<Located> {
    let found = Found::look(spec.lxcpath.clone(), guest.name.clone()).await;
    let init = Process::open(found.init?).ok()?;
    let monitor = Process::open(process::stat(init.pid())?.parent).ok()?;
    let is_it = found.monitors.contains(&monitor.pid());
    // What still runs the monitor's own program is not yet an init: its mounts are being made.
    (is_it && !same_file(&exe(init.pid()), &exe(monitor.pid())))
        .then_some(Located { monitor: Some(monitor), init })
}

/// Finds an init that has outlived its monitor, by its cgroup: costs a look at the names of the cgroups where there is
/// none. `known` are the lxcpaths whose containers may have similar names.
pub(super) async fn orphan(known: Vec<Arc<Path>>, guest: &Guest, spec: &LxcSpec) -> Option<Located> {
    let cgroups = cgroup::killable(&known, guest, spec).await.ok()?;
    let inside = processes(&cgroups).ok()?;
    let init = inside.into_iter().find(|pid| process::is_first_inside(*pid))?;
    Some(Located { monitor: None, init: Process::open(init).ok()? })
}

/// Whether a process in a cgroup that bears the container's name is certainly another's: a monitor, or an init that
/// still has one, or that has another root. A namesake in an lxcpath that we do not know may start or end just now, and
/// then its command socket does not show it.
pub(super) fn is_anothers(pid: i32, guest: &Guest, spec: &LxcSpec) -> bool {
    let has_monitor = || {
        let parent = process::stat(pid).map(|stat| stat.parent);
        parent.is_none_or(|parent| !cgroup::of_processes([parent], guest.name.as_str()).is_empty())
    };
    table::is_monitor(pid) || process::is_first_inside(pid) && (has_monitor() || !is_on(pid, spec))
}

/// Whether a process's root is the container's, as far as that can be told: a root that is a folder can be.
fn is_on(pid: i32, spec: &LxcSpec) -> bool {
    // Without a root of its own it is on the host's.
    let rootfs = spec.rootfs.as_deref().unwrap_or("/");
    let folder = Path::new(rootfs.strip_prefix("dir:").unwrap_or(rootfs));
    !folder.is_dir() || same_file(folder, Path::new(&format!("/proc/{pid}/root")))
}

fn exe(pid: i32) -> std::path::PathBuf {
    format!("/proc/{pid}/exe").into()
}

/// Whether two paths lead to the same file or folder.
pub(super) fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}
