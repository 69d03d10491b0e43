//! A native guest: what the embedded engine needs to know of it. It travels to its monitor, `guest-run`, as JSON.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{Capabilities, Lifecycle, Mount, Network};

/// A guest in namespaces and cgroups of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeSpec {
    /// Where its file system comes from.
    pub root: Root,
    /// Its root is read-only.
    pub read_only: bool,
    /// Its users are none of the host's: it gets a range of ids of its own, and its root is nobody outside.
    pub user_namespace: bool,
    /// Its first process.
    pub init: Init,
    /// The environment of its init, beside what every guest gets (`container=`, `TERM`, `PATH`).
    pub environment: Vec<(String, String)>,
    /// Its host name; none is its own name.
    pub hostname: Option<String>,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// What is mounted in it beside the usual, in this order.
    pub mounts: Vec<Mount>,
    /// Its interfaces.
    pub network: Network,
    /// What it may do with the kernel.
    pub security: Security,
    /// How its processes are treated beside others.
    pub process: Process,
    /// What is done around its init; empty but for guests that say so, such as util-vserver's.
    pub lifecycle: Lifecycle,
    /// Whom its own reboots and halts are told, and as whom.
    pub helper: Helper,
    /// Why it cannot be started, where something of this could not be read: what is left may hold it less than was written.
    pub refused: Option<String>,
}

impl NativeSpec {
    /// A guest with this root of which nothing else is said.
    pub fn new(root: Root) -> Self {
        let user_namespace = root != Root::VolatileHost;
        Self {
            user_namespace,
            root,
            read_only: false,
            init: Init::default(),
            environment: Vec::new(),
            hostname: None,
            domainname: None,
            mounts: Vec::new(),
            network: Network::None,
            security: Security::usual(user_namespace),
            process: Process::default(),
            lifecycle: Lifecycle::default(),
            helper: Helper::Guestd,
            refused: None,
        }
    }
}

/// Where a guest's file system comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// A folder.
    Folder(PathBuf),
    /// A tar archive, perhaps compressed, that is unpacked once, below the state directory.
    Archive(PathBuf),
    /// The host's own file system under a layer that is thrown away when the guest ends.
    VolatileHost,
}

impl Root {
    /// The file or folder that it needs.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Folder(path) | Self::Archive(path) => Some(path),
            Self::VolatileHost => None,
        }
    }
}

/// A guest's first process, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// What is run.
    pub program: InitProgram,
    /// The signal that asks it to shut down; none is that of its kind (see the engine's `halt`).
    pub halt_signal: Option<i32>,
    /// A program inside the guest that shuts it down, instead of a signal.
    pub halt_command: Option<Vec<String>>,
    /// The signal that asks it to reboot; none is that of its kind.
    pub reboot_signal: Option<i32>,
    /// Where it starts: an absolute path inside.
    pub directory: String,
    /// The user and group that it starts as, inside; with further groups.
    pub user: (u32, u32, Vec<u32>),
}

impl Default for Init {
    fn default() -> Self {
        Self {
            program: InitProgram::Exec(vec!["/sbin/init".to_owned()]),
            halt_signal: None,
            halt_command: None,
            reboot_signal: None,
            directory: "/".to_owned(),
            user: (0, 0, Vec::new()),
        }
    }
}

/// What of `/proc` and `/sys` tells of the host, or changes it, and is hidden from guests.
pub const HIDDEN: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/dynamic_debug",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What of it they can only read.
pub const READABLE: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What is process 1 of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitProgram {
    /// This program of the guest.
    Exec(Vec<String>),
    /// A process of `guest-run` that runs this program of the guest once, and then waits until no process is left: for guests
    /// whose start is a script, such as util-vserver's style `sysv`.
    Once(Vec<String>),
}

/// What a guest may do with the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// The capabilities that its processes can have.
    pub capabilities: Capabilities,
    /// No program gives more rights than its caller has (PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// The system calls that it may not make.
    pub seccomp: Seccomp,
    /// Host devices that it may use beside the usual, such as `/dev/fuse`.
    pub devices: Vec<PathBuf>,
}

