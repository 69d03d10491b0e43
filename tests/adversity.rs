//! What can go wrong around guestd, end to end: a daemon that hangs, dies again and again, has a rival or loses its
//! bus; editors and others at work on what it manages.

mod host;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use host::{Host, wait_for};
use serde_json::Value;

/// Each test has a name of its own for its guest: LXC names cgroups of the whole machine after it.
fn one_guest(name: &str) -> Host {
    let host = Host::running("");
    host.guest(name, &["lxc.start.auto = 1"]);
    host.guestctl_ok(&["start", name]);
    host
}

fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().expect("kill").success());
}

fn text<'a>(status: &'a Value, key: &str) -> &'a str {
    status[key].as_str().unwrap_or_default()
}

/// The reboots that the loop guard knows of, as the next daemon would.
fn counted(host: &Host, name: &str) -> usize {
    let policy = fs::read_to_string(host.at(format!("run/policy/{name}.json"))).expect("a policy");
    let policy: Value = serde_json::from_str(&policy).expect("JSON");
    policy["recent"].as_array().expect("a list").len()
}

fn spooled(host: &Host) -> usize {
    fs::read_dir(host.at("run/spool")).into_iter().flatten().count()
}

#[test]
fn a_daemon_that_hangs_loses_no_reboot_and_counts_none_twice() {
    let host = one_guest("hangs");
    let before = host.status("hangs")["init_pid"].as_i64();
    signal("-STOP", host.daemon_pid());
    host.attach("hangs", &["/bin/reboot", "-f"]);
    wait_for("a new init without the daemon", || {
        host.lxc_init_pid("hangs").filter(|pid| Some(*pid) != before)
    });
    sleep(Duration::from_millis(500));
    signal("-CONT", host.daemon_pid());
    let status = host.until("hangs", "up again", |s| s["phase"] == "up" && s["init_pid"].as_i64() != before);
    assert_eq!(status["init_pid"].as_i64(), host.lxc_init_pid("hangs"));
    assert_eq!((&status["restarts"], text(&status, "intent")), (&1.into(), "up"));
    assert!(text(&status["helper"], "reason").contains("while guestd was away"), "{status:#}");
    wait_for("an empty spool", || (spooled(&host) == 0).then_some(()));
    assert_eq!(counted(&host, "hangs"), 1);
    for n in 2..=5 {
        assert_eq!(host.reboot_inside("hangs")["restarts"], n);
        assert_eq!(counted(&host, "hangs"), n);
    }
    host.attach("hangs", &["/bin/reboot", "-f"]);
    assert!(text(&host.until_phase("hangs", "failed"), "reason").contains("reboot loop"));
}

#[test]
fn a_hanging_daemons_guest_that_may_not_reboot_stays_down() {
    let host = one_guest("refused");
    fs::write(host.at("etc/guests/refused.toml"), "[reboot]\naction = \"stop\"\n").expect("an overlay");
    host.guestctl_ok(&["reload"]);
    signal("-STOP", host.daemon_pid());
    host.attach("refused", &["/bin/reboot", "-f"]);
    wait_for("its end", || host.lxc_init_pid("refused").is_none().then_some(()));
    wait_for("its report", || (spooled(&host) > 0).then_some(()));
    signal("-CONT", host.daemon_pid());
    let status = host.until_phase("refused", "down");
    assert!(text(&status, "reason").contains("its reboot action is stop"), "{status:#}");
    assert_eq!(status["helper"]["decision"], "stop");
    wait_for("an empty spool", || (spooled(&host) == 0).then_some(()));
}

#[test]
fn the_loop_guard_counts_across_daemons_and_without_one() {
    let mut host = one_guest("guarded");
    for n in 1..=2 {
        host.reboot_inside("guarded");
        assert_eq!(counted(&host, "guarded"), n);
    }
    host.kill_daemon();
    let before = host.lxc_init_pid("guarded");
    host.attach("guarded", &["/bin/reboot", "-f"]);
    wait_for("a new init", || host.lxc_init_pid("guarded").filter(|pid| Some(*pid) != before));
    host.start_daemon();
    assert_eq!(counted(&host, "guarded"), 3);
    host.reboot_inside("guarded");
    host.kill_daemon();
    host.start_daemon();
    host.reboot_inside("guarded");
    assert_eq!(counted(&host, "guarded"), 5);
    host.attach("guarded", &["/bin/reboot", "-f"]);
    let status = host.until_phase("guarded", "failed");
    assert!(text(&status, "reason").contains("reboot loop"), "{status:#}");
    assert_eq!(host.lxc_init_pid("guarded"), None);
}

