//! The LXC engine against the host's LXC: starting, watching, asking.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use guestd::{
    engine::{Engine, Epoch, ErrorKind, Observation, Observed, Probe, Request, lxc::running},
    launch::memory::KernelLog,
    model::{Guest, WaitStatus},
};
use lxc_host::{
    Host,
    bench::{Bench, init_script, signal},
    eventually, running_monitors,
};
#[tokio::test]
async fn a_started_guest_is_seen_with_its_init_and_outlives_the_daemons_cgroup() {
    let mut bench = Bench::new();
    let own_hook = bench.host.folder().join("own");
    let guest =
        bench.host.new_guest("start", &format!("lxc.hook.post-stop = /bin/touch {}", own_hook.display()));
    let name = guest.name.as_str();
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    let init = bench.up(&guest).await;
    assert_eq!(Some(init.pid), bench.host.init(name));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert!(now.abs_diff(init.since.0.into()) < 5_000_000, "it claims to run since {}", init.since.0);
    let Probe::Up(probed) = bench.engine.probe(&guest).await.unwrap() else { panic!("not up") };
    assert_eq!(probed.pid, init.pid);
    assert_eq!(running(bench.host.lxcpath(), [&guest.name]).unwrap(), [guest.name.clone()].into());
    let monitor = bench.host.monitor(name).unwrap();
    let cgroups = fs::read_to_string(format!("/proc/{monitor}/cgroup")).unwrap();
    assert!(cgroups.lines().all(|line| line.ends_with(&format!("/lxc.monitor.{name}"))), "{cgroups}");
    let left = fs::read_dir(bench.host.runtime_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["console"], "a log of the start was left");

    bench.host.inside(name, &["poweroff", "-f"]);
    bench.ends(&guest, 0x2).await;
    assert!(own_hook.exists(), "the container's own hook did not run");
    let said = format!(
        "{name} stop --runtime-dir {} lxc-hook {name} lxc post-stop\n",
        bench.host.runtime_dir().display()
    );
    assert_eq!(bench.hooks(), said);
    assert_eq!(running(bench.host.lxcpath(), [&guest.name]).unwrap(), [].into());
}

