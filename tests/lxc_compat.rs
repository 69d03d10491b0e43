//! What LXC's own test of `lxc-autostart` demands, demanded of `autostart`: a container that `lxc-create` made, looked
//! at with LXC's own tools alone. guestd is told nothing of it.

mod host;

use std::{fs, io::Write, path::PathBuf};

use host::Host;

const NAME: &str = "compat";
const GROUP: &str = "compat-group";

/// A container made by LXC's busybox template; LXC destroys it again.
struct Container<'a> {
    host: &'a Host,
}

impl<'a> Container<'a> {
    fn create(host: &'a Host) -> Self {
        let base = host.at("base.conf");
        // What the busybox template leaves to the host's default.conf.
        fs::write(&base, "lxc.net.0.type = empty\nlxc.apparmor.profile = unconfined\n").expect("a base");
        let this = Self { host };
        this.lxc_ok("lxc-create", &["-f", &base.display().to_string(), "-t", "busybox", "-B", "dir"]);
        this
    }

    fn lxc_ok(&self, tool: &str, arguments: &[&str]) -> String {
        let output = self.host.lxc(tool, NAME).args(arguments).output().expect("one of LXC's tools");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {arguments:?}: {stderr}\ndaemon: {}", self.host.log());
        String::from_utf8(output.stdout).expect("text")
    }

    fn config(&self) -> PathBuf {
        let root = self.lxc_ok("lxc-info", &["-H", "-c", "lxc.rootfs.path"]);
        let root = root.rsplit_once(" = ").map_or(root.as_str(), |(_, path)| path).trim();
        let root = PathBuf::from(root.strip_prefix("dir:").unwrap_or(root));
        root.parent().expect("its folder").join("config")
    }

    fn say(&self, lines: &str) {
        let mut config = fs::File::options().append(true).open(self.config()).expect("its config");
        config.write_all(lines.as_bytes()).expect("a line more");
    }

    /// Waits, as LXC's own test does, until LXC says that it is in this state.
    fn until(&self, state: &str) {
        self.lxc_ok("lxc-wait", &["-t", "5", "-s", state]);
        assert_eq!(self.lxc_ok("lxc-info", &["-H", "-s"]).trim(), state);
    }

    fn listed(&self, arguments: &[&str]) -> String {
        self.host.autostart_ok(&[&["-L"], arguments].concat())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self.host.lxc("lxc-destroy", NAME).arg("-f").output();
    }
}

#[test]
fn autostart_stands_in_for_lxc_autostart() {
    let host = Host::running("");
    let container = Container::create(&host);
    host::wait_for("guestd to notice it without a reload", || host.list().remove(NAME));
    assert_eq!(container.listed(&[]), "", "nobody asked for it");

    // Nobody waits for guestd to have read a line, as nobody waits for LXC to.
    container.say("lxc.start.auto = 1\n");
    assert_eq!(container.listed(&[]), format!("{NAME} 0\n"));

    container.say(&format!("lxc.group = {GROUP}\nlxc.start.delay = 5\n"));
    assert_eq!(container.listed(&["-g", GROUP]), format!("{NAME} 5\n"));
    assert_eq!(container.listed(&[]), "", "it is in a group now");
    let lxcpath = host.lxcpath().display().to_string();
    assert_eq!(container.listed(&["-g", GROUP, "-P", &lxcpath]), format!("{NAME} 5\n"));

    host.autostart_ok(&["-g", GROUP]);
    container.until("RUNNING");
    let first = host.lxc_init_pid(NAME).expect("an init");

    host.autostart_ok(&["-g", GROUP, "-r"]);
    container.until("RUNNING");
    assert_ne!(host.lxc_init_pid(NAME).expect("an init"), first, "it was rebooted");

    host.autostart_ok(&["-g", GROUP, "-s", "-t", "120"]);
    container.until("STOPPED");
    assert_eq!(host.status(NAME)["reason"], "stopped by request", "it was not killed");

    host.autostart_ok(&["-g", GROUP, "-k"]);
    container.until("STOPPED");
}

#[test]
fn a_configuration_written_a_moment_ago_counts() {
    let host = Host::running("");
    let container = Container::create(&host);
    container.say(&format!("lxc.start.auto = 1\nlxc.group = {GROUP}\n"));
    // LXC's own test does not wait either: with -P nothing but the files is asked.
    let lxcpath = host.lxcpath().display().to_string();
    assert_eq!(container.listed(&["-g", GROUP, "-P", &lxcpath]), format!("{NAME} 0\n"));
    container.lxc_ok("lxc-destroy", &[]);
    host::wait_for("its end to be noticed", || (!host.list().contains_key(NAME)).then_some(()));
}
