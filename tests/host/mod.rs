//! A whole guestd on a private bus, with an lxcpath of its own: real LXC, real containers, nothing of the machine's
//! own guestd or LXC is touched. Everything is removed when it is dropped.
#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../bus/mod.rs"]
pub mod bus;
#[path = "../executable/mod.rs"]
pub mod executable;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take that should happen soon.
pub const SOON: Duration = Duration::from_secs(20);

/// The host.
pub struct Host {
    dir: tempfile::TempDir,
    /// Its message bus.
    pub bus: bus::Bus,
    daemon: Option<Child>,
    notify: UnixDatagram,
}

/// What runs a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// LXC.
    Lxc,
    /// guestd's own engine.
    Native,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Lxc, Self::Native];
}

/// The longest that one of LXC's own tools may take; they wait for ever for a monitor that does not answer.
const TOOL_SECONDS: &str = "10";

impl Host {
    /// A host with a bus, no guests, and no daemon yet. `settings` is its guestd.toml, to which its lxcpath is added.
    pub fn new(settings: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("guestd-").tempdir().expect("a temporary folder");
        let at = dir.path();
        for folder in ["lxc", "etc/guests", "run", "state", "pressure"] {
            fs::create_dir_all(at.join(folder)).expect("a folder");
        }
        open_to_all(at);
        let notify = UnixDatagram::bind(at.join("notify")).expect("a notify socket");
        notify.set_read_timeout(Some(Duration::from_millis(100))).expect("a time limit");
        let host = Self { dir, bus: bus::Bus::start(), daemon: None, notify };
        host.settings(settings);
        host
    }

    /// A host whose daemon runs.
    pub fn running(settings: &str) -> Self {
        let mut host = Self::new(settings);
        host.start_daemon();
        host
    }

    /// Writes guestd.toml anew.
    pub fn settings(&self, settings: &str) {
        let lxc = format!("{settings}\n[lxc]\npath = [\"{}\"]\n", self.lxcpath().display());
        fs::write(self.at("etc/guestd.toml"), lxc).expect("the settings");
    }

    /// A path below the host's folder.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Where its containers are defined.
    pub fn lxcpath(&self) -> PathBuf {
        self.at("lxc")
    }

    /// Defines a busybox container with these lines added to its config.
    pub fn guest(&self, name: &str, lines: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-guest");
        let status =
            Command::new(script).arg(self.lxcpath()).arg(name).args(lines).status().expect("make-guest");
        assert!(status.success(), "make-guest {name}: {status}");
    }

