//! A guest's life: it starts, reboots, is asked, and ends; with and without an engine that watches.

use std::fs;

use guestd::{
    engine::{Engine, Epoch, Observation, Probe, Request},
    guest_run::spec::Outcome,
    helper::record,
    launch::memory::KernelLog,
    model::{Deed, Place, Step, WaitStatus},
};

use super::native_host::{Bench, SOON, eventually};

#[tokio::test]
async fn a_guest_starts_in_milliseconds_and_shuts_down_when_it_is_asked() {
    let mut bench = Bench::new();
    let guest = bench.guest("start", |_| {});
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    let init = bench.up(&guest).await;
    let Probe::Up(probed) = bench.engine.probe(&guest).await.unwrap() else { panic!("not up") };
    assert_eq!((probed.pid, probed.keeper), (init.pid, init.keeper));
    assert!(eventually(|| bench.console(&guest).contains("up")).await, "{}", bench.console(&guest));
    assert_eq!(bench.says(&guest, "hostname"), guest.name.as_str());
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0x2).await;
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    let asked = bench.asked();
    assert!(asked.ends_with(&format!("--guest {} halt\n", guest.name)), "{asked}");
}

#[tokio::test]
async fn a_reboot_inside_is_an_end_and_a_new_init_under_the_same_monitor() {
    let mut bench = Bench::new();
    let guest = bench.guest("reboot", |_| {});
    let mut init = bench.up(&guest).await;
    for number in 1..4 {
        bench.inside(&guest, "reboot -f");
        assert_eq!(bench.observes(&guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
        let next = bench.running(&guest).await;
        assert_ne!(next.pid, init.pid);
        assert_eq!(next.keeper, init.keeper);
        assert_eq!(bench.asked().matches(" reboot\n").count(), number);
        init = next;
    }
    bench.decide(1);
    bench.inside(&guest, "reboot -f");
    bench.ends(&guest, 0x1).await;
}

#[tokio::test]
async fn a_guest_is_asked_to_reboot_from_outside() {
    let mut bench = Bench::new();
    let guest = bench.guest("ask", |_| {});
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Reboot).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
    bench.running(&guest).await;
}

#[tokio::test]
async fn how_an_init_ended_is_known_also_when_nobody_watched() {
    for (line, status) in [("exit 7", 0x700), ("kill -SEGV $$; sleep 9", 0x0), ("poweroff -f; sleep 9", 0x2)]
    {
        let mut bench = Bench::new();
        let guest = bench.shell("code", &format!("read x < /go; {line}"));
        let go = bench.root().join("go");
        nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Readable for the guest's root, whose ids are others'.
        if line.starts_with("kill") {
            // A signal that init does not handle is nothing to it: it ends by itself.
            bench.up(&guest).await;
            fs::write(&go, "\n").unwrap();
            assert!(bench.inside(&guest, "kill -0 1").status.success());
            bench.engine.kill(&guest).await.unwrap();
            bench.ends(&guest, 0x9).await;
            continue;
        }
        bench.engine.start(&guest).await.unwrap();
        let mut later = bench.successor();
        fs::write(&go, "\n").unwrap();
        let place = bench.place(&guest);
        assert!(eventually(|| !place.socket().exists()).await);
        let found = later.engine.probe(&guest).await.unwrap();
        let Probe::Ended { status: told, keeper: Some(_) } = found else { panic!("{found:?}") };
        assert_eq!(told, WaitStatus(status));
        assert_eq!(later.engine.probe(&guest).await.unwrap(), Probe::Down);
        // Every daemon is told, until one has dealt with it.
        assert_eq!(bench.successor().engine.probe(&guest).await.unwrap(), found);
        bench.engine.watch(guest.clone(), Epoch(1));
        bench.ends(&guest, status).await;
        bench.engine.forget_end(&guest);
        assert_eq!(bench.successor().engine.probe(&guest).await.unwrap(), Probe::Down);
        later.seen.close();
    }
}

#[tokio::test]
async fn another_engine_takes_over_and_sees_what_happens() {
    let mut bench = Bench::new();
    let guest = bench.guest("adopt", |_| {});
    let init = bench.up(&guest).await;
    let mut later = bench.successor();
    let Probe::Up(found) = later.engine.probe(&guest).await.unwrap() else { panic!("not up") };
    assert_eq!(found, init);
    later.engine.watch(guest.clone(), Epoch(1));
    assert_eq!(later.running(&guest).await, init);
    bench.inside(&guest, "poweroff -f");
    later.ends(&guest, 0x2).await;
}

#[tokio::test]
async fn the_death_of_a_monitor_is_its_guests_and_nobody_elses() {
    let mut bench = Bench::new();
    let (guest, other) = (bench.guest("victim", |_| {}), bench.guest("other", |_| {}));
    let init = bench.up(&guest).await;
    bench.engine.start(&other).await.unwrap();
    let monitor = init.keeper.unwrap().pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(None));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    assert!(eventually(|| !std::path::Path::new(&format!("/proc/{}/root/bin", init.pid)).exists()).await);
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    assert!(matches!(bench.engine.probe(&other).await.unwrap(), Probe::Up(_)));
    bench.engine.kill(&guest).await.unwrap();
    bench.engine.start(&guest).await.unwrap();
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(_)));
}

