//! The example of the manual, `examples/vservers`, run by a whole guestd: its guests come up at boot in the order of what they
//! depend on, each by the steps of guestd-vserver(5), and go down in reverse.

mod busybox;
mod device;
mod host;

use std::{fs, os::unix::fs::symlink, path::Path};

use device::Device;
use guestd::guest_run::spec::Place;
use host::{Host, executable, wait_for};

/// Each step of a start in the manual: how its text begins, and what the trace has for it, in this example.
const START: [(&str, &[&str]); 10] = [
    ("scripts/initialize", &["initialize"]),
    ("fsck -n of fstab,", &[]),
    ("the root, where fstab has an entry", &[]),
    ("scripts/prepre-start", &["prepre-start"]),
    ("the network", &["network"]),
    ("the mounts of fstab,", &["mount /tmp"]),
    ("with style sysv /var/run and", &["remove /.autofsck", "remove /forcefsck", "create /fastboot"]),
    ("scripts/pre-start", &[".defaults pre-start"]),
    ("the init", &["init"]),
    ("cmd.start-sync, then scripts/post-start", &["post-start"]),
];
/// The same of a stop; what is taken away is no step of its own.
const STOP: [(&str, &[&str]); 6] = [
    ("scripts/pre-stop", &["pre-stop"]),
    ("SIGINT to the init with style plain", &["signal init"]),
    ("what is left then, after the time of", &["wait", "killseq"]),
    ("scripts/post-stop", &["post-stop"]),
    ("the mounts and the interfaces are taken away", &[]),
    ("scripts/postpost-stop", &["postpost-stop"]),
];

/// Copies the example, with another device in place of `eth0`.
fn copy(from: &Path, to: &Path, device: &str) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the example").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().expect("its kind") {
            kind if kind.is_symlink() => {
                symlink(fs::read_link(from).expect("a link"), to).expect("a link");
            }
            kind if kind.is_dir() => copy(&from, &to, device),
            _ if entry.file_name() == "dev" => fs::write(to, format!("{device}\n")).expect("a file"),
            _ => drop(fs::copy(from, to).expect("a copy")),
        }
    }
}

/// A host with the example, whose guests have a busybox as root; nothing runs yet.
fn example(device: &str) -> Host {
    let mut host = Host::new("");
    let vservers = host.at("vservers");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/vservers"), &vservers, device);
    fs::remove_file(vservers.join(".defaults/vdirbase")).expect("a link");
    symlink("../../roots", vservers.join(".defaults/vdirbase")).expect("a link");
    let helper = host.at("vshelper");
    let log = host.at("helper-log");
    // As the package installs it.
    let text = format!(
        "echo \"$*\" >> {}; exec {} vshelper \"$@\"",
        log.display(),
        env!("CARGO_BIN_EXE_guest-helper")
    );
    executable::script(&helper, &text);
    host.settings(&format!(
        "boot-groups = [\"onboot\", \"\", \"default\"]\n[vserver]\npath = {vservers:?}\nhelper = {helper:?}\n"
    ));
    for guest in ["web", "db"] {
        busybox::make_root(&host.at("roots").join(guest));
    }
    let web = host.at("roots/web");
    fs::write(web.join("etc/inittab"), "::respawn:/bin/sleep 1000\n::ctrlaltdel:/bin/poweroff -f\n")
        .expect("an inittab");
    let db = host.at("roots/db");
    for folder in ["etc/init.d", "var/run", "var/lock"] {
        fs::create_dir_all(db.join(folder)).expect("a folder");
    }
    executable::script(&db.join("etc/init.d/rc"), "[ \"$1\" = 3 ] && sleep 1000 &");
    host.start_daemon();
    host
}

