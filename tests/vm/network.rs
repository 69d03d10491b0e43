//! Guests' networks on Debian's own kernel, which has every type of interface, and on hardware, which comes back by itself.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{debian::Host, machine::Vm};

#[test]
fn every_type_of_interface_is_made_and_undone() {
    let vm = Vm::boot_with(|upper| {
        let tests = upper.join("usr/local/bin/network");
        fs::create_dir_all(tests.parent().expect("a folder")).expect("folders");
        let stripped = Command::new("strip").arg("-o").arg(&tests).arg(program()).status();
        assert!(stripped.expect("strip, of binutils").success());
    });
    vm.sh("modprobe -a veth bridge macvlan ipvlan 8021q dummy");
    // What a smaller kernel may lack; the rest runs on the machine that tests.
    let tests = "filters_vlans a_vlan_of_a_device vlans_are_made ipvlans each_mistake";
    let said = vm.sh(&format!("network --nocapture {tests} 2>&1"));
    assert!(!said.contains("this kernel has no") && said.contains("test result: ok. 5 passed"), "{said}");
    let device = vm.sh("ls -d /sys/class/net/*/device | cut -d/ -f5");
    let hardware = format!("GUESTD_TEST_DEVICE={} network --ignored hardware:: 2>&1", device.trim());
    let said = vm.sh(&hardware);
    assert!(said.contains("test result: ok. 1 passed"), "{said}");
    assert_eq!(vm.sh("ls /sys/class/net | wc -l"), "2\n", "interfaces are left");
}

/// The program that Cargo makes of `tests/network`.
fn program() -> PathBuf {
    let made = Command::new(env!("CARGO"))
        .args([
            "test",
            "--locked",
            "--offline",
            "--quiet",
            "--no-run",
            "--message-format",
            "json",
            "--test",
            "network",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let messages = String::from_utf8_lossy(&made.stdout).into_owned();
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let executable = |message: Value| message["executable"].as_str().map(|path| Path::new(path).to_owned());
    messages
        .filter(|message| message["target"]["name"] == "network")
        .find_map(executable)
        .expect("the program")
}
