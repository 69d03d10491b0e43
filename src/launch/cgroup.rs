//! The cgroups of guests on hosts of every layout: v1, v2 and hybrid. Killing is done with cgroups-rs.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    Cgroups,
    hierarchy::{Hierarchy, hierarchies},
};

/// How deep below a guest's cgroup others are looked for: guests can nest them as they like.
const DEPTH_MAX: usize = 32;
/// How often the removal of a cgroup is tried that seems empty, and the time between two tries.
const REMOVALS: usize = 20;
const MOMENT: Duration = Duration::from_micros(500);

/// The names of top-level cgroups, in any hierarchy, that `wanted` picks.
///
/// # Errors
/// When the mounts or a hierarchy cannot be read.
pub fn top_level(wanted: impl Fn(&str) -> bool) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies()?.iter() {
        for entry in fs::read_dir(&hierarchy.mount)? {
            let name = entry?.file_name();
            if let Some(name) = name.to_str().filter(|name| wanted(name)) {
                found.insert(name.to_owned());
            }
        }
    }
    Ok(found)
}

/// The paths in a process's `/proc/PID/cgroup`.
pub fn paths(table: &str) -> impl Iterator<Item = &Path> {
    entries(table).map(|(_, path)| path)
}

/// The controllers and the paths in it: lines are `ID:CONTROLLERS:PATH`, without controllers for v2 (cgroups(7)).
pub fn entries(table: &str) -> impl Iterator<Item = (&str, &Path)> {
    table.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, Path::new(fields.next()?)))
    })
}

/// Whether a path stays below the hierarchy's top and is not the top itself.
pub(super) fn is_inside(path: &Path) -> bool {
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// The paths that exist, with all below them, deepest first, as paths below the hierarchy's mount.
pub(super) fn below(hierarchy: &Hierarchy, cgroups: &Cgroups) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in cgroups.0.iter().filter(|path| is_inside(path)) {
        collect(&hierarchy.mount, path, DEPTH_MAX, &mut found);
    }
    found
}

fn collect(mount: &Path, path: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(mount.join(path)) else { return };
    if depth > 0 {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            collect(mount, &path.join(entry.file_name()), depth - 1, found);
        }
    }
    found.push(path.to_owned());
}

/// Every process in the cgroups and in those below them.
///
/// # Errors
/// When the mounts cannot be read.
pub fn processes(cgroups: &Cgroups) -> io::Result<BTreeSet<i32>> {
    let mut found = BTreeSet::new();
    for hierarchy in hierarchies()?.iter() {
        for path in below(hierarchy, cgroups) {
            let list = fs::read_to_string(hierarchy.mount.join(path).join("cgroup.procs"));
            found.extend(list.unwrap_or_default().lines().filter_map(|pid| pid.parse::<i32>().ok()));
        }
    }
    Ok(found)
}

/// Cgroups as they lie in the hierarchies at one moment: one that is made anew under the same name is another.
#[derive(Debug, Clone, Default)]
pub struct Folders(Vec<Folder>);

#[derive(Debug, Clone)]
struct Folder {
    hierarchy: Hierarchy,
    path: PathBuf,
    id: (u64, u64),
}

impl Folders {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps those whose path below the hierarchy's mount is `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&Path) -> bool) {
        self.0.retain(|folder| wanted(&folder.path));
    }
}

impl Folder {
    fn new(hierarchy: &Hierarchy, path: &Path) -> Option<Self> {
        let metadata = fs::metadata(hierarchy.mount.join(path)).ok()?;
        let id = (metadata.dev(), metadata.ino());
        Some(Self { hierarchy: hierarchy.clone(), path: path.to_owned(), id })
    }

    fn is_still_there(&self) -> bool {
        Self::new(&self.hierarchy, &self.path).is_some_and(|now| now.id == self.id)
    }
}

/// Where the cgroups lie that exist.
///
/// # Errors
/// When the mounts cannot be read.
pub fn folders(cgroups: &Cgroups) -> io::Result<Folders> {
    let hierarchies = hierarchies()?;
    let paths = || cgroups.0.iter().filter(|path| is_inside(path));
    let found =
        hierarchies.iter().flat_map(|hierarchy| paths().map(move |path| Folder::new(hierarchy, path)));
    Ok(Folders(found.flatten().collect()))
}

/// Removes those that are still the same, and those below them, that hold no process; the others stay.
///
/// # Errors
/// When one that is empty cannot be removed.
pub fn remove_same(folders: &Folders) -> io::Result<()> {
    let mut result = Ok(());
    for folder in folders.0.iter().filter(|folder| folder.is_still_there()) {
        let mut found = Vec::new();
        collect(&folder.hierarchy.mount, &folder.path, DEPTH_MAX, &mut found);
        for path in found {
            result = result.and(remove_one(&folder.hierarchy.mount.join(path)));
        }
    }
    result
}

