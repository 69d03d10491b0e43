//! What guests do by themselves, and what becomes of it: reboots, halts, crashes, and a daemon that dies.

mod host;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use host::{Host, SOON, executable};

/// Crashes are left as they are.
const LEFT_DOWN: &str = "[defaults.restart]\npolicy = \"never\"\n";

fn one_guest(settings: &str) -> Host {
    let host = Host::running(settings);
    host.guest("web", &["lxc.start.auto = 1"]);
    host.guestctl_ok(&["start", "web"]);
    host
}

fn text<'a>(status: &'a serde_json::Value, key: &str) -> &'a str {
    status[key].as_str().unwrap_or_default()
}

#[test]
fn a_reboot_from_inside_is_reported_decided_and_seen() {
    let host = one_guest("");
    let before = host.status("web");
    let status = host.reboot_inside("web");
    assert_eq!(status["helper"]["event"], "reboot");
    assert_eq!(status["helper"]["decision"], "restart");
    assert_eq!(status["restarts"], 1);
    assert_eq!(status["init_pid"].as_i64(), host.lxc_init_pid("web"));
    assert_ne!(status["since"], before["since"]);
    let log = host.log();
    for words in ["helper request", "decision: restart", &format!("its new init is {}", status["init_pid"])] {
        assert!(log.contains(words), "{words:?} is not in the journal:\n{log}");
    }
}

#[test]
fn both_hook_versions_report() {
    let host = Host::running("");
    host.guest("v1", &["lxc.hook.version = 1"]);
    host.guestctl_ok(&["start", "v1"]);
    assert_eq!(host.reboot_inside("v1")["helper"]["decision"], "restart");
}

#[test]
fn the_sixth_reboot_in_a_minute_trips_the_guard() {
    let host = one_guest("");
    for n in 1..=5 {
        assert_eq!(host.reboot_inside("web")["restarts"], n);
    }
    host.attach("web", &["/bin/reboot", "-f"]);
    let status = host.until_phase("web", "failed");
    assert!(text(&status, "reason").contains("reboot loop"), "{status:#}");
    assert_eq!(status["helper"]["decision"], "stop");
    assert_eq!(host.lxc_init_pid("web"), None);
    host.guestctl_ok(&["start", "web"]);
    host.until_phase("web", "up");
}

#[test]
fn a_reboot_that_is_only_reported_kills_nobody() {
    let host = Host::running("[defaults.start]\ntimeout = \"1s\"\n[defaults.stop]\ntimeout = \"1s\"\n");
    host.guest("web", &[]);
    host.guestctl_ok(&["start", "web"]);
    let before = host.status("web")["init_pid"].clone();
    let warning = "web was reported to reboot, but its init has not ended: it is left up";
    for (n, (action, status)) in [("restart", 0), ("stop", 1)].into_iter().enumerate() {
        let overlay = format!("[reboot]\naction = \"{action}\"\n");
        fs::write(host.at("etc/guests/web.toml"), overlay).expect("an overlay");
        host.guestctl_ok(&["reload"]);
        let mut helper = host.command(env!("CARGO_BIN_EXE_guest-helper"));
        let helper = helper.arg("--runtime-dir").arg(host.at("run")).args(["--guest", "web", "reboot"]);
        assert_eq!(helper.status().expect("guest-helper").code(), Some(status), "{action}");
        host::wait_for("the end of it", || (host.log().matches(warning).count() == n + 1).then_some(()));
        let after = host.until_phase("web", "up");
        assert_eq!((&after["init_pid"], text(&after, "intent")), (&before, "up"), "{action}");
    }
}

#[test]
fn a_guest_that_powers_itself_off_stays_down() {
    let host = one_guest("");
    host.attach("web", &["/bin/poweroff", "-f"]);
    let status = host.until_phase("web", "down");
    assert_eq!((text(&status, "reason"), text(&status, "intent")), ("halted by the guest", "down"));
}

