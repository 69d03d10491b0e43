//! What is mounted here: the cgroup hierarchies, of v1, of v2, or of both, and every mount point.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is usually enough for mountinfo, in bytes.
const MOUNTINFO: usize = 16 * 1024;

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) kind: Kind,
}

/// Which version a hierarchy is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With these controllers.
    V1(Vec<Box<str>>),
    /// With whatever controllers each cgroup has.
    V2,
}

impl Hierarchy {
    pub(crate) fn is_v2(&self) -> bool {
        self.kind == Kind::V2
    }

    /// Whether a cgroup of it can have this controller.
    pub(crate) fn may_have(&self, controller: &str) -> bool {
        match &self.kind {
            Kind::V1(controllers) => controllers.iter().any(|own| **own == *controller),
            Kind::V2 => true,
        }
    }
}

/// Every cgroup hierarchy of this host, each once. Read again only when something was mounted or unmounted: it is needed
/// several times for each guest that starts.
pub(crate) fn hierarchies() -> io::Result<Arc<[Hierarchy]>> {
    mounts(|mounts| mounts.hierarchies.clone())
}

/// Every mount point of this host, read as rarely.
pub(crate) fn mount_points() -> io::Result<Arc<BTreeSet<PathBuf>>> {
    mounts(|mounts| mounts.points.clone())
}

fn mounts<T>(look: impl FnOnce(&Mounts) -> T) -> io::Result<T> {
    static MOUNTS: Mutex<Option<Mounts>> = Mutex::new(None);
    let mut mounts = MOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    match mounts.take().filter(|known| !known.have_changed()) {
        Some(known) => Ok(look(mounts.insert(known))),
        None => Ok(look(mounts.insert(Mounts::read()?))),
    }
}

/// What is mounted, as it was read.
struct Mounts {
    /// Kept open, since the kernel tells on it of changes after it was opened.
    file: File,
    hierarchies: Arc<[Hierarchy]>,
    points: Arc<BTreeSet<PathBuf>>,
}

impl Mounts {
    fn read() -> io::Result<Self> {
        let mut file = File::open("/proc/self/mountinfo")?;
        // The file does not tell its size, and every read of it goes through all mounts before.
        let mut text = String::with_capacity(MOUNTINFO);
        file.read_to_string(&mut text)?;
        let points = text.lines().filter_map(|line| Some(unescaped(line.split(' ').nth(4)?))).collect();
        Ok(Self { file, hierarchies: parse_mounts(&text).into(), points: Arc::new(points) })
    }

    /// The kernel raises an exceptional condition on the file when the mounts change (proc(5)).
    fn have_changed(&self) -> bool {
        let mut asked = [PollFd::new(&self.file, PollFlags::PRI)];
        poll(&mut asked, Some(&Timespec::default())).is_ok_and(|changed| changed > 0)
    }
}

/// Reads the cgroup mounts from mountinfo (proc(5)); a device mounted twice counts once.
fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut devices = BTreeSet::new();
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = left.split(' ').collect();
        let [_, _, device, _, mount, ..] = fields[..] else { continue };
        let mut right = right.split(' ');
        let kind = match right.next() {
            // The last field has the options of the file system, its controllers among them.
            Some("cgroup") => {
                Kind::V1(right.next_back().unwrap_or_default().split(',').map(Into::into).collect())
            }
            Some("cgroup2") => Kind::V2,
            _ => continue,
        };
        if devices.insert(device) {
            found.push(Hierarchy { mount: mount.into(), kind });
        }
    }
    found
}

/// A mount point of mountinfo, where blanks and backslashes are three octal digits behind a backslash (proc(5)).
fn unescaped(point: &str) -> PathBuf {
    let mut parts = point.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.extend(byte);
        bytes.extend(&part.as_bytes()[if byte.is_some() { 3 } else { 0 }..]);
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(controllers: &[&str]) -> Kind {
        Kind::V1(controllers.iter().map(|word| (*word).into()).collect())
    }

    #[test]
    fn mount_points_are_as_they_are_called() {
        for (written, path) in
            [("/", "/"), ("/srv/a\\040b\\134\\011c", "/srv/a b\\\tc"), ("/srv/ä\\0402", "/srv/ä 2")]
        {
            assert_eq!(unescaped(written), PathBuf::from(path));
        }
        assert!(mount_points().unwrap().contains(std::path::Path::new("/proc")));
    }

    #[test]
    fn every_hierarchy_counts_once() {
        let mountinfo = "\
30 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - tmpfs tmpfs rw
31 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
34 30 0:30 / /sys/fs/cgroup/both rw,nosuid shared:12 - cgroup cgroup rw,cpu,cpuacct
32 30 0:29 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,name=systemd
33 30 0:29 / /mnt/again rw - cgroup cgroup rw,name=systemd
";
        assert_eq!(
            parse_mounts(mountinfo),
            [
                Hierarchy { mount: "/sys/fs/cgroup/unified".into(), kind: Kind::V2 },
                Hierarchy { mount: "/sys/fs/cgroup/both".into(), kind: v1(&["rw", "cpu", "cpuacct"]) },
                Hierarchy { mount: "/sys/fs/cgroup/systemd".into(), kind: v1(&["rw", "name=systemd"]) },
            ]
        );
        let found = parse_mounts(mountinfo);
        let may_have = |controller| found.iter().map(|one| one.may_have(controller)).collect::<Vec<_>>();
        assert_eq!(
            (may_have("cpuacct"), may_have("cp")),
            (vec![true, true, false], vec![true, false, false])
        );
    }
}
