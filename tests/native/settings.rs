//! What a guest's settings do, seen from inside.

use std::path::Path;

use guestd::{
    engine::{Engine, Request},
    model::{
        Amount, Capability, Deed, Guest, Mount, NativeSpec, Place, Resource, Step,
        native::{InitProgram, LimitKind, ResourceLimit, Root, Scheduler, Seccomp, Security},
    },
};

use super::native_host::{Bench, eventually, shell};

/// What tells of limits inside, and what it tells.
const LIMITS: [(&str, &str); 13] = [
    ("grep 'open files' /proc/1/limits | awk '{print $4, $5}'", "1000 2000"),
    ("grep 'core file' /proc/1/limits | awk '{print $5, $6}'", "0 unlimited"),
    ("awk '{print $19}' /proc/1/stat", "-3"),
    ("awk '{print $41}' /proc/1/stat", "3"),
    ("cat /proc/1/oom_score_adj", "200"),
    ("grep Cpus_allowed_list /proc/1/status | awk '{print $2}'", "0"),
    ("cat /tmp/umask", "0077"),
    ("cat /proc/sys/net/ipv4/ip_forward", "1"),
    ("cat /proc/sys/kernel/domainname", "example"),
    ("grep -c -e ^COLOUR=blue$ -e ^container=guestd$ /tmp/env", "2"),
    ("cat /run/host/container-manager", "guestd"),
    ("grep ^container_uuid= /tmp/env | cut -d= -f2 | grep -cx -f /run/host/container-uuid", "1"),
    ("grep -c ^ID= /run/host/os-release", "1"),
];

#[tokio::test]
async fn limits_and_priorities_are_those_that_were_set() {
    let mut bench = Bench::new();
    let guest = bench.guest("limits", |spec| {
        spec.init.program = shell("umask > /tmp/umask; env > /tmp/env; while :; do sleep 1000; done");
        spec.process.limits = vec![
            ResourceLimit { kind: LimitKind::Nofile, soft: Some(1000), hard: Some(2000) },
            ResourceLimit { kind: LimitKind::Core, soft: Some(0), hard: None },
        ];
        spec.process.nice = Some(-3);
        spec.process.oom_score_adjust = Some(200);
        spec.process.scheduler = Some(Scheduler::Batch);
        spec.process.processors = Some("0".into());
        spec.process.umask = Some(0o077);
        spec.process.sysctl.push(("net.ipv4.ip_forward".into(), "1".into()));
        spec.environment.push(("COLOUR".into(), "blue".into()));
        spec.domainname = Some("example".into());
    });
    let mut counted = Guest::clone(&guest);
    counted.resources = [(Resource::TasksMax, Amount::Number(50))].into_iter().collect();
    let guest = std::sync::Arc::new(counted);
    bench.up(&guest).await;
    assert!(eventually(|| bench.inside(&guest, "test -s /tmp/env").status.success()).await);
    assert_eq!(bench.says(&guest, "cat /proc/sys/kernel/hostname"), guest.name.as_str());
    for (line, expected) in LIMITS {
        assert_eq!(bench.says(&guest, line), expected, "{line}");
    }
    // Whatever its processes ask for.
    assert!(!bench.inside(&guest, "taskset -p 2 $$").status.success());
    assert_eq!(
        bench.says(
            &guest,
            "taskset -p 3 $$ > /dev/null; grep Cpus_allowed_list /proc/$$/status | awk '{print $2}'"
        ),
        "0"
    );
    let top = format!("/sys/fs/cgroup/pids/{}/pids.max", guestd::guest_run::top(&guest.name));
    if let Ok(limit) = std::fs::read_to_string(&top) {
        assert_eq!(limit.trim(), "50");
    }
}

