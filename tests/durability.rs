//! What outlives guestd: holds and their ends, what is wanted, what had happened; and what a state directory that is broken,
//! full or read-only costs: nothing but that.

mod host;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use host::{Host, wait_for};
use serde_json::Value;

const AUTO: &str = "lxc.start.auto = 1";

fn text<'a>(status: &'a Value, key: &str) -> &'a str {
    status[key].as_str().unwrap_or_default()
}

/// A host whose guest is defined and down.
fn one_guest() -> Host {
    let host = Host::new("");
    host.guest("web", &[AUTO]);
    host
}

fn file(host: &Host) -> PathBuf {
    host.at("state/guests/web.json")
}

fn stored(host: &Host) -> Value {
    serde_json::from_str(&fs::read_to_string(file(host)).expect("the file")).expect("JSON")
}

fn crash(host: &Host, name: &str) {
    let pid = host.lxc_init_pid(name).expect("an init").to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
}

/// A file system of its own, gone when this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(path: PathBuf, options: &str) -> Self {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).status();
        assert!(mounted.expect("mount").success(), "mount -o {options} {}", path.display());
        Self(path)
    }

    fn again(&self, options: &str) {
        let mounted = Command::new("mount").args(["-o", options]).arg(&self.0).status();
        assert!(mounted.expect("mount").success(), "mount -o {options}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_hold_outlives_a_daemon_that_is_killed_at_once_and_ends_in_time() {
    let mut host = one_guest();
    host.start_daemon();
    host.guestctl_ok(&["hold", "web", "--reason", "restoring a backup", "--until", "1h"]);
    // It is on the disk when guestctl returns.
    host.kill_daemon();
    host.start_daemon();
    let status = host.status("web");
    assert_eq!(text(&status, "held"), "restoring a backup");
    let until = humantime::parse_rfc3339(text(&status, "held_until")).expect("a moment");
    let left = until.duration_since(SystemTime::now()).expect("it is to come");
    assert!(left > Duration::from_secs(3500) && left <= Duration::from_secs(3600), "{left:?}");
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
    let listed = host.guestctl_ok(&["list"]);
    assert!(listed.contains("held until 2") && listed.contains(": restoring a backup"), "{listed}");
    // By name it starts and stops.
    host.guestctl_ok(&["start", "web"]);
    host.guestctl_ok(&["stop", "web", "-t", "5"]);

    host.guestctl_ok(&["hold", "web", "--until", "2s"]);
    host.kill_daemon();
    host.start_daemon();
    host.until("web", "free", |status| status["held"].is_null());
    assert!(host.log().contains("web is held no longer: the time of its hold (restoring a backup) is over"));
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), ["web"]);
}

