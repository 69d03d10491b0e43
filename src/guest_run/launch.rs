//! The guest's first process, from its namespaces to the execution of its init.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use super::{
    cgroup::Group,
    inside::{self, Means, word},
    kernel,
    link::Link,
    mounts,
    namespace::{self, Child, Fork, Namespaces},
    priority, root,
    spec::{Place, Spec},
    staging::Staging,
    steps,
    tree::{self, Change},
    trouble::{Doing, Run, RunError},
};

/// A running guest: its init and its console, both ends of it: as long as one is kept open here, the other can be read.
pub struct Launched {
    /// Its init.
    pub init: Child,
    /// What its init writes and reads.
    pub terminal: OwnedFd,
    /// The guest's end.
    pub _slave: OwnedFd,
}

/// What a launch needs.
pub struct Launch<'a> {
    /// The guest.
    pub spec: &'a Spec,
    /// Its files.
    pub place: &'a Place,
    /// Its cgroups.
    pub group: &'a Group,
    /// Its root on the host.
    pub root: &'a Path,
    /// It gets a network namespace of its own now; none if it has one already, or shares the host's.
    pub network: bool,
}

/// Starts the guest's init; `connect` makes its interfaces, given the number of its process. Nothing is left of one that fails.
///
/// # Errors
/// When any step fails, with what the guest's process says of that.
pub fn launch(launch: &Launch<'_>, connect: &mut dyn FnMut(i32) -> Run<()>) -> Run<Launched> {
    let Launch { spec, place, group, .. } = *launch;
    let (own, other) = Link::pair().doing("make a socket")?;
    let tasks = group.tasks()?;
    group.clear();
    let payload = group.payload()?;
    let namespaces = Namespaces { user: spec.ids.is_some(), network: launch.network };
    // SAFETY: a monitor has one thread.
    match unsafe { namespace::fork(Some(namespaces), payload.as_ref()) }.map_err(namespace::refused)? {
        Fork::Child => {
            drop(own);
            std::process::exit(inside::run(Means { spec, place, link: other, tasks }))
        }
        Fork::Parent(init) => {
            drop((other, tasks));
            match bring_up(launch, &own, &init, connect) {
                Ok((terminal, slave)) => Ok(Launched { init, terminal, _slave: slave }),
                Err(error) => {
                    let _ = steps::signal(&init, libc::SIGKILL);
                    reap(&init);
                    Err(error)
                }
            }
        }
    }
}

fn bring_up(
    launch: &Launch<'_>,
    link: &Link,
    init: &Child,
    connect: &mut dyn FnMut(i32) -> Run<()>,
) -> Run<(OwnedFd, OwnedFd)> {
    let Launch { spec, .. } = *launch;
    let users = spec.ids.map(|ids| -> Run<OwnedFd> {
        namespace::map(init.pid, ids).doing("give its users their ids")?;
        Ok(File::open(format!("/proc/{}/ns/user", init.pid)).doing("open its user namespace")?.into())
    });
    let users = users.transpose()?;
    priority::prioritise(spec, init.pid)?;
    if spec.native.read_only {
        root::furnish(launch.root, spec)?;
    }
    let mut trees = vec![root::detach(launch.root, users.as_ref(), spec.native.read_only)?];
    if let Some(folder) = &spec.notify {
        let tree = tree::copy(folder).doing("take guestd's socket")?;
        let set = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        tree::change(tree.as_fd(), Change { set, ..Change::default() }).doing("take guestd's socket")?;
        trees.push(tree);
    }
    for mount in &spec.native.mounts {
        trees.extend(mounts::made_outside(mount, users.as_ref().map(OwnedFd::as_fd))?);
    }
    // Last: the root may lie where it is.
    let staging = Staging::over(&launch.place.root()).doing("make a place for its mounts")?;
    staging.set_out(&trees).doing("set its mounts out")?;
    drop(trees);
    link.send(&[word::GO], &[]).or_else(|error| told(link).and(Err(error).doing("begin")))?;
    // Meanwhile it builds its file system.
    let connected = connect(init.pid);
    let console = expect(link, init)?;
    drop(staging);
    connected?;
    link.send(&[word::EXECUTE], &[]).doing("have it execute its init")?;
    told(link)?;
    Ok(console)
}

/// Waits for the console; meanwhile mounts what the guest's process may not.
fn expect(link: &Link, init: &Child) -> Run<(OwnedFd, OwnedFd)> {
    loop {
        let (packet, files) = link.receive().doing("hear from its process")?.unwrap_or_default();
        let mut files = files.into_iter();
        match (packet.as_slice(), files.next(), files.next()) {
            ([word::MOUNT, kind @ ..], ..) => {
                let sent = match kernel::mount(init, &String::from_utf8_lossy(kind)) {
                    Ok(tree) => link.send(&[word::MOUNT], &[tree]),
                    Err(error) => link.send(&[&[word::FAILED], error.to_string().as_bytes()].concat(), &[]),
                };
                sent.doing("answer its process")?;
            }
            ([word::CONSOLE], Some(terminal), Some(slave)) => return Ok((terminal, slave)),
            (packet, ..) => return Err(said(packet)),
        }
    }
}

/// Waits for the end of the line, which the execution of the init is; or for why there was none.
fn told(link: &Link) -> Run<()> {
    match link.receive() {
        Ok(None) => Ok(()),
        Ok(Some((packet, _))) => Err(said(&packet)),
        Err(error) => Err(error).doing("hear from its process"),
    }
}

fn said(packet: &[u8]) -> RunError {
    let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    match packet {
        [word::FAILED, reason @ ..] => RunError::Inside(text(reason)),
        [word::WRONG, reason @ ..] => RunError::Configuration(text(reason)),
        _ => RunError::Inside("its first process ended without a word".into()),
    }
}

/// Waits for a child that has ended, or is about to. Its wait status.
pub fn reap(child: &Child) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: it writes the status where there is room for it.
        let result = unsafe { libc::waitpid(child.pid, &raw mut status, 0) };
        if result == child.pid || std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return status;
        }
    }
}