#[tokio::test]
async fn a_guest_that_hears_nothing_is_killed() {
    let mut bench = Bench::new();
    let guest = bench.shell("deaf", "trap '' TERM; while :; do sleep 1; done");
    bench.up(&guest).await;
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(_)));
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn a_stopped_monitor_keeps_nobody_from_killing() {
    let mut bench = Bench::new();
    let guest = bench.guest("stuck", |_| {});
    let init = bench.up(&guest).await;
    let monitor = nix::unistd::Pid::from_raw(init.keeper.unwrap().pid);
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGSTOP).unwrap();
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Changing);
    tokio::time::timeout(2 * SOON, bench.engine.kill(&guest)).await.unwrap().unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(None));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
}

#[tokio::test]
async fn a_guest_is_frozen_and_thawed_and_thawed_for_its_stop() {
    let mut bench = Bench::new();
    let guest = bench.guest("cold", |_| {});
    let init = bench.up(&guest).await;
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Frozen(init));
    bench.engine.request(&guest, Request::Thaw).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Thawed);
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(init));
    bench.engine.request(&guest, Request::Freeze).await.unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::Frozen);
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0x2).await;
}

/// A guest with little memory, that waits for a word before it goes on with a line of shell.
fn limited(bench: &mut Bench, line: &str) -> std::sync::Arc<guestd::model::Guest> {
    let guest = bench.shell("hungry", &format!("read x < /go; {line}"));
    let _ = nix::unistd::mkfifo(&bench.root().join("go"), nix::sys::stat::Mode::S_IRWXU);
    let mut limited = guestd::model::Guest::clone(&guest);
    let memory = (guestd::model::Resource::MemoryMax, guestd::model::Amount::Bytes(16 << 20));
    limited.resources = [memory].into_iter().collect();
    std::sync::Arc::new(limited)
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_known_for_what_it_is() {
    let mut bench = Bench::new();
    let guest = limited(&mut bench, "exec tail /dev/zero");
    bench.up(&guest).await;
    fs::write(bench.root().join("go"), "\n").unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::OutOfMemory);
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    let outcome = record::read::<Outcome>(&bench.place(&guest).outcome(), 4096).unwrap();
    assert!(matches!(outcome, Some(Outcome::Ended(ended)) if ended.out_of_memory), "{outcome:?}");
}

#[tokio::test]
async fn an_init_that_somebody_kills_was_not_short_of_memory_because_another_process_was() {
    let mut bench = Bench::new();
    let guest = limited(&mut bench, "tail /dev/zero; echo over > /tmp/over; while :; do sleep 1000; done");
    let init = bench.up(&guest).await.pid;
    fs::write(bench.root().join("go"), "\n").unwrap();
    assert!(eventually(|| bench.inside(&guest, "test -e /tmp/over").status.success()).await);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init), nix::sys::signal::Signal::SIGKILL).unwrap();
    // Where the kernel's log cannot be read, it is known only that somebody was short of it.
    let expected = if KernelLog::whole().is_open() {
        Observation::InitExited(Some(WaitStatus(9)))
    } else {
        Observation::OutOfMemory
    };
    assert_eq!(bench.observes(&guest).await, expected);
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
}

#[tokio::test]
async fn only_the_monitor_is_spared_where_somebody_has_to_be_killed() {
    let mut bench = Bench::new();
    let guest = bench.guest("score", |spec| {
        spec.lifecycle.before.push(Step {
            name: "score".into(),
            what: Deed::Run {
                argv: ["/bin/sh", "-c", "cat /proc/self/oom_score_adj > score"].map(str::to_owned).to_vec(),
                directory: Place::Root,
                success: vec![],
            },
            must_succeed: true,
        });
    });
    let score =
        |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().to_owned();
    let own = score(std::process::id().cast_signed());
    let init = bench.up(&guest).await;
    // Where root may do that; tests/vm has a host where it may.
    let mut lower = std::process::Command::new("/bin/sh");
    let may = lower.args(["-c", "echo -900 2>/dev/null > /proc/self/oom_score_adj"]).status();
    let spared = if may.unwrap().success() { "-900" } else { own.as_str() };
    assert_eq!(score(init.keeper.unwrap().pid), spared);
    assert_eq!(score(init.pid), own);
    assert_eq!(fs::read_to_string(bench.root().join("score")).unwrap().trim(), own);
    assert_eq!(bench.says(&guest, "cat /proc/self/oom_score_adj"), own);
    // Not lower than it was given, whatever its root tries.
    let lower = format!("echo {} > /proc/self/oom_score_adj", own.parse::<i32>().unwrap() - 1);
    assert!(!bench.inside(&guest, &lower).status.success());
}

