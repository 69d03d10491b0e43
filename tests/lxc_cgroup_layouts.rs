//! The LXC engine on hosts with cgroups of v1 only, and of v2 only; the other tests see this host's own layout.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs,
    path::{Path, PathBuf},
};

use guestd::{
    engine::{Engine, Epoch, Observation, Probe, Request},
    launch::{Cgroups, Direct, Launcher},
};
use lxc_host::{
    bench::{Bench, signal},
    eventually,
    layout::Layout,
};

#[tokio::test]
async fn with_v1_only() {
    if Layout::V1.inside("with_v1_only") {
        everything_about_cgroups(Path::new("/sys/fs/cgroup/freezer")).await;
    }
}

#[tokio::test]
async fn with_v2_only() {
    if Layout::V2.inside("with_v2_only") {
        everything_about_cgroups(Path::new("/sys/fs/cgroup")).await;
    }
}

/// `hierarchy` is one that every container has a cgroup in.
async fn everything_about_cgroups(hierarchy: &Path) {
    a_life_with_frost(hierarchy).await;
    a_kill_by_cgroup(hierarchy).await;
    an_orphan_is_found_and_its_cgroups_are_cleared(hierarchy).await;
    left_over_cgroups_are_cleared_before_a_kill_returns(hierarchy).await;
}

fn payload(hierarchy: &Path, name: &str) -> PathBuf {
    hierarchy.join(format!("lxc.payload.{name}"))
}

async fn a_life_with_frost(hierarchy: &Path) {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("life", "");
    let name = guest.name.as_str();
    let init = bench.up(&guest).await;
    assert!(payload(hierarchy, name).is_dir());
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    assert!(guestd::launch::freezer::is_frozen(init.pid).unwrap());
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Frozen(_)));
    bench.engine.request(&guest, Request::Thaw).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Thawed);
    assert!(!guestd::launch::freezer::is_frozen(init.pid).unwrap());
    bench.host.inside(name, &["reboot", "-f"]);
    assert!(matches!(bench.observes(&guest).await, Observation::InitExited(Some(_))));
    bench.running(&guest).await;
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0x2).await;
    assert_eq!(bench.host.cgroups(name), Vec::<PathBuf>::new());
}

/// Frozen, and its monitor stopped: only the cgroups help.
async fn a_kill_by_cgroup(hierarchy: &Path) {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("ice", "");
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-STOP");
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Frozen(_)));
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
    assert!(!payload(hierarchy, guest.name.as_str()).exists());
}

async fn an_orphan_is_found_and_its_cgroups_are_cleared(hierarchy: &Path) {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("lost", "lxc.monitor.signal.pdeath = 0");
    let init = bench.up(&guest).await;
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-KILL");
    assert!(
        eventually(|| lxc_host::running_monitors(bench.host.lxcpath(), guest.name.as_str()).is_empty()).await
    );
    let mut later = bench.successor();
    assert!(matches!(later.engine.probe(&guest).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
    later.engine.watch(guest.clone(), Epoch(1));
    later.running(&guest).await;
    later.engine.kill(&guest).await.unwrap();
    assert!(matches!(later.observes(&guest).await, Observation::InitExited(_)));
    assert_eq!(later.observes(&guest).await, Observation::Gone);
    assert!(!payload(hierarchy, guest.name.as_str()).exists());
    assert_eq!(later.engine.probe(&guest).await.unwrap(), Probe::Down);
}

async fn left_over_cgroups_are_cleared_before_a_kill_returns(hierarchy: &Path) {
    let bench = Bench::new();
    let guest = bench.host.new_guest("left", "");
    let (empty, nested) = (payload(hierarchy, guest.name.as_str()), "init.scope/deep");
    fs::create_dir_all(empty.join(nested)).unwrap();
    bench.engine.kill(&guest).await.unwrap();
    assert!(!empty.exists());

    // The launcher alone: processes in cgroups below each other, and in none of the neighbours.
    fs::create_dir_all(empty.join(nested)).unwrap();
    let mut inside = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    fs::write(empty.join(nested).join("cgroup.procs"), inside.id().to_string()).unwrap();
    let launcher = Direct::default();
    let cgroups = Cgroups(vec![empty.file_name().unwrap().into()]);
    launcher.remove(&cgroups).unwrap();
    assert!(empty.join(nested).is_dir(), "one with a process in it was removed");
    let kill = launcher.kill(&cgroups, lxc_host::SOON);
    let (killed, _) = tokio::join!(kill, tokio::task::spawn_blocking(move || inside.wait().unwrap()));
    killed.unwrap();
    launcher.remove(&cgroups).unwrap();
    assert!(!empty.exists());
}
