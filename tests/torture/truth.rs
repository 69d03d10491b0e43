//! What must be true: of the guests that should run, and when nothing runs any more.
//!
//! How often hooks run: a hook is an effect like others, begun once what led to it is stored. A daemon that is killed over
//! one does not come back to it, and one that begins a start anew runs its pre-start hooks again; post-stop hooks of a run
//! whose end no daemon has seen are the next one's. So each kill may cost or add one run of each stage, and without kills
//! the numbers are exact.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    client::{read, until, wait_for},
    guests::{self, ASKS, BOOTS, FAILS, HOOKED},
    host::SOON,
    workload::Workload,
};

/// Finds what is left of something.
type Look = fn(&Workload) -> Vec<String>;

/// Every guest is as it was last wished, by guestd's word and by its engine's; each init was started exactly once.
pub fn guests_are_as_wanted(load: &Workload) {
    for (guest, is_up) in &load.up {
        let name = load.names.of(guest);
        let wanted = |status: &Value| match status["phase"].as_str() {
            Some("up") => *is_up,
            Some("failed") => *guest == FAILS,
            Some("down") => !is_up && *guest != FAILS,
            _ => false,
        };
        let status = until(&load.host, &name, if *is_up { "up" } else { "down" }, wanted);
        let init = guests::init_pid(load.kind, &load.host, &name);
        assert_eq!(init.is_some(), *is_up, "{name} by its engine's word: {status:#}");
        assert_eq!(status["init_pid"].as_i64(), init, "{status:#}");
        assert_eq!(guests::boots(&load.host, &name), load.boots[guest], "inits of {name}: {status:#}");
    }
}

/// The guests that rebooted by themselves: each reboot is counted towards its limit.
pub fn reboots_are_counted(load: &Workload, reboots: usize) {
    let name = load.names.of(BOOTS);
    let policy = load.host.at(format!("run/policy/{name}.json"));
    let policy: Value = serde_json::from_slice(&fs::read(policy).expect("a policy")).expect("JSON");
    let counted = policy["recent"].as_array().expect("a list").len();
    let kills = load.keeper.ends().kills();
    assert!((reboots..=reboots + kills).contains(&counted), "{counted} reboots of {reboots}: {policy:#}");
}

/// Nothing runs, and nothing is left of what did.
pub fn nothing_is_left(load: &Workload) {
    guests_are_as_wanted(load);
    let what: [(&str, Look); 4] = [
        ("process", processes),
        ("cgroup", cgroups),
        ("socket", sockets),
        ("policy or temporary file", files),
    ];
    for (what, look) in what {
        let deadline = Instant::now() + SOON;
        while let left = look(load)
            && !left.is_empty()
        {
            assert!(Instant::now() < deadline, "a {what} is left: {left:?}");
            sleep(Duration::from_millis(10));
        }
    }
    hooks_have_run(load);
    let jobs = read(&load.host, &["jobs", "--json"]);
    assert!(jobs.as_array().expect("a list").iter().all(|job| job["state"] != "running"), "{jobs:#}");
}

fn hooks_have_run(load: &Workload) {
    let kills = load.keeper.ends().kills();
    let starts = load.boots[HOOKED];
    let expected = [
        (HOOKED, "pre-start", starts),
        (HOOKED, "post-start", starts),
        (HOOKED, "pre-stop", starts),
        (HOOKED, "post-stop", starts),
        (FAILS, "pre-start", load.failures),
        (FAILS, "post-stop", load.failures),
        (FAILS, "on-failure", load.failures),
        (ASKS, "decides", load.scripts),
    ];
    for (guest, stage, times) in expected {
        let in_range = |said: &usize| (times.saturating_sub(kills)..=times + kills).contains(said);
        let what = format!("{times} runs of {stage} of {guest}, give or take {kills}");
        wait_for(&load.host, &what, || Some(guests::said(&load.host, guest, stage)).filter(in_range));
    }
}

/// Processes of the engines' programs for guests of this host, and those inside them.
fn processes(load: &Workload) -> Vec<String> {
    let (folder, root) = (load.host.at(""), load.host.lxcpath().join(".root"));
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let is_it = |entry: &fs::DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let programs = ["[lxc monitor] ", "lxc-", env!("CARGO_BIN_EXE_guest-run")];
        let is_monitor = programs.iter().any(|program| line.starts_with(program));
        let is_inside = fs::read_link(entry.path().join("root")).is_ok_and(|at| at == root);
        (is_inside || is_monitor && line.contains(&*folder.to_string_lossy())).then_some(line)
    };
    entries.filter_map(|entry| is_it(&entry).map(|line| format!("{:?} {line}", entry.file_name()))).collect()
}

/// Cgroups of guests of this host, in every hierarchy.
fn cgroups(load: &Workload) -> Vec<String> {
    let prefix = load.names.prefix();
    let mut found = Vec::new();
    let mut folders = vec![Path::new("/sys/fs/cgroup").to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().contains(&prefix) {
                found.push(entry.path().display().to_string());
            }
            folders.push(entry.path());
        }
    }
    found
}

fn sockets(load: &Workload) -> Vec<String> {
    let lxcpath = load.host.lxcpath().display().to_string();
    let sockets = fs::read_to_string("/proc/net/unix").expect("the sockets");
    sockets.lines().filter(|line| line.contains(&format!("@{lxcpath}"))).map(str::to_owned).collect()
}

/// Files that no daemon needs when nothing runs: what was put aside, is half written, or tells of a run.
fn files(load: &Workload) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![load.host.at("run"), load.host.at("state")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_odd = name.starts_with('.') || name.ends_with(".bad") || name.ends_with(".log");
            let is_of_a_run = ["policy", "spool"].iter().any(|of| folder.ends_with(of));
            // Why it has failed is kept.
            let is_of_a_run = is_of_a_run && name != format!("{}.json", load.names.of(FAILS));
            if is_odd || is_of_a_run {
                found.push(entry.path().display().to_string());
            } else if is_folder {
                folders.push(entry.path());
            }
        }
    }
    found
}
