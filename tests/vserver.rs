//! Guests of util-vserver, from their folders to their ends: read as guestd reads them, run by the native engine.
#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod busybox;
mod device;
mod native_host;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use device::Device;
use guestd::{
    daemon::load::{self, Directories},
    engine::{Engine, Request},
    model::Guest,
};
use native_host::{Bench, eventually, executable};

/// A guest of these files, with a script for every stage that writes down its arguments and where it runs.
fn vserver(bench: &mut Bench, files: &[(&str, &str)]) -> Arc<Guest> {
    let name = bench.guest("vserver", |_| {}).name.clone();
    let at = |path: &str| bench.folder().join(path);
    let folder = at("vservers").join(name.as_str());
    let write = |path: PathBuf, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for (file, text) in files {
        write(folder.join(file), text);
    }
    write(folder.join("context"), "40001\n");
    symlink("../../root", folder.join("vdir")).unwrap();
    for stage in
        ["initialize", "prepre-start", "pre-start", "post-start", "pre-stop", "post-stop", "postpost-stop"]
    {
        let script = folder.join("scripts").join(stage);
        fs::create_dir_all(script.parent().unwrap()).unwrap();
        let text = format!(
            "echo \"$* $PWD\" >> {}; echo \"$1 $(grep -c \" $PWD/data \" /proc/self/mounts)\" >> {}",
            at("log").display(),
            at("mounted-log").display()
        );
        executable::script(&script, &text);
    }
    executable::script(&at("vshelper"), &format!("echo \"$*\" >> {}", at("helper-log").display()));
    let (vservers, helper) = (at("vservers"), at("vshelper"));
    let settings =
        format!("[lxc]\npath = [{:?}]\n[vserver]\npath = {vservers:?}\nhelper = {helper:?}\n", at("lxc"));
    write(at("etc/guestd.toml"), &settings);
    let directories = Directories::new(Some(at("etc")), Some(at("run")), Some(at("state")));
    let inventory = load::load(&directories);
    let found: Vec<_> = inventory.diagnostics().into_iter().filter(|found| found.guest.is_some()).collect();
    assert_eq!(found, []);
    inventory.guests[&name].clone()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The steps as they were carried out.
fn trace(bench: &Bench, guest: &Guest) -> Vec<String> {
    read(&bench.place(guest).trace()).lines().map(str::to_owned).collect()
}

fn done(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| format!("{step}: done")).collect()
}

/// A shell that ends when it is asked by SIGINT, one argument a line.
const INIT: &str = "/bin/sh\n-c\ntrap 'exit 0' INT; echo up; sleep 1000 & wait\n";

/// Start and stop of a plain guest with a mount, as the manual has them.
const PLAIN: [&str; 16] = [
    "initialize",
    "prepre-start",
    "network",
    "mount /data",
    "remove /.autofsck",
    "remove /forcefsck",
    "create /fastboot",
    "pre-start",
    "init",
    "post-start",
    "pre-stop",
    "signal init",
    "wait",
    "killseq",
    "post-stop",
    "postpost-stop",
];

#[tokio::test]
async fn a_plain_guest_goes_the_documented_way() {
    let mut bench = Bench::new();
    fs::write(bench.root().join("forcefsck"), "").unwrap();
    let files = [
        ("apps/init/style", "plain\n"),
        ("apps/init/cmd.start", INIT),
        ("fstab", "none /data tmpfs size=1m 0 0\n"),
        ("nice", "5\n"),
        ("uts/nodename", "web.example.org\n"),
    ];
    let guest = vserver(&mut bench, &files);
    bench.up(&guest).await;
    assert!(eventually(|| bench.console(&guest).contains("up")).await);
    assert_eq!(bench.says(&guest, "hostname"), "web.example.org");
    assert!(bench.says(&guest, "grep ' /data ' /proc/mounts").contains("nodev"));
    assert!(bench.root().join("fastboot").exists() && !bench.root().join("forcefsck").exists());
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0).await;
    assert_eq!(trace(&bench, &guest), done(&PLAIN));
    let log = read(&bench.folder().join("log"));
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 7, "{log}");
    // The last script finds nothing mounted any more.
    let mounted = read(&bench.folder().join("mounted-log"));
    assert!(mounted.ends_with("pre-stop 1\npost-stop 1\npostpost-stop 0\n"), "{mounted}");
    let folder = bench.folder().join("vservers").join(guest.name.as_str());
    assert_eq!(lines[0], format!("initialize {} {}", guest.name, folder.display()));
    assert_eq!(lines[2], format!("pre-start {} {}", guest.name, bench.root().display()));
}

#[tokio::test]
async fn a_sysv_guest_is_started_and_stopped_by_its_script() {
    let mut bench = Bench::new();
    let root = bench.root();
    fs::create_dir_all(root.join("etc/init.d")).unwrap();
    fs::create_dir_all(root.join("var/run")).unwrap();
    fs::create_dir_all(root.join("var/lock")).unwrap();
    fs::write(root.join("var/run/old.pid"), "1").unwrap();
    let rc = "echo \"$1 $PREVLEVEL $RUNLEVEL\" >> /rc-log; [ \"$1\" = 6 ] || sleep 1000 &";
    executable::script(&root.join("etc/init.d/rc"), rc);
    let guest = vserver(&mut bench, &[("apps/init/killseq", "15\n5\n9\n")]);
    bench.up(&guest).await;
    assert!(eventually(|| read(&root.join("rc-log")) == "3 N 3\n").await, "{}", read(&root.join("rc-log")));
    assert!(!root.join("var/run/old.pid").exists());
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0).await;
    assert_eq!(read(&root.join("rc-log")), "3 N 3\n6 3 6\n");
    let told = trace(&bench, &guest);
    let at = told.iter().position(|line| line.starts_with("pre-stop")).unwrap();
    assert_eq!(told[at..], done(&["pre-stop", "cmd.stop", "wait", "killseq", "post-stop", "postpost-stop"]));
}