#[test]
fn a_killed_init_is_a_crash_with_its_signal() {
    let host = one_guest(LEFT_DOWN);
    let pid = host.lxc_init_pid("web").expect("an init").to_string();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
    let status = host.until_phase("web", "failed");
    assert_eq!(text(&status, "reason"), "crashed: its init was killed by SIGKILL");
}

#[test]
fn an_init_that_ends_at_once_is_known_for_what_it_is() {
    let host = Host::running(LEFT_DOWN);
    for (name, init, phase, reason) in [
        ("true", "/bin/busybox true", "down", "its init exited with status 0"),
        ("false", "/bin/busybox false", "failed", "crashed: its init exited with status 1"),
    ] {
        host.guest(name, &[&format!("lxc.init.cmd = {init}")]);
        let started = host.guestctl(&["start", name]);
        let said = String::from_utf8_lossy(&started.stderr).into_owned();
        // On a busy machine it may be seen to run first: then it was started, and has ended since.
        let expected = if started.status.success() { "" } else { reason };
        assert!(started.status.code() <= Some(1) && said.contains(expected), "{said}");
        host.until(name, reason, |status| status["phase"] == phase && status["reason"] == reason);
    }
    host.guest("off", &["lxc.init.cmd = /bin/poweroff -f"]);
    host.until_phase("off", "down");
    assert!(host.lxc("lxc-start", "off").arg("-d").status().expect("lxc-start").success());
    let status = host.until("off", "halted", |status| status["reason"] == "halted by the guest");
    assert_eq!((text(&status, "phase"), text(&status, "intent")), ("down", "down"));
}

#[test]
fn reboot_action_stop_and_script_decide() {
    let host = one_guest("");
    let overlay = host.at("etc/guests/web.toml");
    fs::write(&overlay, "[reboot]\naction = \"stop\"\n").expect("an overlay");
    host.guestctl_ok(&["reload"]);
    host.attach("web", &["/bin/reboot", "-f"]);
    let status = host.until_phase("web", "down");
    assert!(text(&status, "reason").contains("its settings say stop"), "{status:#}");

    for (exit, phase) in [(0, "up"), (1, "down")] {
        let script = host.at("decide");
        executable::script(
            &script,
            &format!("echo noise; echo noise >&2\necho \"$@\" >{}.said\nexit {exit}", script.display()),
        );
        fs::write(&overlay, format!("[reboot]\naction = \"{}\"\n", script.display())).expect("an overlay");
        host.guestctl_ok(&["reload"]);
        host.guestctl_ok(&["start", "web"]);
        let before = host.status("web")["init_pid"].clone();
        host.attach("web", &["/bin/reboot", "-f"]);
        host.until("web", phase, |s| s["phase"] == phase && s["init_pid"] != before);
        assert_eq!(fs::read_to_string(host.at("decide.said")).expect("its words"), "reboot web\n");
        let told = format!("web: {}: noise", script.display());
        host::wait_for("what it printed", || (host.log().matches(&told).count() >= 2).then_some(()));
    }
}

#[test]
fn a_reboot_takes_the_new_configuration() {
    let host = one_guest("");
    let config = host.lxcpath().join("web/config");
    let text = fs::read_to_string(&config).expect("the config");
    fs::write(&config, text.replace("lxc.uts.name = web", "lxc.uts.name = renamed")).expect("a new config");
    host.until("web", "known as changed", |status| status["config_changed"] == true);
    host.reboot_inside("web");
    let name = host.lxc("lxc-attach", "web").args(["--", "/bin/cat", "/proc/sys/kernel/hostname"]).output();
    assert_eq!(String::from_utf8_lossy(&name.expect("lxc-attach").stdout).trim(), "renamed");
    assert_eq!(host.status("web")["config_changed"], false);
}

