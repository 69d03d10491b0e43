//! The file systems that every guest finds, as systemd expects them of a container's manager
//! (https://systemd.io/CONTAINER_INTERFACE). They are built in a scaffold: a root in memory that only this process has.

use std::{
    fs,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, makedev, mknodat, openat, openat2, unlinkat},
    io::Errno,
    mount::MountAttrFlags,
    process::{chroot, fchdir},
};

use crate::{
    engine::notify,
    guest_run::{
        beneath,
        devices::USUAL,
        kernel::KINDS,
        mounts,
        network::{self, Kind},
        spec::Spec,
        tree::{self, Change},
        trouble::{Doing, Run, RunError},
    },
    model::{
        Deed,
        native::{HIDDEN, READABLE},
    },
};

const SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const DEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Where the guest learns who manages it.
const ABOUT: &str = "/run/host";
/// So much of the host's os-release(5) is told, in bytes.
const RELEASE_MAX: u64 = 16 * 1024;
/// What is built in the scaffold for the guest's root.
pub const BUILT: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];
/// Where the guest's root hangs in the scaffold.
const ROOT: &str = "/root";

/// A device of the guest: its path, its kind with what everybody may do with it, its number, and the host's node where the guest's
/// root may make none.
pub type Node = (PathBuf, (FileType, Mode, u64), Option<OwnedFd>);

/// The devices, as long as the host's can be seen.
pub fn device_nodes(spec: &Spec) -> Run<Vec<Node>> {
    let usual = USUAL.iter().map(|(name, major, minor)| {
        let mode = Mode::from_raw_mode(0o666);
        (Path::new("/dev").join(name), (FileType::CharacterDevice, mode, makedev(*major, *minor)))
    });
    let extra = spec.native.security.devices.iter().map(|path| -> Run<_> {
        let found = rustix::fs::stat(path).doing(format_args!("look at the device {}", path.display()))?;
        let mode = Mode::from_raw_mode(found.st_mode & 0o777);
        Ok((path.clone(), (FileType::from_raw_mode(found.st_mode), mode, found.st_rdev)))
    });
    let nodes = usual.map(Ok).chain(extra).map(|node| {
        let (path, number) = node?;
        let shown = spec.ids.is_some().then(|| tree::copy(&path));
        let shown = shown.transpose().doing(format_args!("take the device {}", path.display()))?;
        Ok((path, number, shown))
    });
    nodes.collect()
}

/// Makes the scaffold at a place, and has it as root.
pub fn enter_scaffold(place: &OwnedFd) -> io::Result<()> {
    let scaffold =
        tree::new("tmpfs", Some("tmpfs"), &[("mode", "0755"), ("size", "64k")], SUID | EXEC | DEV)?;
    tree::attach_at(scaffold.as_fd(), place.as_fd())?;
    fchdir(&scaffold)?;
    Ok(chroot(".")?)
}

/// Mounts a file system of the kernel where the guest's process may not.
type Outside<'a> = &'a dyn Fn(&str) -> Run<OwnedFd>;

/// Mounts what every guest has.
pub fn build(spec: &Spec, nodes: Vec<Node>, outside: Outside<'_>) -> Run<()> {
    of_kernel(spec, "proc", "/proc", outside)?;
    system(spec, outside)?;
    put("tmpfs", "/dev", &[("mode", "0755"), ("size", "64k"), ("nr_inodes", "16k")], SUID | EXEC)?;
    for folder in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
        fs::create_dir(folder).doing(format_args!("make {folder}"))?;
    }
    let terminals = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    put("devpts", "/dev/pts", &terminals, SUID | EXEC)?;
    put("tmpfs", "/dev/shm", &[("mode", "1777")], SUID | DEV)?;
    put("mqueue", "/dev/mqueue", &[], SUID | EXEC | DEV)?;
    for (path, number, shown) in nodes {
        node(&path, number, shown).doing(format_args!("make the device {}", path.display()))?;
    }
    for (target, link) in [
        ("/proc/self/fd", "/dev/fd"),
        ("/proc/self/fd/0", "/dev/stdin"),
        ("/proc/self/fd/1", "/dev/stdout"),
        ("/proc/self/fd/2", "/dev/stderr"),
        ("/proc/kcore", "/dev/core"),
        ("pts/ptmx", "/dev/ptmx"),
    ] {
        symlink(target, link).doing(format_args!("make {link}"))?;
    }
    for (at, mode, size) in [("/run", "0755", "20%"), ("/tmp", "1777", "10%")] {
        if !is_mounted_by_step(spec, at) {
            put("tmpfs", at, &[("mode", mode), ("size", size)], SUID | DEV)?;
        }
    }
    Ok(())
}

