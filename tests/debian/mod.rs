//! Debian hosts that boot for tests: what they are made of, and what is done on one, in a container or a machine alike.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::busybox;

/// The guests of most hosts: a database, two that come after it, and one that nobody starts at the boot.
pub const HOST: [&[&str]; 4] = [
    &["db", "lxc.start.auto = 1", "lxc.group = onboot", "lxc.start.order = 100", "lxc.start.delay = 1"],
    &["mail", "lxc.start.auto = 1", "lxc.group = onboot", "lxc.start.order = 50"],
    &["web", "lxc.start.auto = 1", "lxc.group = onboot", "lxc.start.order = 50"],
    &["lab", "lxc.group = lab"],
];

/// A host that is up, as root sees it.
pub trait Host {
    /// The longest that anything may take.
    const PATIENCE: Duration;

    /// Runs a program.
    fn run(&self, argv: &[&str]) -> Output;

    /// Runs a program that must succeed; what it printed.
    #[track_caller]
    fn ok(&self, argv: &[&str]) -> String {
        let output = self.run(argv);
        let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{argv:?}: {}\n{out}{told}\n{}", output.status, self.journal());
        out.into_owned()
    }

    /// Runs lines of shell that must succeed.
    #[track_caller]
    fn sh(&self, lines: &str) -> String {
        self.ok(&["sh", "-euc", lines])
    }

    /// Waits until lines of shell succeed.
    #[track_caller]
    fn wait(&self, what: &str, lines: &str) {
        let deadline = Instant::now() + Self::PATIENCE;
        while !self.run(&["sh", "-c", lines]).status.success() {
            assert!(Instant::now() < deadline, "no {what}:\n{}", self.journal());
        }
    }