#[test]
fn groups_are_held_and_released() {
    let mut host = Host::new("");
    host.guest("a", &["lxc.group = one"]);
    host.guest("b", &["lxc.group = one two"]);
    host.guest("c", &[]);
    host.start_daemon();
    let held = |host: &Host| -> Vec<String> {
        let guests = host.list().into_iter();
        guests.filter(|(_, guest)| guest["held"].is_string()).map(|(name, _)| name).collect()
    };
    assert_eq!(host.guestctl_ok(&["hold", "b", "-g", "one", "--reason", "x"]), "b: held\na: held\n");
    assert_eq!(held(&host), ["a", "b"]);
    assert_eq!(host.guestctl_ok(&["release", "-g", "two,"]), "b: released\nc: not held\n");
    host.guestctl_ok(&["hold", "--all"]);
    assert_eq!(held(&host), ["a", "b", "c"]);
    host.guestctl_ok(&["release", "-a"]);
    assert_eq!(held(&host), [] as [&str; 0]);
    for (line, words) in [
        (&["hold"][..], "required"),
        (&["hold", "a", "--until", "soon"], "\"soon\" is no length of time"),
        (&["hold", "a", "--until", "1999-01-01T00:00:00Z"], "is not a moment to come"),
    ] {
        let output = host.guestctl(line);
        assert_eq!(output.status.code(), Some(2), "{line:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(words), "{line:?}: {told}");
    }
}

#[test]
fn a_guest_that_crashed_while_it_was_held_is_started_by_its_release_under_the_next_daemon() {
    let mut host = Host::new("[defaults.restart]\ndelay = \"50ms\"\n");
    host.guest("web", &[]);
    host.start_daemon();
    host.guestctl_ok(&["start", "web"]);
    host.guestctl_ok(&["hold", "web", "--reason", "a look at the dump"]);
    crash(&host, "web");
    let waits =
        |status: &Value| text(status, "reason").contains("its release: it is held: a look at the dump");
    host.until("web", "waiting for its release", waits);
    let ended = host.status("web")["history"].clone();
    assert_eq!(ended[0]["how"], "crashed: its init was killed by SIGKILL");
    host.kill_daemon();
    host.start_daemon();
    let status = host.until("web", "waiting still", waits);
    assert_eq!((text(&status, "phase"), &status["history"]), ("backing-off", &ended));
    host.guestctl_ok(&["release", "web"]);
    host.until_phase("web", "up");
}

#[test]
fn what_had_happened_is_known_to_the_next_daemon() {
    let mut host = Host::new("[defaults.restart]\npolicy = \"never\"\n");
    for name in ["web", "off", "asked"] {
        host.guest(name, &[]);
    }
    host.start_daemon();
    host.guestctl_ok(&["start", "web", "off", "asked"]);
    crash(&host, "web");
    host.until_phase("web", "failed");
    host.attach("off", &["/bin/poweroff", "-f"]);
    host.until_phase("off", "down");
    host.guestctl_ok(&["stop", "asked", "-t", "5"]);
    let before = host.list();
    // By SIGTERM all of it is written.
    assert!(host.end_daemon("-TERM").success());
    host.start_daemon();
    for (name, guest) in host.list() {
        for key in ["phase", "reason", "since"] {
            assert_eq!(guest[key], before[&name][key], "{name}'s {key}");
        }
    }
    let wanted = |name: &str| {
        let text = fs::read_to_string(host.at(format!("state/guests/{name}.json"))).expect("a file");
        serde_json::from_str::<Value>(&text).expect("JSON")["wanted_up"].clone()
    };
    assert_eq!((wanted("web"), wanted("off"), wanted("asked")), (true.into(), false.into(), false.into()));
    host.guestctl_ok(&["reset", "web"]);
    assert_eq!(host.status("web")["phase"], "down");
}

#[test]
fn the_next_boot_starts_who_was_up_and_counts_anew() {
    let mut host = Host::new("");
    for name in ["up", "down"] {
        host.guest(name, &[]);
        let overlay = "[start]\nauto = \"last-state\"\n";
        fs::write(host.at(format!("etc/guests/{name}.toml")), overlay).expect("an overlay");
    }
    host.start_daemon();
    assert_eq!(host.autostart_ok(&["-L", "-a"]), "", "nobody was up before");
    host.guestctl_ok(&["start", "up", "down"]);
    assert_eq!(host.reboot_inside("up")["restarts"], 1);
    host.guestctl_ok(&["stop", "down", "-t", "5"]);
    host.kill_daemon();
    // The power is cut, and it is another boot.
    assert!(host.lxc("lxc-stop", "up").arg("-k").status().expect("lxc-stop").success());
    fs::remove_dir_all(host.at("run")).expect("the runtime directory");
    fs::create_dir(host.at("run")).expect("another");
    for name in ["up", "down"] {
        let path = host.at(format!("state/guests/{name}.json"));
        let mut stored: Value =
            serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON");
        stored["boot"] = "the one before".into();
        fs::write(&path, stored.to_string()).expect("a file");
    }
    let lxcpath = host.lxcpath().display().to_string();
    assert_eq!(host.autostart_ok(&["-L", "-a", "-P", &lxcpath]), "up 0\n", "also without a daemon");
    host.start_daemon();
    assert_eq!(host.status("up")["restarts"], 0);
    assert_eq!(host.autostart_ok(&["-L", "-a"]), "up 0\n");
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), ["up"]);
    // What is wanted now counts at the next boot, and not in this one; also for the next daemon of this boot.
    host.guestctl_ok(&["kill", "up"]);
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(host.autostart_ok(&["-L", "-a"]), "up 0\n");
}

#[test]
fn a_guest_of_a_cluster_is_left_alone_but_by_name() {
    let host = Host::running("");
    host.guest("db", &[AUTO]);
    host.guest("web", &[AUTO]);
    fs::write(host.at("etc/guests/db.toml"), "owner = \"cluster\"\n").expect("an overlay");
    fs::write(host.at("etc/guests/web.toml"), "[start]\nrequires = [\"db\"]\n").expect("an overlay");
    host.guestctl_ok(&["reload"]);
    let output = host.autostart(&["-a", "-A"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("it requires db, which cannot start: it is down, and its cluster manager starts it"),
        "{told}"
    );
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
    host.guestctl_ok(&["start", "db"]);
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), ["db", "web"]);
    let status = host.guestctl_ok(&["status", "db"]);
    assert!(status.contains("Note: owned by the cluster manager"), "{status}");
    host.autostart_ok(&["-s", "-a", "-A", "-t", "5"]);
    assert_eq!(host.in_phase("up"), ["db"]);
    crash(&host, "db");
    host.until_phase("db", "failed");
}

#[test]
fn a_guest_that_is_destroyed_takes_its_file_with_it() {
    let mut host = one_guest();
    host.start_daemon();
    host.guestctl_ok(&["hold", "web"]);
    assert!(file(&host).exists());
    fs::remove_dir_all(host.lxcpath().join("web")).expect("its folder");
    wait_for("the end of its file", || (!file(&host).exists()).then_some(()));
}

