//! Readiness, health and dependencies with a whole daemon and real containers.

mod host;

use std::{fs, net::TcpListener, path::PathBuf};

use host::{Host, wait_for};
use serde_json::Value;

fn text<'a>(status: &'a Value, key: &str) -> &'a str {
    status[key].as_str().unwrap_or_default()
}

fn overlay(host: &Host, guest: &str, lines: &str) {
    fs::write(host.at(format!("etc/guests/{guest}.toml")), lines).expect("an overlay");
}

/// A file that all guests of a host see, by its path inside.
fn marker(host: &Host, name: &str) -> (PathBuf, String) {
    (host.lxcpath().join(".root").join(name), format!("/{name}"))
}

/// A database that is ready once a file is there, a web server that requires it, and one that only comes after it.
fn chain(settings: &str, ready: &str) -> (Host, PathBuf) {
    let host = Host::running(settings);
    let (file, inside) = marker(&host, "served");
    for name in ["db", "web", "log"] {
        host.guest(name, &["lxc.start.auto = 1"]);
    }
    overlay(&host, "db", &format!("[ready]\nfile = \"{inside}\"\ninterval = \"20ms\"\n{ready}"));
    overlay(&host, "web", "[start]\nrequires = [\"db\"]\n");
    overlay(&host, "log", "[start]\nafter = [\"db\"]\n");
    host.guestctl_ok(&["reload"]);
    (host, file)
}

#[test]
fn those_who_depend_on_a_guest_wait_until_it_serves() {
    let (host, file) = chain("", "");
    let mut start = host.command(env!("CARGO_BIN_EXE_autostart")).arg("-a").spawn().expect("autostart");
    let status = host.until("db", "up", |s| s["phase"] == "up");
    assert_eq!(status["ready"], false);
    let status = host.until("db", "asked", |s| text(s, "reason").contains("served"));
    assert!(text(&status, "reason").starts_with("waits for readiness: file /served"), "{status:#}");
    assert_eq!((host.lxc_init_pid("web"), host.lxc_init_pid("log")), (None, None));
    fs::write(&file, "").expect("the file");
    assert!(start.wait().expect("its end").success());
    assert_eq!(host.in_phase("up"), ["db", "log", "web"]);
    assert_eq!(host.status("db")["ready"], true);
    assert!(host.log().contains("db is ready"), "{}", host.log());
}

#[test]
fn one_that_is_not_ready_in_time_costs_only_those_that_require_it() {
    let (host, file) = chain("", "timeout = \"300ms\"\n");
    let start = host.autostart(&["-a"]);
    let said = String::from_utf8_lossy(&start.stderr).into_owned();
    assert_eq!(start.status.code(), Some(2), "some have failed: {said}");
    assert!(said.contains("was not ready within 300ms"), "{said}");
    assert_eq!(host.in_phase("up"), ["db", "log"]);
    // It may be late.
    fs::write(&file, "").expect("the file");
    host.until("db", "ready", |s| s["ready"] == true);
    host.guestctl_ok(&["start", "web"]);
    assert_eq!(host.in_phase("up"), ["db", "log", "web"]);
}

#[test]
fn one_that_must_be_ready_in_time_is_stopped_and_tried_again() {
    let restart = "[defaults.restart]\ndelay = 0\nlimit = \"1/5m\"\n[defaults.stop]\ntimeout = \"1s\"\n";
    let (host, _) = chain(restart, "timeout = \"200ms\"\non-timeout = \"fail\"\n");
    assert_eq!(host.guestctl(&["start", "web"]).status.code(), Some(1));
    let status = host.until_phase("db", "failed");
    let reason = text(&status, "reason");
    assert!(
        reason.contains("gave up after 1 restarts") && reason.contains("not ready within 200ms"),
        "{reason}"
    );
    assert_eq!((host.lxc_init_pid("db"), host.lxc_init_pid("web")), (None, None));
}

#[test]
fn readiness_is_known_to_the_next_daemon() {
    let (mut host, file) = chain("", "");
    fs::write(&file, "").expect("the file");
    host.guestctl_ok(&["start", "db"]);
    fs::remove_file(&file).expect("the file");
    host.kill_daemon();
    host.start_daemon();
    let status = host.until_phase("db", "up");
    assert_eq!(status["ready"], true, "it was, and is the same: {status:#}");
    // Another init begins anew.
    host.reboot_inside("db");
    assert_eq!(host.status("db")["ready"], false);
    fs::write(&file, "").expect("the file");
    host.until("db", "ready", |s| s["ready"] == true);
}

#[test]
fn bad_health_is_shown_and_restarts_where_that_is_wanted() {
    let host = Host::running("[defaults.restart]\ndelay = 0\n[defaults.stop]\ntimeout = \"1s\"\n");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let health = |action: &str| {
        format!("[health]\ntcp = \"{address}\"\ninterval = \"50ms\"\nthreshold = 2\naction = \"{action}\"\n")
    };
    for (name, action) in [("told", "report"), ("mended", "restart")] {
        host.guest(name, &[]);
        overlay(&host, name, &health(action));
    }
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "told", "mended"]);
    let before = host.status("mended")["init_pid"].clone();
    assert_eq!(host.status("told")["ready"], true);
    drop(listener);
    let status = host.until("told", "ill", |s| s["ready"] == false);
    assert!(text(&status, "reason").contains("its health is bad: tcp 127.0.0.1"), "{status:#}");
    assert_eq!(text(&status, "phase"), "up");
    host.until("mended", "restarted", |s| s["phase"] == "up" && s["init_pid"] != before);
    let _again = TcpListener::bind(address).expect("a listener");
    host.until("told", "well", |s| s["ready"] == true);
}

#[test]
fn a_guest_says_itself_when_it_serves() {
    let host = Host::running("");
    let script = "#!/bin/sh\nwhile [ ! -e /go ]; do /bin/busybox usleep 20000; done\nexec sleep 100000\n";
    host.guest("told", &["lxc.init.cmd = /bin/waiting"]);
    fs::write(host.lxcpath().join(".root/bin/waiting"), script).expect("its init");
    host::open_to_all(&host.lxcpath().join(".root/bin/waiting"));
    overlay(&host, "told", "[ready]\nwhen = \"notify\"\ntimeout = \"500ms\"\n");
    host.guestctl_ok(&["reload"]);
    let started = host.guestctl(&["start", "told"]);
    assert_eq!(started.status.code(), Some(1), "nobody says anything");
    let socket = host.at("run/notify/told/socket");
    wait_for("its socket", || socket.exists().then_some(()));
    // The host is not in the guest: it is not heard.
    let own = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    own.send_to(b"READY=1", &socket).expect("a message");
    assert_eq!(host.status("told")["ready"], false);
    host.guestctl_ok(&["kill", "told"]);
    wait_for("its socket's end", || (!socket.exists()).then_some(()));
}