#[tokio::test]
async fn a_reboot_inside_runs_the_helper_with_the_context() {
    let mut bench = Bench::new();
    let guest = vserver(&mut bench, &[("apps/init/style", "plain\n"), ("apps/init/cmd.start", INIT)]);
    let first = bench.up(&guest).await;
    bench.inside(&guest, "reboot -f");
    bench.observes(&guest).await;
    assert_ne!(bench.running(&guest).await.pid, first.pid);
    let told = ["startup", "restart", "shutdown", "startup"].map(|event| format!("{event} 40001\n")).concat();
    let log = bench.folder().join("helper-log");
    assert!(eventually(|| read(&log) == told).await, "{}", read(&log));
    // A reboot is a stop and a start.
    let start = ["initialize", "prepre-start", "pre-start", "post-start"];
    let expected = [&start[..], &["pre-stop", "post-stop", "postpost-stop"], &start].concat();
    let log = bench.folder().join("log");
    assert!(eventually(|| read(&log).lines().count() >= expected.len()).await, "{}", read(&log));
    let stages = read(&log);
    let stages: Vec<_> = stages.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(stages, expected);
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn a_root_may_be_mounted_first() {
    let mut bench = Bench::new();
    let real = bench.folder().join("real");
    fs::rename(bench.root(), &real).unwrap();
    fs::create_dir(bench.root()).unwrap();
    let fstab = format!("{} / none bind,nosuid 0 0\nnone /data tmpfs size=1m 0 0\n", real.display());
    let files = [("apps/init/style", "plain\n"), ("apps/init/cmd.start", INIT), ("fstab", fstab.as_str())];
    let guest = vserver(&mut bench, &files);
    bench.up(&guest).await;
    assert_eq!(trace(&bench, &guest)[..2], done(&["initialize", "mount /"]));
    assert!(bench.says(&guest, "grep ' / ' /proc/mounts").contains("nosuid"));
    bench.says(&guest, "echo x > /written && grep -q ' /data tmpfs' /proc/mounts");
    assert!(real.join("written").exists());
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0).await;
    assert_eq!(fs::read_dir(bench.root()).unwrap().count(), 0, "something was made below the mount");
}

/// A program of mount(8)'s for a kind of file system that only this test has; gone when this is dropped.
struct MountProgram(PathBuf);

impl Drop for MountProgram {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

#[tokio::test]
async fn a_mount_from_a_server_is_made_by_its_program_over_the_network_that_its_file_means() {
    let mut bench = Bench::new();
    let log = bench.folder().join("mounts");
    let kind = format!("nfs-of-test-{}", std::process::id());
    let program = MountProgram(format!("/sbin/mount.{kind}").into());
    let text = format!(
        "echo \"$1 $2 $(readlink /proc/self/ns/net)\" >> {}; exec mount -t tmpfs none \"$2\"",
        log.display()
    );
    executable::script(&program.0, &text);
    // A link that would lead out of the root.
    fs::create_dir(bench.root().join("outside")).unwrap();
    symlink("../../../../outside", bench.root().join("local")).unwrap();
    let entry = |name: &str| format!("server:/{name} /{name} {kind} noexec 0 0\n");
    let guest = vserver(
        &mut bench,
        &[
            ("apps/init/style", "plain\n"),
            ("apps/init/cmd.start", INIT),
            ("fstab", &entry("local")),
            ("fstab.remote", &entry("remote")),
        ],
    );
    bench.up(&guest).await;
    let steps = trace(&bench, &guest);
    let mounted = done(&["mount /local", "mount /remote"]);
    assert!(mounted.iter().all(|step| steps.contains(step)), "{steps:?}");
    let host = fs::read_link("/proc/self/ns/net").unwrap();
    let text = read(&log);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    let aside = bench.place(&guest).root();
    let [local, remote] = &lines[..] else { panic!("{text}") };
    assert_eq!(local[..], ["server:/local", aside.to_str().unwrap(), host.to_str().unwrap()]);
    assert_eq!(remote[..2], ["server:/remote", aside.to_str().unwrap()]);
    assert_eq!(remote[2], bench.says(&guest, "readlink /proc/self/ns/net"));
    for target in ["/outside", "/remote"] {
        let found = bench.says(&guest, &format!("grep ' {target} ' /proc/mounts"));
        assert!(found.contains("tmpfs") && found.contains("nodev"), "{found}");
    }
    bench.engine.kill(&guest).await.unwrap();
}

#[tokio::test]
async fn addresses_are_on_an_interface_of_the_guests_own() {
    let mut bench = Bench::new();
    let device = Device::new();
    let files = [
        ("apps/init/style", "plain\n"),
        ("apps/init/cmd.start", INIT),
        ("interfaces/dev", device.0.as_str()),
        ("interfaces/prefix", "24\n"),
        ("interfaces/0/ip", "192.0.2.10\n"),
        ("interfaces/0/gw", "192.0.2.1\n"),
        ("interfaces/1/ip", "192.0.2.11\n"),
    ];
    let guest = vserver(&mut bench, &files);
    bench.up(&guest).await;
    let addresses = bench.says(&guest, &format!("ip -o -4 addr show dev {}", device.0));
    assert!(addresses.contains("192.0.2.10/24") && addresses.contains("192.0.2.11/24"), "{addresses}");
    let routes = bench.says(&guest, "ip route");
    assert!(routes.contains(&format!("default via 192.0.2.1 dev {}", device.0)), "{routes}");
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    bench.ends(&guest, 0).await;
}