#[test]
fn a_loop_that_trips_the_guard_without_a_daemon_ends_as_with_one() {
    let mut host = one_guest("tripped");
    fs::write(host.at("etc/guests/tripped.toml"), "[reboot]\nlimit = \"1/1h\"\n").expect("an overlay");
    host.guestctl_ok(&["reload"]);
    host.reboot_inside("tripped");
    host.kill_daemon();
    host.attach("tripped", &["/bin/reboot", "-f"]);
    wait_for("its end", || host.lxc_init_pid("tripped").is_none().then_some(()));
    wait_for("its report", || (spooled(&host) > 0).then_some(()));
    host.start_daemon();
    let status = host.status("tripped");
    assert_eq!((text(&status, "phase"), text(&status, "intent")), ("failed", "up"), "{status:#}");
    assert!(text(&status, "reason").contains("reboot loop: it rebooted more than 1 times"), "{status:#}");
}

#[test]
fn what_others_started_while_no_daemon_was_there_is_theirs() {
    let mut host = one_guest("theirs");
    host.kill_daemon();
    let before = host.lxc_init_pid("theirs");
    host.attach("theirs", &["/bin/reboot", "-f"]);
    wait_for("a new init", || host.lxc_init_pid("theirs").filter(|pid| Some(*pid) != before));
    host.start_daemon();
    assert_eq!(host.status("theirs")["adopted"], false, "a reboot in place stays in the run");

    let ends = |host: &mut Host| {
        host.kill_daemon();
        assert!(host.lxc("lxc-stop", "theirs").arg("-k").status().expect("lxc-stop").success());
    };
    ends(&mut host);
    assert!(host.lxc("lxc-start", "theirs").arg("-d").status().expect("lxc-start").success());
    host.start_daemon();
    let status = host.status("theirs");
    assert_eq!((text(&status, "phase"), status["adopted"].as_bool()), ("up", Some(true)), "{status:#}");

    host.guestctl_ok(&["restart", "theirs"]);
    assert_eq!(host.status("theirs")["adopted"], false, "now it is ours");
    ends(&mut host);
    assert!(host.at("run/policy/theirs.json").exists());
    host.start_daemon();
    host.until_phase("theirs", "down");
    assert!(!host.at("run/policy/theirs.json").exists(), "it was seen to be down");
}

#[test]
fn a_rival_is_refused_and_harms_nothing() {
    let host = one_guest("rivalled");
    let policy = fs::read(host.at("run/policy/rivalled.json")).expect("a policy");
    let mut second = host.command(env!("CARGO_BIN_EXE_guestd"));
    let words = ["--config-dir", "etc", "--runtime-dir", "run", "--state-dir", "state"];
    second.args(words.map(
        |word| {
            if word.starts_with('-') { word.into() } else { host.at(word).into_os_string() }
        },
    ));
    let refused = second.output().expect("guestd");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("in use by a running daemon"), "{said}");

    fs::create_dir(host.at("other")).expect("a folder");
    let mut third = host.command(env!("CARGO_BIN_EXE_guestd"));
    third.arg("--config-dir").arg(host.at("etc")).arg("--runtime-dir").arg(host.at("other"));
    let refused = third.arg("--state-dir").arg(host.at("other")).output().expect("guestd");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("another guestd runs on this bus"), "{said}");
    assert!(!said.contains("adopted"), "it takes nothing over before: {said}");

    assert_eq!(fs::read(host.at("run/policy/rivalled.json")).expect("a policy"), policy);
    let status = host.reboot_inside("rivalled");
    assert_eq!(status["helper"]["decision"], "restart");
    assert!(!text(&status["helper"], "reason").contains("away"), "the first one answers: {status:#}");
    assert_eq!(counted(&host, "rivalled"), 1);
}

#[test]
fn only_root_sees_what_decides_about_guests() {
    let host = one_guest("private");
    let mode = |path: &str| fs::symlink_metadata(host.at(path)).expect(path).permissions().mode() & 0o777;
    assert_eq!(
        (mode("run/helper.sock"), mode("run/policy"), mode("run/policy/private.json")),
        (0o600, 0o700, 0o600)
    );
    assert_eq!(mode("run") & 0o022, 0, "nobody else may write there");
}

#[test]
fn signals_stop_the_daemon_and_reload_it_and_guests_go_on() {
    let mut host = one_guest("signalled");
    host.guest("late", &[]);
    fs::write(host.at("etc/guests/late.toml"), "[start]\norder = 9\n").expect("an overlay");
    signal("-HUP", host.daemon_pid());
    assert!(host.notified("RELOADING=1").contains("MONOTONIC_USEC="));
    host.notified("READY=1");
    assert_eq!(host.status("late")["order"], 9, "known with its overlay");
    fs::write(host.at("etc/guests/late.toml"), "[start]\nordre = 9\n").expect("a bad overlay");
    signal("-HUP", host.daemon_pid());
    host.notified("errors in its files: 1");
    let began = Instant::now();
    let status = host.end_daemon("-TERM");
    assert!(status.success() && began.elapsed() < Duration::from_secs(5), "{status} {:?}", began.elapsed());
    let pid = host.lxc_init_pid("signalled");
    assert!(pid.is_some(), "it goes on");
    host.start_daemon();
    assert_eq!(host.status("signalled")["init_pid"].as_i64(), pid);
}

