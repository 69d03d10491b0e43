//! Guests that fail and are started again, those that depend on them, and their hooks, with real containers.

mod host;

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path, process::Command};

use host::{Host, executable, wait_for};
use serde_json::Value;

fn text<'a>(status: &'a Value, key: &str) -> &'a str {
    status[key].as_str().unwrap_or_default()
}

fn overlay(host: &Host, guest: &str, lines: &str) {
    fs::write(host.at(format!("etc/guests/{guest}.toml")), lines).expect("an overlay");
}

/// Kills a guest's init, from the host.
fn crash(host: &Host, guest: &str) {
    let pid = host.lxc_init_pid(guest).expect("an init").to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
}

/// Kills its init, and waits for another one.
fn crash_and_return(host: &Host, guest: &str) -> Value {
    let before = host.status(guest)["init_pid"].clone();
    crash(host, guest);
    host.until(guest, "up again", |s| s["phase"] == "up" && s["init_pid"] != before)
}

/// A script that writes a line with its stage and guest, and exits so.
fn hook(host: &Host, exit: i32) -> String {
    let (script, said) = (host.at(format!("hook{exit}")), host.at("said"));
    executable::script(
        &script,
        &format!(
            "echo $GUESTD_STAGE $GUESTD_GUEST $GUESTD_REASON >>{}\necho hello from $GUESTD_STAGE\nexit {exit}",
            said.display()
        ),
    );
    script.display().to_string()
}

fn said(host: &Host) -> String {
    fs::read_to_string(host.at("said")).unwrap_or_default()
}

#[test]
fn a_crashed_guest_comes_back_until_its_limit_and_after_a_reset() {
    let mut host = Host::running("");
    host.guest("web", &[]);
    overlay(&host, "web", "[restart]\ndelay = 0\nlimit = \"2/5m\"\n");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    for n in 1..=2 {
        assert_eq!(crash_and_return(&host, "web")["restarts"], n);
    }
    crash(&host, "web");
    let status = host.until_phase("web", "failed");
    let reason = text(&status, "reason");
    assert!(reason.contains("gave up after 2 restarts") && reason.contains("killed by SIGKILL"), "{reason}");
    assert_eq!(text(&status, "intent"), "up");
    host.kill_daemon();
    host.start_daemon();
    let after = host.status("web");
    let said = |status: &Value| ["phase", "intent", "reason"].map(|key| text(status, key).to_owned());
    assert_eq!(said(&after), said(&status), "the next daemon knows it too");
    host.guestctl_ok(&["reset", "web"]);
    assert_eq!(text(&host.status("web"), "phase"), "down");
    host.guestctl_ok(&["start", "web"]);
    assert_eq!(crash_and_return(&host, "web")["phase"], "up", "it counts anew");
}

#[test]
fn the_next_try_is_shown_and_survives_a_killed_daemon() {
    let mut host = Host::running("");
    host.guest("web", &[]);
    overlay(&host, "web", "[restart]\ndelay = \"1h\"\nmax-delay = \"2h\"\n");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    crash(&host, "web");
    let status = host.until_phase("web", "backing-off");
    assert!(text(&status, "reason").contains("killed by SIGKILL"), "{status:#}");
    host.kill_daemon();
    host.start_daemon();
    // Nobody knows how much of its pause is over: it does not begin anew.
    host.until_phase("web", "up");
}

#[test]
fn a_stop_ends_the_pause() {
    let host = Host::running("[defaults.restart]\ndelay = \"1h\"\nmax-delay = \"2h\"\n");
    host.guest("web", &[]);
    host.guestctl_ok(&["start", "web"]);
    crash(&host, "web");
    host.until_phase("web", "backing-off");
    host.guestctl_ok(&["stop", "web"]);
    let status = host.status("web");
    assert_eq!((text(&status, "phase"), text(&status, "intent")), ("down", "down"));
}

#[test]
fn whoever_requires_a_guest_survives_its_crash_and_not_its_giving_up() {
    let host = Host::running("[defaults.restart]\ndelay = 0\nlimit = \"1/5m\"\n");
    for name in ["db", "web"] {
        host.guest(name, &[]);
    }
    overlay(&host, "web", "[start]\nrequires = [\"db\"]\n");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    let web = host.status("web")["init_pid"].clone();
    crash_and_return(&host, "db");
    assert_eq!(host.status("web")["init_pid"], web);
    crash(&host, "db");
    host.until_phase("db", "failed");
    host.until_phase("web", "down");
    assert!(host.log().contains("web is stopped: db, which it requires, has failed"), "{}", host.log());
}

