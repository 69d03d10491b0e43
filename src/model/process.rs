//! Processes of the host, as data.

/// A process, named for the length of the host's boot: a number is used again, but not with the same start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ProcessId {
    /// Its number on the host.
    pub pid: i32,
    /// When it started, in the kernel's clock ticks since boot: setting the clock does not change it.
    pub started: u64,
}
