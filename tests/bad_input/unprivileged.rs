//! Configuration read without a daemon, by root and by a user who may not read all of it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};

use super::{host::executable, write};

/// Settings and containers, and no bus.
struct Offline {
    folder: tempfile::TempDir,
}

impl Offline {
    /// Two guests in `lxc`; `web` with an overlay.
    fn new() -> Self {
        let offline = Self { folder: tempfile::tempdir().expect("a folder") };
        let settings = format!("order = \"lowest-first\"\n[lxc]\npath = [{:?}]\n", offline.at("lxc"));
        write(&offline.at("etc/guestd.toml"), settings);
        write(&offline.at("lxc/web/config"), "lxc.start.auto = 1\n");
        write(&offline.at("lxc/db/config"), "lxc.start.auto = 1\n");
        write(&offline.at("etc/guests/web.toml"), "[start]\ndelay = 5\n");
        offline.open("", 0o755);
        offline
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn open(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    /// Runs a program as root or as nobody: exit status, standard output, standard error, with this folder left out.
    fn run(&self, uid: u32, program: &str, arguments: &[&str]) -> (i32, String, String) {
        // Where the program was built, others may not look.
        let copy = self.at(Path::new(program).file_name().and_then(|name| name.to_str()).expect("a name"));
        if !copy.exists() {
            executable::copy(program, &copy);
        }
        let output = Command::new(copy)
            .args(arguments)
            .args(["--config-dir", self.at("etc").to_str().expect("text")])
            .args(["--runtime-dir", self.at("run").to_str().expect("text")])
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .output()
            .expect("it runs");
        let here = format!("{}/", self.folder.path().display());
        let text = |bytes| String::from_utf8(bytes).expect("text").replace(&here, "");
        (output.status.code().expect("an exit status"), text(output.stdout), text(output.stderr))
    }
}

const GUESTCTL: &str = env!("CARGO_BIN_EXE_guestctl");
const AUTOSTART: &str = env!("CARGO_BIN_EXE_autostart");
const NOBODY: u32 = 65534;
const AWAY: &str = "guestd cannot be reached; this plan is made from the configuration\n";

#[test]
fn who_may_read_everything_sees_the_same_as_root() {
    let offline = Offline::new();
    for (program, arguments) in [
        (GUESTCTL, &["check"][..]),
        (GUESTCTL, &["cat", "web"]),
        (GUESTCTL, &["cat", "none"]),
        (GUESTCTL, &["plan", "-a"]),
        (AUTOSTART, &["--plan", "-a"]),
    ] {
        let (root, nobody) = (offline.run(0, program, arguments), offline.run(NOBODY, program, arguments));
        assert_eq!(root, nobody, "{arguments:?}");
        assert_eq!(root.0, if arguments.contains(&"none") { 4 } else { 0 }, "{root:?}");
    }
}

#[test]
fn an_lxcpath_that_only_root_may_read() {
    let offline = Offline::new();
    offline.open("lxc", 0o700);
    let path = "lxc: error: the lxcpath, named by etc/guestd.toml:3, cannot be read: permission denied \
                to this user; run this as root\n";
    let (status, out, told) = offline.run(NOBODY, GUESTCTL, &["check"]);
    assert_eq!((status, told.as_str()), (1, ""));
    assert!(out.starts_with(path), "{out}");
    assert_eq!(offline.run(0, GUESTCTL, &["check"]).0, 0);

    for name in ["web", "none"] {
        let (status, out, told) = offline.run(NOBODY, GUESTCTL, &["cat", name]);
        let said = format!("guestctl: lxc/{name}/config cannot be read: permission denied\n");
        assert_eq!((status, out.as_str(), told), (1, "", said));
    }

    for (program, name, arguments) in
        [(GUESTCTL, "guestctl", &["plan", "-a"]), (AUTOSTART, "autostart", &["--plan", "-a"])]
    {
        let (status, out, told) = offline.run(NOBODY, program, arguments);
        assert!(told.starts_with(&format!("{name}: {AWAY}{name}: {path}")), "{told}");
        assert!(!out.contains("web"), "{out}");
        assert_eq!(status, 0);
        let (status, out, told) = offline.run(0, program, arguments);
        assert_eq!((status, told), (0, format!("{name}: {AWAY}")));
        assert!(out.contains("web") && out.contains("db"), "{out}");
    }
    let lxc = offline.at("lxc");
    let (status, _, told) = offline.run(NOBODY, AUTOSTART, &["-L", "-a", "-P", lxc.to_str().expect("text")]);
    assert_eq!(status, 1);
    assert!(told.starts_with("autostart: cannot read the lxcpath "), "{told}");
    assert!(told.contains("Permission denied"), "{told}");
}

#[test]
fn files_that_only_root_may_read() {
    let offline = Offline::new();
    let run = |arguments: &[&str]| offline.run(NOBODY, GUESTCTL, arguments);
    offline.open("lxc/db/config", 0o600);
    offline.open("etc/guests/web.toml", 0o600);
    let (status, out, _) = run(&["check"]);
    assert_eq!(status, 1);
    let denied = "cannot be read: permission denied";
    for line in [
        format!("lxc/db/config: error: the file {denied} to this user; run this as root\n"),
        format!("etc/guests/web.toml: error: it {denied} to this user; run this as root\n"),
    ] {
        assert!(out.contains(&line), "{out}");
    }
    assert!(!out.contains("managed"), "only this user does not see it: {out}");
    assert_eq!(run(&["cat", "db"]).2, format!("guestctl: lxc/db/config {denied}\n"));
    assert_eq!((run(&["cat", "db"]).0, run(&["cat", "none"]).0), (1, 4));
    let (status, out, told) = run(&["cat", "web"]);
    assert_eq!(status, 0);
    assert!(told.contains("etc/guests/web.toml: error: it cannot be read"), "{told}");
    assert!(out.contains("start.auto = true"), "{out}");

    offline.open("etc/guestd.toml", 0o600);
    let (status, _, told) = run(&["cat", "web"]);
    assert!(status == 1 || status == 4, "it lies in an lxcpath that is not known now: {status}");
    assert!(told.starts_with(&format!("guestctl: etc/guestd.toml: error: it {denied}")), "{told}");
}
