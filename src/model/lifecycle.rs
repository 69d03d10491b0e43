//! What is done around a native guest's init, as data: the monitor carries it out step by step, and records each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The steps around a guest's init. What is not said here is the monitor's own: cgroups before everything, namespaces,
/// `/proc`, `/dev` and the like with the init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Lifecycle {
    /// Before its init, on the host. Without [`Step::Network`], its interfaces are made when these are done.
    pub before: Vec<Step>,
    /// When its init runs.
    pub after: Vec<Step>,
    /// When it is asked to stop, instead of the usual signal.
    pub stop: Vec<Step>,
    /// When nothing of it runs any more, however it ended.
    pub ended: Vec<Step>,
    /// When its interfaces and mounts are gone too.
    #[serde(default)]
    pub removed: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is called in messages and in the trace, such as `pre-start` or `mount /data`.
    pub name: String,
    /// What is done.
    pub what: Deed,
    /// When it fails, the start fails and is undone; else that is told, and the next step follows.
    pub must_succeed: bool,
}

/// What is done in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Runs a program on the host, in the monitor's mount namespace: it sees what the steps before have mounted.
    Run {
        /// Program and arguments.
        argv: Vec<String>,
        /// Its working directory.
        directory: Place,
        /// Exit statuses that are a success, beside 0.
        success: Vec<i32>,
    },
    /// Mounts below the guest's root, which is on the host: visible in the guest later.
    Mount(Mount),
    /// The same over the guest's network, where a program of its own mounts it.
    RemoteMount(Mount),
    /// Makes the guest's interfaces.
    Network,
    /// Removes the files, not the folders, below a folder of the guest's root.
    Empty(String),
    /// Makes an empty file in the guest's root.
    Create(String),
    /// Removes a file of the guest's root, if it is there.
    Remove(String),
    /// Runs a program inside the running guest.
    Inside {
        /// Program and arguments.
        argv: Vec<String>,
    },
    /// Sends the guest's init a signal.
    Signal(i32),
    /// Waits until no process of the guest is left, at most so many seconds. That some are left then is no failure.
    Await(u64),
    /// As long as processes are left in the guest: sends all of them a signal, and waits so many seconds; by turns.
    KillSequence(Vec<(i32, u64)>),
}

/// Where a step's program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the guest's root, seen from the host.
    Root,
    /// In this folder of the host.
    Folder(PathBuf),
}

/// A mount (mount(8)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A path of the host for `bind`, a device, or a word for file systems without one.
    pub source: String,
    /// Where: an absolute path inside the guest.
    pub target: String,
    /// The type of file system; `bind` for a folder or file of the host.
    pub kind: String,
    /// Options, as in fstab(5), such as `ro` and `nosuid`; those that mount(2) does not know are the file system's.
    pub options: Vec<String>,
    /// A source that is not there is no error.
    pub optional: bool,
}