#[test]
fn containers_that_others_start_stop_and_define_are_noticed() {
    let host = Host::running("");
    host.guest("late", &[]);
    host.until_phase("late", "down");
    assert!(host.lxc("lxc-start", "late").arg("-d").status().expect("lxc-start").success());
    let status = host.until_phase("late", "up");
    assert_eq!(
        (status["adopted"].as_bool(), status["init_pid"].as_i64()),
        (Some(true), host.lxc_init_pid("late"))
    );
    host.attach("late", &["/bin/reboot", "-f"]);
    let seen = host.until("late", "rebooted", |s| s["phase"] == "up" && s["init_pid"] != status["init_pid"]);
    assert_eq!(seen["restarts"], 1);
    // A crash, as far as anybody can tell.
    assert!(host.lxc("lxc-stop", "late").arg("-k").status().expect("lxc-stop").success());
    host.until("late", "up again", |s| s["phase"] == "up" && s["adopted"] == false);
    host.guestctl_ok(&["stop", "late"]);

    fs::remove_dir_all(host.lxcpath().join("late")).expect("its folder");
    host::wait_for("the end of late", || (!host.list().contains_key("late")).then_some(()));
    assert_eq!(host.guestctl(&["status", "late"]).status.code(), Some(4));
}

#[test]
fn a_reload_finds_what_nobody_told_of() {
    let mut host = Host::new("");
    host.guest("unseen", &[]);
    // Somebody has the FIFO, and passes nothing on.
    let folder = Path::new("/run/lxc").join(host.lxcpath().strip_prefix("/").expect("below /"));
    fs::create_dir_all(&folder).expect("its folder");
    let fifo = folder.join("monitor-fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    let held = fs::File::options().read(true).write(true).open(&fifo).expect("the fifo");
    rustix::fs::fcntl_lock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).expect("its lock");
    host.start_daemon();
    assert!(host.lxc("lxc-start", "unseen").arg("-d").status().expect("lxc-start").success());
    assert_eq!(host.status("unseen")["phase"], "down");
    host.guestctl_ok(&["reload"]);
    host.until_phase("unseen", "up");
}

#[test]
fn guests_outlive_a_daemon_that_is_killed() {
    let mut host = Host::running("");
    for name in ["a", "b", "c"] {
        host.guest(name, &["lxc.start.auto = 1"]);
    }
    host.autostart_ok(&["-a"]);
    let before = host.list();
    host.kill_daemon();
    for name in ["a", "b", "c"] {
        assert_eq!(host.lxc_init_pid(name), before[name]["init_pid"].as_i64());
    }
    host.start_daemon();
    for (name, guest) in host.list() {
        for key in ["phase", "init_pid", "since", "intent"] {
            assert_eq!(guest[key], before[&name][key], "{name}'s {key}");
        }
        assert_eq!(host.status(&name)["adopted"], false, "this guestd's predecessor had started it");
    }
    assert_eq!(host.reboot_inside("a")["helper"]["decision"], "restart", "its hook finds the new daemon");
}

/// Four guests that take a moment to start, each in its place, and tell of it.
fn slow_guests(host: &Host) {
    let started = host.at("started").display().to_string();
    for (name, order, delay) in [("a", 3, 2), ("b", 2, 1), ("c", 1, 0), ("d", 1, 0)] {
        let lines = [
            "lxc.start.auto = 1".to_owned(),
            format!("lxc.start.order = {order}"),
            format!("lxc.start.delay = {delay}"),
            format!("lxc.hook.pre-start = sh -c \"echo {name} >>{started}; sleep 0.3\""),
        ];
        host.guest(name, &lines.each_ref().map(String::as_str));
    }
}