/// The kernel shows a process as ended a moment before its cgroup counts as empty: so this is tried again, as it takes
/// no longer than that moment.
fn remove_one(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    for _ in 0..REMOVALS {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == ResourceBusy && seems_empty(path) => thread::sleep(MOMENT),
            // Processes or busy cgroups are in it. Gone: somebody else was faster.
            Err(error) if matches!(error.kind(), ResourceBusy | DirectoryNotEmpty | NotFound) => {
                return Ok(());
            }
            result => return result,
        }
    }
    Ok(())
}

/// Whether a cgroup shows neither processes nor cgroups below it.
fn seems_empty(path: &Path) -> bool {
    let is_folder = |entry: fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
        && fs::read_dir(path).is_ok_and(|entries| !entries.flatten().any(is_folder))
}

/// Removes the cgroups and those below them that hold no process; the others stay.
///
/// # Errors
/// When the mounts cannot be read, or one that is empty cannot be removed.
pub fn remove_empty(cgroups: &Cgroups) -> io::Result<()> {
    remove_same(&folders(cgroups)?)
}

/// Sends SIGKILL to every process in the cgroups and below, thawing them so that they hear it. Returns how many there
/// were; call it again until none are left.
///
/// # Errors
/// When the mounts cannot be read, or the kernel refuses.
#[cfg(feature = "cgroups-rs")]
pub fn kill_once(cgroups: &Cgroups) -> io::Result<usize> {
    let mut killed = 0;
    for hierarchy in hierarchies()?.iter() {
        for path in below(hierarchy, cgroups) {
            killed += by_crate::kill(hierarchy, &path)?;
        }
    }
    Ok(killed)
}

/// Refuses: this build has no cgroup support.
///
/// # Errors
/// Always.
#[cfg(not(feature = "cgroups-rs"))]
pub fn kill_once(_: &Cgroups) -> io::Result<usize> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "built without the feature \"cgroups-rs\": cannot kill by cgroup",
    ))
}

#[cfg(feature = "cgroups-rs")]
mod by_crate {
    use std::{
        io,
        path::{Path, PathBuf},
        process,
    };

    use cgroups_rs::fs::{Cgroup, Hierarchy as CrateHierarchy, Subsystem, freezer::FreezerController};
    use nix::{
        errno::Errno,
        sys::signal::{self, Signal},
        unistd::Pid,
    };

    use super::Hierarchy;

    /// One hierarchy as cgroups-rs sees it. Its own discovery knows pure layouts only; on a hybrid host it would
    /// miss the unified hierarchy. The freezer stands for any controller: listing processes is the same in all.
    #[derive(Debug, Clone)]
    struct Mounted(Hierarchy);

    impl CrateHierarchy for Mounted {
        fn subsystems(&self) -> Vec<Subsystem> {
            let freezer = FreezerController::new(self.0.mount.clone(), PathBuf::from("/"), self.0.is_v2());
            vec![Subsystem::Freezer(freezer)]
        }

        fn root(&self) -> PathBuf {
            self.0.mount.clone()
        }

        fn root_control_group(&self) -> Cgroup {
            Cgroup::load(Box::new(self.clone()), "")
        }

        fn parent_control_group(&self, path: &str) -> Cgroup {
            let parent = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
            Cgroup::load(Box::new(self.clone()), parent)
        }

        fn v2(&self) -> bool {
            self.0.is_v2()
        }
    }

    pub(super) fn kill(hierarchy: &Hierarchy, path: &Path) -> io::Result<usize> {
        if path.to_str().is_none() {
            return Ok(0);
        }
        let cgroup = Cgroup::load(Box::new(Mounted(hierarchy.clone())), path);
        let processes = cgroup.procs();
        if processes.is_empty() {
            return Ok(0);
        }
        if !hierarchy.is_v2() || cgroup.kill().is_err() {
            for process in &processes {
                kill_one(process.pid)?;
            }
        }
        // A frozen process of v1 hears SIGKILL only once it is thawed; in other hierarchies there is no such file.
        if let Some(freezer) = cgroup.controller_of::<FreezerController>() {
            let _ = freezer.thaw();
        }
        Ok(processes.len())
    }

    fn kill_one(pid: u64) -> io::Result<()> {
        // Zero stands for a process outside this PID namespace; the daemon itself is never a guest's process.
        let Some(pid) = i32::try_from(pid).ok().filter(|pid| *pid > 1 && pid.unsigned_abs() != process::id())
        else {
            return Ok(());
        };
        match signal::kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_reaches_the_top_or_beside_it() {
        for bad in ["", "/", "/lxc.payload.a", "..", "lxc.payload.a/../..", "."] {
            assert!(!is_inside(Path::new(bad)), "{bad:?}");
        }
        assert!(is_inside(Path::new("lxc.payload.a")));
        assert!(is_inside(Path::new("machine/lxc.payload.a")));
    }
}
