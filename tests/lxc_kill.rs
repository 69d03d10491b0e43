//! The LXC engine against the host's LXC: what fails, hangs and has to be killed.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use guestd::{
    engine::{Engine, Epoch, ErrorKind, Observation, Probe, Request},
    model::{Guest, WaitStatus},
};
use lxc_host::{
    bench::{Bench, signal},
    eventually,
};

#[tokio::test]
async fn a_stopped_monitor_is_killed_and_delays_nobody() {
    let mut bench = Bench::new();
    let wedged = bench.host.new_guest("wedged", "");
    let neighbour = bench.host.new_guest("neighbour", "");
    let of_it = bench.up(&wedged).await;
    let init = bench.up(&neighbour).await;
    let monitor = bench.host.monitor(wedged.name.as_str()).unwrap();
    signal(monitor, "-STOP");
    let begin = Instant::now();
    let (of_wedged, of_neighbour) = tokio::join!(bench.engine.probe(&wedged), async {
        let probe = bench.engine.probe(&neighbour).await;
        (probe, begin.elapsed())
    });
    assert!(matches!(of_wedged.unwrap(), Probe::Up(up) if up.pid == of_it.pid));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    let (probe, took) = of_neighbour;
    assert!(matches!(probe.unwrap(), Probe::Up(up) if up.pid == init.pid));
    assert!(took < Duration::from_secs(1), "{took:?}");
    let begin = Instant::now();
    bench.engine.kill(&wedged).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    bench.ends(&wedged, 0x9).await;
    assert_eq!(bench.host.cgroups(wedged.name.as_str()), Vec::<PathBuf>::new());
    assert!(matches!(bench.engine.probe(&neighbour).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
}

#[tokio::test]
async fn a_frozen_guest_with_a_stopped_monitor_is_killed() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("ice", "");
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-STOP");
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_daemon_that_comes_later_sees_through_a_stopped_monitor() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("later", "");
    let init = bench.up(&guest).await;
    let monitor = bench.host.monitor(guest.name.as_str()).unwrap();
    signal(monitor, "-STOP");
    let mut later = bench.successor();
    assert!(matches!(later.engine.probe(&guest).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
    later.engine.watch(guest.clone(), Epoch(1));
    assert_eq!(later.running(&guest).await.pid, init.pid);
    // Once it goes on, it is listened to again.
    signal(monitor, "-CONT");
    later.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(later.observes(&guest).await, Observation::Frozen);
    signal(monitor, "-STOP");
    let mut last = later.successor();
    assert!(matches!(last.engine.probe(&guest).await.unwrap(), Probe::Frozen(up) if up.pid == init.pid));
    last.engine.watch(guest.clone(), Epoch(1));
    assert_eq!(last.running(&guest).await.pid, init.pid);
    assert_eq!(last.observes(&guest).await, Observation::Frozen);
    last.engine.kill(&guest).await.unwrap();
    last.ends(&guest, 0x9).await;
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_guest_whose_monitor_is_stopped_hears_the_request_to_stop() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("hears", "");
    bench.up(&guest).await;
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-STOP");
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    // Halted, or killed for the part of a halt that a monitor has to play.
    assert!(matches!(bench.observes(&guest).await, Observation::InitExited(Some(_))));
    bench.engine.kill(&guest).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
}

#[tokio::test]
async fn an_orphaned_init_is_found_by_a_daemon_that_comes_later_and_is_nobody_elses() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("lost", "lxc.monitor.signal.pdeath = 0");
    let init = bench.up(&guest).await;
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-KILL");
    assert!(
        eventually(|| lxc_host::running_monitors(bench.host.lxcpath(), guest.name.as_str()).is_empty()).await
    );
    let mut later = bench.successor();
    // Namesakes: one in another lxcpath, one whose name looks like a numbered cgroup of it, and the other way round.
    let elsewhere = Bench::new();
    elsewhere.host.create_named(guest.name.as_str(), "");
    let namesake = Arc::new(elsewhere.host.guest(guest.name.as_str()));
    assert_eq!(elsewhere.engine.probe(&namesake).await.unwrap(), Probe::Down);
    bench.host.create_named(&format!("{}-1", guest.name), "");
    let numbered = Arc::new(bench.host.guest(&format!("{}-1", guest.name)));
    assert_eq!(later.engine.probe(&numbered).await.unwrap(), Probe::Down);

    assert!(matches!(later.engine.probe(&guest).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
    later.engine.watch(guest.clone(), Epoch(1));
    assert_eq!(later.running(&guest).await.pid, init.pid);
    later.engine.request(&guest, Request::Stop).await.unwrap();
    assert!(matches!(later.observes(&guest).await, Observation::InitExited(_)));
    assert_eq!(later.observes(&guest).await, Observation::Gone);
    later.engine.kill(&guest).await.unwrap();
    assert_eq!(later.engine.probe(&guest).await.unwrap(), Probe::Down);
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_killed_monitor_leaves_nothing() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("cut", "");
    bench.up(&guest).await;
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-KILL");
    assert!(matches!(bench.observes(&guest).await, Observation::InitExited(_)));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_init_that_outlives_its_monitor_is_watched_and_killed() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("orphan", "lxc.monitor.signal.pdeath = 0");
    let init = bench.up(&guest).await;
    signal(bench.host.monitor(guest.name.as_str()).unwrap(), "-KILL");
    assert!(
        eventually(|| lxc_host::running_monitors(bench.host.lxcpath(), guest.name.as_str()).is_empty()).await
    );
    assert!(lxc_host::runs(&init.pid.to_string()));
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Changing);
    bench.engine.kill(&guest).await.unwrap();
    // Nobody is left who could tell how; the kernel still may, if the host's init is slow to wait for it.
    assert!(matches!(bench.observes(&guest).await, Observation::InitExited(None | Some(WaitStatus(0x9)))));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn the_end_is_reported_after_the_last_hook() {
    let mut bench = Bench::new();
    let done = bench.host.folder().join("done");
    let more = format!("lxc.hook.post-stop = /bin/sh -c 'sleep 0.3; touch {}'", done.display());
    let guest = bench.host.new_guest("hooks", &more);
    bench.up(&guest).await;
    let (engine, killed) = (bench.engine.clone(), guest.clone());
    let killing = tokio::spawn(async move { engine.kill(&killed).await });
    bench.ends(&guest, 0x9).await;
    assert!(done.exists(), "gone before its hook ended");
    killing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_start_tells_lxcs_reason_and_leaves_nothing() {
    let bench = Bench::new();
    for (name, more, kind, words) in [
        ("hook", "lxc.hook.pre-start = /bin/false", ErrorKind::Failed, "Failed to run lxc.hook.pre-start"),
        ("rootfs", "lxc.rootfs.path = dir:/nonexistent", ErrorKind::Missing, "/nonexistent"),
        ("init", "lxc.init.cmd = /bin/nope", ErrorKind::Failed, "Failed to exec \"/bin/nope\""),
        ("key", "lxc.bogus = 1", ErrorKind::Misconfigured, "Unsupported config key \"lxc.bogus\""),
    ] {
        let guest = bench.host.new_guest(name, more);
        let error = bench.engine.start(&guest).await.unwrap_err();
        assert_eq!(error.kind, kind, "{name}");
        assert!(error.reason.contains(words), "{name}: {error}");
        assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new(), "{name}");
        assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    }
    let missing = bench.engine.start(&bench.host.guest("missing")).await.unwrap_err();
    assert_eq!((missing.kind, &*missing.reason), (ErrorKind::Missing, "No container config specified"));
}

#[tokio::test]
async fn the_reason_is_found_in_the_containers_own_log() {
    let bench = Bench::new();
    let log = bench.host.folder().join("own.log");
    fs::write(&log, "lxc-start x 1 ERROR    a - b.c:d:1 - an old error\n").unwrap();
    let more = format!("lxc.init.cmd = /bin/nope\nlxc.log.file = {}", log.display());
    let mut guest = Guest::clone(&bench.host.new_guest("log", &more));
    let guestd::model::EngineSpec::Lxc(spec) = &mut guest.engine else { panic!("no container") };
    spec.log_file = Some(log.to_str().unwrap().into());
    let error = bench.engine.start(&guest).await.unwrap_err();
    assert_eq!(error.reason, "No such file or directory - Failed to exec \"/bin/nope\"");
    assert!(log.exists());
}

#[tokio::test]
async fn a_start_that_hangs_in_a_hook_is_ended_with_its_hook() {
    let bench = Bench::new();
    let marker = bench.host.folder().join("hook.pid");
    let more = format!("lxc.hook.pre-start = /bin/sh -c 'echo $$ > {}; exec sleep 1000'", marker.display());
    let mut guest = Guest::clone(&bench.host.new_guest("hang", &more));
    guest.start.timeout = Duration::from_millis(400);
    let error = bench.engine.start(&guest).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(error.reason.contains("start.timeout"), "{error}");
    let hook = fs::read_to_string(&marker).unwrap();
    assert!(!lxc_host::runs(&hook), "the hook still runs");
    assert_eq!(lxc_host::running_monitors(bench.host.lxcpath(), guest.name.as_str()), Vec::<i32>::new());
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());

    // The same when the daemon gives up: it drops the start and kills.
    fs::remove_file(&marker).unwrap();
    guest.start.timeout = Duration::from_secs(60);
    tokio::select! {
        _ = bench.engine.start(&guest) => panic!("it returned"),
        () = async { while !fs::read_to_string(&marker).is_ok_and(|pid| pid.ends_with('\n')) {
            tokio::time::sleep(Duration::from_millis(5)).await
        } } => {}
    }
    bench.engine.kill(&guest).await.unwrap();
    let hook = fs::read_to_string(&marker).unwrap();
    assert!(!lxc_host::runs(&hook), "the hook still runs");
    assert_eq!(lxc_host::running_monitors(bench.host.lxcpath(), guest.name.as_str()), Vec::<i32>::new());
}

#[tokio::test]
async fn a_numbered_cgroup_of_a_neighbour_is_left_alone() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("web", "");
    let name = format!("{}-1", guest.name);
    bench.host.create_named(&name, "");
    let neighbour = Arc::new(bench.host.guest(&name));
    let init = bench.up(&neighbour).await;
    bench.up(&guest).await;
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
    bench.engine.kill(&guest).await.unwrap();
    assert!(matches!(bench.engine.probe(&neighbour).await.unwrap(), Probe::Up(up) if up.pid == init.pid));
    bench.engine.kill(&neighbour).await.unwrap();
    bench.ends(&neighbour, 0x9).await;
    assert_eq!(bench.host.cgroups(&name), Vec::<PathBuf>::new());
    assert_eq!(lxc_host::running_monitors(bench.host.lxcpath(), &name), Vec::<i32>::new());
}

#[tokio::test]
async fn a_socket_that_never_answers_costs_a_bounded_time() {
    use std::os::{linux::net::SocketAddrExt, unix::net};
    let bench = Bench::new();
    let mut guest = Guest::clone(&bench.host.new_guest("silent", ""));
    guest.stop.timeout = Duration::from_secs(1);
    let name = format!("{}/{}/command", bench.host.lxcpath().display(), guest.name);
    let _listener =
        net::UnixListener::bind_addr(&net::SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let begin = Instant::now();
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Changing);
    let error = bench.engine.request(&guest, Request::Hint).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
}
