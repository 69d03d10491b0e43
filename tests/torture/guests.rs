//! The guests of the torture: each has something of its own that a daemon may be killed over. Their init adds a line to a
//! file for every time it begins.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Command, Stdio},
};

use guestd::model::GuestName;

use crate::host::{Host, Kind, executable};

/// Nothing special.
pub const PLAIN: &str = "plain";
/// Requires the former, and has a delay.
pub const LATE: &str = "late";
/// Has hooks in every stage.
pub const HOOKED: &str = "hooked";
/// Says by a file when it serves.
pub const READY: &str = "ready";
/// Its init crashes when it is told to; it is always started again.
pub const CRASH: &str = "crash";
/// Reboots from inside.
pub const BOOTS: &str = "boots";
/// The same, and a script decides.
pub const ASKS: &str = "asks";
/// May not reboot, and would be started again after any other end.
pub const REFUSED: &str = "refused";
/// Cannot be started at the first try.
pub const FLAKY: &str = "flaky";
/// Does not hear when it is to stop.
pub const DEAF: &str = "deaf";
/// Cannot be started: its pre-start hook fails. It is not for autostart.
pub const FAILS: &str = "fails";

/// Those that autostart starts.
pub const AUTO: [&str; 10] = [PLAIN, LATE, HOOKED, READY, CRASH, BOOTS, ASKS, REFUSED, FLAKY, DEAF];

/// What all of them start with.
const INIT: &str = "#!/bin/sh
read name </proc/sys/kernel/hostname
echo x >>/boots/$name
case $name in
    *-deaf) trap : USR1 ;;
    *) trap 'halt -f' USR1 ;;
esac
trap 'reboot -f' TERM
case $name in
    *-ready) rm -f /serves; (sleep 0.3; echo >/serves) & ;;
esac
while :; do sleep 1000 & wait $!; done
";

/// The names of one host's guests: engines name cgroups of the whole machine after them.
#[derive(Debug, Clone)]
pub struct Names(String);

impl Names {
    /// Names that nobody else has.
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static HOSTS: AtomicU32 = AtomicU32::new(0);
        Self(format!("t{}-{}", std::process::id(), HOSTS.fetch_add(1, Ordering::Relaxed)))
    }

    /// A guest's.
    pub fn of(&self, guest: &str) -> String {
        format!("{}-{guest}", self.0)
    }

    /// How all of them begin.
    pub fn prefix(&self) -> String {
        self.of("")
    }
}

/// A host with all of them, and no daemon yet.
pub fn define(names: &Names, kind: Kind) -> Host {
    let host = Host::new(
        "order = \"highest-first\"\n\
         [defaults.restart]\ndelay = 0\nlimit = \"1000/1h\"\n\
         [defaults.reboot]\nlimit = \"1000/1h\"\n",
    );
    match kind {
        Kind::Lxc => define_containers(&host, names),
        Kind::Native => define_native(&host, names),
    }
    furnish(&host);
    host
}

fn define_containers(host: &Host, names: &Names) {
    for guest in AUTO {
        let first = format!("sh -c \"[ -e {0} ] || {{ touch {0}; exit 1; }}\"", first_try(host).display());
        let own = match guest {
            LATE => vec!["lxc.start.delay = 1".to_owned(), "lxc.start.order = 1".to_owned()],
            FLAKY => vec![format!("lxc.hook.pre-start = {first}")],
            _ => Vec::new(),
        };
        let common = ["lxc.start.auto = 1", "lxc.init.cmd = /bin/boot"];
        let lines: Vec<&str> = common.into_iter().chain(own.iter().map(String::as_str)).collect();
        host.guest(&names.of(guest), &lines);
    }
    host.guest(&names.of(FAILS), &["lxc.init.cmd = /bin/boot"]);
    for guest in AUTO.into_iter().chain([FAILS]) {
        let text = overlay(host, names, guest, Kind::Lxc);
        fs::write(host.at(format!("etc/guests/{}.toml", names.of(guest))), text).expect("an overlay");
    }
}

fn define_native(host: &Host, names: &Names) {
    for guest in AUTO.into_iter().chain([FAILS]) {
        let start = match guest {
            LATE => "[start]\nauto = true\ndelay = 1\norder = 1\n",
            FAILS => "",
            _ => "[start]\nauto = true\n",
        };
        let lines = format!("{start}{}", overlay(host, names, guest, Kind::Native));
        host.native_guest(&names.of(guest), "/bin/boot", &lines);
    }
}