#[tokio::test]
async fn commands_inside_end_as_they_end_and_leave_with_the_guest() {
    let mut bench = Bench::new();
    let guest = bench.guest("enter", |_| {});
    bench.up(&guest).await;
    assert_eq!(bench.inside(&guest, "exit 7").status.code(), Some(7));
    assert_eq!(bench.inside(&guest, "kill -TERM $$").status.code(), Some(128 + 15));
    let missing = std::process::Command::new(super::native_host::MONITOR)
        .arg("attach")
        .arg(bench.place(&guest).folder())
        .args(["--", "no-such-program"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-program"), "{missing:?}");
    // In the guest's cgroup, and with none of the host's files.
    let open = bench.says(&guest, "ls /proc/self/fd | wc -l");
    assert_eq!(open, "4", "more than three files, and the folder that is listed");
    assert_eq!(bench.says(&guest, "grep -c ^Cap /proc/self/status"), "5");
}

#[tokio::test]
async fn who_enters_by_a_terminal_gets_one_of_the_guests_own() {
    let mut bench = Bench::new();
    let guest = bench.guest("terminal", |_| {});
    bench.up(&guest).await;
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(Some(&size), None).unwrap();
    let side = || std::process::Stdio::from(pair.slave.try_clone().unwrap());
    let mut entered = std::process::Command::new(super::native_host::MONITOR)
        .arg("attach")
        .arg(bench.place(&guest).folder())
        .args(["--", "/bin/sh", "-c", "tty; stty size; read line; echo \"got $line\"; exit 3"])
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .unwrap();
    drop(pair.slave);
    let mut shown = String::new();
    let mut read = |until: &str| {
        let mut buffer = [0; 1024];
        while !shown.contains(until) {
            match nix::unistd::read(&pair.master, &mut buffer) {
                Ok(length) if length > 0 => shown.push_str(&String::from_utf8_lossy(&buffer[..length])),
                end => panic!("{end:?} instead of {until}: {shown}"),
            }
        }
    };
    read("33 111");
    nix::unistd::write(&pair.master, b"word\r").unwrap();
    read("got word");
    assert_eq!(entered.wait().unwrap().code(), Some(3));
    assert!(shown.starts_with("/dev/pts/"), "{shown}");
}

#[tokio::test]
async fn what_outlives_its_monitor_is_ended_when_that_is_seen() {
    let mut bench = Bench::new();
    let guest = bench.guest("orphan", |_| {});
    let init = bench.up(&guest).await;
    // As an init that is not killed with its monitor: a process of its cgroup.
    let mut stays = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let table = fs::read_to_string(format!("/proc/{}/cgroup", init.pid)).unwrap();
    let path = table.lines().find_map(|line| line.strip_prefix("0::/")).expect("a cgroup of v2");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let v2 = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("cgroups of v2");
    let mount = v2.split(' ').nth(1).unwrap();
    fs::write(format!("{mount}/{path}/cgroup.procs"), stays.id().to_string()).unwrap();
    let monitor = nix::unistd::Pid::from_raw(init.keeper.unwrap().pid);
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(None));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(stays.try_wait().unwrap().and_then(|status| status.signal()), Some(9), "it lives on");
}

#[tokio::test]
async fn a_console_shows_what_is_written_there_and_takes_what_is_typed() {
    use std::io::{Read, Write};
    let mut bench = Bench::new();
    let guest = bench.shell("console", "while read line; do echo \"got $line\"; done");
    bench.up(&guest).await;
    let mut shown = std::process::Command::new(super::native_host::MONITOR)
        .arg("console")
        .arg(bench.place(&guest).folder())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut typed, mut seen) = (shown.stdin.take().unwrap(), shown.stdout.take().unwrap());
    typed.write_all(b"word\n").unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 256]);
    while !text.contains("got word") {
        let length = seen.read(&mut buffer).unwrap();
        assert!(length > 0, "it ended with {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    drop(typed);
    assert!(shown.wait().unwrap().success());
    assert!(matches!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(_)));
}