#[test]
fn hooks_run_around_a_run_and_clear_up_behind_a_start_that_failed() {
    let host = Host::running("[defaults.restart]\npolicy = \"never\"\n");
    host.guest("web", &[]);
    let (good, bad) = (hook(&host, 0), hook(&host, 1));
    let stages = |pre_start: &str| {
        let others = ["post-start", "pre-stop", "post-stop", "on-failure"];
        let others = others.map(|stage| format!("{stage} = [[\"{good}\"]]\n")).concat();
        format!("[hooks]\npre-start = [[\"{pre_start}\"]]\n{others}")
    };
    overlay(&host, "web", &stages(&good));
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    wait_for("its word", || host.log().contains(&format!("web: {good}: hello from pre-start")).then_some(()));
    wait_for("its post-start hook", || said(&host).contains("post-start web").then_some(()));
    host.guestctl_ok(&["stop", "web"]);
    wait_for("its post-stop hook", || said(&host).contains("post-stop web").then_some(()));
    assert_eq!(
        said(&host).lines().collect::<Vec<_>>(),
        ["pre-start web", "post-start web", "pre-stop web", "post-stop web stopped by request"]
    );
    fs::remove_file(host.at("said")).expect("what was said");

    overlay(&host, "web", &stages(&bad));
    host.guestctl_ok(&["reload"]);
    let started = host.guestctl(&["start", "web"]);
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8_lossy(&started.stderr);
    assert!(told.contains("could not run its pre-start hook") && told.contains("exit status: 1"), "{told}");
    assert_eq!(host.lxc_init_pid("web"), None);
    wait_for("its on-failure hook", || said(&host).contains("on-failure web").then_some(()));
    let stages: Vec<String> =
        said(&host).lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(stages, ["pre-start", "post-stop", "on-failure"], "what pre-start did is undone");
}

#[test]
fn a_start_that_fails_is_tried_again_and_waited_for() {
    let host = Host::running("[defaults.restart]\ndelay = 0\nlimit = \"3/5m\"\n");
    host.guest("web", &[]);
    let (marker, script) = (host.at("third"), host.at("twice"));
    // It fails twice.
    let body = format!("echo x >>{0}\n[ \"$(wc -l <{0})\" -ge 3 ]", marker.display());
    executable::script(&script, &body);
    overlay(&host, "web", &format!("[hooks]\npre-start = [[\"{}\"]]\n", script.display()));
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    let status = host.status("web");
    assert_eq!((text(&status, "phase"), &status["restarts"]), ("up", &Value::from(2)));
    assert_eq!(fs::read_to_string(&marker).expect("its tries").lines().count(), 3);
}

#[test]
fn a_crash_in_the_daemons_absence_is_followed_by_a_start() {
    let mut host = Host::running("[defaults.restart]\ndelay = 0\n");
    host.guest("web", &["lxc.hook.version = 1"]);
    host.guestctl_ok(&["start", "web"]);
    let before = host.status("web")["init_pid"].clone();
    host.kill_daemon();
    crash(&host, "web");
    wait_for("its end", || host.lxc_init_pid("web").is_none().then_some(()));
    host.start_daemon();
    // Without systemd nobody kept its status: an end that nobody saw may have been a halt.
    let status = host.until("web", "known", |s| s["phase"] == "up" || s["phase"] == "down");
    assert!(status["init_pid"] != before, "{status:#}");
    let reason = text(&status, "reason");
    assert!(text(&status, "phase") == "up" || reason == "ended unobserved", "{status:#}");
}