/// Moves what was built to the guest's root; where a link is in the way, that is refused.
pub fn hand_over(root: &OwnedFd) -> Run<()> {
    let attached = fs::create_dir(ROOT).and_then(|()| tree::attach(root.as_fd(), Path::new(ROOT)));
    attached.doing("mount its root")?;
    for name in BUILT {
        let from = Path::new("/").join(name);
        if from.exists() {
            tree::move_below(&from, root.as_fd(), name).doing(format_args!("mount /{name}"))?;
        }
    }
    Ok(())
}

/// Tells the guest who manages it and what the host is.
pub fn tell(spec: &Spec, host: &OwnedFd, root: &OwnedFd) -> Run<()> {
    let folder = mounts::make_beneath(root.as_fd(), ABOUT, true).doing(format_args!("make {ABOUT}"))?;
    let release = release(host).unwrap_or_default();
    for (name, text) in [
        ("container-manager", "guestd".as_bytes()),
        ("container-uuid", spec.uuid.as_bytes()),
        ("os-release", &release),
    ]
    .into_iter()
    .filter(|(_, text)| !text.is_empty())
    {
        let write = || -> io::Result<()> {
            // What is there may be anything, where /run is one of its own.
            match unlinkat(&folder, name, AtFlags::empty()) {
                Err(Errno::NOENT) | Ok(()) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut file = fs::File::from(openat(&folder, name, flags, Mode::from_raw_mode(0o644))?);
            file.write_all(text)?;
            if text.ends_with(b"\n") { Ok(()) } else { file.write_all(b"\n") }
        };
        write().doing(format_args!("write {ABOUT}/{name}"))?;
    }
    Ok(())
}

/// The host's os-release(5).
fn release(host: &OwnedFd) -> io::Result<Vec<u8>> {
    let file = beneath::open(host, "etc/os-release", OFlags::RDONLY, Mode::empty())?;
    let mut text = Vec::new();
    fs::File::from(file).take(RELEASE_MAX).read_to_end(&mut text)?;
    Ok(text)
}

/// Mounts one of [`KINDS`], or has the monitor do so where users of the guest's own may not.
fn of_kernel(spec: &Spec, kind: &str, at: &str, outside: Outside<'_>) -> Run<()> {
    let attributes = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, attributes)| *attributes);
    let refused = match put(kind, at, &[], attributes.unwrap_or(SUID | EXEC | DEV)) {
        Err(error) if spec.ids.is_some() => error,
        result => return result,
    };
    let Ok(tree) = outside(kind) else {
        let text = format!(
            "{refused}; this host lets no users of the guest's own do that; set user-namespace = false"
        );
        return Err(RunError::Configuration(text));
    };
    tree::attach(tree.as_fd(), Path::new(at)).doing(format_args!("mount {kind} at {at}"))
}

/// Whether a step of the guest's own has mounted something there.
fn is_mounted_by_step(spec: &Spec, at: &str) -> bool {
    let steps = spec.native.lifecycle.before.iter();
    let mut mounts = steps.filter_map(|step| match &step.what {
        Deed::Mount(mount) | Deed::RemoteMount(mount) => Some(mount),
        _ => None,
    });
    mounts.any(|mount| mount.target.trim_end_matches('/') == at && !mounts::is_missing(mount))
}

/// `/sys` and the cgroups in it.
fn system(spec: &Spec, outside: Outside<'_>) -> Run<()> {
    of_kernel(spec, "sysfs", "/sys", outside)?;
    // Where the host has none of v2, or the guest's root is no root of them.
    let delegated = [("nsdelegate", ""), ("memory_recursiveprot", "")];
    if put("cgroup2", "/sys/fs/cgroup", &delegated, SUID | EXEC | DEV).is_err() {
        // Without cgroups of v2 it goes without any.
        let _ = put("cgroup2", "/sys/fs/cgroup", &[], SUID | EXEC | DEV);
    }
    Ok(())
}

fn put(kind: &str, at: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Run<()> {
    let mounted = || -> io::Result<()> {
        if !Path::new(at).is_dir() {
            fs::create_dir(at)?;
        }
        let tree = tree::new(kind, Some(kind), options, attributes)?;
        tree::attach(tree.as_fd(), Path::new(at))
    };
    mounted().doing(format_args!("mount {kind} at {at}"))
}

fn node(path: &Path, (kind, mode, number): (FileType, Mode, u64), shown: Option<OwnedFd>) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match shown {
        Some(tree) => {
            fs::write(path, "")?;
            tree::attach(tree.as_fd(), path)
        }
        None => {
            mknodat(CWD, path, kind, mode, number)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode.as_raw_mode()))
        }
    }
}

