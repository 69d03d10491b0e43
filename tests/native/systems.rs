//! Whole systems as guests: Debian with systemd, and with sysvinit.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use guestd::{
    engine::{Engine, Epoch, Observation, Request},
    model::{Condition, Guest, native::Root},
};
use tokio::time::timeout;

use super::{debian, native_host::Bench};

/// How long a whole system may take to boot, or to shut down.
const BOOT: Duration = Duration::from_secs(60);
/// What of the hosts for tests is no part of a guest.
const MASKED: [&str; 4] = ["lxc", "lxc-net", "lxc-monitord", "systemd-networkd"];

/// A Debian of its own below a folder on the disk of the hosts for tests: their programs, and other settings and another state.
fn make_root(folder: &Path) {
    let lines = "cd \"$2\" && mkdir dev proc sys run tmp root var && cd \"$1\" && \
                 for link in bin sbin lib lib64; do cp -a $link \"$2\"; done && cp -al usr \"$2\" && cp -a etc \"$2\" && \
                 cp -a var/lib var/log var/tmp var/cache var/run var/lock var/spool var/mail var/local var/opt \"$2/var\" && \
                 cp -a root \"$2\" && : >\"$2/etc/machine-id\" && cd \"$2\" && rm -rf var/log/journal";
    let status = Command::new("sh").args(["-euc", lines, "sh"]).arg(debian::root()).arg(folder).status();
    assert!(status.expect("sh").success(), "no root in {}", folder.display());
    fs::write(folder.join("etc/hostname"), "inner\n").unwrap();
    for unit in MASKED {
        let mask = folder.join(format!("etc/systemd/system/{unit}.service"));
        let _ = fs::remove_file(&mask);
        std::os::unix::fs::symlink("/dev/null", mask).unwrap();
    }
}

/// A folder on the disk of the hosts for tests.
fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("guest-").tempdir_in(debian::target().join("booted")).unwrap()
}

/// A guest with this root, and the socket at which it tells how it is.
fn guest(bench: &mut Bench, name: &str, root: &Path) -> (Arc<Guest>, UnixDatagram) {
    let guest = bench.guest(name, |spec| {
        spec.root = Root::Folder(root.to_owned());
    });
    let mut guest = Arc::unwrap_or_clone(guest);
    guest.ready.when = Condition::Notify;
    guest.stop.timeout = BOOT;
    guest.start.timeout = BOOT;
    let notify = bench.folder().join("run/notify").join(guest.name.as_str());
    fs::create_dir_all(&notify).unwrap();
    let socket = UnixDatagram::bind(notify.join("socket")).unwrap();
    fs::set_permissions(notify.join("socket"), fs::Permissions::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    (Arc::new(guest), socket)
}

/// Waits until it says that it is ready.
fn ready(bench: &Bench, guest: &Guest, socket: &UnixDatagram) {
    let deadline = Instant::now() + BOOT;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline {
        let length = socket.recv(&mut buffer).unwrap_or(0);
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == "READY=1") {
            return;
        }
    }
    panic!("it does not say that it is ready:\n{}", bench.console(guest));
}

/// The next observation of it, which may take as long as a boot.
async fn observes(bench: &mut Bench, guest: &Guest) -> Observation {
    let seen = timeout(BOOT, bench.seen.recv()).await;
    let seen = seen.unwrap_or_else(|_| panic!("nothing was observed:\n{}", bench.console(guest))).unwrap();
    assert_eq!((&seen.guest, seen.epoch), (&guest.name, Some(Epoch(1))), "{seen:?}");
    seen.what
}

/// Waits until it has another init.
async fn renewed(bench: &mut Bench, guest: &Guest, before: i32) {
    loop {
        match observes(bench, guest).await {
            Observation::Running(init) if init.pid != before => return,
            Observation::Running(_) => {}
            Observation::InitExited(status) if status.is_some_and(|status| status.is_reboot()) => {}
            other => panic!("{other:?}:\n{}", bench.console(guest)),
        }
    }
}