#[test]
fn an_end_that_no_fifo_could_tell_is_followed_by_a_start() {
    let host = Host::running("[defaults.restart]\ndelay = 0\n");
    host.guest("web", &[]);
    host.guestctl_ok(&["start", "web"]);
    let before = host.status("web")["init_pid"].clone();
    let daemon = host.daemon_pid().to_string();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &daemon]).status().expect("kill").success());
    };
    // While nobody reads it, the FIFO by which LXC tells of ends is filled.
    signal("-STOP");
    let folder = Path::new("/run/lxc").join(host.lxcpath().strip_prefix("/").expect("below /"));
    let fifo = fs::File::options()
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(folder.join("monitor-fifo"))
        .expect("the FIFO");
    // In whole messages, as LXC's are, so that what follows is understood again.
    let message = [0xff_u8; 264];
    let full = (0..100_000).find_map(|_| (&fifo).write(&message).err()).expect("an end of it");
    assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
    crash(&host, "web");
    wait_for("its end", || host.lxc_init_pid("web").is_none().then_some(()));
    signal("-CONT");
    let status = host.until("web", "up again", |s| s["phase"] == "up" && s["init_pid"] != before);
    assert_eq!(status["restarts"], 1);
    assert_eq!(crash_and_return(&host, "web")["restarts"], 2, "what comes after is understood");
}

#[test]
fn a_root_filesystem_that_is_gone_ends_in_words_and_one_that_is_back_in_a_start() {
    let host = Host::running("[defaults.restart]\ndelay = 0\nlimit = \"1/5m\"\n");
    host.guest("web", &[]);
    host.guestctl_ok(&["start", "web"]);
    let (root, away) = (host.lxcpath().join(".root"), host.lxcpath().join(".away"));
    fs::rename(&root, &away).expect("a root that can go away");
    crash(&host, "web");
    let status = host.until_phase("web", "failed");
    assert!(text(&status, "reason").contains(".root"), "{status:#}");
    assert_eq!(host.lxc_init_pid("web"), None);
    fs::rename(&away, &root).expect("its return");
    host.guestctl_ok(&["start", "web"]);
    host.until_phase("web", "up");
}

/// A script that goes on once the test lets it.
fn waiting(host: &Host) -> String {
    let script = host.at("waits");
    executable::script(&script, &format!("while [ ! -e {} ]; do sleep 0.02; done", host.at("go").display()));
    script.display().to_string()
}

#[test]
fn a_daemon_is_there_before_the_starts_that_the_one_before_it_has_left() {
    let mut host = Host::running("");
    host.guest("web", &[]);
    overlay(&host, "web", &format!("[hooks]\npre-start = [[\"{}\"]]\n", waiting(&host)));
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "--no-block", "web"]);
    host.until_phase("web", "starting");
    host.kill_daemon();
    host.start_daemon();
    host.until_phase("web", "starting");
    fs::write(host.at("go"), "").expect("the word to go on");
    host.until_phase("web", "up");
}

#[test]
fn a_stop_does_not_wait_for_the_hooks_of_the_start() {
    let host = Host::running("");
    host.guest("web", &[]);
    let hooks = format!("[stop]\ntimeout = \"5s\"\n[hooks]\npost-start = [[\"{}\"]]\n", waiting(&host));
    overlay(&host, "web", &hooks);
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    host.guestctl_ok(&["stop", "web"]);
    assert_eq!(text(&host.status("web"), "reason"), "stopped by request");
    fs::write(host.at("go"), "").expect("the word to go on");
}

#[test]
fn the_last_hooks_run_behind_guests_that_are_gone_and_ends_that_nobody_saw() {
    let mut host = Host::running("[defaults.restart]\npolicy = \"never\"\n");
    let post_stop = format!("[hooks]\npost-stop = [[\"{}\"]]\n", hook(&host, 0));
    for name in ["gone", "away"] {
        host.guest(name, &[]);
        overlay(&host, name, &post_stop);
    }
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "gone"]);
    host.guestctl_ok(&["start", "away"]);
    fs::remove_file(host.lxcpath().join("gone/config")).expect("its config");
    wait_for("word of that", || host.log().contains("gone runs on without a configuration").then_some(()));
    crash(&host, "gone");
    wait_for("its post-stop hook", || said(&host).contains("post-stop gone").then_some(()));
    wait_for("it to be forgotten", || (!host.list().contains_key("gone")).then_some(()));

    host.kill_daemon();
    crash(&host, "away");
    wait_for("its end", || host.lxc_init_pid("away").is_none().then_some(()));
    assert!(!said(&host).contains("post-stop away"));
    host.start_daemon();
    wait_for("its post-stop hook", || said(&host).contains("post-stop away").then_some(()));
    assert_eq!(said(&host).lines().count(), 2, "each once");
}