    /// Defines a native guest with the same root, which runs `init`, and with these lines added to its file.
    pub fn native_guest(&self, name: &str, init: &str, lines: &str) {
        let root = self.lxcpath().join(".root");
        if !root.exists() {
            self.guest("of-root", &[]);
            fs::remove_dir_all(self.lxcpath().join("of-root")).expect("a container");
        }
        let text = format!(
            "engine = \"native\"\nroot = {root:?}\ninit = [\"{init}\"]\nhalt-signal = \"SIGUSR1\"\n\
             reboot-signal = \"SIGTERM\"\n{lines}"
        );
        fs::write(self.at(format!("etc/guests/{name}.toml")), text).expect("a guest's file");
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start_daemon(&mut self) {
        self.start_daemon_with(&[]);
    }

    /// The same, with more in its environment.
    pub fn start_daemon_with(&mut self, environment: &[(&str, &str)]) {
        assert!(self.daemon.is_none(), "it runs already");
        let mut daemon = self.daemon_command();
        daemon.env("NOTIFY_SOCKET", self.at("notify")).envs(environment.iter().copied());
        let daemon = daemon.spawn().expect("guestd");
        self.daemon = Some(daemon);
        wait_for("the daemon to be ready", || {
            let ended = self.daemon.as_mut().and_then(|daemon| daemon.try_wait().expect("a look"));
            assert!(ended.is_none(), "the daemon ended: {}", self.log());
            let mut buffer = [0; 4096];
            let length = self.notify.recv(&mut buffer).ok()?;
            buffer[..length].starts_with(b"READY=1").then_some(())
        });
    }

    /// The daemon as a command; it adds to the log.
    pub fn daemon_command(&self) -> Command {
        let log = fs::File::options().create(true).append(true).open(self.at("log")).expect("a log");
        let mut command = self.command(env!("CARGO_BIN_EXE_guestd"));
        for (option, folder) in [("--config-dir", "etc"), ("--runtime-dir", "run"), ("--state-dir", "state")]
        {
            command.arg(option).arg(self.at(folder));
        }
        // How hard pressed the machine is that runs the tests is no matter of theirs.
        command.env("GUESTD_PRESSURE", self.at("pressure"));
        command.env("GUESTD_HELPER", env!("CARGO_BIN_EXE_guest-helper"));
        command.env("GUESTD_GUEST_RUN", env!("CARGO_BIN_EXE_guest-run")).stderr(log);
        command
    }

    /// Waits until the daemon tells its service manager something with these words; the whole message.
    pub fn notified(&self, words: &str) -> String {
        wait_for(words, || {
            let mut buffer = [0; 4096];
            let length = self.notify.recv(&mut buffer).ok()?;
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            message.contains(words).then_some(message)
        })
    }

    /// The daemon's process id.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    /// Ends the daemon with SIGKILL, as a crash would.
    pub fn kill_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.kill().expect("a kill");
        daemon.wait().expect("its end");
    }

    /// Ends the daemon with a signal, and hands out how it ended.
    pub fn end_daemon(&mut self, signal: &str) -> ExitStatus {
        let mut daemon = self.daemon.take().expect("it runs");
        let status = Command::new("kill").args([signal, &daemon.id().to_string()]).status().expect("kill");
        assert!(status.success(), "kill {signal}");
        daemon.wait().expect("its end")
    }

    /// How the daemon ended, once it has.
    pub fn daemon_ended(&mut self) -> Option<ExitStatus> {
        self.daemon.as_mut().expect("it was started").try_wait().expect("a look")
    }

    /// Ends the bus with SIGKILL.
    pub fn kill_bus(&mut self) {
        self.bus.end();
    }

    /// Starts it again at the same address.
    pub fn restart_bus(&mut self) {
        self.bus.restart();
    }

    /// Everything the daemon has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    /// The address of its bus.
    pub fn bus_address(&self) -> String {
        self.bus.address()
    }