/// Makes `/dev/console` of a terminal in the guest's `/dev/pts`, and opens it.
pub fn console(terminal: &Path) -> Run<OwnedFd> {
    let made = || -> io::Result<OwnedFd> {
        fs::set_permissions(terminal, fs::Permissions::from_mode(0o600))?;
        fs::write("/dev/console", "")?;
        let tree = tree::copy(terminal)?;
        tree::attach(tree.as_fd(), Path::new("/dev/console"))?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::open("/dev/console", flags, Mode::empty())?)
    };
    made().doing("make /dev/console")
}

/// Mounts what the guest's settings say; `outside` are those that the monitor has made, in order.
pub fn mount_own(spec: &Spec, root: &OwnedFd, mut outside: impl Iterator<Item = OwnedFd>) -> Run<()> {
    let mut next =
        || outside.next().ok_or_else(|| RunError::Inside("the monitor set too few mounts out".into()));
    if spec.notify.is_some() {
        let attached = mounts::attach_beneath(root.as_fd(), next()?.as_fd(), notify::INSIDE);
        attached.doing(format_args!("mount guestd's socket at {}", notify::INSIDE))?;
    }
    for mount in &spec.native.mounts {
        let tree = match mounts::made_inside(mount)? {
            Some(tree) => tree,
            None => next()?,
        };
        let attached = mounts::attach_beneath(root.as_fd(), tree.as_fd(), &mount.target);
        attached.doing(format_args!("mount {} at {}", mount.source, mount.target))?;
    }
    Ok(())
}

/// The rest of what is built: names, settings of the kernel, and what is hidden or read-only. The folder of those settings, of which
/// the guest can change its network's only.
pub fn settle(spec: &Spec) -> Run<OwnedFd> {
    let name = spec.native.hostname.as_deref().unwrap_or(spec.guest.as_str());
    rustix::system::sethostname(name.as_bytes()).doing("set its host name")?;
    if let Some(domain) = &spec.native.domainname {
        rustix::system::setdomainname(domain.as_bytes()).doing("set its domain name")?;
    }
    let open = || mounts::open_root(Path::new(SETTINGS)).doing(format_args!("open {SETTINGS}"));
    sysctls(spec, &open()?, |key| !key.starts_with(OF_NETWORK))?;
    for path in READABLE {
        protect(path, network::kind(spec) != Kind::Host).doing(format_args!("make {path} read-only"))?;
    }
    for path in HIDDEN {
        hide(path).doing(format_args!("hide {path}"))?;
    }
    open()
}

/// The settings of the kernel.
const SETTINGS: &str = "/proc/sys";
/// How the names of sysctls begin that each network namespace has for itself.
const OF_NETWORK: &str = "net.";

/// Sets what the guest's settings say of its network, once its interfaces are there.
pub fn settle_network(spec: &Spec, settings: &OwnedFd) -> Run<()> {
    sysctls(spec, settings, |key| key.starts_with(OF_NETWORK))
}

fn sysctls(spec: &Spec, settings: &OwnedFd, concerns: impl Fn(&str) -> bool) -> Run<()> {
    for (key, value) in spec.native.process.sysctl.iter().filter(|(key, _)| concerns(key)) {
        // A dot in the name of an interface is a slash here (sysctl(8)).
        let swap = |c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        };
        let path = key.chars().map(swap).collect::<String>();
        let set = || -> io::Result<()> {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let file = openat2(settings, path, flags, Mode::empty(), resolve)?;
            fs::File::from(file).write_all(value.as_bytes())
        };
        set().doing(format_args!("set {key} to {value}"))?;
    }
    Ok(())
}

/// Covers a path with itself, read-only; the network's settings under it stay the guest's, where it has a network of its own.
fn protect(path: &str, has_network: bool) -> io::Result<()> {
    if !Path::new(path).exists() {
        return Ok(());
    }
    let tree = tree::copy(Path::new(path))?;
    let change = Change { set: libc::MOUNT_ATTR_RDONLY, recursive: true, ..Change::default() };
    tree::change(tree.as_fd(), change)?;
    let network = (path == "/proc/sys" && has_network).then(|| tree::copy(Path::new("/proc/sys/net")));
    tree::attach(tree.as_fd(), Path::new(path))?;
    network.map_or(Ok(()), |network| tree::attach(network?.as_fd(), Path::new("/proc/sys/net")))
}

/// Covers a file with `/dev/null`, or a folder with an empty one.
fn hide(path: &str) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    let cover = if found.is_dir() {
        tree::new("tmpfs", Some("tmpfs"), &[("mode", "0000"), ("size", "4k")], READ_ONLY | SUID | EXEC | DEV)?
    } else {
        tree::copy(Path::new("/dev/null"))?
    };
    tree::attach(cover.as_fd(), Path::new(path))
}
