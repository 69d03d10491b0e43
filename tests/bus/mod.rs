//! A message bus of the test's own, with the shipped policy: a dbus-daemon in a temporary folder, ended with the test.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

/// A private bus.
pub struct Bus {
    daemon: Child,
    folder: TempDir,
}

impl Bus {
    /// Starts a bus that everybody may connect to and on which root may own every name; `units/org.guestd1.conf` rules
    /// who may own and call guestd. It is ready when this returns.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("guestd-bus-").tempdir().expect("a temporary folder");
        open_to_all(folder.path());
        let config = folder.path().join("bus.conf");
        std::fs::write(&config, configuration(&folder.path().join("socket")))
            .expect("the configuration is written");
        Self { daemon: launch(folder.path()), folder }
    }

    /// Its address, as `DBUS_SYSTEM_BUS_ADDRESS` takes it.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("socket").display())
    }

    /// Starts it again at the same address, after its end.
    pub fn restart(&mut self) {
        // A socket that nobody listens on is in the way.
        let _ = std::fs::remove_file(self.folder.path().join("socket"));
        self.daemon = launch(self.folder.path());
    }

    /// Ends it, as a crash would.
    pub fn end(&mut self) {
        end(&mut self.daemon);
    }

    /// A folder that lives as long as the bus.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs busctl on this bus as a user: `call …`, `get-property …`.
    pub fn busctl<S: AsRef<OsStr>>(&self, uid: u32, arguments: &[S]) -> Output {
        let id = uid.to_string();
        Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups", "busctl"])
            .arg(format!("--address={}", self.address()))
            .args(arguments)
            .output()
            .expect("setpriv and busctl run; are util-linux and systemd installed")
    }
}

/// Starts the daemon of the bus in this folder; it is ready when this returns.
fn launch(folder: &Path) -> Child {
    let mut daemon = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", folder.join("bus.conf").display()))
        .args(["--nofork", "--nopidfile", "--nosyslog", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(log(folder, "dbus-daemon.log"))
        .spawn()
        .expect("dbus-daemon starts; is dbus installed");
    let mut address = String::new();
    let output = daemon.stdout.take().expect("its output is piped");
    BufReader::new(output).read_line(&mut address).expect("it prints its address");
    assert!(address.starts_with("unix:"), "dbus-daemon printed {address:?}");
    daemon
}

impl Drop for Bus {
    fn drop(&mut self) {
        end(&mut self.daemon);
    }
}

/// polkit on a private bus, in a mount namespace of its own: it knows the shipped actions and the rules of the test, and
/// the host's stay as they are.
pub struct Polkit {
    daemon: Child,
}

impl Polkit {
    /// Starts polkitd on `bus` with the text of a rules file. It may not answer yet when this returns.
    pub fn start(bus: &Bus, rules: &str) -> Self {
        let [actions, own_rules] = ["actions", "rules.d"].map(|name| bus.folder().join(name));
        for folder in [&actions, &own_rules] {
            std::fs::create_dir(folder).expect("a folder for polkit");
            open_to_all(folder);
        }
        let policy = "org.guestd1.policy";
        std::fs::copy(shipped("units").join(policy), actions.join(policy)).expect("the actions are copied");
        std::fs::write(own_rules.join("10-test.rules"), rules).expect("the rules are written");
        let script = "mount --bind \"$0\" /usr/share/polkit-1/actions && mount --bind \"$1\" /etc/polkit-1/rules.d && \
                      exec /usr/lib/polkit-1/polkitd --no-debug";
        let daemon = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .args([&actions, &own_rules])
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            .stdout(Stdio::null())
            .stderr(log(bus.folder(), "polkitd.log"))
            .spawn()
            .expect("unshare runs; is util-linux installed");
        Self { daemon }
    }
}

impl Drop for Polkit {
    fn drop(&mut self) {
        end(&mut self.daemon);
    }
}

/// Ends a child. It may have ended already; then there is nothing left to do.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

fn log(folder: &Path, name: &str) -> Stdio {
    std::fs::File::create(folder.join(name)).expect("a log file").into()
}

/// A file of the repository.
pub fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn configuration(socket: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="*"/>
    <allow send_type="method_call"/>
  </policy>
  <policy user="polkitd">
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_type="method_call"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"#,
        socket = socket.display(),
        policy = shipped("units/org.guestd1.conf").display(),
    )
}

/// Lets every user reach the socket.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder, everybody).expect("the folder is opened");
}
