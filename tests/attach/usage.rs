//! What guests use, beside what the kernel says itself.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{
    Terminal, attach_in_background,
    host::{Host, Kind, wait_for},
    running, running_of,
};

/// A file of a guest's cgroup, in the hierarchy that has it.
fn file(host: &Host, guest: &str, names: &[&str]) -> PathBuf {
    let pid = host.status(guest)["init_pid"].as_i64().expect("its init");
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
    let paths = table.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect::<Vec<_>>();
    let mounts = fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten().map(|entry| entry.path());
    let mounts: Vec<_> = mounts.chain(["/sys/fs/cgroup".into()]).collect();
    let all = mounts
        .iter()
        .flat_map(|mount| paths.iter().map(move |path| mount.join(path.trim_start_matches('/'))));
    let files = all.flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| panic!("none of {names:?}"))
}

fn number(file: &PathBuf) -> f64 {
    fs::read_to_string(file).expect("a file").trim().parse().expect("a number")
}

fn top(host: &Host, arguments: &[&str]) -> Vec<Value> {
    let told = host.guestctl_ok(&[&["top", "--json"], arguments].concat());
    serde_json::from_str(&told).expect("JSON")
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_guest_that_burns_is_seen() {
    Kind::ALL.into_iter().for_each(of_a_guest_that_burns);
}

fn of_a_guest_that_burns(kind: Kind) {
    let host = running_of(kind, &["busy", "calm"]);
    host.guest("down", &[]);
    host.guestctl_ok(&["reload"]);
    let (memory, tasks) = (["memory.usage_in_bytes", "memory.current"], ["pids.current"]);
    // 32 MiB of a variable, then for ever round.
    let script = "x=$(/bin/busybox dd if=/dev/zero bs=1M count=32 2>/dev/null | /bin/busybox tr '\\0' x); while :; do :; done";
    let mut burner = attach_in_background(&host, "busy", script);
    let seen = wait_for("memory", || {
        let usage = host.status("busy")["usage"].clone();
        (usage["memory"].as_f64()? > 32e6).then_some(usage)
    });
    assert!(seen["tasks"].as_u64() >= Some(2), "{seen}");
    let rows = wait_for("a processor that is busy", || {
        let rows = top(&host, &[]);
        (rows[0]["cpu_percent"].as_f64()? > 20.0).then_some(rows)
    });
    assert_eq!(names(&rows), ["busy", "calm"], "the most comes first, and only who runs");
    assert!(rows[1]["cpu_percent"].as_f64() < Some(10.0), "{rows:?}");
    assert_eq!(names(&top(&host, &["--sort", "memory"])), ["busy", "calm"]);
    assert_eq!(names(&top(&host, &["--sort", "name"])), ["busy", "calm"]);

    let status = host.status("busy");
    let near =
        |told: &Value, known: f64| (told.as_f64().expect("a number") - known).abs() <= known * 0.2 + 2e6;
    assert!(near(&status["usage"]["memory"], number(&file(&host, "busy", &memory))), "{status}");
    assert_eq!(status["usage"]["tasks"].as_f64(), Some(number(&file(&host, "busy", &tasks))), "{status}");
    let cpu = file(&host, "busy", &["cpuacct.usage", "cpu.stat"]);
    if cpu.ends_with("cpuacct.usage") {
        let before = number(&cpu) / 1e9;
        let told = host.status("busy")["usage"]["cpu_seconds"].as_f64().expect("a number");
        let after = number(&cpu) / 1e9;
        assert!((before..=after).contains(&told), "{before} {told} {after}");
    }
    burner.kill().expect("a kill");
    burner.wait().expect("its end");
    assert_eq!(host.status("down")["usage"], Value::Null);
    let told = host.guestctl_ok(&["status", "busy"]);
    for label in ["Memory: ", "CPU time: ", "Tasks: "] {
        assert!(told.contains(label), "{told}");
    }
}

#[test]
fn a_limit_is_the_least_of_all_that_hold() {
    Kind::ALL.into_iter().for_each(of_a_limit);
}

fn of_a_limit(kind: Kind) {
    let host = running_of(kind, &[]);
    match kind {
        Kind::Lxc => {
            host.guest("web", &["lxc.cgroup.memory.limit_in_bytes = 64M", "lxc.cgroup2.memory.max = 64M"]);
        }
        Kind::Native => host.native_guest("web", "/bin/init", "[resources]\nMemoryMax = \"64M\"\n"),
    }
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "web"]);
    assert_eq!(host.status("web")["usage"]["memory_limit"], 64 << 20);
    assert!(host.guestctl_ok(&["status", "web"]).contains(" of 64M\n"));
    let table = host.guestctl_ok(&["top"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "PHASE", "CPU%", "MEMORY", "LIMIT", "TASKS", "UPTIME"]);
    assert_eq!((rows[1][0], rows[1][1], rows[1][4]), ("web", "up", "64M"), "{table}");
}

#[test]
fn a_terminal_is_refreshed_until_somebody_has_seen_enough() {
    let host = running(&["web"]);
    let mut terminal = Terminal::guestctl(&host, &["top"]);
    for _ in 0..2 {
        terminal.until("\u{1b}[H\u{1b}[J");
        terminal.until("web");
    }
    terminal.types("\x03");
    assert_eq!(terminal.ended().code(), Some(0));
    let mut command: Command = host.command(env!("CARGO_BIN_EXE_guestctl"));
    let output = command.args(["top", "-n", "2", "--no-legend"]).output().expect("guestctl");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}