impl Security {
    /// That of a guest of which nothing is said.
    pub fn usual(user_namespace: bool) -> Self {
        Self {
            capabilities: Capabilities::usual(user_namespace),
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            devices: Vec::new(),
        }
    }
}

/// The system calls that a guest may not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// Those that no container needs.
    #[default]
    Default,
    /// None.
    Off,
}

impl Seccomp {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Default, Self::Off];
}

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Default => "default",
            Self::Off => "off",
        })
    }
}

/// How a guest's processes are treated beside others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Process {
    /// Limits of each process (getrlimit(2)).
    pub limits: Vec<ResourceLimit>,
    /// From -20 to 19 (setpriority(2)).
    pub nice: Option<i32>,
    /// The scheduler (sched_setscheduler(2)).
    pub scheduler: Option<Scheduler>,
    /// Class 1 to 3 and level 0 to 7 (ioprio_set(2)).
    pub io_priority: Option<(u8, u8)>,
    /// From -1000 to 1000 (`/proc/PID/oom_score_adj`).
    pub oom_score_adjust: Option<i32>,
    /// The execution domain's number (personality(2)), such as 8 for 32 bits.
    pub personality: Option<u64>,
    /// The file mode creation mask.
    pub umask: Option<u32>,
    /// The processors that it may run on, as in `0-3,5`.
    pub processors: Option<String>,
    /// Settings of the kernel in its namespaces: name with dots, and value.
    pub sysctl: Vec<(String, String)>,
}

/// A limit of each process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// Which.
    pub kind: LimitKind,
    /// What counts; none is no limit.
    pub soft: Option<u64>,
    /// The most that the former can be set to; none is no limit.
    pub hard: Option<u64>,
}

/// What is limited (getrlimit(2)), in the units of that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The man page's names say all.
pub enum LimitKind {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl LimitKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// Its name in settings: that of the man page without `RLIMIT_`, in lower case.
    pub const fn key(self) -> &'static str {
        match self {
            Self::As => "as",
            Self::Core => "core",
            Self::Cpu => "cpu",
            Self::Data => "data",
            Self::Fsize => "fsize",
            Self::Locks => "locks",
            Self::Memlock => "memlock",
            Self::Msgqueue => "msgqueue",
            Self::Nice => "nice",
            Self::Nofile => "nofile",
            Self::Nproc => "nproc",
            Self::Rss => "rss",
            Self::Rtprio => "rtprio",
            Self::Rttime => "rttime",
            Self::Sigpending => "sigpending",
            Self::Stack => "stack",
        }
    }
}

/// A scheduler of the kernel (sched(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    /// The usual one.
    Other,
    /// For what computes and is in no hurry.
    Batch,
    /// Only what nobody else wants.
    Idle,
    /// Real time, by turns, with this priority from 1 to 99.
    RoundRobin(u8),
    /// Real time, until it yields, with this priority from 1 to 99.
    Fifo(u8),
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.pad("other"),
            Self::Batch => f.pad("batch"),
            Self::Idle => f.pad("idle"),
            Self::RoundRobin(priority) => write!(f, "rr:{priority}"),
            Self::Fifo(priority) => write!(f, "fifo:{priority}"),
        }
    }
}

impl fmt::Display for ResourceLimit {
    /// As `1024:unlimited`, or one of them where both are equal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [soft, hard] = [self.soft, self.hard]
            .map(|limit| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string()));
        if soft == hard { f.pad(&soft) } else { write!(f, "{soft}:{hard}") }
    }
}

/// Whom a guest's own reboots and halts are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Helper {
    /// guestd, by guest-helper.
    Guestd,
    /// A program in the manner of util-vserver's `vshelper`, with an event, this context id and the environment that the
    /// kernel gave it.
    Vshelper {
        /// `[vserver] helper`, where the settings say one.
        program: Option<PathBuf>,
        /// The context.
        context: u32,
        /// The guest's folder below `/etc/vservers`.
        folder: Arc<std::path::Path>,
    },
}
