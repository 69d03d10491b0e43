//! The LXC engine against the host's LXC: freezing and thawing.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::fs;

use guestd::{
    engine::{Engine, Epoch, ErrorKind, Observation, Probe, Request},
    launch::freezer::is_frozen,
};
use lxc_host::{
    bench::{Bench, signal},
    eventually, running_monitors,
};

/// Freezes a container without telling anybody.
async fn freeze_behind_lxcs_back(init: i32) {
    let table = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let of = |controller: &str| {
        let mut lines = table.lines().map(|line| line.splitn(3, ':').collect::<Vec<_>>());
        lines.find(|line| line[1] == controller).map(|line| line[2].to_owned())
    };
    let (file, word) = match of("freezer") {
        Some(path) => (format!("/sys/fs/cgroup/freezer{path}/freezer.state"), "FROZEN"),
        None => (format!("/sys/fs/cgroup{}/cgroup.freeze", of("").unwrap()), "1"),
    };
    fs::write(file, word).unwrap();
    assert!(eventually(|| is_frozen(init).unwrap()).await);
}

#[tokio::test]
async fn freezing_is_seen_whoever_does_it() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("freeze", "");
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Frozen(_)));
    bench.engine.request(&guest, Request::Thaw).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Thawed);
    bench.host.lxc("lxc-freeze", guest.name.as_str(), &[]);
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    bench.engine.kill(&guest).await.unwrap();
    bench.ends_frozen(&guest, 0x9).await;
}

#[tokio::test]
async fn a_freeze_that_fails_leaves_nothing_frozen() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("warm", "lxc.monitor.signal.pdeath = 0");
    let init = bench.up(&guest).await;
    let monitor = bench.host.monitor(guest.name.as_str()).unwrap();
    signal(monitor, "-STOP");
    let error = bench.engine.request(&guest, Request::Freeze).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut, "{error}");
    assert!(!is_frozen(init.pid).unwrap());
    signal(monitor, "-KILL");
    assert!(eventually(|| running_monitors(bench.host.lxcpath(), guest.name.as_str()).is_empty()).await);
    let error = bench.engine.request(&guest, Request::Freeze).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(!is_frozen(init.pid).unwrap());
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn a_freeze_that_is_interrupted_is_undone() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("briefly", "");
    let init = bench.up(&guest).await;
    tokio::select! {
        _ = bench.engine.request(&guest, Request::Freeze) => panic!("it was not interrupted"),
        () = async { while !is_frozen(init.pid).unwrap() { tokio::task::yield_now().await } } => {}
    }
    assert!(!is_frozen(init.pid).unwrap());
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn a_guest_is_thawed_without_its_monitor() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("thaw", "");
    let init = bench.up(&guest).await;
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    let monitor = bench.host.monitor(guest.name.as_str()).unwrap();
    signal(monitor, "-STOP");
    bench.engine.request(&guest, Request::Thaw).await.unwrap();
    assert!(!is_frozen(init.pid).unwrap());
    assert_eq!(bench.observes(&guest).await, Observation::Thawed);
    signal(monitor, "-CONT");
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn what_the_cgroup_says_counts_not_what_the_monitor_says() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("cold", "");
    let init = bench.up(&guest).await;
    freeze_behind_lxcs_back(init.pid).await;
    let mut later = bench.successor();
    assert!(matches!(later.engine.probe(&guest).await.unwrap(), Probe::Frozen(up) if up.pid == init.pid));
    later.engine.watch(guest.clone(), Epoch(1));
    later.running(&guest).await;
    assert_eq!(later.observes(&guest).await, Observation::Frozen);
    // Its monitor says "running" to whoever registers.
    later.engine.request(&guest, Request::Thaw).await.unwrap();
    assert_eq!(later.observes(&guest).await, Observation::Thawed);
    assert!(!is_frozen(init.pid).unwrap());
    later.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(later.observes(&guest).await, Observation::Frozen, "told again");
    later.engine.kill(&guest).await.unwrap();
    later.ends_frozen(&guest, 0x9).await;
}

#[tokio::test]
async fn a_frozen_guest_hears_the_request_to_stop() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("numb", "");
    let init = bench.up(&guest).await;
    freeze_behind_lxcs_back(init.pid).await;
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends_frozen(&guest, 0x2).await;
    // Nobody is left to ask, and that is well.
    bench.engine.request(&guest, Request::Stop).await.unwrap();
}