/// What tells of rights and classes, and what it tells.
const RIGHTS: [(&str, &str); 9] = [
    ("grep ^NoNewPrivs: /proc/1/status | awk '{print $2}'", "1"),
    ("grep ^Seccomp: /proc/1/status | awk '{print $2}'", "0"),
    ("grep ^Uid: /proc/1/status | awk '{print $2, $3, $4, $5}'", "1000 1000 1000 1000"),
    ("grep ^Gid: /proc/1/status | awk '{print $2, $5}'", "1001 1001"),
    ("grep ^Groups: /proc/1/status | awk '{print $2, $3}'", "1002 1003"),
    ("grep -e ^CapEff: -e ^CapPrm: /proc/1/status | awk '{print $2}' | sort -u", "0000000000000000"),
    // SCHED_IDLE.
    ("awk '{print $41}' /proc/1/stat", "5"),
    ("ionice -p 1", "best-effort: prio 6"),
    // Whoever enters is its root, with no more than it could have.
    ("chown 5 /tmp 2>/dev/null || echo refused", "refused"),
];

#[tokio::test]
async fn rights_and_classes_are_those_that_were_set() {
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let guest = bench.guest("rights", |spec| {
            spec.user_namespace = user_namespace;
            let mut security = Security::usual(user_namespace);
            security.no_new_privileges = true;
            security.seccomp = Seccomp::Off;
            let capability = |name: &str| Capability::named(name).unwrap();
            security.capabilities =
                security.capabilities.without(capability("chown")).with(capability("ipc_lock"));
            spec.security = security;
            spec.init.user = (1000, 1001, vec![1002, 1003]);
            spec.init.directory = "/etc".into();
            spec.init.reboot_signal = Some(libc::SIGUSR1);
            spec.init.program = shell("trap 'echo asked > /tmp/asked' USR1; while :; do sleep 0.1; done");
            spec.process.personality = Some(8);
            spec.process.scheduler = Some(Scheduler::Idle);
            spec.process.io_priority = Some((2, 6));
        });
        let init = bench.up(&guest).await.pid;
        let cwd = std::fs::read_link(format!("/proc/{init}/cwd")).unwrap();
        assert!(cwd.ends_with("etc"), "{cwd:?}");
        let personality = std::fs::read_to_string(format!("/proc/{init}/personality")).unwrap();
        assert_eq!(personality.trim(), "00000008");
        for (line, expected) in RIGHTS {
            assert_eq!(bench.says(&guest, line), expected, "{line} (user namespace: {user_namespace})");
        }
        bench.engine.request(&guest, Request::Reboot).await.unwrap();
        assert!(eventually(|| bench.inside(&guest, "test -s /tmp/asked").status.success()).await);
        bench.engine.kill(&guest).await.unwrap();
        bench.ends(&guest, 9).await;
    }
}

#[tokio::test]
async fn mounts_are_there_as_they_were_asked_for() {
    let mut bench = Bench::new();
    let shared = bench.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::write(shared.join("file"), "text").unwrap();
    let source = shared.display().to_string();
    let guest = bench.guest("mounts", |spec| {
        let mount = |source: &str, target: &str, kind: &str, options: &[&str], optional| Mount {
            source: source.into(),
            target: target.into(),
            kind: kind.into(),
            options: options.iter().map(|word| (*word).to_owned()).collect(),
            optional,
        };
        spec.mounts = vec![
            mount(&source, "/srv/shared", "bind", &["ro", "nosuid"], false),
            mount("/nonexistent", "/srv/none", "bind", &[], true),
            mount("tmpfs", "/srv/memory", "tmpfs", &["size=1m", "noexec"], false),
            mount(&source, "/srv/writable", "bind", &[], false),
        ];
        spec.init.program = shell("while :; do sleep 1000; done");
    });
    bench.up(&guest).await;
    assert_eq!(bench.says(&guest, "cat /srv/shared/file"), "text");
    assert!(!bench.inside(&guest, "echo x > /srv/shared/new").status.success());
    assert!(bench.inside(&guest, "echo x > /srv/writable/new").status.success());
    assert_eq!(std::fs::read_to_string(shared.join("new")).unwrap(), "x\n");
    assert!(!bench.inside(&guest, "test -e /srv/none").status.success());
    let options = bench.says(&guest, "grep ' /srv/memory ' /proc/mounts");
    assert!(options.contains("noexec") && options.contains("size=1024k"), "{options}");
    let options = bench.says(&guest, "grep ' /srv/shared ' /proc/mounts");
    assert!(options.contains("ro,nosuid"), "{options}");
}

