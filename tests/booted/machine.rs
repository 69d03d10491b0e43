//! A whole host that systemd boots in a container: PID 1, journal, logind, polkit, LXC, and guestd from its package.
//! Nothing of the machine around is touched; all is removed when it is dropped.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

pub use super::debian::{Host, guests, write};
use super::{
    bus::Bus,
    debian::{packages, root, target},
};

/// The longest that a boot or a shutdown may take.
const BOOT: Duration = Duration::from_secs(60);

/// A host.
pub struct Machine {
    name: String,
    folder: tempfile::TempDir,
    cgroup: PathBuf,
    keeper: Child,
    // systemd-nspawn wants one, and does nothing with it.
    bus: Bus,
}

impl Machine {
    /// Boots a host that has guestd's package, and waits until its boot is over.
    pub fn boot() -> Self {
        Self::boot_with(|_| {})
    }

    /// The same; `prepare` may change files below the root before the boot. They are laid over what is there.
    pub fn boot_with(prepare: impl FnOnce(&Path)) -> Self {
        let installed = installed();
        Self::on(&format!("{}:{}", installed.display(), root().display()), prepare)
    }

    /// Boots a host on these folders, the topmost first.
    fn on(lower: &str, prepare: impl FnOnce(&Path)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("guestd-test-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("guestd-host-").tempdir().expect("a folder");
        let upper = folder.path().join("upper");
        fs::create_dir_all(&upper).expect("a folder");
        prepare(&upper);
        let unified = Path::new("/sys/fs/cgroup/unified");
        let hierarchy = if unified.is_dir() { unified } else { Path::new("/sys/fs/cgroup") };
        let cgroup = hierarchy.join(&name);
        let bus = Bus::start();
        let keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--"])
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/booted/keeper"))
            .args([name.as_ref(), folder.path().as_os_str(), lower.as_ref(), cgroup.as_os_str()])
            .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            // Whoever reads what this program prints must not wait for what it boots.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("unshare, of util-linux");
        let mut machine = Self { name, folder, cgroup, keeper, bus };
        machine.booted(None);
        machine
    }

    /// Waits until the boot is over that follows the one of `before`.
    fn booted(&mut self, before: Option<i32>) {
        let leader = self.until("a new PID 1", |machine| {
            let leader = machine.leader().filter(|leader| Some(*leader) != before)?;
            let bus = format!("/proc/{leader}/root/run/dbus/system_bus_socket");
            Path::new(&bus).exists().then_some(leader)
        });
        let known = format!("NAME={}\nCLASS=container\nLEADER={leader}\n", self.name);
        let write = format!("cat >/run/systemd/machines/{}", self.name);
        let mut shell =
            self.outside("sh").args(["-c", &write]).stdin(Stdio::piped()).spawn().expect("a shell");
        std::io::Write::write_all(&mut shell.stdin.take().expect("a pipe"), known.as_bytes())
            .expect("a write");
        assert!(shell.wait().expect("a shell").success());
        self.until("the end of the boot", |machine| {
            let state =
                machine.outside("systemctl").args(["-M", &machine.name, "is-system-running"]).output();
            let state = String::from_utf8_lossy(&state.expect("systemctl").stdout).trim().to_owned();
            matches!(state.as_str(), "running" | "degraded").then_some(())
        });
    }

    fn until<T>(&mut self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + BOOT;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let off = self.folder.path().join("off").exists();
            assert!(!off && Instant::now() < deadline, "no {what}:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its PID 1, as the machine around sees it.
    fn leader(&self) -> Option<i32> {
        let inits = fs::read_to_string(self.cgroup.join("payload/init.scope/cgroup.procs")).ok()?;
        inits.lines().next()?.parse().ok()
    }

    /// What it said on its console.
    pub fn console(&self) -> String {
        fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }

    /// A program of the machine around that sees the host's mounts.
    fn outside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.keeper.id().to_string(), "--", program]);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address()).stdin(Stdio::null());
        command
    }

    /// Runs a program in it, as root, with options of systemd-run(1).
    pub fn run_with(&self, options: &[&str], argv: &[&str]) -> Output {
        let mut command = self.outside("systemd-run");
        command.args(["-M", &self.name, "-q", "--wait", "--pipe", "-G"]).args(options).arg("--").args(argv);
        command.output().expect("systemd-run")
    }

    /// Reboots it, as an administrator would, and waits until it is up again.
    pub fn reboot(&mut self) {
        let before = self.leader();
        assert!(
            self.outside("systemctl").args(["-M", &self.name, "reboot"]).status().expect("a run").success()
        );
        self.booted(before);
    }

    /// Cuts its power.
    pub fn cut(&self) {
        let _ = fs::write(self.cgroup.join("cgroup.kill"), "1");
    }
}

impl Host for Machine {
    const PATIENCE: Duration = BOOT;

    fn run(&self, argv: &[&str]) -> Output {
        self.run_with(&[], argv)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the console of {} ---\n{}", self.name, self.console());
        }
        self.cut();
        let _ = self.keeper.wait();
        let deadline = Instant::now() + BOOT;
        let events = self.cgroup.join("cgroup.events");
        while fs::read_to_string(&events).is_ok_and(|text| text.contains("populated 1")) {
            if Instant::now() > deadline {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for hierarchy in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup"] {
            remove_cgroups(&Path::new(hierarchy).join(&self.name));
        }
        remove_cgroups(&self.cgroup);
    }
}

/// Removes a cgroup with those below it.
fn remove_cgroups(cgroup: &Path) {
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}

/// What the installation of the package adds to it: made by a host that is booted once.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = target().join("booted/installed");
        let _ = fs::remove_dir_all(&folder);
        let machine = Machine::on(&root().display().to_string(), |upper| {
            for package in packages() {
                let to = upper.join("root").join(package.file_name().expect("a name"));
                fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
                fs::copy(&package, &to).expect("a copy");
            }
        });
        machine.sh("dpkg -i /root/guestd_*.deb");
        assert!(
            machine
                .outside("systemctl")
                .args(["-M", &machine.name, "poweroff"])
                .status()
                .expect("a run")
                .success()
        );
        let deadline = Instant::now() + BOOT;
        while !machine.folder.path().join("off").exists() {
            assert!(Instant::now() < deadline, "it does not power off:\n{}", machine.console());
            std::thread::sleep(Duration::from_millis(10));
        }
        let copied =
            Command::new("cp").arg("-a").arg(machine.folder.path().join("upper")).arg(&folder).status();
        assert!(copied.expect("cp").success());
        folder
    })
}
