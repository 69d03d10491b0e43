//! A guest's network: made and undone by processes of their own, so that the monitor stays small.
//!
//! The record of what was made lies in one folder for all guests, `RUNTIME_DIR/network`: guests that share a VLAN of the host look
//! there for one another.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{fs::DirBuilderExt, process::CommandExt},
    },
    process::{Command, Stdio},
};

use rustix::{
    fs::CWD,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use super::{
    monitor, program,
    say::say,
    spec::{Place, Spec},
    trouble::{Doing, Run, RunError},
};
use crate::{
    model::{Deed, Network},
    network,
};

/// Which word asks for which work.
pub const APPLY: &str = "apply";
/// See [`APPLY`].
pub const UNDO: &str = "undo";

/// How a guest comes to its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It shares the host's.
    Host,
    /// It gets a namespace with its init.
    OfInit,
    /// It has one before its init, since a step of its own makes the interfaces.
    Before,
}

/// How this guest does.
pub fn kind(spec: &Spec) -> Kind {
    match spec.native.network {
        Network::Host => Kind::Host,
        _ if spec.native.lifecycle.before.iter().any(|step| step.what == Deed::Network) => Kind::Before,
        _ => Kind::OfInit,
    }
}

/// The host's namespace, while the monitor is in the guest's.
#[derive(Debug)]
pub struct Away(OwnedFd);

/// Enters a new namespace, where the guest's interfaces will be, until the returned value is dropped.
///
/// # Errors
/// When the kernel refuses.
pub fn leave_host() -> Run<Away> {
    let host = File::open("/proc/self/ns/net").doing("open the host's network namespace")?;
    // SAFETY: there are no other threads.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.doing("enter a network namespace")?;
    Ok(Away(host.into()))
}

impl Drop for Away {
    fn drop(&mut self) {
        if let Err(error) = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)) {
            say(&format!("cannot go back to the host's network namespace: {error}"));
        }
    }
}

/// Has a program run in the host's network namespace, also while the monitor is in the guest's.
pub fn on_host(command: &mut Command, away: Option<&Away>) {
    let Some(Away(host)) = away else { return };
    let host = host.as_raw_fd();
    let enter = move || {
        // SAFETY: it takes numbers; the file is open in the parent, of which this is a copy.
        match unsafe { libc::setns(host, libc::CLONE_NEWNET) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: it makes one system call between fork and exec.
    unsafe { command.pre_exec(enter) };
}

/// Makes the interfaces of a guest in the namespace of this process.
///
/// # Errors
/// With the interface, the step and the kernel's word.
pub fn connect(spec: &Spec, place: &Place, pid: i32, away: Option<&Away>) -> Run<()> {
    match spec.native.network {
        Network::Host => Ok(()),
        // The guest's process brings up the only one there is.
        Network::None if away.is_none() => Ok(()),
        _ => work(place, APPLY, &[pid.to_string()], away),
    }
}

/// Takes away what is left of a guest's interfaces on the host, of whatever run and by whatever settings of then.
pub fn disconnect(place: &Place) {
    if place.network().exists() {
        work(place, UNDO, &[], None).unwrap_or_else(|error| say(&error.to_string()));
    }
}

/// Runs this program for one piece of work, in the host's namespace.
fn work(place: &Place, word: &str, more: &[String], away: Option<&Away>) -> Run<()> {
    let mut command = program::command("/proc/self/exe");
    command.arg("network").arg(word).arg(place.folder()).args(more).env_clear().stdin(Stdio::null());
    // Where tests have it fail.
    #[cfg(debug_assertions)]
    command.envs(std::env::var_os(network::fault::VARIABLE).map(|value| (network::fault::VARIABLE, value)));
    on_host(&mut command, away);
    let output = command.stdout(Stdio::null()).output().doing("run a process for its network")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("guest-run: ");
    let what = if word == APPLY { "set up" } else { "undo" };
    // Another try may help: the host may come to have what is missing.
    Err(RunError::Inside(format!("cannot {what} its network: {said}")))
}

/// The work itself, in a process of its own.
///
/// # Errors
/// With the interface, the step and the kernel's word.
pub fn main(word: &str, place: &Place, pid: Option<i32>) -> Run<()> {
    let path = place.network();
    let failed = |error: network::NetworkError| RunError::Inside(crate::helper::in_full(&error).to_string());
    if let Some(folder) = path.parent() {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.doing(format_args!("make {}", folder.display()))?;
    }
    network::undo(&path).map_err(failed)?;
    if word == UNDO {
        return Ok(());
    }
    let spec = monitor::read(place)?;
    let pid = pid.ok_or_else(|| RunError::Inside("no process was named".into()))?;
    let namespace = rustix::fs::openat(
        CWD,
        format!("/proc/{pid}/ns/net"),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let namespace = namespace.doing("open its network namespace")?;
    network::apply(&spec.native.network, &spec.guest, namespace.as_fd(), &path).map_err(failed)
}

/// Brings the loopback up, from inside.
///
/// # Errors
/// When the kernel refuses.
pub fn loopback() -> Run<()> {
    let up = || -> io::Result<()> {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::DGRAM,
            flags,
            None,
        )?;
        // SAFETY: all of it may be zero.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
        // SAFETY: SIOCSIFFLAGS reads an ifreq (netdevice(7)).
        match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    up().doing("bring its loopback up")
}
