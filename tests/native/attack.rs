//! Attacks by a guest's root, each of which works where nobody has thought of it.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use guestd::{
    engine::{Engine, Observation, Request},
    model::{
        Mount,
        native::{InitProgram, Security},
    },
};

use super::native_host::{Bench, eventually, shell};

const IDLE: &str = "while :; do sleep 1000; done";

/// A guest whose root is the host's root, or not.
fn edit(spec: &mut guestd::model::NativeSpec, user_namespace: bool, line: &str) {
    spec.user_namespace = user_namespace;
    spec.security = Security::usual(user_namespace);
    spec.init.program = shell(line);
}

#[tokio::test]
async fn a_script_as_init_has_nothing_of_the_host_open() {
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let guest = bench.guest("script", |spec| {
            edit(spec, user_namespace, IDLE);
            let line = "grep ^CapPrm /proc/1/status > /tmp/first; ls /proc/1/fd >> /tmp/first; sleep 1000 &";
            spec.init.program = InitProgram::Once(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
        });
        let init = bench.up(&guest).await;
        let files = fs::read_dir(format!("/proc/{}/fd", init.pid)).unwrap().flatten();
        let mut files: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, ["0", "1", "2"], "user namespace: {user_namespace}");
        // Already when its script began: whoever may trace processes could have taken it over.
        let rights = || bench.says(&guest, "head -n 1 /tmp/first | awk '{print $2}'");
        assert!(eventually(|| !rights().is_empty()).await);
        let expected = Security::usual(user_namespace).capabilities.0;
        assert_eq!(u64::from_str_radix(&rights(), 16).unwrap(), expected);
    }
}

#[tokio::test]
async fn what_enters_a_guest_never_has_more_rights_in_it_than_the_guest() {
    let mut bench = Bench::new();
    let look = "while :; do for p in /proc/[0-9]*; do while read a b; do [ $a = CapPrm: ] && echo $b >> /tmp/seen; done < $p/status; \
                done; done 2>/dev/null";
    let guest = bench.guest("rights", |spec| edit(spec, false, look));
    bench.up(&guest).await;
    for _ in 0..50 {
        bench.says(&guest, "true");
    }
    let expected = format!("{:016x}", Security::usual(false).capabilities.0);
    assert_eq!(bench.says(&guest, "sort -u /tmp/seen"), expected);
}

#[tokio::test]
async fn what_enters_a_guest_heeds_every_signal() {
    let mut bench = Bench::new();
    let guest = bench.shell("signals", IDLE);
    bench.up(&guest).await;
    for kind in ["SigBlk", "SigIgn"] {
        let set = bench.says(&guest, &format!("grep ^{kind} /proc/self/status | awk '{{print $2}}'"));
        // But for the two that the C library keeps for itself.
        assert_eq!(u64::from_str_radix(&set, 16).unwrap() & !0x1_8000_0000, 0, "{kind}: {set}");
    }
}

#[tokio::test]
async fn devices_in_a_root_are_none() {
    let mut bench = Bench::new();
    for folder in [bench.root(), bench.folder().join("data")] {
        let _ = fs::create_dir(&folder);
        let made = Command::new("mknod").arg(folder.join("node")).args(["-m", "666", "c", "1", "3"]).status();
        assert!(made.unwrap().success());
    }
    let source = bench.folder().join("data").display().to_string();
    let guest = bench.guest("nodes", |spec| {
        edit(spec, true, IDLE);
        let mount = |target: &str, options: &[&str]| Mount {
            source: source.clone(),
            target: target.into(),
            kind: "bind".into(),
            options: options.iter().map(|word| (*word).into()).collect(),
            optional: false,
        };
        spec.mounts = vec![mount("/data", &[]), mount("/meant", &["nodev", "dev"])];
    });
    bench.up(&guest).await;
    for (mount, path) in [("/", "/node"), ("/data", "/data/node")] {
        for change in ["true", "mount -o remount,bind,dev", "mount -o remount,dev"] {
            let line = format!("{change} {mount}; : < {path}");
            assert!(!bench.inside(&guest, &line).status.success(), "{line}");
        }
        let line = format!(
            "mkdir -p /mnt; mount -o bind {mount} /mnt && mount -o remount,bind,dev /mnt; : < /mnt/node"
        );
        assert!(!bench.inside(&guest, &line).status.success(), "{line}");
    }
    bench.says(&guest, ": < /meant/node && : < /dev/null");
}