    /// What guestd knows of every guest.
    #[track_caller]
    fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(&["guestctl", "list", "--json"])).expect("JSON")
    }

    /// Every guest with its phase: `db up, web down`.
    #[track_caller]
    fn phases(&self) -> String {
        let text = |guest: &Value, key: &str| guest[key].as_str().unwrap_or_default().to_owned();
        let guests = self.list();
        let phases = guests.iter().map(|guest| format!("{} {}", text(guest, "name"), text(guest, "phase")));
        phases.collect::<Vec<_>>().join(", ")
    }

    /// The inits of all guests that run.
    #[track_caller]
    fn inits(&self) -> Vec<(String, i64)> {
        let guests = self.list();
        let inits = guests
            .iter()
            .filter_map(|guest| Some((guest["name"].as_str()?.to_owned(), guest["init_pid"].as_i64()?)));
        inits.collect()
    }

    /// A guest's init.
    #[track_caller]
    fn init(&self, name: &str) -> i64 {
        self.inits().into_iter().find(|(guest, _)| guest == name).expect("it runs").1
    }

    /// When a guest's init started, in seconds of the day.
    #[track_caller]
    fn since(&self, name: &str) -> f64 {
        let guests = self.list();
        let since =
            guests.iter().find(|guest| guest["name"] == name).and_then(|guest| guest["since"].as_str());
        let time = since.and_then(|since| since.split_once('T')).expect("a moment").1.trim_end_matches('Z');
        time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
    }

    /// The journal of this boot, for a test that fails.
    fn journal(&self) -> String {
        let output = self.run(&["journalctl", "-b", "--no-pager", "-o", "short-precise", "-n", "200"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Writes a file below a root, with the folders above it.
pub fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder above")).expect("folders");
    fs::write(path, text).expect("a file");
}

/// Defines containers below a root: each with its name and lines of its config.
pub fn guests(root: &Path, guests: &[&[&str]]) {
    let lxcpath = root.join("var/lib/lxc");
    for words in guests {
        let (name, lines) = words.split_first().expect("a name");
        let made = Command::new(script("make-guest")).arg(&lxcpath).arg(name).args(lines).status();
        assert!(made.expect("make-guest").success(), "make-guest {name}");
        // The paths in it are those of the host itself.
        let config = lxcpath.join(name).join("config");
        let text = fs::read_to_string(&config).expect("a config");
        fs::write(&config, text.replace(&root.display().to_string(), "")).expect("a config");
    }
}

/// Where the root is that native guests share.
pub const NATIVE_ROOT: &str = "/srv/native";

/// Defines native guests below a root: each with its name and what its file says beside where its root is.
pub fn natives(root: &Path, guests: &[(&str, &str)]) {
    let shared = root.join(NATIVE_ROOT.trim_start_matches('/'));
    if !shared.exists() {
        busybox::make_root(&shared);
    }
    for (name, lines) in guests {
        let text = format!("engine = \"native\"\nroot = \"{NATIVE_ROOT}\"\n{lines}");
        write(root, &format!("etc/guestd/guests/{name}.toml"), &text);
    }
}

/// Lets each guest record its clean stop, in the root that they share.
pub fn recording(root: &Path) {
    write(root, "var/lib/lxc/.root/sbin/record", "#!/bin/sh\necho \"$(busybox hostname)\" >>/stopped\n");
    let inittab = "::sysinit:/bin/true\n::respawn:/bin/sleep 1000000\n::shutdown:/bin/sh /sbin/record\n";
    write(root, "var/lib/lxc/.root/etc/inittab", inittab);
}

/// Lets every start of guestd wait until `/go` is there, as it is at the boot.
pub fn gate(root: &Path) {
    let waits = "[Service]\nExecStartPre=/bin/sh -c 'until [ -e /go ]; do sleep 0.02; done'\n";
    write(root, "etc/systemd/system/guestd.service.d/gate.conf", waits);
    write(root, "go", "");
}

/// Kills guestd, does what these lines of shell say while it waits at its [`gate`] to be started again, and lets it.
#[track_caller]
pub fn while_away(host: &impl Host, lines: &str) {
    host.sh("rm /go; systemctl kill -s KILL guestd");
    host.sh(lines);
    host.sh("touch /go; busctl call org.guestd1 /org/guestd1 org.freedesktop.DBus.Peer Ping");
}

/// Starts all guests of [`HOST`], which are [`recording`], reboots the host, and asserts that each had its clean stop in
/// reverse order, and came back if it belongs to the boot.
#[track_caller]
pub fn reboots_in_order<H: Host>(mut host: H, reboot: impl FnOnce(&mut H)) {
    host.sh("guestctl start lab");
    assert_eq!(host.phases(), "db up, lab up, mail up, web up");
    reboot(&mut host);
    assert_eq!(host.phases(), "db up, lab down, mail up, web up");
    let recorded = host.sh("cat /var/lib/lxc/.root/stopped");
    stopped_in_reverse(&recorded, &host.sh("journalctl -b -1 --no-pager -o cat"));
}

/// Asserts that all guests of [`HOST`] ran and had their clean stop in reverse order while nothing was taken from
/// them: by what they recorded, and by the journal of that boot.
#[track_caller]
fn stopped_in_reverse(recorded: &str, journal: &str) {
    let stopped: Vec<_> = recorded.lines().collect();
    assert_eq!(stopped.len(), 4, "{stopped:?}");
    assert_eq!((stopped[0], stopped[3]), ("lab", "db"), "{stopped:?}");
    let at = |words: &str| journal.find(words).unwrap_or_else(|| panic!("no {words:?} in\n{journal}"));
    for name in ["db", "lab", "mail", "web"] {
        // Its own clean stop came before its unit was touched.
        assert!(
            at(&format!("{name} is down: stopped with the host")) < at("Stopped guests-shutdown.service")
        );
        assert!(!journal.contains(&format!("guest-{name}.service: Killing")), "{journal}");
    }
    assert!(at("Stopped guests-shutdown.service") < at("Stopped guestd.service"));
    assert!(journal.contains("4 stopped"), "{journal}");
}

/// The root of all hosts.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = target().join("booted/root");
        let made = Command::new(script("make-host")).arg(&root).status();
        assert!(made.expect("make-host").success(), "the root of the hosts cannot be made");
        root
    })
}

/// guestd's packages, as `make deb` leaves them.
pub fn packages() -> Vec<PathBuf> {
    let folder = target().join("debian");
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let packages: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    assert!(!packages.is_empty(), "no packages in {}: run \"make deb\" first", folder.display());
    packages
}

/// A script of the repository.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Where the programs are built, and what is made for tests.
pub fn target() -> PathBuf {
    let set = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    set.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))
}
