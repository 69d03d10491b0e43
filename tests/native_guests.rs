//! Native guests under a whole guestd: from their files to their own reboots.

mod host;

use std::{fs, path::Path, process::Command};

use host::Host;

#[test]
fn a_reboot_of_a_native_guest_takes_the_new_configuration() {
    let host = Host::running("");
    let define = |hostname: &str| {
        host.native_guest("renewed", "/bin/init", &format!("hostname = \"{hostname}\"\nnice = 3\n"));
    };
    define("before");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "renewed"]);
    let says = || host.guestctl_ok(&["attach", "renewed", "--", "/bin/cat", "/proc/sys/kernel/hostname"]);
    assert_eq!(says(), "before\n");
    define("after");
    let init = host.status("renewed")["init_pid"].clone();
    host.guestctl(&["attach", "renewed", "--", "/bin/reboot", "-f"]);
    let status = host.until("renewed", "up with a new init", |s| s["phase"] == "up" && s["init_pid"] != init);
    assert_eq!((says().as_str(), &status["config_changed"]), ("after\n", &false.into()));
}

/// What `runc spec` writes, with another program and host name.
fn bundle(host: &Host, path: &Path) {
    let mut config = serde_json::to_value(oci_spec::runtime::Spec::default()).expect("JSON");
    config["process"]["args"] =
        ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"].as_slice().into();
    config["process"]["cwd"] = "/etc".into();
    config["hostname"] = "bundled".into();
    fs::create_dir_all(path).expect("a folder");
    fs::write(path.join("config.json"), config.to_string()).expect("a config");
    host.native_guest("of-root", "/bin/init", "");
    fs::remove_file(host.at("etc/guests/of-root.toml")).expect("a guest's file");
    let copied =
        Command::new("cp").arg("-a").arg(host.lxcpath().join(".root")).arg(path.join("rootfs")).status();
    assert!(copied.expect("cp").success());
}

#[test]
fn a_bundle_as_runc_makes_it_is_a_guest() {
    let host = Host::running("");
    let path = host.at("bundle");
    bundle(&host, &path);
    let text = format!("engine = \"native\"\nbundle = {path:?}\nhalt-signal = \"SIGTERM\"\n");
    // runc leaves its containers no CAP_SYS_BOOT.
    let text = format!("{text}[capabilities]\nadd = [\"sys_boot\"]\n");
    fs::write(host.at("etc/guests/bundled.toml"), text).expect("a guest's file");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "bundled"]);
    let says =
        |line: &str| host.guestctl_ok(&["attach", "bundled", "--", "/bin/sh", "-c", line]).trim().to_owned();
    assert_eq!(says("cat /proc/sys/kernel/hostname"), "bundled");
    assert_eq!(says("echo x 2>/dev/null >/etc/new || echo read-only"), "read-only");
    let before = host.status("bundled")["init_pid"].clone();
    host.guestctl(&["attach", "bundled", "--", "/bin/reboot", "-f"]);
    host.until("bundled", "up with a new init", |s| s["phase"] == "up" && s["init_pid"] != before);
    host.guestctl_ok(&["stop", "bundled"]);
    assert_eq!(host.status("bundled")["phase"], "down");
    assert!(host.log().contains("bundled is down"), "{}", host.log());
}

#[test]
fn a_native_guest_that_runs_is_seen_without_a_daemon() {
    let mut host = Host::running("");
    host.native_guest("seen", "/bin/init", "[start]\nauto = true\n");
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "seen"]);
    host.kill_daemon();
    let planned = || host.guestctl_ok(&["plan", "-a", "--json"]);
    assert!(!planned().contains("seen"), "it is to be started, and runs: {}", planned());
    let mut stop = Command::new(env!("CARGO_BIN_EXE_guest-run"));
    assert!(stop.arg("stop").arg(host.at("run/native/seen")).arg("0").status().expect("guest-run").success());
    assert!(planned().contains("seen"), "{}", planned());
}
