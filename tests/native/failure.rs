//! What goes wrong with a start: it says why, and nothing is left behind.

use std::{collections::BTreeSet, fs, process::Command};

use guestd::{
    engine::{Engine, ErrorKind, Probe, Request},
    guest_run,
    launch::cgroup,
    model::{
        Deed, Guest, Mount, NativeSpec, Place, Step,
        native::{InitProgram, Root, Security},
    },
};

use super::native_host::{Bench, eventually, shell};

fn mount(source: &str, target: &str, kind: &str) -> Mount {
    Mount {
        source: source.into(),
        target: target.into(),
        kind: kind.into(),
        options: vec![],
        optional: false,
    }
}

type Case = (&'static str, fn(&mut NativeSpec), ErrorKind, &'static str);

const CASES: [Case; 9] = [
    (
        "root",
        |spec| spec.root = Root::Folder("/nonexistent".into()),
        ErrorKind::Misconfigured,
        "/nonexistent",
    ),
    ("file", |spec| spec.root = Root::Folder("/etc/passwd".into()), ErrorKind::Misconfigured, "no folder"),
    (
        "init",
        |spec| spec.init.program = InitProgram::Exec(vec!["/sbin/missing".into()]),
        ErrorKind::Misconfigured,
        "/sbin/missing",
    ),
    (
        "bind",
        |spec| spec.mounts.push(mount("/nonexistent", "/data", "bind")),
        ErrorKind::Failed,
        "mount /nonexistent at /data",
    ),
    ("kind", |spec| spec.mounts.push(mount("x", "/data", "nofs")), ErrorKind::Failed, "mount nofs at /data"),
    ("directory", |spec| spec.init.directory = "/missing".into(), ErrorKind::Failed, "/missing"),
    (
        "sysctl",
        |spec| spec.process.sysctl.push(("kernel.missing".into(), "1".into())),
        ErrorKind::Failed,
        "kernel.missing",
    ),
    (
        "processors",
        |spec| spec.process.processors = Some("3-1".into()),
        ErrorKind::Misconfigured,
        "processors",
    ),
    (
        "step",
        |spec| {
            spec.lifecycle.before.push(Step {
                name: "pre-start".into(),
                what: Deed::Run { argv: vec!["/bin/false".into()], directory: Place::Root, success: vec![] },
                must_succeed: true,
            });
        },
        ErrorKind::Failed,
        "pre-start: /bin/false",
    ),
];

/// What of a bench's folder is mounted on this host.
fn mounts(bench: &Bench) -> String {
    let folder = bench.folder().display().to_string();
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.lines().filter(|line| line.contains(&folder)).collect()
}

#[tokio::test]
async fn a_failed_start_says_why_and_leaves_nothing_behind() {
    for user_namespace in [true, false] {
        for (name, edit, kind, word) in CASES {
            let mut bench = Bench::new();
            let guest = bench.guest(&format!("bad-{name}"), |spec| {
                spec.user_namespace = user_namespace;
                edit(spec);
            });
            let before = (mounts(&bench), tree(&bench.root()));
            let error = bench.engine.start(&guest).await.unwrap_err();
            assert_eq!(error.kind, kind, "{name}: {error}");
            assert!(error.reason.contains(word), "{name}: {error}");
            assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down, "{name}");
            let top = guest_run::top(&guest.name);
            assert!(cgroup::top_level(|found| found == top).unwrap().is_empty(), "{name}: cgroups are left");
            assert_eq!((mounts(&bench), tree(&bench.root())), before, "{name}: something is left");
            assert!(!bench.place(&guest).socket().exists(), "{name}: its socket is left");
        }
    }
}

fn tree(root: &std::path::Path) -> BTreeSet<std::path::PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            // Where others are mounted on, folders may be made.
            found.insert(entry.path());
        }
    }
    found.retain(|path| !path.ends_with("data"));
    found
}

#[tokio::test]
async fn no_guest_has_two_monitors() {
    let mut bench = Bench::new();
    let guest = bench.shell("twice", "sleep 1000");
    let init = bench.up(&guest).await;
    let second = std::process::Command::new(super::native_host::MONITOR)
        .arg(bench.place(&guest).folder())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("monitor already"), "{second:?}");
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Up(init));
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_given_up_with_all_it_began() {
    let mut bench = Bench::new();
    let guest = bench.guest("slow", |spec| {
        spec.init.program = shell("sleep 1000");
        spec.lifecycle.before.push(Step {
            name: "pre-start".into(),
            what: Deed::Run {
                argv: ["/bin/sleep", "1000"].map(str::to_owned).to_vec(),
                directory: Place::Root,
                success: vec![],
            },
            must_succeed: true,
        });
    });
    let mut hurried = guestd::model::Guest::clone(&guest);
    hurried.start.timeout = std::time::Duration::from_millis(300);
    let error = bench.engine.start(&hurried).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut, "{error}");
    assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    let top = guest_run::top(&guest.name);
    assert!(cgroup::top_level(|found| found == top).unwrap().is_empty(), "cgroups are left");
}