fn overlay(host: &Host, names: &Names, guest: &str, kind: Kind) -> String {
    let script = |name: &str, exit: i32| {
        let said = host.at(format!("said-{guest}")).display().to_string();
        let text = format!("echo ${{GUESTD_STAGE:-{name}}} >>{said}\nexit {exit}");
        executable::script(&host.at(format!("{name}-{guest}")), &text).display().to_string()
    };
    let hooks = |stages: &[&str]| {
        let good = script("hook", 0);
        stages.iter().map(|stage| format!("{stage} = [[\"{good}\"]]\n")).collect::<String>()
    };
    match guest {
        LATE => {
            let table = if kind == Kind::Lxc { "[start]\n" } else { "" };
            format!("{table}requires = [\"{}\"]\n", names.of(PLAIN))
        }
        FLAKY if kind == Kind::Native => {
            let first = first_try(host).display().to_string();
            let (path, source) = (host.at("flaky"), host.at("flaky-source").display().to_string());
            let text =
                format!("if [ -e {first} ]; then mkdir -p {source}; else rm -rf {source}; touch {first}; fi");
            executable::script(&path, &text);
            format!(
                "[hooks]\npre-start = [[{path:?}]]\n[[mount]]\nsource = \"{source}\"\ntarget = \"/tmp/source\"\n"
            )
        }
        HOOKED => format!("[hooks]\n{}", hooks(&["pre-start", "post-start", "pre-stop", "post-stop"])),
        READY => "[ready]\nfile = \"/serves\"\ninterval = \"100ms\"\n".to_owned(),
        CRASH => "[restart]\npolicy = \"always\"\n".to_owned(),
        ASKS => format!("[reboot]\naction = \"{}\"\n", script("decides", 0)),
        REFUSED => "[restart]\npolicy = \"always\"\n[reboot]\naction = \"stop\"\n".to_owned(),
        DEAF => "[stop]\ntimeout = 1\n".to_owned(),
        FAILS => format!(
            "[restart]\npolicy = \"never\"\n[hooks]\npre-start = [[\"{}\"]]\n{}",
            script("bad", 1),
            hooks(&["post-stop", "on-failure"])
        ),
        _ => String::new(),
    }
}

/// Adds the init to the root filesystem that they share.
fn furnish(host: &Host) {
    let root = host.lxcpath().join(".root");
    fs::write(root.join("bin/boot.source"), INIT).expect("an init");
    executable::copy(root.join("bin/boot.source"), &root.join("bin/boot"));
    fs::create_dir(root.join("boots")).expect("a folder");
    for tool in ["rm", "touch"] {
        symlink("busybox", root.join("bin").join(tool)).expect("a link");
    }
}

/// The cgroups of a native guest, in every hierarchy.
fn cgroups(name: &str) -> impl Iterator<Item = PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let above = hierarchies.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    let name = guestd::guest_run::top(&GuestName::new(name).expect("a name"));
    above.map(move |above| above.join(&name)).filter(|path| path.is_dir())
}

/// The process id of a guest's init, by the word of nobody of guestd's.
pub fn init_pid(kind: Kind, host: &Host, name: &str) -> Option<i64> {
    if kind == Kind::Lxc {
        return host.lxc_init_pid(name);
    }
    let files = cgroups(name).map(|cgroup| cgroup.join("payload/cgroup.procs"));
    let pids = files.flat_map(|file| {
        fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let is_first = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let is_alive = !status.contains("\nState:\tZ");
        is_alive && status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    };
    pids.filter(is_first).find_map(|pid| pid.parse().ok())
}

/// Runs a command inside a guest.
pub fn enter(kind: Kind, host: &Host, name: &str, command: &[&str]) {
    if kind == Kind::Lxc {
        return host.attach(name, command);
    }
    let mut entering = Command::new(env!("CARGO_BIN_EXE_guest-run"));
    entering.arg("attach").arg(host.at("run/native").join(name)).arg("--").args(command);
    entering.stdin(Stdio::null()).output().expect("guest-run");
}

/// Is there once the first try of [`FLAKY`] has failed.
pub fn first_try(host: &Host) -> PathBuf {
    host.at("first-try")
}

/// How often a guest's init has begun.
pub fn boots(host: &Host, name: &str) -> usize {
    lines(&host.lxcpath().join(".root/boots").join(name))
}

/// How often a guest's hooks or script of this stage have begun.
pub fn said(host: &Host, guest: &str, stage: &str) -> usize {
    let said = fs::read_to_string(host.at(format!("said-{guest}"))).unwrap_or_default();
    said.lines().filter(|line| *line == stage).count()
}

fn lines(path: &std::path::Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}
