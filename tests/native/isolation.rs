//! What a guest's root can reach: nothing of the host's.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use guestd::{
    engine::Engine,
    model::native::{Root, Security},
};

use super::{
    busybox::FORBIDDEN,
    native_host::{Bench, shell},
};

#[tokio::test]
async fn a_guests_root_reaches_nothing_of_the_host() {
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let guest = bench.guest("isolated", |spec| {
            spec.user_namespace = user_namespace;
            spec.security = Security::usual(user_namespace);
            spec.init.program = shell("while :; do sleep 1000; done");
        });
        let init = bench.up(&guest).await;
        for (what, line) in FORBIDDEN {
            let output = bench.inside(&guest, line);
            assert!(!output.status.success(), "it can {what} (user namespace: {user_namespace}): {output:?}");
        }
        let monitor = init.keeper.unwrap().pid;
        assert!(
            !bench.inside(&guest, &format!("kill -0 {monitor}")).status.success(),
            "it can signal its monitor"
        );
        assert_eq!(bench.says(&guest, "ps -o pid | sed -n 2p | tr -d ' '"), "1");
        // Its own namespaces, each of them another than ours.
        for name in ["pid", "mnt", "uts", "ipc", "net", "cgroup"] {
            let of = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/{name}")).unwrap().ino();
            assert_ne!(of(&init.pid.to_string()), of("self"), "{name}");
        }
        let owner = fs::metadata(format!("/proc/{}", init.pid)).unwrap().uid();
        assert_eq!(owner == 0, !user_namespace, "its root is user {owner} outside");
        // What it writes is root's in its root, whoever it is outside.
        bench.says(&guest, "echo mine > /root/mine");
        assert_eq!(fs::metadata(bench.root().join("root/mine")).unwrap().uid(), 0);
        let capabilities = bench.says(&guest, "grep CapBnd /proc/self/status | awk '{print $2}'");
        let expected = guestd::model::Capabilities::usual(user_namespace).0;
        assert_eq!(u64::from_str_radix(&capabilities, 16).unwrap(), expected);
        assert_eq!(bench.says(&guest, "grep ^Seccomp: /proc/1/status | awk '{print $2}'"), "2");
    }
}

#[tokio::test]
async fn no_socket_of_the_host_is_in_reach() {
    use std::os::{linux::net::SocketAddrExt, unix::net};
    let mut bench = Bench::new();
    let other = bench.shell("other", "while :; do sleep 1000; done");
    bench.up(&other).await;
    let helper = bench.folder().join("run/helper.sock");
    let _helper = net::UnixListener::bind(&helper).unwrap();
    let nameless = format!("guestd-test-{}", std::process::id());
    let address = net::SocketAddr::from_abstract_name(&nameless).unwrap();
    let _nameless = net::UnixListener::bind_addr(&address).unwrap();
    let sees_nameless = format!("grep -q {nameless} /proc/net/unix");
    for (user_namespace, root) in [
        (true, Root::Folder(bench.root())),
        (false, Root::Folder(bench.root())),
        // Here the host's files are there, all but those.
        (false, Root::VolatileHost),
    ] {
        let guest = bench.guest("seeker", |spec| {
            spec.user_namespace = user_namespace;
            spec.security = Security::usual(user_namespace);
            spec.root = root.clone();
            spec.init.program = shell("while :; do sleep 1000; done");
        });
        bench.up(&guest).await;
        let control = bench.place(&other).socket();
        for path in [helper.as_path(), control.as_path(), Path::new("/run/guestd"), Path::new("/run/dbus")] {
            let seen = bench.inside(&guest, &format!("ls -d {}", path.display()));
            assert!(!seen.status.success(), "{root:?} has {}: {seen:?}", path.display());
        }
        assert!(!bench.inside(&guest, &sees_nameless).status.success(), "{root:?} sees {nameless}");
    }
}

#[tokio::test]
async fn links_in_a_root_lead_nowhere() {
    for user_namespace in [true, false] {
        let mut bench = Bench::new();
        let victim = bench.folder().join("victim");
        fs::create_dir(&victim).unwrap();
        let root = bench.root();
        for name in ["dev", "run", "tmp", "proc"] {
            fs::remove_dir_all(root.join(name)).unwrap();
            std::os::unix::fs::symlink(&victim, root.join(name)).unwrap();
        }
        let guest = bench.guest("links", |spec| {
            spec.user_namespace = user_namespace;
            spec.security = Security::usual(user_namespace);
            spec.init.program = shell("while :; do sleep 1000; done");
        });
        let started = bench.engine.start(&guest).await;
        assert!(started.is_err(), "its /proc is a link to nowhere");
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "something was made on the host");
    }
}

#[tokio::test]
async fn no_file_of_the_host_is_open_in_it() {
    let mut bench = Bench::new();
    let guest = bench.guest("files", |spec| {
        spec.user_namespace = false;
        spec.security = Security::usual(false);
        spec.init.program = shell("ls -l /proc/self/fd > /tmp/open; while :; do sleep 1000; done");
    });
    let init = bench.up(&guest).await;
    let open: Vec<_> = fs::read_dir(format!("/proc/{}/fd", init.pid)).unwrap().flatten().collect();
    let targets: Vec<_> = open.iter().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(
        targets.iter().all(|target| target.starts_with("/dev/console") || target.starts_with("/tmp/open")),
        "{targets:?}"
    );
    // A monitor whose program can be seen inside runs from a copy that nobody can write.
    let once = bench.guest("once", |spec| {
        spec.user_namespace = false;
        spec.security = Security::usual(false);
        let script = ["/bin/sh", "-c", "sleep 1000 &"].map(str::to_owned).to_vec();
        spec.init.program = guestd::model::native::InitProgram::Once(script);
    });
    bench.engine.start(&once).await.unwrap();
    let written = bench.inside(&once, "echo x > /proc/1/exe");
    assert!(!written.status.success(), "{written:?}");
    let monitor = fs::read(super::native_host::MONITOR).unwrap();
    assert!(monitor.starts_with(b"\x7fELF"));
}
