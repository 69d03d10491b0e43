//! The main job, end to end: guestd, autostart and guestctl over a private bus, with real LXC containers.

mod host;

use std::time::{Duration, Instant};

use host::Host;

/// The example of LXC 1.0's documentation.
fn documented_example() -> Host {
    let host = Host::new("order = \"highest-first\"");
    host.guest("p1", &["lxc.start.auto = 1", "lxc.group = ubuntu"]);
    host.guest("p2", &["lxc.start.auto = 1", "lxc.start.delay = 5", "lxc.start.order = 100"]);
    host
}

#[test]
fn the_documented_example_word_for_word() {
    let mut host = documented_example();
    host.start_daemon();
    assert_eq!(host.autostart_ok(&["-L", "-a"]), "p2 5\np1 0\n");

    host.autostart_ok(&["--boot"]);
    assert_eq!(host.in_phase("up"), ["p2"], "boot starts p2 alone");

    host.autostart_ok(&["-k", "-a"]);
    let began = Instant::now();
    host.autostart_ok(&["-a"]);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(9), "{took:?}");
    let since = |name: &str| host.status(name)["since"].as_str().expect("a time").to_owned();
    let gap = seconds(&since("p1")) - seconds(&since("p2"));
    assert!((5.0..9.0).contains(&gap), "p1 came {gap} s after p2");

    let before = host.list();
    host.autostart_ok(&["-r", "-g", "ubuntu"]);
    let after = host.list();
    assert_ne!(before["p1"]["init_pid"], after["p1"]["init_pid"], "p1 rebooted");
    assert_eq!(before["p2"]["init_pid"], after["p2"]["init_pid"], "p2 did not");
    assert_eq!(after["p1"]["init_pid"].as_i64(), host.lxc_init_pid("p1"));
}

/// The seconds of the hour in an RFC 3339 time, which is enough for a gap within a test.
fn seconds(time: &str) -> f64 {
    let clock: Vec<f64> =
        time.split(['T', 'Z']).nth(1).expect("a time").split(':').map(|n| n.parse().expect("n")).collect();
    clock[0] * 3600.0 + clock[1] * 60.0 + clock[2]
}

#[test]
fn a_boot_happens_once_also_across_a_restart_of_the_daemon() {
    let mut host = documented_example();
    host.start_daemon();
    host.autostart_ok(&["--boot"]);
    host.autostart_ok(&["-k", "-a"]);
    host.kill_daemon();
    host.start_daemon();
    host.autostart_ok(&["--boot"]);
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
}

#[test]
fn guests_are_stopped_in_reverse_and_in_parallel() {
    let mut host = Host::new("order = \"highest-first\"");
    for name in ["s1", "s2", "s3"] {
        host.guest(name, &["lxc.start.auto = 1", "lxc.start.order = 7"]);
    }
    host.guest("first", &["lxc.start.auto = 1", "lxc.start.order = 9"]);
    host.start_daemon();
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up").len(), 4);
    assert_eq!(host.autostart_ok(&["-s", "-a", "-L"]), "s3\ns2\ns1\nfirst\n");
    host.autostart_ok(&["-s", "-a"]);
    let down = host.list();
    assert!(down.values().all(|guest| guest["reason"] == "stopped by request"), "{down:#?}");
    let times: Vec<_> =
        ["s1", "s2", "s3"].map(|name| seconds(down[name]["since"].as_str().expect("since"))).into();
    let first = seconds(down["first"]["since"].as_str().expect("since"));
    assert!(times.iter().all(|time| *time < first), "{times:?} {first}");
}

#[test]
fn partial_and_total_failures_have_their_exit_statuses_and_reasons() {
    let mut host = Host::new("");
    host.guest("good", &["lxc.start.auto = 1", "lxc.group = mixed"]);
    host.guest("bad", &["lxc.start.auto = 1", "lxc.group = mixed bad", "lxc.hook.pre-start = /bin/false"]);
    host.start_daemon();
    let some = host.autostart(&["-g", "mixed"]);
    assert_eq!(some.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&some.stderr).into_owned();
    assert!(stderr.contains("bad: gave up") && stderr.contains("could not start it"), "{stderr}");
    assert!(stderr.contains("pre-start"), "LXC's own words are there: {stderr}");
    assert_eq!(host.autostart(&["-g", "bad"]).status.code(), Some(1));
    assert_eq!(host.autostart(&["-g", "nobody"]).status.code(), Some(0), "nothing to do");
    let failed = host.status("bad");
    assert_eq!(failed["phase"], "failed");
    host.guestctl_ok(&["reset", "bad"]);
    assert_eq!(host.status("bad")["phase"], "down");
}

#[test]
fn requirements_hold_for_real() {
    let mut host = Host::new("");
    host.guest("db", &["lxc.start.order = -5"]);
    host.guest("web", &[]);
    std::fs::write(host.at("etc/guests/web.toml"), "[start]\nrequires = [\"db\"]\n").expect("an overlay");
    host.start_daemon();
    host.guestctl_ok(&["start", "web"]);
    assert_eq!(host.in_phase("up"), ["db", "web"]);
    host.guestctl_ok(&["stop", "db"]);
    assert_eq!(host.in_phase("up"), [] as [&str; 0], "web cannot do without it");
}

#[test]
fn frozen_guests_are_thawed_and_stopped() {
    let mut host = Host::new("");
    host.guest("web", &[]);
    host.start_daemon();
    host.guestctl_ok(&["start", "web"]);
    host.guestctl_ok(&["freeze", "web"]);
    host.until_phase("web", "frozen");
    host.guestctl_ok(&["unfreeze", "web"]);
    host.until_phase("web", "up");
    assert!(host.lxc("lxc-freeze", "web").status().expect("lxc-freeze").success());
    host.until_phase("web", "frozen");
    host.guestctl_ok(&["stop", "web"]);
    assert_eq!(host.status("web")["reason"], "stopped by request");
}
