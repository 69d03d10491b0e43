//! A process of the host enters a guest that runs, for a command in it.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use super::{
    cgroup::Group,
    inside::{Entry, become_member, become_root, environment, execute_program},
    namespace::{self, Fork},
    spec::Spec,
    trouble::{Doing, Run, RunError},
};
use crate::model::WaitStatus;

/// Every namespace that a guest has of its own (setns(2)).
const NAMESPACES: libc::c_int = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Runs a command in the guest with this init, and waits for its end. Its first three files are the caller's; no other is.
///
/// # Errors
/// When the guest cannot be entered.
pub fn run(
    spec: &Spec,
    init: i32,
    group: Option<&Group>,
    argv: &[String],
    extra: &[(String, String)],
) -> Run<WaitStatus> {
    let pid = Pid::from_raw(init).ok_or_else(|| RunError::Inside("it does not run".into()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).doing("open its init")?;
    let payload = group.map(Group::payload).transpose()?.flatten();
    let tasks = group.map(Group::tasks).transpose()?.unwrap_or_default();
    // SAFETY: a monitor, and what enters a guest, has one thread.
    match unsafe { namespace::fork(None, payload.as_ref()) }? {
        Fork::Parent(child) => wait(child.pid),
        Fork::Child => {
            for mut file in tasks {
                // A hierarchy less to be counted in.
                let _ = io::Write::write_all(&mut file, b"0");
            }
            let code = match enter(spec, &pidfd, argv, extra) {
                Ok(status) => as_exit(status),
                Err(error) => {
                    eprintln!("{error}");
                    127
                }
            };
            std::process::exit(code)
        }
    }
}

/// A wait status as an exit status, in the manner of shells.
pub fn as_exit(status: WaitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn wait(pid: i32) -> Run<WaitStatus> {
    loop {
        match waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(WaitStatus(status.as_raw())),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).doing("wait for it"),
        }
    }
}

/// In a process of its own: enters, and makes another one, which alone is in the guest's PID namespace.
fn enter(spec: &Spec, pidfd: &OwnedFd, argv: &[String], extra: &[(String, String)]) -> Run<WaitStatus> {
    let user = if spec.ids.is_some() { libc::CLONE_NEWUSER } else { 0 };
    // SAFETY: it takes numbers; this process has one thread.
    if unsafe { libc::setns(pidfd.as_raw_fd(), NAMESPACES | user) } != 0 {
        return Err(io::Error::last_os_error()).doing("enter it");
    }
    if user != 0 {
        become_root()?;
    }
    // Nobody in it looks into the process before it has executed its command, and no file of the host is open in it.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    // SAFETY: it takes numbers; nothing above is used any more.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    // SAFETY: as above.
    match unsafe { namespace::fork(None, None) }? {
        Fork::Parent(child) => wait(child.pid),
        Fork::Child => {
            eprintln!("{}", execute(spec, argv, extra));
            std::process::exit(127)
        }
    }
}

fn execute(spec: &Spec, argv: &[String], extra: &[(String, String)]) -> RunError {
    if let Err(error) = become_member(spec, Entry::Visitor) {
        return error;
    }
    let is_new = |name: &str| !extra.iter().any(|(known, _)| known == name);
    let own = environment(spec).filter(|&(name, _)| is_new(name) && name != "NOTIFY_SOCKET");
    let all = own.chain(extra.iter().map(|(name, value)| (name.as_str(), value.clone())));
    execute_program(argv, &all.collect::<Vec<_>>())
}
