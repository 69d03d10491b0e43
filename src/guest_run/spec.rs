//! What the engine tells a monitor, and what a monitor tells: files in a folder of each guest, and packets on its socket.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::model::{GuestName, NativeSpec, ProcessId, Resources, WaitStatus};

/// The largest file of this kind, in bytes.
pub const FILE_MAX: u64 = 1024 * 1024;
/// The largest packet on a monitor's socket, in bytes.
pub const PACKET_MAX: usize = 4096;

/// Everything that a monitor has to know. It reads it again for each new init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Whom it runs.
    pub guest: GuestName,
    /// A number that is its own, as a UUID is written.
    #[serde(default)]
    pub uuid: String,
    /// The guest.
    pub native: NativeSpec,
    /// Where its root is, once an archive is unpacked; none for the host's own.
    pub root: Option<PathBuf>,
    /// The ids of its users on the host, where it has its own.
    pub ids: Option<Ids>,
    /// Where its cgroups are.
    pub placement: Placement,
    /// How much of the host it may use. In a unit of its own PID 1 sees to that.
    pub resources: Resources,
    /// The filter of its system calls: instructions of classic BPF as the kernel has them (`struct sock_filter`), each in one
    /// number. Compiled beforehand, since that takes longer than all else of a start.
    pub filter: Vec<u64>,
    /// The program that asks guestd what is to become of a reboot, with its arguments but the event.
    pub helper: Vec<PathBuf>,
    /// How long a stop of it may take.
    #[serde(default)]
    pub stop_timeout: Duration,
    /// The folder with the socket that its readiness is told at, if it tells.
    pub notify: Option<PathBuf>,
}

/// A range of ids: those from 0 to `count - 1` inside are those from `first` on outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// Where a guest's cgroups are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// In those of the unit that the monitor is in, which are delegated to it.
    Unit,
    /// At the top, under this name; with the guest's limits.
    Top(String),
}

/// Files of one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

impl Place {
    /// The folder above those of all guests.
    pub fn all(runtime_dir: &Path) -> PathBuf {
        runtime_dir.join("native")
    }

    /// That of a guest in guestd's runtime directory.
    pub fn of(runtime_dir: &Path, guest: &GuestName) -> Self {
        Self(Self::all(runtime_dir).join(guest.as_str()))
    }

    /// A folder that was made as one.
    pub fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The [`Spec`].
    pub fn spec(&self) -> PathBuf {
        self.0.join(SPEC)
    }

    /// The monitor's socket, there from its first moments to its last.
    pub fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    /// Where the engine waits for a monitor that starts, if it does: the monitor connects there, and tells what happens as to
    /// everybody who watches.
    pub fn engine(&self) -> PathBuf {
        self.0.join(ENGINE)
    }

    /// The [`Outcome`], once there is one.
    pub fn outcome(&self) -> PathBuf {
        self.0.join(OUTCOME)
    }

    /// An empty folder, over which the guest's root is mounted in its own mount namespace.
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// What was done to the host's network, as long as something is to be undone. It lies in one folder for all guests, since
    /// those that share a VLAN of the host look there for one another.
    pub fn network(&self) -> PathBuf {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(".json");
        let runtime_dir = self.0.parent().and_then(Path::parent).unwrap_or(Path::new("/run/guestd"));
        runtime_dir.join("network").join(name)
    }

    /// The steps that were carried out, a line each.
    pub fn trace(&self) -> PathBuf {
        self.0.join("trace")
    }

    /// The last of what the guest wrote to its console.
    pub fn console(&self) -> PathBuf {
        self.0.join("console")
    }
}

/// The names of files in a [`Place`].
pub const SPEC: &str = "spec.json";
pub(crate) const SOCKET: &str = "control";
pub(crate) const ENGINE: &str = "engine";
pub(crate) const OUTCOME: &str = "outcome.json";

/// What came of a run, left by the monitor when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No init came to run.
    Failed(Trouble),
    /// The last init ended.
    Ended(Ended),
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What happened, in one line.
    pub reason: String,
    /// The same would happen again: the configuration is wrong.
    pub is_permanent: bool,
}

/// How an init ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its wait status.
    pub status: WaitStatus,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    /// The monitor that tells this.
    #[serde(default)]
    pub monitor: Option<ProcessId>,
}

/// What a monitor is asked, one object a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// To tell how it stands, and everything that happens from now on.
    Watch,
    /// To shut the guest down by its own means.
    Stop,
    /// To have it reboot from inside.
    Reboot,
    /// To kill everything in it.
    Kill,
    /// To copy what comes by this connection to the guest's console from now on, and back.
    Console,
}

/// What a monitor tells those who watch, one object a packet. When the connection ends, nothing is left of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// This init runs; its number is that of the host.
    Running(i32),
    /// The init ended.
    Ended(Ended),
}
