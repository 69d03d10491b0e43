//! What freezes guests on hosts of every layout: the freezer controller of v1, and the core of v2.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Cgroups, cgroup,
    hierarchy::{self, Hierarchy},
};

/// The controller of v1.
const FREEZER: &str = "freezer";
/// The file of v1 that says, and sets, whether a cgroup is frozen.
const STATE: &str = "freezer.state";
/// The file of v2 that sets it.
const FREEZE: &str = "cgroup.freeze";

/// Whether a process is frozen with the cgroup it is in, or with one above it.
///
/// # Errors
/// When the mounts or the process's cgroups cannot be read.
pub fn is_frozen(pid: i32) -> io::Result<bool> {
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    Ok(hierarchy::hierarchies()?.iter().any(|hierarchy| {
        let (file, frozen) =
            if hierarchy.is_v2() { ("cgroup.events", "frozen 1") } else { (STATE, "FROZEN") };
        folders(&table, hierarchy)
            .any(|folder| fs::read_to_string(folder.join(file)).is_ok_and(|said| holds(&said, frozen)))
    }))
}

fn holds(said: &str, line: &str) -> bool {
    said.lines().any(|said| said == line)
}

/// Where the cgroups that can freeze a process lie in a hierarchy, by its `/proc/PID/cgroup`: lines are
/// `ID:CONTROLLERS:PATH`, those of v2 without controllers.
fn folders<'a>(table: &'a str, hierarchy: &'a Hierarchy) -> impl Iterator<Item = PathBuf> + 'a {
    let parts = table.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let freezes = |controllers: &str| match hierarchy.is_v2() {
        true => controllers.is_empty(),
        false => {
            hierarchy.may_have(FREEZER) && controllers.split(',').any(|controller| controller == FREEZER)
        }
    };
    let of_kind = parts.filter(move |(controllers, _)| freezes(controllers));
    of_kind.map(|(_, path)| hierarchy.mount.join(path.trim_start_matches('/')))
}

/// Begins to freeze these cgroups where v1 has a freezer. Returns whether there was one.
///
/// # Errors
/// When the mounts cannot be read, or the kernel refuses.
pub fn begin_in_v1(cgroups: &Cgroups) -> io::Result<bool> {
    set(cgroups, |hierarchy| (!hierarchy.is_v2()).then_some((STATE, "FROZEN")))
}

/// Begins to freeze these cgroups: in v2 where they are there, else in v1.
///
/// # Errors
/// When the mounts cannot be read, the kernel refuses, or neither is there.
pub fn begin(cgroups: &Cgroups) -> io::Result<()> {
    if set(cgroups, |hierarchy| hierarchy.is_v2().then_some((FREEZE, "1")))? || begin_in_v1(cgroups)? {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "its cgroups are not there"))
}

/// Thaws these cgroups in every hierarchy, whoever froze them.
///
/// # Errors
/// When the mounts cannot be read, or the kernel refuses.
pub fn thaw(cgroups: &Cgroups) -> io::Result<()> {
    set(cgroups, |hierarchy| Some(if hierarchy.is_v2() { (FREEZE, "0") } else { (STATE, "THAWED") }))
        .map(drop)
}

/// Writes to these cgroups what `choose` picks for a hierarchy: a file, and a word. Returns whether there was such a file.
fn set(
    cgroups: &Cgroups,
    choose: impl Fn(&Hierarchy) -> Option<(&'static str, &'static str)>,
) -> io::Result<bool> {
    let mut found = false;
    for hierarchy in hierarchy::hierarchies()?.iter().filter(|hierarchy| hierarchy.may_have(FREEZER)) {
        let Some((file, word)) = choose(hierarchy) else { continue };
        for path in cgroups.0.iter().filter(|path| cgroup::is_inside(path)) {
            found |= write(&hierarchy.mount.join(path).join(file), word)?;
        }
    }
    Ok(found)
}

fn write(file: &Path, word: &str) -> io::Result<bool> {
    match fs::File::options().write(true).open(file) {
        Ok(mut file) => io::Write::write_all(&mut file, word.as_bytes()).map(|()| true),
        // Another controller's hierarchy.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{hierarchy::Kind, *};

    #[test]
    fn each_hierarchy_has_its_own_lines() {
        let table = "6:cpu,freezer:/lxc.payload.a/b:c\n1:name=systemd:/s\n0::/u\n";
        let of = |kind| folders(table, &Hierarchy { mount: "/m".into(), kind }).collect::<Vec<_>>();
        assert_eq!(of(Kind::V1(vec!["rw".into(), "freezer".into()])), [Path::new("/m/lxc.payload.a/b:c")]);
        assert_eq!(of(Kind::V1(vec!["rw".into(), "name=systemd".into()])), [] as [&Path; 0]);
        assert_eq!(of(Kind::V2), [Path::new("/m/u")]);
    }

    #[test]
    fn nobody_froze_this_test() {
        assert!(!is_frozen(std::process::id().cast_signed()).unwrap());
    }
}
