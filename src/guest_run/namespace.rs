//! A new process in namespaces of its own.

use std::{
    fs, io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use super::{fault, spec::Ids, trouble::RunError};

/// `CLONE_INTO_CGROUP` (linux/sched.h); `libc` has it in a type that cannot hold it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which namespaces a guest has of its own from its first moment. Those for processes, host name and IPC always; it makes that for
/// mounts later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// For users.
    pub user: bool,
    /// For the network.
    pub network: bool,
}

/// Which of two processes returns from [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// The caller, with its child.
    Parent(Child),
    /// The child.
    Child,
}

/// A child, before anybody has waited for it: its number is its own.
#[derive(Debug)]
pub struct Child {
    /// Its number.
    pub pid: i32,
    /// It, as a file.
    pub pidfd: OwnedFd,
}

/// Makes a process in new namespaces, and where given in this cgroup of v2 (clone3(2)).
///
/// # Safety
/// The caller has no other threads: the child goes on with a copy of its memory.
///
/// # Errors
/// That of clone3(2).
pub unsafe fn fork(namespaces: Option<Namespaces>, cgroup: Option<&OwnedFd>) -> io::Result<Fork> {
    // Before there are two, of which only one may fail.
    fault::pass()?;
    let mut flags = libc::CLONE_PIDFD;
    if let Some(Namespaces { user, network }) = namespaces {
        flags |= libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        flags |= if user { libc::CLONE_NEWUSER } else { 0 };
        flags |= if network { libc::CLONE_NEWNET } else { 0 };
    }
    // SAFETY: as the caller says.
    unsafe { clone(flags, cgroup, libc::SIGCHLD) }
}

/// Why there is no process. Said without a fault of its own: there may be one.
pub fn refused(source: io::Error) -> RunError {
    RunError::System { doing: "make a process".into(), source }
}

/// Makes a process beside the calling one, whose parent is its parent too, and waits for it (clone3(2)).
///
/// # Safety
/// The caller has no other threads: the child goes on with a copy of its memory.
///
/// # Errors
/// That of clone3(2).
pub unsafe fn fork_beside() -> io::Result<Fork> {
    // SAFETY: as the caller says. The parent gets the signal that it gets for the calling process.
    unsafe { clone(libc::CLONE_PIDFD | libc::CLONE_PARENT, None, 0) }
}

unsafe fn clone(flags: libc::c_int, cgroup: Option<&OwnedFd>, exit_signal: libc::c_int) -> io::Result<Fork> {
    let into = if cgroup.is_some() { INTO_CGROUP } else { 0 };
    let mut pidfd: libc::c_int = -1;
    let mut arguments = libc::clone_args {
        flags: u64::from(flags.cast_unsigned()) | into,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(exit_signal.cast_unsigned()),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: without a stack of its own the child goes on as after fork(2); the structure is as large as is said, and the
    // kernel writes the pidfd's number where there is room for it.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match i32::try_from(pid).unwrap_or(-1) {
        -1 => match io::Error::last_os_error() {
            // SAFETY: as for this function.
            error if is_filtered(&error) && cgroup.is_none() => unsafe { old_clone(flags, exit_signal) },
            error => Err(error),
        },
        0 => Ok(Fork::Child),
        // SAFETY: the kernel has just made it for us.
        pid => Ok(Fork::Parent(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })),
    }
}

/// Whether the guest's filter of system calls refuses clone3(2), in whoever has it already.
fn is_filtered(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

/// The same by clone(2), which takes its flags where a filter sees them, and no cgroup.
///
/// # Safety
/// As for [`fork`].
unsafe fn old_clone(flags: libc::c_int, exit_signal: libc::c_int) -> io::Result<Fork> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::c_long::from(flags | exit_signal);
    // One processor has the stack first.
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // SAFETY: without a stack of its own the child goes on as after fork(2); the kernel writes the pidfd's number where there is
    // room for it.
    let pid = unsafe { libc::syscall(libc::SYS_clone, first, second, &raw mut pidfd, 0, 0) };
    match i32::try_from(pid).unwrap_or(-1) {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        // SAFETY: the kernel has just made it for us.
        pid => Ok(Fork::Parent(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })),
    }
}

/// Gives the users in a child's namespace their ids outside (user_namespaces(7)).
///
/// # Errors
/// When the kernel refuses them.
pub fn map(pid: i32, ids: Ids) -> io::Result<()> {
    let line = format!("0 {} {}\n", ids.first, ids.count);
    fs::write(format!("/proc/{pid}/uid_map"), &line)?;
    fs::write(format!("/proc/{pid}/gid_map"), &line)
}