/// Waits until it has halted.
async fn halted(bench: &mut Bench, guest: &Guest) {
    let end = observes(bench, guest).await;
    let is_halt = matches!(end, Observation::InitExited(Some(status)) if status.is_halt());
    assert!(is_halt, "{end:?}:\n{}", bench.console(guest));
    assert_eq!(observes(bench, guest).await, Observation::Gone);
}

#[tokio::test]
async fn debian_boots_says_that_it_is_ready_and_goes_as_it_is_asked() {
    let folder = folder();
    make_root(folder.path());
    let mut bench = Bench::new();
    let (guest, socket) = guest(&mut bench, "debian", folder.path());
    let init = bench.up(&guest).await;
    ready(&bench, &guest, &socket);
    let state = bench.inside(&guest, "systemctl is-system-running --wait; systemctl --failed --no-legend");
    assert_eq!(String::from_utf8_lossy(&state.stdout), "running\n", "{}", bench.console(&guest));
    // systemd sees a container, its console, its cgroups.
    assert_eq!(bench.says(&guest, "systemd-detect-virt || true"), "container-other");
    assert_eq!(
        bench.says(&guest, "systemctl is-active console-getty systemd-journald dbus"),
        "active\nactive\nactive"
    );
    assert_eq!(bench.says(&guest, "cat /run/host/container-manager"), "guestd");
    let listed = bench.says(&guest, "systemd-cgls --no-pager 2>&1");
    assert!(listed.contains("init.scope") && !listed.contains("error"), "{listed}");

    bench.says(&guest, "systemctl reboot");
    renewed(&mut bench, &guest, init.pid).await;
    ready(&bench, &guest, &socket);
    // Asked from outside, with SIGRTMIN+3.
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    halted(&mut bench, &guest).await;
    bench.up(&guest).await;
    ready(&bench, &guest, &socket);
    bench.says(&guest, "systemctl poweroff");
    halted(&mut bench, &guest).await;
}

/// Makes the root of a Debian with sysvinit of one with systemd.
fn with_sysvinit(folder: &Path) {
    let lines = "dpkg --force-depends --remove systemd-sysv && dpkg --force-unsafe-io -i /usr/share/sysvinit/*.deb && \
                 for name in udev lxc lxc-net lxc-monitord; do update-rc.d $name remove; done && \
                 sed -i '/:respawn:.*getty/d' /etc/inittab && \
                 echo 'co:2345:respawn:/sbin/getty --noclear 38400 console' >>/etc/inittab";
    let mut chroot = Command::new("chroot");
    chroot.arg(folder).args(["sh", "-euc", lines]).env("DEBIAN_FRONTEND", "noninteractive");
    let output = chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until a guest writes this on its console, behind what it has written so far.
async fn writes(bench: &Bench, guest: &Guest, behind: usize, words: &str) -> usize {
    let deadline = Instant::now() + BOOT;
    loop {
        let console = bench.console(guest);
        if let Some(at) = console.get(behind..).and_then(|text| text.find(words)) {
            return behind + at + words.len();
        }
        assert!(Instant::now() < deadline, "it does not write {words:?}:\n{console}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sysvinit_boots_and_goes_as_it_is_asked() {
    let folder = folder();
    make_root(folder.path());
    with_sysvinit(folder.path());
    let mut bench = Bench::new();
    let (guest, _socket) = guest(&mut bench, "sysv", folder.path());
    let init = bench.up(&guest).await;
    let at = writes(&bench, &guest, 0, "inner login:").await;
    assert_eq!(bench.says(&guest, "runlevel"), "N 2");
    assert_eq!(bench.says(&guest, "cat /proc/1/comm"), "init");
    bench.says(&guest, "reboot");
    renewed(&mut bench, &guest, init.pid).await;
    let at = writes(&bench, &guest, at, "inner login:").await;
    // Asked from outside, with "init 0" inside.
    bench.engine.request(&guest, Request::Stop).await.unwrap();
    halted(&mut bench, &guest).await;
    bench.up(&guest).await;
    writes(&bench, &guest, at, "inner login:").await;
    bench.says(&guest, "poweroff");
    halted(&mut bench, &guest).await;
}