#[tokio::test]
async fn what_is_read_only_stays_so() {
    let mut bench = Bench::new();
    let shared = bench.folder().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "text").unwrap();
    fs::create_dir(bench.root().join("mnt")).unwrap();
    let source = |path: &Path, target: &str| Mount {
        source: path.display().to_string(),
        target: target.into(),
        kind: "bind".into(),
        options: vec!["ro".into()],
        optional: false,
    };
    let guest = bench.guest("sealed", |spec| {
        edit(spec, true, IDLE);
        spec.read_only = true;
        spec.mounts = vec![source(&shared, "/srv/shared"), source(&shared.join("file"), "/srv/file")];
    });
    bench.up(&guest).await;
    for (mount, write) in [
        ("/", "echo x > /etc/new"),
        ("/", "mkdir /made"),
        ("/srv/shared", "echo x > /srv/shared/new"),
        ("/srv/shared", "echo x > /srv/shared/file"),
        ("/srv/file", "echo x > /srv/file"),
    ] {
        for change in ["true", "mount -o remount,bind,rw", "mount -o remount,rw", "umount"] {
            let line = format!("{change} {mount}; {write}");
            assert!(!bench.inside(&guest, &line).status.success(), "{line}");
        }
    }
    let copy = "mount -o bind /srv/shared /mnt && mount -o remount,bind,rw /mnt; echo x > /mnt/new";
    assert!(!bench.inside(&guest, copy).status.success());
    // What it mounts itself is its own.
    bench.says(
        &guest,
        "mount -t tmpfs none /mnt && echo x > /mnt/new && mount -o remount,bind,ro /mnt && umount /mnt",
    );
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "text");
    assert!(!shared.join("new").exists() && !bench.root().join("made").exists());
}

#[tokio::test]
async fn whoever_enters_brings_no_file_that_the_guest_could_own() {
    let mut bench = Bench::new();
    let guest = bench.guest("files", |spec| {
        edit(spec, false, IDLE);
        let line = "ls -l /proc/self/fd > /halted; kill -9 -1; kill -TERM 1; sleep 1000";
        spec.init.halt_command = Some(["/bin/sh", "-c", line].map(str::to_owned).to_vec());
        spec.init.program = shell("trap 'exit 0' TERM; while :; do sleep 0.1; done");
    });
    bench.up(&guest).await;
    // The bench's standard input is the host's null.
    let place = |file: &str| bench.says(&guest, &format!("stat -L -c %d:%i {file}"));
    assert_eq!(place("/proc/self/fd/0"), place("/dev/null"));
    bench.says(&guest, "chmod 0 /proc/self/fd/0");
    assert_eq!(fs::metadata("/dev/null").unwrap().permissions().mode() & 0o777, 0o666);
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0).await;
    let files = fs::read_to_string(bench.root().join("halted")).unwrap();
    for number in [0, 2] {
        assert!(files.contains(&format!(" {number} -> /dev/console\n")), "{files}");
    }
}

/// Removes a file when it is dropped.
struct Gone<'a>(&'a Path);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        fs::remove_file(self.0).unwrap();
    }
}

#[tokio::test]
async fn a_device_is_shown_as_what_it_is() {
    let mut bench = Bench::new();
    let node = std::path::PathBuf::from(format!("/dev/guestd-{}", std::process::id()));
    let made = Command::new("mknod").arg(&node).args(["b", "7", "7"]).status().unwrap();
    assert!(made.success());
    let _gone = Gone(&node);
    let guest = bench.guest("disk", |spec| {
        edit(spec, false, IDLE);
        spec.security.devices = vec![node.clone()];
    });
    bench.up(&guest).await;
    let said = bench.says(&guest, &format!("stat -c '%F %t:%T' {}", node.display()));
    assert_eq!(said, "block special file 7:7");
}

#[tokio::test]
async fn a_guest_may_have_hundreds_of_mounts() {
    let mut bench = Bench::new();
    let shared = bench.folder().join("shared");
    fs::create_dir(&shared).unwrap();
    let guest = bench.guest("many", |spec| {
        edit(spec, true, IDLE);
        let mount = |number: u32| Mount {
            source: shared.display().to_string(),
            target: format!("/srv/{number}"),
            kind: "bind".into(),
            options: vec![],
            optional: false,
        };
        spec.mounts = (0..256).map(mount).collect();
    });
    bench.up(&guest).await;
    bench.says(&guest, "echo seen > /srv/255/file");
    assert_eq!(fs::read_to_string(shared.join("file")).unwrap(), "seen\n");
    assert_eq!(bench.says(&guest, "grep -c ' /srv/' /proc/mounts"), "256");
}