#[tokio::test]
async fn a_root_can_be_read_only_or_the_hosts_own() {
    let mut bench = Bench::new();
    let sealed = bench.guest("sealed", |spec| spec.read_only = true);
    bench.up(&sealed).await;
    assert!(!bench.inside(&sealed, "echo x > /etc/new").status.success());
    assert!(bench.inside(&sealed, "echo x > /tmp/new").status.success());

    let volatile = bench.guest("volatile", |spec| {
        spec.root = Root::VolatileHost;
        spec.user_namespace = false;
        spec.security = Security::usual(false);
        spec.init.program = shell("while :; do sleep 1000; done");
    });
    bench.up(&volatile).await;
    let mark = format!("/etc/guestd-{}", volatile.name);
    assert!(bench.inside(&volatile, &format!("echo x > {mark}")).status.success());
    assert_eq!(bench.says(&volatile, &format!("cat {mark}")), "x");
    assert!(!std::path::Path::new(&mark).exists(), "it wrote on the host");
}

fn step(name: &str, what: Deed) -> Step {
    Step { name: name.into(), what, must_succeed: true }
}

fn run(line: &str) -> Deed {
    Deed::Run {
        argv: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        directory: Place::Root,
        success: vec![],
    }
}

fn shell_words(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

/// A guest in the old manner: a script that leaves a process behind, and steps around it that note themselves.
fn stepwise(spec: &mut NativeSpec, log: &Path) {
    let note = |word: &str| step(word, run(&format!("echo {word} >> {}", log.display())));
    spec.user_namespace = false;
    spec.security = Security::usual(false);
    spec.init.program = InitProgram::Once(shell_words("sleep 1000 & echo started"));
    let mount = Mount {
        source: "none".into(),
        target: "/data".into(),
        kind: "tmpfs".into(),
        options: vec!["nodev".into()],
        optional: false,
    };
    spec.lifecycle.before = vec![
        note("initialize"),
        step("mount /data", Deed::Mount(mount)),
        step("prepre-start", run("echo mounted > data/mark")),
        step("empty /var/run", Deed::Empty("/var/run".into())),
        step("remove /forcefsck", Deed::Remove("/forcefsck".into())),
        step("create /fastboot", Deed::Create("/fastboot".into())),
        note("pre-start"),
    ];
    spec.lifecycle.after = vec![note("post-start")];
    spec.lifecycle.stop = vec![
        note("pre-stop"),
        step("cmd.stop", Deed::Inside { argv: shell_words("echo inside > /data/stop") }),
        step("kill sequence", Deed::KillSequence(vec![(15, 5), (9, 1)])),
    ];
    spec.lifecycle.ended = vec![note("post-stop")];
}

/// The steps of such a guest, as they are recorded.
const STEPS: [&str; 13] = [
    "initialize",
    "mount /data",
    "prepre-start",
    "empty /var/run",
    "remove /forcefsck",
    "create /fastboot",
    "pre-start",
    "init",
    "post-start",
    "pre-stop",
    "cmd.stop",
    "kill sequence",
    "post-stop",
];

#[tokio::test]
async fn steps_are_carried_out_in_their_order_and_recorded() {
    let mut bench = Bench::new();
    let log = bench.folder().join("steps");
    std::fs::create_dir_all(bench.root().join("var/run/deep")).unwrap();
    std::fs::write(bench.root().join("var/run/deep/old.pid"), "1").unwrap();
    std::fs::write(bench.root().join("forcefsck"), "").unwrap();
    let guest = bench.guest("steps", |spec| stepwise(spec, &log));
    bench.up(&guest).await;
    assert_eq!(bench.says(&guest, "cat /data/mark"), "mounted");
    assert!(
        !bench.root().join("var/run/deep/old.pid").exists() && bench.root().join("var/run/deep").is_dir()
    );
    assert!(!bench.root().join("forcefsck").exists() && bench.root().join("fastboot").exists());
    assert!(!bench.root().join("data/mark").exists(), "a mount of the guest's is the host's");
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0x0).await;
    let noted = std::fs::read_to_string(&log).unwrap();
    assert_eq!(noted, "initialize\npre-start\npost-start\npre-stop\npost-stop\n");
    let trace = std::fs::read_to_string(bench.place(&guest).trace()).unwrap();
    let expected: String = STEPS.iter().map(|name| format!("{name}: done\n")).collect();
    assert_eq!(trace, expected);
}