#[tokio::test]
async fn a_reboot_inside_is_an_end_and_a_new_init_again_and_again() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("reboot", "lxc.hook.version = 1");
    let mut init = bench.up(&guest).await;
    for _ in 0..3 {
        bench.host.inside(guest.name.as_str(), &["reboot", "-f"]);
        assert_eq!(bench.observes(&guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
        let next = bench.running(&guest).await;
        assert_ne!(next.pid, init.pid);
        assert_eq!(Some(next.pid), bench.host.init(guest.name.as_str()));
        init = next;
    }
    assert_eq!(bench.hooks().matches(" reboot --runtime-dir").count(), 3);
    signal(init.pid, "-KILL");
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn a_reboot_that_a_hook_cancels_is_an_end() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("cancel", "lxc.hook.post-stop = /bin/false");
    bench.up(&guest).await;
    bench.host.inside(guest.name.as_str(), &["reboot", "-f"]);
    bench.ends(&guest, 0x1).await;
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
}

#[tokio::test]
async fn the_exit_code_of_init_is_known() {
    let mut bench = Bench::new();
    let script = init_script(&bench.host, "ends", "read line < /tmp/fifo; exit 7");
    let fifo = bench.host.folder().join("root/tmp/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let guest = bench.host.new_guest("code", &script);
    bench.up(&guest).await;
    fs::write(&fifo, "\n").unwrap();
    bench.ends(&guest, 0x700).await;
}

#[tokio::test]
async fn an_init_that_ends_before_it_is_watched_still_tells_how() {
    let mut bench = Bench::new();
    for (name, script, status) in
        [("clean", "exit 0", 0), ("bad", "exit 3", 0x300), ("off", "/bin/poweroff -f; sleep 9", 0x2)]
    {
        let guest = bench.host.new_guest(name, &init_script(&bench.host, name, script));
        bench.engine.start(&guest).await.unwrap();
        let monitors = || running_monitors(bench.host.lxcpath(), guest.name.as_str());
        assert!(eventually(|| monitors().is_empty()).await);
        bench.engine.watch(guest.clone(), Epoch(1));
        bench.ends(&guest, status).await;
        assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    }
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_known_for_what_it_is() {
    let mut bench = Bench::new();
    let go = bench.host.folder().join("root/tmp/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Keeps all that it reads.
    let script = init_script(
        &bench.host,
        "hungry",
        "read line < /tmp/go\nexec /bin/busybox tail -c 1000000000 /dev/zero",
    );
    let v1 = Path::new("/sys/fs/cgroup/memory").exists();
    let limit = if v1 { "lxc.cgroup.memory.limit_in_bytes" } else { "lxc.cgroup2.memory.max" };
    let guest = bench.host.new_guest("hungry", &format!("{script}\n{limit} = 16M"));
    bench.up(&guest).await;
    fs::write(&go, "\n").unwrap();
    let end = bench.observes(&guest).await;
    // Where the kernel's log cannot be read, LXC may have removed the cgroup that counts by then.
    let is_certain = KernelLog::whole().is_open();
    assert!(
        end == Observation::OutOfMemory || !is_certain && end == Observation::InitExited(Some(WaitStatus(9))),
        "{end:?}"
    );
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
}

#[tokio::test]
async fn what_somebody_else_starts_and_what_ends_at_once_tells_how_once() {
    let mut bench = Bench::new();
    let guest =
        bench.host.new_guest("blink", &init_script(&bench.host, "blink", "/bin/poweroff -f; sleep 9"));
    let name = guest.name.as_str();
    assert!(eventually(|| fifo(&bench.host).exists()).await);
    bench.host.lxc("lxc-start", name, &["-d"]);
    assert!(eventually(|| running_monitors(bench.host.lxcpath(), name).is_empty()).await);
    let appeared = Observed { guest: guest.name.clone(), epoch: None, what: Observation::Appeared };
    for _ in ["starting", "running", "ended"] {
        assert_eq!(bench.next().await, appeared);
    }
    assert_eq!(
        bench.engine.probe(&guest).await.unwrap(),
        Probe::Ended { status: WaitStatus(0x2), keeper: None }
    );
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
}

#[tokio::test]
async fn runs_that_nobody_saw_leave_no_cgroups() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("leaks", &init_script(&bench.host, "leaks", "exit 1"));
    let _busy: Vec<Busy> = (0..4).map(|_| Busy::new()).collect();
    for _ in 0..25 {
        bench.engine.start(&guest).await.unwrap();
        bench.engine.watch(guest.clone(), Epoch(1));
        while bench.observes(&guest).await != Observation::Gone {}
    }
    // Those with a number behind the name are looked for when the host goes.
    assert_eq!(bench.host.cgroups(guest.name.as_str()), Vec::<PathBuf>::new());
}

/// Keeps a processor busy.
struct Busy(Child);

impl Busy {
    fn new() -> Self {
        Self(Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The FIFO of a host. Its reader must have it open before there is something to read.
fn fifo(host: &Host) -> PathBuf {
    Path::new("/run/lxc").join(host.lxcpath().strip_prefix("/").unwrap()).join("monitor-fifo")
}

#[tokio::test]
async fn a_start_by_somebody_else_appears_and_can_be_watched() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("other", "");
    assert!(eventually(|| fifo(&bench.host).exists()).await);
    assert!(bench.host.lxc("lxc-start", guest.name.as_str(), &["-d"]).status.success());
    let appeared = Observed { guest: guest.name.clone(), epoch: None, what: Observation::Appeared };
    assert_eq!(bench.next().await, appeared);
    assert_eq!(bench.next().await, appeared, "once starting, once running");
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(_)));
    bench.engine.watch(guest.clone(), Epoch(1));
    let init = bench.running(&guest).await;
    assert_eq!(Some(init.pid), bench.host.init(guest.name.as_str()));
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn stop_and_reboot_are_heard() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("ask", "");
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Reboot).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
    bench.running(&guest).await;
    // At once: its init has hardly begun.
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0x2).await;
}

#[tokio::test]
async fn an_init_that_is_not_ready_is_asked_again() {
    let mut bench = Bench::new();
    let script = init_script(
        &bench.host,
        "late",
        "while [ ! -e /tmp/go ]; do /bin/busybox usleep 20000; done\n\
         trap 'exit 4' USR1\nwhile :; do /bin/busybox usleep 20000; done",
    );
    let mut guest = Guest::clone(&bench.host.new_guest("late", &script));
    // Whoever asks decides how long.
    guest.stop.timeout = Duration::ZERO;
    let guest = Arc::new(guest);
    bench.up(&guest).await;
    let go = bench.host.folder().join("root/tmp/go");
    let asked = bench.engine.request(&guest, Request::Stop);
    let later = async {
        // It has had its first, lost signal; nothing tells when, so give it a few looks.
        tokio::time::sleep(Duration::from_millis(150)).await;
        fs::write(&go, "").unwrap();
    };
    let (asked, ()) = tokio::join!(asked, later);
    asked.unwrap();
    bench.ends(&guest, 0x400).await;
}

#[tokio::test]
async fn an_init_that_never_listens_is_given_up() {
    let mut bench = Bench::new();
    let script = init_script(&bench.host, "deaf", "while :; do /bin/sleep 60; done");
    let mut guest = Guest::clone(&bench.host.new_guest("deaf", &script));
    guest.stop.timeout = Duration::from_millis(200);
    let guest = Arc::new(guest);
    bench.up(&guest).await;
    for (request, signal) in [(Request::Hint, "SIGUSR1"), (Request::Reboot, "SIGTERM")] {
        let error = bench.engine.request(&guest, request).await.unwrap_err();
        let words = format!("its init has not handled {signal} within 200ms");
        assert_eq!((error.kind, &error.reason), (ErrorKind::TimedOut, &words));
    }
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn a_watch_of_what_does_not_run_is_over_at_once_and_a_second_one_replaces_the_first() {
    let mut bench = Bench::new();
    let guest = bench.host.new_guest("twice", "");
    bench.engine.watch(guest.clone(), Epoch(1));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    bench.up(&guest).await;
    bench.engine.watch(guest.clone(), Epoch(2));
    let again = bench.next().await;
    assert!(matches!(again.what, Observation::Running(_)) && again.epoch == Some(Epoch(2)), "{again:?}");
    bench.engine.kill(&guest).await.unwrap();
    for expected in [Observation::InitExited(Some(WaitStatus(0x9))), Observation::Gone] {
        assert_eq!(
            bench.next().await,
            Observed { guest: guest.name.clone(), epoch: Some(Epoch(2)), what: expected }
        );
    }
    assert!(bench.seen.try_recv().is_err());
}

#[tokio::test]
async fn a_long_lxcpath_has_a_hashed_socket() {
    let mut bench = Bench::on(Host::with_path(&format!("{}/{}", "p".repeat(60), "q".repeat(60))));
    let guest = bench.host.new_guest("long", "");
    let init = bench.up(&guest).await;
    assert_eq!(Some(init.pid), bench.host.init(guest.name.as_str()));
    assert_eq!(running(bench.host.lxcpath(), [&guest.name]).unwrap(), [guest.name.clone()].into());
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn what_would_fail_again_and_again_is_told_apart() {
    let bench = Bench::new();
    let wrong = "its configuration is wrong: ";
    for (name, more, kind, words) in [
        ("key", "lxc.bogus = 1", ErrorKind::Misconfigured, [wrong, "Unsupported config key \"lxc.bogus\""]),
        ("value", "lxc.net.0.type = bogus", ErrorKind::Misconfigured, [wrong, "Invalid network type bogus"]),
        ("number", "lxc.pty.max = some", ErrorKind::Misconfigured, [wrong, "at line \"lxc.pty.max = some\""]),
        ("include", "lxc.include = /nonexistent", ErrorKind::Misconfigured, [wrong, "/nonexistent"]),
        ("seccomp", "lxc.seccomp.profile = /nonexistent", ErrorKind::Misconfigured, [wrong, "/nonexistent"]),
        (
            "type",
            "lxc.rootfs.path = bogus:/nonexistent",
            ErrorKind::Misconfigured,
            ["its root file system cannot be used: ", "Failed to prepare rootfs storage"],
        ),
        ("bridge", "lxc.net.0.type = veth\nlxc.net.0.link = nobridge", ErrorKind::Failed, ["nobridge", ""]),
    ] {
        let guest = bench.host.new_guest(name, more);
        let error = bench.engine.start(&guest).await.unwrap_err();
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(words.iter().all(|words| error.reason.contains(words)), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_root_file_system_that_disappeared_is_missed() {
    let mut bench = Bench::new();
    let (root, gone) = (bench.host.folder().join("root"), bench.host.folder().join("gone"));
    let guest = bench.host.new_guest("bare", "");
    bench.up(&guest).await;
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
    fs::rename(&root, &gone).unwrap();
    let error = bench.engine.start(&guest).await.unwrap_err();
    fs::rename(&gone, &root).unwrap();
    let words = format!(
        "its root file system is not there: No such file or directory - Failed to open {root:?}; \
         Failed to handle rootfs pinning for container {:?}",
        guest.name.as_str()
    );
    assert_eq!((error.kind, error.reason), (ErrorKind::Missing, words));
    bench.engine.start(&guest).await.unwrap();
    bench.engine.kill(&guest).await.unwrap();
}
