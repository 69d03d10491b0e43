//! The direct launcher's cgroups, in every hierarchy of this host. Root is needed.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use guestd::launch::{Cgroups, Direct, Launcher};

/// Where cgroup hierarchies are mounted: one, or one in each folder.
fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let folders = fs::read_dir(top).unwrap().flatten().map(|entry| entry.path());
    let mounts = |path: &PathBuf| path.join("cgroup.procs").exists() && path.parent() == Some(top);
    if top.join("cgroup.procs").exists() { vec![top.to_owned()] } else { folders.filter(mounts).collect() }
}

/// A cgroup of a test in one hierarchy, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(hierarchy: &Path, name: &str) -> Self {
        let path = hierarchy.join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// A process in it.
    fn sleeper(&self) -> Child {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(self.0.join("cgroup.procs"), child.id().to_string()).unwrap();
        child
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Hierarchies that a fresh cgroup can take processes in: a cpuset of v1 is empty at first.
fn usable() -> Vec<PathBuf> {
    hierarchies().into_iter().filter(|path| !path.ends_with("cpuset")).collect()
}

#[tokio::test]
async fn everything_below_a_cgroup_dies_in_every_hierarchy_and_no_neighbour() {
    let name = format!("guestd-test-{}", std::process::id());
    let launcher = Direct::default();
    for hierarchy in usable() {
        let outer = Folder::new(&hierarchy, &name);
        let inner = Folder::new(&hierarchy, &format!("{name}/a/b"));
        let _middle = Folder(outer.0.join("a"));
        let beside = Folder::new(&hierarchy, &format!("{name}-1"));
        let mut inside = inner.sleeper();
        let mut neighbour = beside.sleeper();
        let frozen = inner.0.join("freezer.state");
        if frozen.exists() {
            fs::write(&frozen, "FROZEN").unwrap();
        }
        let cgroups = Cgroups(vec![name.clone().into()]);
        launcher.remove(&cgroups).unwrap();
        assert!(inner.0.exists(), "{} was removed with a process in it", inner.0.display());
        let kill = launcher.kill(&cgroups, Duration::from_secs(5));
        let (killed, status) =
            tokio::join!(kill, tokio::task::spawn_blocking(move || inside.wait().unwrap()));
        killed.unwrap_or_else(|error| panic!("{}: {error}", hierarchy.display()));
        assert!(!status.unwrap().success());
        assert!(neighbour.try_wait().unwrap().is_none(), "the neighbour in {} is dead", hierarchy.display());
        launcher.remove(&cgroups).unwrap();
        assert!(!outer.0.exists(), "{} is left", outer.0.display());
        neighbour.kill().unwrap();
        neighbour.wait().unwrap();
    }
}

#[tokio::test]
async fn what_does_not_exist_or_lies_outside_is_left_alone() {
    let launcher = Direct::default();
    let cgroups = Cgroups(["/", "", "..", "guestd-test-none", "../../proc"].map(PathBuf::from).to_vec());
    launcher.kill(&cgroups, Duration::from_secs(1)).await.unwrap();
    launcher.remove(&cgroups).unwrap();
}
