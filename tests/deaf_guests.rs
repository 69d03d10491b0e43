//! Guests whose inits do not listen, or not yet, end to end.

mod host;

use std::{
    fs,
    time::{Duration, Instant},
};

use host::{Host, wait_for};

/// A guest whose init hears nothing until a file appears, and how long it may take to stop.
fn deaf(host: &Host, name: &str, timeout: &str) -> std::path::PathBuf {
    let root = host.lxcpath().join(".root");
    host.guest(name, &["lxc.init.cmd = /bin/deaf"]);
    let go = format!("/tmp/{name}");
    let wait = format!("while [ ! -e {go} ]; do busybox usleep 20000; done; trap 'exit 0' USR1");
    host::executable::script(
        &root.join("bin/deaf"),
        &format!("{wait}\ntouch {go}.hears\nwhile :; do busybox usleep 20000; done"),
    );
    fs::write(host.at(format!("etc/guests/{name}.toml")), format!("[stop]\ntimeout = \"{timeout}\"\n"))
        .expect("an overlay");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", name]);
    root.join(format!("tmp/{name}"))
}

#[test]
fn a_stop_goes_on_asking_as_long_as_it_waits() {
    let host = Host::running("");
    let go = deaf(&host, "late", "1s");
    let mut stop =
        host.command(env!("CARGO_BIN_EXE_guestctl")).args(["stop", "late", "-t", "-1"]).spawn().expect("it");
    host.until_phase("late", "stopping");
    let began = Instant::now();
    wait_for("its own stop.timeout, which does not count here", || {
        (began.elapsed() > Duration::from_millis(1200)).then_some(())
    });
    fs::write(&go, "").expect("the word to listen");
    assert!(stop.wait().expect("its end").success());
    assert_eq!(host.status("late")["reason"], "stopped by request");
}

#[test]
fn a_reboot_that_is_not_heard_holds_up_no_stop() {
    let host = Host::running("");
    let go = deaf(&host, "torn", "20s");
    let mut reboot =
        host.command(env!("CARGO_BIN_EXE_guestctl")).args(["reboot", "torn"]).spawn().expect("guestctl");
    let jobs = || host.guestctl_ok(&["jobs"]);
    wait_for("the reboot", || jobs().contains("reboot").then_some(()));
    fs::write(&go, "").expect("the word to listen");
    wait_for("its handler", || go.with_extension("hears").exists().then_some(()));
    let began = Instant::now();
    host.guestctl_ok(&["stop", "torn"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(host.status("torn")["reason"], "stopped by request");
    assert!(!reboot.wait().expect("its end").success());
}

#[test]
fn who_only_asks_a_deaf_guest_is_told_so() {
    let host = Host::running("");
    deaf(&host, "deaf", "1s");
    let asked = host.guestctl(&["stop", "deaf", "-t", "0"]);
    let said = String::from_utf8_lossy(&asked.stderr).into_owned();
    assert!(said.contains("its init has not handled SIGUSR1 within 1s"), "{said}");
    assert_eq!(host.status("deaf")["phase"], "up");
    host.guestctl_ok(&["kill", "deaf"]);
    assert!(!host.log().contains("could not ask it to stop: nobody"), "{}", host.log());
}

#[test]
fn a_guest_that_has_to_be_killed_leaves_its_last_words() {
    let host = Host::running("");
    let script = "#!/bin/sh\ntrap '' PWR TERM\necho one >/dev/console\nprintf 'hanging in \\033[1mtwo\\033[0m\\n' \
                  >/dev/console\necho up >/told-last\nwhile :; do /bin/busybox sleep 1; done\n";
    host.guest("deaf", &["lxc.init.cmd = /bin/deaf-talker"]);
    let root = host.lxcpath().join(".root");
    fs::write(root.join("bin/deaf-talker"), script).expect("its init");
    host::open_to_all(&root.join("bin/deaf-talker"));
    host.guestctl_ok(&["start", "deaf"]);
    host::wait_for("its words", || root.join("told-last").exists().then_some(()));
    host.guestctl_ok(&["stop", "-t", "1", "deaf"]);
    let status =
        host.until("deaf", "last words", |s| s["last_words"].as_array().is_some_and(|w| !w.is_empty()));
    assert_eq!(status["reason"], "killed: it did not stop in time");
    assert_eq!(status["last_words"], serde_json::json!(["one", "hanging in two"]));
    let log = host.log();
    assert!(log.contains("deaf wrote on its console before it was killed: one | hanging in two"), "{log}");
    assert!(host.guestctl_ok(&["status", "deaf"]).contains("Last words: one | hanging in two"));
}
