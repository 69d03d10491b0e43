//! What goes wrong with a start: it says why, and nothing is left behind.

use std::{collections::BTreeSet, fs};

use guestd::{
    engine::{Engine, ErrorKind, Probe},
    guest_run,
    launch::cgroup,
    model::{
        Deed, Mount, NativeSpec, Place, Step,
        native::{InitProgram, Root},
    },
};

use super::native_host::{Bench, shell};

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

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
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
            let before = (mounts(), tree(&bench.root()));
            let error = bench.engine.start(&guest).await.unwrap_err();
            assert_eq!(error.kind, kind, "{name}: {error}");
            assert!(error.reason.contains(word), "{name}: {error}");
            assert_eq!(bench.engine.probe(&guest).await.unwrap(), Probe::Down, "{name}");
            let top = guest_run::top(&guest.name);
            assert!(cgroup::top_level(|found| found == top).unwrap().is_empty(), "{name}: cgroups are left");
            assert_eq!((mounts(), tree(&bench.root())), before, "{name}: something is left");
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