#[tokio::test]
async fn a_root_that_is_the_hosts_gets_no_users_of_its_own() {
    let mut bench = Bench::new();
    let plain = bench.guest("plain", |spec| edit(spec, false, IDLE));
    let other = bench.guest("other", |spec| edit(spec, true, IDLE));
    bench.up(&plain).await;
    assert!(!bench.inside(&plain, "unshare -U true").status.success());
    assert_eq!(bench.says(&plain, "(echo threads and forks) | cat"), "threads and forks");
    bench.engine.start(&other).await.unwrap();
    assert_eq!(bench.says(&other, "unshare -U echo nested"), "nested");
}

#[tokio::test]
async fn what_stays_when_its_monitor_is_killed_does_not_see_the_next_run() {
    let mut bench = Bench::new();
    let guest = bench.shell("stays", IDLE);
    let monitor = bench.up(&guest).await.keeper.unwrap().pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(monitor), nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::InitExited(None));
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    // As an init that has asked the kernel not to be ended with its monitor.
    let mut left = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let unified =
        mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap().split(' ').nth(4).unwrap();
    let deep = Path::new(unified).join(guestd::guest_run::top(&guest.name)).join("payload/deep");
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("cgroup.procs"), left.id().to_string()).unwrap();
    bench.up(&guest).await;
    assert_eq!(left.wait().unwrap().signal(), Some(9));
    assert!(!deep.exists());
}

/// Swaps the folders of a root for links and back, as another guest does that has the same root, until it is dropped.
struct Swapping(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Swapping {
    fn begin(root: &Path) -> Self {
        let (root, over) = (root.to_owned(), Arc::new(AtomicBool::new(false)));
        let is_over = over.clone();
        let swap = move || {
            while !is_over.load(Ordering::Relaxed) {
                for (name, target) in
                    [("dev", "/proc/sys"), ("proc", "/etc"), ("sys", "/proc"), ("run", "/proc")]
                {
                    let (own, aside) = (root.join(name), root.join(format!("{name}.aside")));
                    fs::rename(&own, &aside).unwrap();
                    let _ = symlink(target, &own).and_then(|()| fs::remove_file(&own));
                    // Over what whoever starts has made meanwhile.
                    let _ = fs::rename(&aside, &own);
                    std::thread::sleep(Duration::from_micros(300));
                }
            }
        };
        Self(over, Some(std::thread::spawn(swap)))
    }
}

impl Drop for Swapping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

#[tokio::test]
async fn names_that_lead_elsewhere_meanwhile_open_nothing() {
    let mut bench = Bench::new();
    let root = bench.root();
    for user_namespace in [true, false] {
        let mut started = 0;
        for _ in 0..20 {
            let guest = bench.guest("swapped", |spec| edit(spec, user_namespace, IDLE));
            let swapping = Swapping::begin(&root);
            // A link that is in the way is refused.
            if bench.engine.start(&guest).await.is_err() {
                continue;
            }
            drop(swapping);
            started += 1;
            bench.engine.watch(guest.clone(), guestd::engine::Epoch(1));
            let init = bench.running(&guest).await;
            let table = fs::read_to_string(format!("/proc/{}/mountinfo", init.pid)).unwrap();
            let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
            let mounts: Vec<_> = table.lines().map(fields).collect();
            // What is mounted: which part of a file system of this type, and how.
            let of = |kind: &str| {
                let is_it = |mount: &&Vec<String>| {
                    mount.iter().skip_while(|word| *word != "-").nth(1).unwrap() == kind
                };
                mounts
                    .iter()
                    .filter(is_it)
                    .map(|mount| (mount[3].clone(), mount[5].clone()))
                    .collect::<Vec<_>>()
            };
            let open = |(part, options): &&(String, String)| {
                part != "/" && part != "/sys/net" && !options.starts_with("ro")
            };
            assert_eq!(of("proc").iter().find(open), None, "{table}");
            let has_proc = of("proc").iter().any(|(part, _)| part == "/");
            assert_eq!(of("proc").iter().any(|(part, _)| part == "/sys"), has_proc, "{table}");
            bench.engine.kill(&guest).await.unwrap();
            while bench.observes(&guest).await != Observation::Gone {}
        }
        assert!(started > 0, "no name was right at its time");
    }
}