/// What a host shows of guests: mounts, interfaces, cgroups, and files in the runtime directory.
fn remains(bench: &Bench, guest: &Guest) -> (String, String, bool, Vec<String>) {
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
    let links = String::from_utf8(links).unwrap();
    let names: Vec<_> = links.lines().filter_map(|line| line.split(": ").nth(1)).collect();
    let top = guest_run::top(&guest.name);
    let has_cgroups = !cgroup::top_level(|found| found == top).unwrap().is_empty();
    let files = fs::read_dir(bench.place(guest).folder()).unwrap().flatten();
    let mut files: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    files.retain(|name| !["outcome.json", "trace", "lock", "engine", "console"].contains(&name.as_str()));
    files.sort();
    files.extend(bench.place(guest).network().exists().then(|| "network".to_owned()));
    (mounts(bench), names.join(" "), has_cgroups, files)
}

/// Whether a process of the guest is left.
fn is_left(bench: &Bench, guest: &Guest) -> bool {
    let folder = bench.place(guest).folder().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).into_owned())
    });
    lines.into_iter().any(|line| line.contains("guest-run") && line.contains(&folder))
}

/// A guest with something of everything that a start makes.
fn rich(spec: &mut NativeSpec, shared: &str, user_namespace: bool) {
    let step = |name: &str, what| Step { name: name.into(), what, must_succeed: true };
    spec.user_namespace = user_namespace;
    spec.security = Security::usual(user_namespace);
    spec.network = super::network::veth();
    spec.mounts = vec![mount(shared, "/data", "bind"), mount("tmpfs", "/srv", "tmpfs")];
    spec.process.nice = Some(1);
    spec.process.processors = Some("0".into());
    spec.process.sysctl.push(("net.ipv4.ip_forward".into(), "1".into()));
    spec.read_only = user_namespace;
    spec.init.program = shell("trap 'exit 0' TERM; echo up; while :; do sleep 1; done");
    spec.init.halt_signal = Some(15);
    if !user_namespace {
        spec.lifecycle.before = vec![
            step("mount /step", Deed::Mount(mount("tmpfs", "/step", "tmpfs"))),
            step("interfaces", Deed::Network),
        ];
    }
}

#[tokio::test]
async fn a_guest_whose_last_step_fails_is_ended_with_all_of_it() {
    super::network::apart();
    super::network::bridge();
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let shared = bench.folder().display().to_string();
        let guest = bench.guest("late", |spec| {
            rich(spec, &shared, user_namespace);
            spec.lifecycle.after.push(Step {
                name: "post-start".into(),
                what: Deed::Run { argv: vec!["/bin/false".into()], directory: Place::Root, success: vec![] },
                must_succeed: true,
            });
        });
        let folder = bench.place(&guest).folder().join("root");
        fs::create_dir_all(folder).unwrap();
        fs::write(bench.place(&guest).spec(), "").unwrap();
        let before = remains(&bench, &guest);
        // Its init runs by then, so that the start itself has gone well, or not any more.
        let _ = bench.engine.start(&guest).await;
        assert!(eventually(|| !is_left(&bench, &guest) && remains(&bench, &guest) == before).await);
        let trace = fs::read_to_string(bench.place(&guest).trace()).unwrap();
        assert!(trace.ends_with("init: done\npost-start: /bin/false ended with status 1\n"), "{trace}");
        let outcome = fs::read_to_string(bench.place(&guest).outcome()).unwrap();
        assert!(outcome.contains("post-start: /bin/false ended with status 1"), "{outcome}");
        assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down);
    }
}

#[tokio::test]
async fn a_start_that_fails_at_any_step_leaves_nothing() {
    super::network::apart();
    super::network::bridge();
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let shared = bench.folder().display().to_string();
        let guest = bench.guest("fault", |spec| rich(spec, &shared, user_namespace));
        bench.up(&guest).await;
        // Before its trap is there, the signal is nothing to it.
        assert!(eventually(|| bench.console(&guest).contains("up")).await);
        bench.engine.request(&guest, Request::Stop).await.unwrap();
        bench.ends(&guest, 0x0).await;
        let before = remains(&bench, &guest);
        for who in ["monitor", "child"] {
            for what in ["fail", "kill"] {
                let steps = each_step(&bench, &guest, &format!("{who}:{what}"), &before).await;
                assert!(steps > 15, "{who} took only {steps} steps");
            }
        }
    }
}

/// Starts it with a fault at the first step, the second, and so on, until it starts; how many steps there are.
async fn each_step(
    bench: &Bench,
    guest: &Guest,
    fault: &str,
    before: &(String, String, bool, Vec<String>),
) -> u32 {
    for number in 1..500 {
        let output = Command::new(super::native_host::MONITOR)
            .arg(bench.place(guest).folder())
            .env("GUESTD_RUN_FAULT", format!("{fault}:{number}"))
            .output()
            .unwrap();
        if output.status.success() && matches!(bench.engine.probe(guest).await.unwrap(), Probe::Up(_)) {
            bench.engine.kill(guest).await.unwrap();
            return number;
        }
        // What a monitor that was killed has left, who starts its guest takes away.
        if fault == "monitor:kill" {
            bench.engine.kill(guest).await.unwrap();
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(eventually(|| !is_left(bench, guest)).await, "{fault}:{number}: a process is left; {said}");
        // One that failed just after its init ran clears up behind the word that it ran.
        if !eventually(|| remains(bench, guest) == *before).await {
            let (mounts, links, has_cgroups, files) = remains(bench, guest);
            assert_eq!(
                (links, has_cgroups, files),
                (before.1.clone(), before.2, before.3.clone()),
                "{fault}:{number}; {said}"
            );
            assert_eq!(mounts, before.0, "{fault}:{number}; {said}");
        }
    }
    panic!("{fault} never ends");
}
