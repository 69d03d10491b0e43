//! A whole host in a virtual machine: Debian's own kernel, the unified cgroup hierarchy with all its controllers, a disk.
//! It is emulated, so it needs nothing of the processor. Nothing of it is left when it is dropped.

use std::{
    cell::RefCell,
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{
    agent::Agent,
    debian::{Host, packages, root, script, target},
};

/// A virtual machine.
pub struct Vm {
    folder: tempfile::TempDir,
    disk: String,
    qemu: Child,
    agent: RefCell<Agent>,
}

impl Vm {
    /// Switches a host on that has guestd's package, and waits until its boot is over. `prepare` may lay files over its
    /// root before. What it writes to its disk is lost when it is dropped.
    pub fn boot_with(prepare: impl FnOnce(&Path)) -> Self {
        let disk = format!("file={},snapshot=on,cache=unsafe", image().join("disk").display());
        let vm = Self::new(folder(prepare), disk);
        vm.booted();
        vm
    }

    /// The same with a disk that survives a power cut, and without waiting for the end of the boot.
    pub fn switch_on_with(prepare: impl FnOnce(&Path)) -> Self {
        let folder = folder(prepare);
        let disk = folder.path().join("disk");
        succeed(Command::new("cp").arg("--sparse=always").arg(image().join("disk")).arg(&disk));
        Self::new(folder, format!("file={}", disk.display()))
    }

    fn new(folder: tempfile::TempDir, disk: String) -> Self {
        let (agent, port) = Agent::new();
        let upper = format!("file={},readonly=on", folder.path().join("upper.tar").display());
        let qemu = qemu(folder.path(), &[&disk, &upper], port);
        let vm = Self { folder, disk, qemu, agent: RefCell::new(agent) };
        vm.await_boot();
        vm
    }

    /// Reboots it, as an administrator would, and waits until it is up again.
    pub fn reboot(&self) {
        // It may be gone before it has answered.
        self.agent.borrow_mut().send("systemctl reboot").expect("its agent listens");
        self.await_boot();
        self.booted();
    }

    /// Cuts its power, and boots it again from the same disk, without what `prepare` gave along.
    pub fn cut_and_boot(&mut self) {
        self.cut();
        let (agent, port) = Agent::new();
        self.qemu = qemu(self.folder.path(), &[&self.disk], port);
        self.agent = RefCell::new(agent);
        self.await_boot();
        self.booted();
    }

    fn await_boot(&self) {
        self.agent.borrow_mut().await_boot(Instant::now() + Self::PATIENCE).expect("a boot");
    }

    fn booted(&self) {
        let state = self.run(&["systemctl", "is-system-running", "--wait"]);
        let state = String::from_utf8_lossy(&state.stdout).into_owned();
        assert!(matches!(state.trim(), "running" | "degraded"), "{state}:\n{}", self.journal());
    }

    fn cut(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Host for Vm {
    const PATIENCE: Duration = Duration::from_secs(180);

    fn run(&self, argv: &[&str]) -> Output {
        let words: Vec<_> = argv.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
        let ran = self.agent.borrow_mut().run(&words.join(" "), Instant::now() + Self::PATIENCE);
        ran.unwrap_or_else(|error| panic!("{argv:?}: {error}"))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.cut();
        if std::thread::panicking() {
            let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
            let said = [read("qemu"), read("console")].concat();
            eprintln!("--- the console of the virtual machine ---\n{}", String::from_utf8_lossy(&said));
        }
    }
}

/// A folder for a machine, with what is laid over its root.
fn folder(prepare: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("guestd-vm-").tempdir().expect("a folder");
    let upper = folder.path().join("upper");
    fs::create_dir_all(&upper).expect("a folder");
    prepare(&upper);
    succeed(
        Command::new("tar").arg("-cf").arg(folder.path().join("upper.tar")).arg("-C").arg(&upper).arg("."),
    );
    folder
}

/// Switches a machine on with these disks; its console goes into a file of the folder.
fn qemu(folder: &Path, disks: &[&str], port: OwnedFd) -> Child {
    // It ends with whoever started it, in whatever way that ends.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2"])
        .args(["-m", "768", "-M", "q35", "-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-append", "console=ttyS0 quiet loglevel=4 mitigations=off", "-kernel"])
        .arg(image().join("vmlinuz"))
        .arg("-initrd")
        .arg(image().join("initramfs"))
        .arg("-serial")
        .arg(format!("file:{}", folder.join("console").display()))
        .args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,nr=1"])
        .args(["-chardev", "stdio,id=agent,signal=off"])
        // A network card whose cable leads nowhere; behind the port, whose number is part of its name.
        .args(["-device", "virtio-net-pci"]);
    for disk in disks {
        qemu.args(["-drive", &format!("{disk},format=raw,if=virtio")]);
    }
    let errors = fs::File::create(folder.join("qemu")).expect("a file");
    qemu.env("TMPDIR", folder).stdin(port.try_clone().expect("a descriptor")).stdout(port).stderr(errors);
    qemu.spawn().expect("setpriv, of util-linux")
}

/// What all machines boot from.
fn image() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let packages = packages();
        let is_guestd = |path: &&PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("guestd_"))
        };
        let package = packages.iter().find(is_guestd).expect("the package guestd");
        let image = target().join("vm");
        succeed(Command::new(script("make-vm")).arg(root()).arg(package).arg(&image));
        image
    })
}

fn succeed(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.expect("it is run").success(), "failed: {command:?}");
}
