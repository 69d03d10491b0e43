//! Which mounts a path depends on: those that are there, and those that systemd has a unit for. A guest's unit names only
//! these. For any other path PID 1 would make and forget units of mounts that do not exist, at each start, and tell
//! everybody on the bus of each of them and of the root's.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt::Write,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use super::hierarchy;

/// Where systemd looks for units (systemd.unit(5)), but for transient ones: what those mount, they mount at once.
const FOLDERS: [&str; 12] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// The mounts that these paths lie on, the innermost for each: systemd adds those above it. The root is none of them; it is
/// there. Where nobody knows what is mounted, the paths themselves.
pub(super) fn under(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
    let Ok(points) = hierarchy::mount_points() else { return paths.iter().cloned().collect() };
    with_unit_files(|files| innermost(paths, |path| points.contains(path) || files.contains(&unit_of(path))))
}

fn innermost(paths: &[PathBuf], is_mount: impl Fn(&Path) -> bool) -> BTreeSet<PathBuf> {
    let of = |path: &PathBuf| {
        path.ancestors().find(|path| path.parent().is_some() && is_mount(path)).map(Path::to_owned)
    };
    paths.iter().filter_map(of).collect()
}

/// The mount units that have files, and when the folders were changed they were read from.
struct UnitFiles {
    changed: [Option<SystemTime>; FOLDERS.len()],
    names: BTreeSet<OsString>,
}

/// Hands out the names of all mount units that have files. Read again only when one of the folders has changed.
fn with_unit_files<T>(look: impl FnOnce(&BTreeSet<OsString>) -> T) -> T {
    static KNOWN: Mutex<Option<UnitFiles>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = FOLDERS.map(|folder| fs::metadata(folder).and_then(|folder| folder.modified()).ok());
    let files = match known.take().filter(|known| known.changed == changed) {
        Some(files) => files,
        None => UnitFiles { changed, names: FOLDERS.iter().flat_map(|folder| mount_units(folder)).collect() },
    };
    look(&known.insert(files).names)
}

fn mount_units(folder: &str) -> impl Iterator<Item = OsString> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| Path::new(name).extension() == Some(OsStr::new("mount")))
}

/// The unit of a mount point, named after its path (systemd.unit(5), "String escaping").
fn unit_of(path: &Path) -> OsString {
    let mut name = String::with_capacity(path.as_os_str().len() + 8);
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.as_bytes()),
        _ => None,
    });
    for (at, part) in parts.enumerate() {
        if at > 0 {
            name.push('-');
        }
        for (place, byte) in part.iter().enumerate() {
            let is_dot_in_front = *byte == b'.' && (at, place) == (0, 0);
            if byte.is_ascii_alphanumeric() || (b":_.".contains(byte) && !is_dot_in_front) {
                name.push(char::from(*byte));
            } else {
                write!(name, "\\x{byte:02x}").expect("writing to a string cannot fail");
            }
        }
    }
    name.push_str(".mount");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_named_as_systemd_escapes_paths() {
        // As systemd-escape(1) says.
        for (path, unit) in [
            ("/var/lib/lxc/.root", "var-lib-lxc-.root.mount"),
            ("/srv/a-b c", r"srv-a\x2db\x20c.mount"),
            ("/.x/ä", r"\x2ex-\xc3\xa4.mount"),
        ] {
            assert_eq!(unit_of(Path::new(path)), OsString::from(unit));
        }
    }

    #[test]
    fn a_path_depends_on_the_innermost_mount_and_not_on_the_root() {
        let mounts = ["/", "/var", "/var/lib/lxc/a", "/srv"].map(Path::new);
        let of = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let found = innermost(&paths, |path| mounts.contains(&path));
            found.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&["/opt/a", "/"]), [""; 0]);
        assert_eq!(of(&["/var/lib/lxc/b/rootfs", "/var/lib/lxc/b"]), ["/var"]);
        assert_eq!(of(&["/var/lib/lxc/a/rootfs", "/srv", "/var/b"]), ["/srv", "/var", "/var/lib/lxc/a"]);
    }
}