/// The steps of a section of the manual, each as one line of plain text.
fn manual(section: &str) -> Vec<String> {
    let page = include_str!("../man/guestd-vserver.5");
    let body = page.split(&format!(".SS {section}\n")).nth(1).expect("the section");
    let body = body.split("\n.PP\n").next().expect("its list");
    let items = body.split(".IP ").skip(1);
    let plain = |line: &str| {
        let text = line.split_once(' ').filter(|_| line.starts_with('.')).map_or(line, |(_, text)| text);
        text.replace("\\-", "-").replace(" ,", ",")
    };
    items.map(|item| item.lines().skip(1).map(plain).collect::<Vec<_>>().join(" ")).collect()
}

/// The trace of what the manual says, which must be what is expected of it.
#[track_caller]
fn documented(section: &str, steps: &[(&str, &[&str])]) -> Vec<String> {
    let manual = manual(section);
    assert_eq!(manual.len(), steps.len(), "{manual:#?}");
    for (text, (start, _)) in manual.iter().zip(steps) {
        assert!(text.starts_with(start), "{text:?} does not begin with {start:?}");
    }
    steps.iter().flat_map(|(_, trace)| *trace).map(|step| format!("{step}: done")).collect()
}

fn trace(host: &Host, guest: &str) -> Vec<String> {
    let path = Place::at(host.at("run/native").join(guest)).trace();
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// What a line of shell prints in a guest.
fn says(host: &Host, guest: &str, line: &str) -> String {
    host.guestctl_ok(&["attach", guest, "--", "/bin/sh", "-c", line]).trim().to_owned()
}

/// Where in the log something is told.
#[track_caller]
fn told(host: &Host, words: &str) -> usize {
    host.log().find(words).unwrap_or_else(|| panic!("{words:?} is not in the log: {}", host.log()))
}

#[test]
fn the_example_of_the_manual_runs_as_the_manual_says() {
    let device = Device::new();
    let host = example(&device.0);
    host.autostart_ok(&["--boot"]);
    assert!(told(&host, "db is up") < told(&host, "web is up"), "{}", host.log());
    let started = documented("Start", &START);
    wait_for("its last step", || (trace(&host, "web").len() >= started.len()).then_some(()));
    assert_eq!(trace(&host, "web"), started);

    let addresses = says(&host, "web", "ip -o -4 addr show");
    assert!(addresses.contains("192.0.2.10/24") && addresses.contains("192.0.2.11/24"), "{addresses}");
    for (line, expected) in [
        ("cat /proc/sys/kernel/hostname", "web.example.org"),
        ("awk '{print $19}' /proc/1/stat", "5"),
        ("grep 'open files' /proc/1/limits | awk '{print $4, $5}'", "4096 4096"),
        ("grep ' /tmp ' /proc/mounts | grep -c 'nodev.*size=65536k'", "1"),
    ] {
        assert_eq!(says(&host, "web", line), expected, "{line}");
    }
    assert_eq!(host.status("web")["usage"]["memory_limit"], 512 << 20);

    // By its own reboot it gets what is written now; its helper is told as the kernel told it.
    fs::write(host.at("vservers/web/uts/nodename"), "renamed.example.org\n").expect("a file");
    let before = host.status("web")["init_pid"].clone();
    host.guestctl(&["attach", "web", "--", "/bin/reboot", "-f"]);
    host.until("web", "up with a new init", |web| web["phase"] == "up" && web["init_pid"] != before);
    assert_eq!(says(&host, "web", "cat /proc/sys/kernel/hostname"), "renamed.example.org");
    let helper = fs::read_to_string(host.at("helper-log")).expect("it was called");
    assert!(helper.contains("restart 40001\n"), "{helper}");
    // The new run, which has a trace of its own, has its last step behind the first moment of its init.
    wait_for("the steps of its new run", || (trace(&host, "web") == started).then_some(()));

    host.autostart_ok(&["-s", "-a", "-A"]);
    assert!(told(&host, "web is down") < told(&host, "db is down"), "{}", host.log());
    let trace = trace(&host, "web");
    assert_eq!(trace[..started.len()], started);
    assert_eq!(trace[started.len()..], documented("Stop", &STOP));
    assert!(device.exists(), "the device is the host's");
}
