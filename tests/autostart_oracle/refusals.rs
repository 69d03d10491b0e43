//! What guestd says that LXC makes of a bad line, beside what LXC makes of it.

use std::{fs, path::Path, process::Command};

use guestd::daemon::load::{Directories, load_with_path};

use crate::host::Host;

/// What LXC does, and the words for it.
const REFUSES: (bool, &str) = (true, "LXC refuses the whole container");
const TAKES: (bool, &str) = (false, "LXC takes the number, and the kernel has no such signal");
const SKIPS: (bool, &str) = (false, "LXC leaves the line out");

/// Whether LXC 5.0.2 cannot load the one container of an lxcpath.
fn refused(lxcpath: &Path) -> bool {
    let output = Command::new("lxc-autostart").args(["-L", "-a", "-P"]).arg(lxcpath).output().unwrap();
    let (listed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(listed == "c 7\n" || told.contains("Failed to load config for c"), "{listed}{told}");
    listed.is_empty()
}

/// What guestd finds wrong with it.
fn told(lxcpath: &Path) -> String {
    let nowhere = Some(lxcpath.join("none"));
    let inventory = load_with_path(&Directories::new(nowhere.clone(), nowhere.clone(), nowhere), lxcpath);
    assert_eq!(inventory.guests["c"].start.delay.as_secs(), 7, "its start settings are taken");
    let found: Vec<_> = inventory.in_files.iter().map(ToString::to_string).collect();
    found.join("\n")
}

#[test]
fn what_lxc_makes_of_a_bad_line_is_said() {
    let host = Host::new(&[]);
    let config = host.lxcpath().join("c/config");
    fs::create_dir(config.parent().unwrap()).unwrap();
    for (line, (is_refused, words)) in [
        ("lxc.start.auto = 08", REFUSES),
        ("lxc.start.auto = 1 # x", REFUSES),
        ("lxc.start.order = abc", REFUSES),
        ("lxc.start.delay = 5s", REFUSES),
        ("lxc.ephemeral = 2", REFUSES),
        ("lxc.signal.halt = 65", TAKES),
        ("lxc.signal.stop = 2147483647", TAKES),
        ("lxc.signal.stop = 2147483648", REFUSES),
        ("lxc.signal.reboot = +9", REFUSES),
        ("lxc.signal.halt = 08", REFUSES),
        ("lxc.signal.halt = SIGFOO", REFUSES),
        ("lxc.signal.halt = 30 # x", REFUSES),
        ("lxc.hook.version = 7", REFUSES),
        ("lxc.hook.version = 08", SKIPS),
        ("lxc.hook.version = abc", SKIPS),
        ("lxc.hook.version = -1", SKIPS),
        ("lxc.hook.version = 1 # x", SKIPS),
        ("lxc.start.auto", REFUSES),
        ("lxc.include = /none", (true, "for which LXC refuses the whole container")),
        ("lxc.frobnicate = 1", (true, "an LXC that does not know it refuses the whole container")),
        ("lxc.utsname = x", (true, "LXC 3.0 and newer refuse the whole container")),
        ("lxc.kmsg = 0", (true, "LXC 3.0 and newer refuse the whole container")),
        ("lxc.group = a/b", (false, "a group of lxc.group is ignored")),
    ] {
        fs::write(&config, format!("lxc.start.delay = 7\nlxc.start.auto = 1\n{line}\n")).unwrap();
        assert_eq!(refused(host.lxcpath()), is_refused, "LXC, {line}");
        let told = told(host.lxcpath());
        assert!(told.contains(words), "{line}: {told}");
        assert!(is_refused || !told.contains("refuse"), "{line}: {told}");
    }
}
