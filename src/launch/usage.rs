//! What the processes of a cgroup use, on hosts of every layout. Nothing is kept: the files are read when somebody asks.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    cgroup::is_inside,
    hierarchy::{Hierarchy, hierarchies},
};
use crate::model::Usage;

/// v1 knows no word for no limit: it is the most that fits a page counter, which no host has.
const NO_LIMIT: u64 = 1 << 62;

/// What is used in the cgroups of one guest: for each line of its `/proc/PID/cgroup` the controllers (none is v2), and the
/// cgroup's path below the hierarchy's mount. Controllers of v1 go before v2, where a host has both.
pub fn read(cgroups: &[(&str, PathBuf)]) -> Usage {
    let Ok(hierarchies) = hierarchies() else { return Usage::default() };
    let places = Places { hierarchies: &hierarchies, cgroups };
    let mut usage = Usage::default();
    if let Some(at) = places.of("cpuacct") {
        usage.cpu = number(&at.join("cpuacct.usage")).map(Duration::from_nanos);
    } else if let Some(at) = places.unified() {
        usage.cpu = keyed(&at.join("cpu.stat"), "usage_usec").map(Duration::from_micros);
    }
    if let Some(at) = places.of("memory") {
        usage.memory = number(&at.join("memory.usage_in_bytes"));
        let limit = keyed(&at.join("memory.stat"), "hierarchical_memory_limit");
        usage.memory_limit = limit.filter(|limit| *limit < NO_LIMIT);
    } else if let Some(at) = places.unified() {
        usage.memory = number(&at.join("memory.current"));
        usage.memory_limit = at.ancestors().filter_map(|at| number(&at.join("memory.max"))).min();
    }
    let tasks = places.of("pids").or_else(|| places.unified());
    usage.tasks = tasks.and_then(|at| number(&at.join("pids.current")));
    usage
}

struct Places<'a> {
    hierarchies: &'a [Hierarchy],
    cgroups: &'a [(&'a str, PathBuf)],
}

impl Places<'_> {
    /// The folder in the hierarchy of v1 that has this controller.
    fn of(&self, controller: &str) -> Option<PathBuf> {
        let named = |list: &str| list.split(',').any(|own| own == controller);
        self.find(|hierarchy| !hierarchy.is_v2() && hierarchy.may_have(controller), named)
    }

    /// The folder in that of v2.
    fn unified(&self) -> Option<PathBuf> {
        self.find(Hierarchy::is_v2, str::is_empty)
    }

    fn find(&self, wanted: impl Fn(&Hierarchy) -> bool, line: impl Fn(&str) -> bool) -> Option<PathBuf> {
        let hierarchy = self.hierarchies.iter().find(|hierarchy| wanted(hierarchy))?;
        let (_, path) = self.cgroups.iter().find(|(controllers, _)| line(controllers))?;
        // The top is the whole host's.
        is_inside(path).then(|| hierarchy.mount.join(path))
    }
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The value in a file whose lines are `KEY VALUE`.
fn keyed(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::hierarchy::Kind;

    fn write(at: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(at).unwrap();
        for (name, text) in files {
            fs::write(at.join(name), text).unwrap();
        }
    }

    #[test]
    fn controllers_are_found_where_the_process_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let mount = |name: &str| folder.path().join(name);
        let kind = |word: &str| Kind::V1(vec!["rw".into(), word.into()]);
        let hierarchies = [
            Hierarchy { mount: mount("unified"), kind: Kind::V2 },
            Hierarchy { mount: mount("memory"), kind: kind("memory") },
        ];
        let cgroups = [("memory", "a/web".into()), ("cpu,cpuacct", "b".into()), ("", "c/web".into())];
        let places = Places { hierarchies: &hierarchies, cgroups: &cgroups };
        assert_eq!(places.of("memory"), Some(mount("memory/a/web")));
        // No such hierarchy is mounted, or the process is at its top.
        assert_eq!(places.of("cpuacct"), None);
        assert_eq!(places.unified(), Some(mount("unified/c/web")));
        let at_the_top = Places { hierarchies: &hierarchies, cgroups: &[("", "".into())] };
        assert_eq!(at_the_top.unified(), None);
    }

    #[test]
    fn numbers_are_read_and_words_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, &[("memory.max", "max\n"), ("memory.current", "4096\n")]);
        write(at, &[("cpu.stat", "usage_usec 17\nuser_usec 9\n")]);
        assert_eq!(number(&at.join("memory.max")), None);
        assert_eq!(number(&at.join("memory.current")), Some(4096));
        assert_eq!(keyed(&at.join("cpu.stat"), "usage_usec"), Some(17));
        assert_eq!(keyed(&at.join("cpu.stat"), "usage"), None);
        assert_eq!(number(&at.join("nothing")), None);
    }
}
