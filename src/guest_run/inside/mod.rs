//! The guest's process between clone3(2) and execve(2): it builds the guest's view of the host around itself.
//!
//! It runs as the monitor's copy, so it has its open files (none of which the init gets) and none of its rights outside where
//! the guest has users of its own. What every guest finds mounted it builds in a folder in memory that nobody else can reach: paths
//! below the guest's own root may lead elsewhere at any time, since another guest may have the same root. There it only attaches
//! what is finished, and by no link.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount},
    process::{chdir, chroot, fchdir, pivot_root},
    thread::{UnshareFlags, unshare_unsafe},
};

mod filesystem;
mod identity;
mod once;

pub use filesystem::BUILT;
pub use identity::{Entry, become_member, become_root, die_with_parent, environment, execute_program};

use super::{
    console, fault,
    link::Link,
    mounts, network,
    spec::{Place, Spec},
    staging, terminal,
    trouble::{Doing, Run, RunError},
};
use crate::model::native::InitProgram;

/// What the child is told and tells by the [`Link`], as the first byte of a packet.
pub mod word {
    /// To the child: its users have their ids, and the guest's root and each mount made outside are set out, in order.
    pub const GO: u8 = b'g';
    /// To the child: its network is there.
    pub const EXECUTE: u8 = b'x';
    /// From the child: it may not mount this file system of the kernel, whose name follows. To the child: here it is, in a file.
    pub const MOUNT: u8 = b'm';
    /// From the child: everything is mounted; with both ends of its console.
    pub const CONSOLE: u8 = b'c';
    /// It failed; the reason follows.
    pub const FAILED: u8 = b'e';
    /// The same, where another try changes nothing.
    pub const WRONG: u8 = b'w';
}

/// What the child takes over from the monitor.
pub struct Means<'a> {
    /// The guest.
    pub spec: &'a Spec,
    /// Its files.
    pub place: &'a Place,
    /// The line to the monitor.
    pub link: Link,
    /// The cgroups of v1 that it joins.
    pub tasks: Vec<File>,
}

/// Becomes the guest's init. Returns only when that fails, with the exit status: the monitor has been told why.
pub fn run(means: Means<'_>) -> i32 {
    fault::begin_child();
    let spec = means.spec;
    let error = match prepare(&means) {
        Ok(()) => match &spec.native.init.program {
            InitProgram::Exec(argv) => identity::execute(spec, argv, Some(&means.link)),
            InitProgram::Once(argv) => {
                // Closed as all others are.
                means.tasks.into_iter().for_each(std::mem::forget);
                return once::run(spec, argv, means.link);
            }
        },
        Err(error) => error,
    };
    let kind = if error.trouble().is_permanent { word::WRONG } else { word::FAILED };
    // Without a monitor there is nobody to tell.
    let _ = means.link.send(&[&[kind], error.to_string().as_bytes()].concat(), &[]);
    1
}

fn prepare(means: &Means<'_>) -> Run<()> {
    identity::die_with_parent()?;
    for mut tasks in &means.tasks {
        tasks.write_all(b"0").doing("join its cgroups")?;
    }
    wait(&means.link, word::GO)?;
    // SAFETY: no other thread counts on sharing what this parts.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.doing("enter a mount namespace")?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .doing("keep its mounts from the host")?;
    let host = mounts::open_root(Path::new("/")).doing("open /")?;
    // Still by the ids of the monitor, to whom the folders above belong.
    let at = means.place.root();
    let place = mounts::open_root(&at).doing(format_args!("open {}", at.display()))?;
    let mut trees = staging::take(&at).doing("take its mounts")?.into_iter();
    let root = trees.next().ok_or_else(|| RunError::Inside("the monitor set no root out".into()))?;
    let nodes = filesystem::device_nodes(means.spec)?;
    if means.spec.ids.is_some() {
        identity::become_root()?;
    }
    filesystem::enter_scaffold(&place).doing(format_args!("build at {}", at.display()))?;
    // SAFETY: no other thread counts on sharing what this parts.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }.doing("enter a cgroup namespace")?;
    if network::kind(means.spec) == network::Kind::OfInit {
        network::loopback()?;
    }
    filesystem::build(means.spec, nodes, &|kind| ask(&means.link, kind))?;
    let (terminal, other) = console::open_terminal().doing("make its console")?;
    let slave = filesystem::console(&other)?;
    let keep = slave.try_clone().doing("keep its console")?;
    let settings = filesystem::settle(means.spec)?;
    filesystem::hand_over(&root)?;
    filesystem::tell(means.spec, &host, &root)?;
    filesystem::mount_own(means.spec, &root, trees)?;
    means.link.send(&[word::CONSOLE], &[terminal, keep]).doing("hand its console over")?;
    leave_host(&host, &root)?;
    wait(&means.link, word::EXECUTE)?;
    filesystem::settle_network(means.spec, &settings)?;
    terminal::take(&slave)
}

/// Waits for the monitor's word.
fn wait(link: &Link, expected: u8) -> Run<()> {
    match link.receive().doing("hear from the monitor")? {
        Some((packet, _)) if packet == [expected] => Ok(()),
        _ => Err(RunError::Inside("the monitor has given up".into())),
    }
}

/// Has the monitor mount a file system of the kernel.
fn ask(link: &Link, kind: &str) -> Run<OwnedFd> {
    link.send(&[&[word::MOUNT], kind.as_bytes()].concat(), &[]).doing("ask the monitor")?;
    let (reason, files) = link.receive().doing("hear from the monitor")?.unwrap_or_default();
    let reason = String::from_utf8_lossy(reason.get(1..).unwrap_or_default()).into_owned();
    files.into_iter().next().ok_or(RunError::Inside(reason))
}

/// Makes the root the only file system there is (pivot_root(2)): back out of the chroot, then round. The host's tree goes.
fn leave_host(host: &OwnedFd, root: &OwnedFd) -> Run<()> {
    let steps = || -> io::Result<()> {
        fchdir(host)?;
        chroot(".")?;
        fchdir(root)?;
        // The old root lies over the new one then, and can be taken away by the working directory.
        pivot_root(".", ".")?;
        fchdir(host)?;
        mount_change(".", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        Ok(())
    };
    steps().doing("leave the host's file system")
}
