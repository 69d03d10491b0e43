//! Where a watched container runs: the cgroups that it leaves behind, and who was killed in them for want of memory.

use std::path::Path;

use super::{cgroup, process::Process, run::Seen};
use crate::launch::{
    Cgroups,
    cgroup::{Folders, folders, remove_same},
    memory, unit,
};

/// Where a container runs.
pub(super) struct Ground {
    /// The cgroups of its monitor and its init.
    pub(super) cgroups: Folders,
    /// Those that tell of its processes that were killed for want of memory.
    counting: Cgroups,
    /// How many these were when that was first looked at, if it was.
    kills: Option<u64>,
    /// There were more when its end was seen.
    starved: bool,
}

impl Ground {
    pub(super) fn of(monitor: Option<&Process>, init: &Process, name: &str, counts: bool) -> Self {
        let of = |pids: &[i32]| cgroup::of_processes(pids.iter().copied(), name);
        let all: Vec<i32> = monitor.into_iter().chain([init]).map(Process::pid).collect();
        let all = Cgroups(of(&all).into_iter().collect());
        // LXC removes the container's own as soon as its init has ended; that of its unit outlives its monitor.
        let counting = of(&[init.pid()]).into_iter();
        let counting = counting.map(|path| unit::cgroup_of(&path).map(Path::to_owned).unwrap_or(path));
        let counting = Cgroups(counting.collect());
        let kills = if counts { memory::kills(&counting) } else { None };
        Self { cgroups: folders(&all).unwrap_or_default(), counting, kills, starved: false }
    }

    /// Its init has ended; looks at once, since these cgroups are about to be removed.
    pub(super) fn end(&mut self, init: &Process) -> Seen {
        self.starved = self.is_starved();
        Seen::Ended(init.exit_of_zombie())
    }

    /// Whether somebody was killed; its end may have been told before it was seen.
    pub(super) fn is_starved(&self) -> bool {
        self.starved || self.kills.is_some() && memory::kills(&self.counting) > self.kills
    }
}

/// Removes them, where they are empty and the same still.
pub(super) fn tidy(cgroups: &Folders) {
    remove_same(cgroups).unwrap_or_else(|error| tracing::warn!("cgroups of a guest that ended: {error}"));
}