    /// A command that sees this host's bus and folders.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .env("CONFIGURATION_DIRECTORY", self.at("etc"))
            .env("RUNTIME_DIRECTORY", self.at("run"))
            .env("STATE_DIRECTORY", self.at("state"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        command
    }

    /// Runs `autostart`.
    pub fn autostart(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_autostart")).args(arguments).output().expect("autostart")
    }

    /// Runs `guestctl`.
    pub fn guestctl(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_guestctl")).args(arguments).output().expect("guestctl")
    }

    /// Runs `autostart` and expects success.
    pub fn autostart_ok(&self, arguments: &[&str]) -> String {
        self.succeeded("autostart", arguments, self.autostart(arguments))
    }

    /// Runs `guestctl` and expects success.
    pub fn guestctl_ok(&self, arguments: &[&str]) -> String {
        self.succeeded("guestctl", arguments, self.guestctl(arguments))
    }

    fn succeeded(&self, program: &str, arguments: &[&str], output: Output) -> String {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {stderr}\ndaemon: {}", self.log());
        String::from_utf8(output.stdout).expect("text")
    }

    /// Every guest, as `guestctl list --json` tells it.
    pub fn list(&self) -> BTreeMap<String, Value> {
        let json: Vec<Value> = serde_json::from_str(&self.guestctl_ok(&["list", "--json"])).expect("JSON");
        json.into_iter().map(|guest| (guest["name"].as_str().expect("a name").to_owned(), guest)).collect()
    }

    /// One guest, as `guestctl status NAME --json` tells it.
    pub fn status(&self, name: &str) -> Value {
        serde_json::from_str(&self.guestctl_ok(&["status", name, "--json"])).expect("JSON")
    }

    /// The names of the guests that are in this phase.
    pub fn in_phase(&self, phase: &str) -> Vec<String> {
        let guests = self.list().into_iter();
        guests.filter(|(_, guest)| guest["phase"] == phase).map(|(name, _)| name).collect()
    }

    /// Waits until a guest's status is as it should be, and hands it out.
    pub fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let deadline = Instant::now() + SOON;
        while Instant::now() < deadline {
            last = self.status(name);
            if holds(&last) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{name} is never {what}: {last:#}\ndaemon: {}", self.log());
    }

    /// Waits until a guest is in a phase.
    pub fn until_phase(&self, name: &str, phase: &str) -> Value {
        self.until(name, phase, |status| status["phase"] == phase)
    }

    /// The process id of a guest's init, as LXC tells it.
    pub fn lxc_init_pid(&self, name: &str) -> Option<i64> {
        let output = self.lxc("lxc-info", name).args(["-p", "-H"]).output().expect("lxc-info");
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    /// One of LXC's own tools, for a container of this host.
    pub fn lxc(&self, tool: &str, name: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args([TOOL_SECONDS, tool, "-P"]).arg(self.lxcpath()).args(["-n", name]).stdin(Stdio::null());
        command
    }

    /// Runs a command inside a container.
    pub fn attach(&self, name: &str, command: &[&str]) {
        self.lxc("lxc-attach", name).arg("--").args(command).output().expect("lxc-attach");
    }

    /// Asks a guest to reboot from inside, and waits for its new init.
    pub fn reboot_inside(&self, name: &str) -> Value {
        let before = self.status(name)["init_pid"].clone();
        self.attach(name, &["/bin/reboot", "-f"]);
        self.until(name, "up with a new init", |s| s["phase"] == "up" && s["init_pid"] != before)
    }

    /// A monitor that a test stopped would answer nobody.
    fn let_monitor_go_on(&self, name: &str) {
        let title = format!("[lxc monitor] {} {name}", self.lxcpath().display());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).trim_end_matches('\0') == title {
                let _ = Command::new("kill").arg("-CONT").arg(entry.file_name()).status();
            }
        }
    }

    /// Kills every guest of this host that still runs.
    fn sweep(&self) {
        for entry in fs::read_dir(self.at("run/native")).into_iter().flatten().flatten() {
            let mut stop = Command::new(env!("CARGO_BIN_EXE_guest-run"));
            stop.arg("stop").arg(entry.path()).arg("0").stdin(Stdio::null()).stderr(Stdio::null());
            let _ = stop.status();
        }
        for entry in fs::read_dir(self.lxcpath()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            self.let_monitor_go_on(name);
            if self.lxc_init_pid(name).is_some() {
                let _ = self.lxc("lxc-stop", name).arg("-k").stderr(Stdio::null()).status();
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut process) = self.daemon.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.sweep();
        let below = self.at("lxc");
        let below = below.strip_prefix("/").unwrap_or(&below);
        for run in ["/run/lxc", "/run/lxc/lock"] {
            // Its FIFO and its locks, if it ever had any.
            let _ = fs::remove_dir_all(Path::new(run).join(below));
            let _ = fs::remove_dir(Path::new(run).join(below.parent().unwrap_or(below)));
        }
        for folder in ["/run/lxc", "/run/lxc/lock"] {
            let _ = fs::remove_dir_all(format!("{folder}{}", self.dir.path().display()));
        }
        if std::thread::panicking() {
            eprintln!("--- the daemon's log ---\n{}", self.log());
        }
    }
}

/// Other users may reach the bus of the host, as they may reach a real one.
pub fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

/// Waits until something is there.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