#[test]
fn a_job_outlives_a_daemon_that_is_killed_and_its_client_goes_on_waiting() {
    let mut host = Host::new("order = \"highest-first\"");
    slow_guests(&host);
    host.start_daemon();
    let mut client = host.command(env!("CARGO_BIN_EXE_autostart"));
    let client = client.args(["-a", "--json", "--progress"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().expect("autostart");
    let mut told = BufReader::new(client.stderr.take().expect("a pipe")).lines();
    let first = told.next().expect("it follows the job").expect("a line");
    assert!(first.starts_with("autostart: 0/4 "), "{first}");
    // In the middle of a start, of a delay, and of a start with others to come.
    for (name, phase, up) in [("a", "starting", 0), ("a", "up", 1), ("b", "starting", 1)] {
        host.until_phase(name, phase);
        host.kill_daemon();
        host.start_daemon();
        let jobs = jobs(&host);
        assert_eq!(
            (jobs.len(), &jobs[0]["id"], text(&jobs[0], "state")),
            (1, &1.into(), "running"),
            "{jobs:?}"
        );
        assert!(jobs[0]["done"].as_u64() >= Some(up), "{jobs:?}");
    }
    let output = client.wait_with_output().expect("its end");
    let told: Vec<String> = told.map(|line| line.expect("a line")).collect();
    assert_eq!(output.status.code(), Some(0), "{told:?}\n{}", host.log());
    let count = |words: &str| told.iter().filter(|line| line.contains(words)).count();
    let (gone, back) = (count("guestd went away"), count("guestd is back"));
    assert!(gone > 0 && gone == back, "{told:?}");
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let done = serde_json::json!({"a": "done", "b": "done", "c": "done", "d": "done"});
    assert_eq!((&job["job"], &job["results"]), (&1.into(), &done));
    let started = fs::read_to_string(host.at("started")).expect("starts");
    let mut started: Vec<&str> = started.lines().collect();
    started.sort_unstable();
    assert_eq!(started, ["a", "b", "c", "d"], "each is started once");
    let since = |name: &str| humantime::parse_rfc3339(text(&host.status(name), "since")).expect("a time");
    let gap = since("b").duration_since(since("a")).expect("b comes later");
    assert!(gap >= Duration::from_secs(2), "{gap:?}");
}

#[test]
fn the_results_of_a_job_outlive_the_daemon() {
    let mut host = Host::running("");
    host.guest("d", &[]);
    host.guestctl_ok(&["start", "d"]);
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(text(&jobs(&host)[0], "state"), "done", "its result is found for a while");
    host.guestctl_ok(&["stop", "d"]);
    assert_eq!(jobs(&host)[1]["id"], 2, "no number is given twice");
}

fn jobs(host: &Host) -> Vec<serde_json::Value> {
    serde_json::from_str(&host.guestctl_ok(&["jobs", "--json"])).expect("JSON")
}

#[test]
fn a_reboot_while_the_daemon_is_away_is_carried_out_and_remembered() {
    let mut host = one_guest("");
    let before = host.status("web");
    host.kill_daemon();
    host.attach("web", &["/bin/reboot", "-f"]);
    host::wait_for("a new init", || {
        host.lxc_init_pid("web").filter(|pid| Some(*pid) != before["init_pid"].as_i64())
    });
    host.start_daemon();
    let status = host.status("web");
    assert_eq!(status["phase"], "up");
    assert!(text(&status["helper"], "reason").contains("while guestd was away"), "{status:#}");
    let told = "web sent a helper request while guestd was away: reboot; decision: restart: its reboot action is restart";
    assert_eq!(host.log().matches(told).count(), 1, "{}", host.log());
}

#[test]
fn a_wedged_monitor_delays_nobody() {
    let mut host = Host::running("");
    host.guest("wedged", &[]);
    host.guest("fine", &[]);
    host.guestctl_ok(&["start", "wedged"]);
    let init = host.lxc_init_pid("wedged").expect("an init").to_string();
    let stat = fs::read_to_string(format!("/proc/{init}/stat")).expect("its stat");
    let monitor =
        stat.rsplit(')').next().expect("fields").split_whitespace().nth(1).expect("ppid").to_owned();
    let signal = |name: &str, pid: &str| {
        assert!(Command::new("kill").args([name, pid]).status().expect("kill").success());
    };
    signal("-STOP", &monitor);
    let began = Instant::now();
    host.guestctl_ok(&["start", "fine"]);
    host.guestctl_ok(&["reboot", "fine"]);
    host.guestctl_ok(&["list"]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    host.kill_daemon();
    host.start_daemon();
    host.until_phase("fine", "up");
    let began = Instant::now();
    host.guestctl_ok(&["kill", "wedged"]);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // Killed with its monitor, it is left to the host's init, which may be slow to wait for it.
    let stat = fs::read_to_string(format!("/proc/{init}/stat")).unwrap_or_default();
    assert!(stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z')), "{stat}");
}