#[test]
fn a_guest_that_is_being_started_goes_on_when_the_daemon_stops() {
    let mut host = Host::running("");
    let (begun, go) = (host.at("begun"), host.at("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.02; done", begun.display(), go.display());
    host.guest("halfway", &[&format!("lxc.hook.pre-start = /bin/sh -c '{wait}'")]);
    let mut start =
        host.command(env!("CARGO_BIN_EXE_guestctl")).args(["start", "halfway"]).spawn().expect("guestctl");
    wait_for("its start", || begun.exists().then_some(()));
    assert!(host.end_daemon("-TERM").success());
    fs::write(&go, "").expect("the word to go on");
    let pid = wait_for("its init", || host.lxc_init_pid("halfway"));
    host.start_daemon();
    assert_eq!(host.until_phase("halfway", "up")["init_pid"].as_i64(), Some(pid));
    assert!(start.wait().expect("its end").success(), "the next daemon can tell");
}

#[test]
fn a_daemon_whose_bus_is_gone_goes_on_and_is_back_when_it_is() {
    let mut host = one_guest("busless");
    let before = host.lxc_init_pid("busless").expect("its init");
    let pid = host.daemon_pid();
    host.kill_bus();
    wait_for("its word", || host.log().contains("the connection to the bus was closed").then_some(()));
    // Nobody can ask, and guests are looked after all the same.
    assert!(Command::new("kill").args(["-KILL", &before.to_string()]).status().expect("kill").success());
    let after = wait_for("another init", || host.lxc_init_pid("busless").filter(|init| *init != before));
    host.restart_bus();
    wait_for("its return", || host.log().contains("back on the bus").then_some(()));
    let status = host.until_phase("busless", "up");
    assert_eq!((status["init_pid"].as_i64(), &status["restarts"]), (Some(after), &1.into()));
    assert_eq!((host.daemon_ended(), host.daemon_pid()), (None, pid));
}

#[test]
fn a_config_that_is_replaced_never_costs_its_guest() {
    let host = Host::running("");
    host.guest("edited", &[]);
    host.guestctl_ok(&["hold", "edited"]);
    let folder = host.lxcpath().join("edited");
    let config = fs::read_to_string(folder.join("config")).expect("a config");
    fs::rename(folder.join("config"), folder.join("config~")).expect("a backup");
    assert_eq!(host.status("edited")["phase"], "down", "known while an editor is at it");
    fs::write(folder.join("config"), format!("{config}lxc.start.order = 7\n")).expect("a new config");
    let status = host.until("edited", "changed", |status| status["order"] == 7);
    assert!(status["held"].is_string(), "what was known of it stays known: {status:#}");
    fs::remove_file(folder.join("config")).expect("its end");
    wait_for("the end of edited", || (!host.list().contains_key("edited")).then_some(()));
}

#[test]
fn lxcpaths_come_go_and_change_hands() {
    let host = Host::new("");
    let (first, second) = (host.at("lxc"), host.at("later/lxc"));
    let settings = |paths: &[&std::path::Path]| {
        let paths: Vec<String> = paths.iter().map(|path| format!("\"{}\"", path.display())).collect();
        fs::write(host.at("etc/guestd.toml"), format!("[lxc]\npath = [{}]\n", paths.join(", ")))
            .expect("settings");
    };
    settings(&[&first, &second]);
    let mut host = host;
    host.guest("moved", &[]);
    host.start_daemon();
    host.guestctl_ok(&["start", "moved"]);

    fs::create_dir_all(second.join("db")).expect("a container's folder");
    fs::copy(first.join("moved/config"), second.join("db/config")).expect("a config");
    wait_for("an lxcpath that comes late", || host.list().contains_key("db").then_some(()));

    // The name moves to the other lxcpath while its container runs in the first.
    fs::rename(second.join("db"), second.join("moved")).expect("a container renamed");
    let settings = |paths: &[&std::path::Path]| {
        let paths: Vec<String> = paths.iter().map(|path| format!("\"{}\"", path.display())).collect();
        fs::write(host.at("etc/guestd.toml"), format!("[lxc]\npath = [{}]\n", paths.join(", ")))
            .expect("settings");
    };
    settings(&[&second]);
    host.guestctl_ok(&["reload"]);
    let status = host.status("moved");
    assert_eq!((text(&status, "phase"), status["init_pid"].as_i64()), ("up", host.lxc_init_pid("moved")));
    host.guestctl_ok(&["kill", "moved"]);
    assert_eq!(host.lxc_init_pid("moved"), None, "what ran was killed, not what has its name now");
    host.until("moved", "the other one", |status| status["lxcpath"] == second.display().to_string());
}

#[test]
fn what_others_are_just_starting_is_stopped_too() {
    let mut host = Host::running("");
    let (begun, go) = (host.at("begun"), host.at("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.02; done", begun.display(), go.display());
    host.guest("between", &[&format!("lxc.hook.pre-start = /bin/sh -c '{wait}'")]);
    for restarted in [false, true] {
        host.until_phase("between", "down");
        let mut others = host.lxc("lxc-start", "between").arg("-d").spawn().expect("lxc-start");
        wait_for("its start", || begun.exists().then_some(()));
        let mut stop = if restarted {
            host.kill_daemon();
            host.start_daemon();
            host.command(env!("CARGO_BIN_EXE_autostart")).args(["-s", "-a", "-A"]).spawn().expect("autostart")
        } else {
            host.until("between", "in doubt", |s| s["reason"] == "somebody is starting or stopping it");
            host.command(env!("CARGO_BIN_EXE_guestctl")).args(["stop", "between"]).spawn().expect("guestctl")
        };
        host.until_phase("between", "stopping");
        fs::write(&go, "").expect("the word to go on");
        assert!(others.wait().expect("its end").success());
        assert!(stop.wait().expect("its end").success());
        assert_eq!(host.status("between")["phase"], "down");
        assert_eq!(host.lxc_init_pid("between"), None);
        fs::remove_file(&go).and_then(|()| fs::remove_file(&begun)).expect("the word is taken back");
    }
}

#[test]
fn a_start_waits_for_what_others_are_doing() {
    let host = Host::running("");
    let (begun, go) = (host.at("begun"), host.at("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.02; done", begun.display(), go.display());
    host.guest("awaited", &[&format!("lxc.hook.pre-start = /bin/sh -c '{wait}'")]);
    host.until_phase("awaited", "down");
    let mut others = host.lxc("lxc-start", "awaited").arg("-d").spawn().expect("lxc-start");
    wait_for("its start", || begun.exists().then_some(()));
    let mut start =
        host.command(env!("CARGO_BIN_EXE_guestctl")).args(["start", "awaited"]).spawn().expect("guestctl");
    host.until_phase("awaited", "starting");
    fs::write(&go, "").expect("the word to go on");
    assert!(others.wait().expect("its end").success());
    assert!(start.wait().expect("its end").success());
    assert_eq!(host.until_phase("awaited", "up")["adopted"], true);
}

#[test]
fn a_start_that_others_were_faster_with_harms_nothing() {
    let host = Host::running("");
    host.guest("raced", &[]);
    host.until_phase("raced", "down");
    signal("-STOP", host.daemon_pid());
    let mut start =
        host.command(env!("CARGO_BIN_EXE_guestctl")).args(["start", "raced"]).spawn().expect("guestctl");
    assert!(host.lxc("lxc-start", "raced").arg("-d").status().expect("lxc-start").success());
    let pid = host.lxc_init_pid("raced");
    signal("-CONT", host.daemon_pid());
    assert!(start.wait().expect("its end").success());
    let status = host.until_phase("raced", "up");
    assert_eq!((status["init_pid"].as_i64(), host.lxc_init_pid("raced")), (pid, pid));
    assert_eq!(status["adopted"], true);
}

#[test]
fn what_was_asked_of_a_guest_is_done_by_the_next_daemon() {
    let mut host = one_guest("unfinished");
    let first = host.lxc_init_pid("unfinished");
    // Its init takes two seconds to stop.
    host.guestctl_ok(&["restart", "--no-block", "unfinished"]);
    host.until_phase("unfinished", "stopping");
    host.kill_daemon();
    host.start_daemon();
    let back = host.until("unfinished", "back", |status| {
        status["phase"] == "up" && status["init_pid"].as_i64() != first
    });
    assert_eq!(back["intent"], "up");

    host.guestctl_ok(&["stop", "--no-block", "unfinished"]);
    host.until_phase("unfinished", "stopping");
    host.kill_daemon();
    host.start_daemon();
    let down = host.until_phase("unfinished", "down");
    assert_eq!(
        (&down["intent"], &down["reason"]),
        (&"down".into(), &"stopped by request".into()),
        "{down:#}"
    );
}