#[test]
fn what_cannot_be_read_is_told_kept_and_costs_nothing_else() {
    let newer = r#"{"version": 99, "guest": "web", "hold": ["of another form"]}"#;
    for (bad, words) in
        [("{\"version\": 1, \"gu", "does not hold what it should"), (newer, "has the form 99")]
    {
        let mut host = one_guest();
        fs::create_dir_all(host.at("state/guests")).expect("a folder");
        fs::write(file(&host), bad).expect("a bad file");
        host.start_daemon();
        assert_eq!(host.log().matches(words).count(), 1, "{}", host.log());
        let checked = host.guestctl(&["check"]);
        let shown = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() && shown.contains(words), "{shown}");
        host.autostart_ok(&["-a"]);
        assert_eq!(host.in_phase("up"), ["web"]);
        let aside = host.at("state/guests/web.json.bad");
        wait_for("the file aside", || (fs::read_to_string(&aside).ok()? == bad).then_some(()));
        wait_for("a new one", || (stored(&host)["wanted_up"] == true).then_some(()));
        assert!(host.log().contains("is kept as"), "{}", host.log());
    }
}

#[test]
fn bad_files_of_the_runtime_directory_are_kept_too() {
    let mut host = one_guest();
    fs::create_dir_all(host.at("run/policy")).expect("a folder");
    let bad = [("run/policy/web.json", r#"{"version": 99}"#), ("run/booted.json", "[")];
    for (path, text) in bad {
        fs::write(host.at(path), text).expect("a bad file");
    }
    host.start_daemon();
    host.autostart_ok(&["--boot"]);
    assert_eq!(host.in_phase("up"), ["web"]);
    for (path, text) in bad {
        assert_eq!(fs::read_to_string(host.at(format!("{path}.bad"))).expect("it is aside"), text);
        assert_ne!(fs::read_to_string(host.at(path)).expect("a new one"), text);
    }
    assert_eq!(host.autostart_ok(&["--boot", "-L"]), "");
}

/// Guests run although nothing can be kept; that is told once, and shown.
#[track_caller]
fn runs_without(host: &Host, words: &str) {
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), ["web"]);
    host.guestctl_ok(&["hold", "web", "--reason", "x"]);
    host.guestctl_ok(&["release", "web"]);
    let daemon = wait_for("it to be shown", || {
        let shown = host.guestctl_ok(&["status"]);
        shown.contains("Not kept").then_some(shown)
    });
    assert!(daemon.contains(words), "{daemon}");
    assert_eq!(host.log().matches("it would not outlive guestd").count(), 1, "{}", host.log());
    host.notified("; not kept: ");
}

#[test]
fn a_file_in_the_place_of_the_state_directory_stops_nobody() {
    let mut host = one_guest();
    fs::remove_dir_all(host.at("state")).expect("the folder");
    fs::write(host.at("state"), "a file").expect("a file");
    host.start_daemon();
    runs_without(&host, "state");
    assert_eq!(fs::read_to_string(host.at("state")).expect("the file"), "a file");
}

#[test]
fn a_state_directory_that_is_read_only_stops_nobody_and_is_used_again_later() {
    let mut host = one_guest();
    let mounted = Mounted::at(host.at("state"), "size=1m");
    fs::create_dir(host.at("state/guests")).expect("a folder");
    let before = "{\"version\": 1, \"gu";
    fs::write(file(&host), before).expect("a bad file");
    mounted.again("remount,ro");
    host.start_daemon();
    runs_without(&host, "Read-only file system");
    assert_eq!(
        fs::read_to_string(file(&host)).expect("the file"),
        before,
        "it could not be moved, and stays"
    );
    mounted.again("remount,rw");
    host.guestctl_ok(&["hold", "web", "--reason", "now"]);
    assert_eq!(stored(&host)["hold"]["reason"], "now");
    wait_for("it to be shown", || (!host.guestctl_ok(&["status"]).contains("Not kept")).then_some(()));
    assert!(host.log().contains("is kept in"), "{}", host.log());
}

#[test]
fn a_full_disk_stops_nobody_and_the_old_file_stays_whole() {
    let mut host = one_guest();
    let _mounted = Mounted::at(host.at("state"), "size=64k");
    host.start_daemon();
    host.guestctl_ok(&["hold", "web", "--reason", "before"]);
    host.guestctl_ok(&["release", "web"]);
    let before = stored(&host);
    assert!(fill(&host.at("state/full")) > 0);
    runs_without(&host, "No space left on device");
    assert_eq!(stored(&host), before);
    fs::remove_file(host.at("state/full")).expect("room");
    host.guestctl_ok(&["hold", "web", "--reason", "after"]);
    assert_eq!(stored(&host)["hold"]["reason"], "after");
}

/// Writes until there is no room left; how much that was.
fn fill(path: &Path) -> usize {
    use std::io::Write;
    let mut full = fs::File::create(path).expect("a file");
    let mut written = 0;
    while let Ok(()) = full.write_all(&[0; 512]) {
        written += 512;
    }
    written
}
