//! What a guest uses of its host.

use std::time::Duration;

/// What the kernel counts of a guest's cgroup, as far as it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory that it has, caches among it, in bytes.
    pub memory: Option<u64>,
    /// The least limit on that of its own cgroup and those above it, in bytes; none where there is no limit.
    pub memory_limit: Option<u64>,
    /// Processor time that it has had since its cgroup was made.
    pub cpu: Option<Duration>,
    /// Its processes and threads.
    pub tasks: Option<u64>,
}
