//! A process of the host enters a guest that runs, for a command in it.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::process::{Pid, WaitOptions, waitpid};

use super::{
    cgroup::Group,
    inside::{Entry, become_member, become_root, die_with_parent, environment, execute_program},
    link::close_all_but,
    namespace::{self, Child, Fork},
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
    init: &Child,
    group: Option<&Group>,
    argv: &[String],
    extra: &[(String, String)],
) -> Run<WaitStatus> {
    let tasks = group.map(Group::tasks).transpose()?.unwrap_or_default();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe")?;
    match fork(group, init)? {
        Fork::Parent(child) => {
            drop(writer);
            let status = wait(child.pid)?;
            let mut entered = [0; 4];
            // Without a word it has said itself why it could not.
            match File::from(reader).read_exact(&mut entered) {
                Ok(()) => wait(i32::from_ne_bytes(entered)),
                Err(_) => Ok(status),
            }
        }
        Fork::Child => {
            for mut file in tasks {
                // A hierarchy less to be counted in.
                let _ = file.write_all(b"0");
            }
            drop(reader);
            let code = enter(spec, &init.pidfd, argv, extra, writer).map_or_else(
                |error| {
                    eprintln!("{error}");
                    127
                },
                |()| 0,
            );
            std::process::exit(code)
        }
    }
}

/// Makes a process in the guest's cgroup; where that takes none, beside its init.
fn fork(group: Option<&Group>, init: &Child) -> Run<Fork> {
    let payload = group.map(Group::payload).transpose()?.flatten();
    // SAFETY: a monitor, and what enters a guest, has one thread.
    let made = match unsafe { namespace::fork(None, payload.as_ref()) } {
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            let beside = group.map(|group| group.of_process(init.pid)).transpose()?.flatten();
            // SAFETY: as above.
            unsafe { namespace::fork(None, beside.as_ref()) }
        }
        made => made,
    };
    made.map_err(namespace::refused)
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

/// In a process of its own: enters, makes another one, which alone is in the guest's PID namespace, and tells its number. Who
/// stayed would be seen in the guest's cgroups, as a process without a number, which systemd takes for an error there.
fn enter(
    spec: &Spec,
    pidfd: &OwnedFd,
    argv: &[String],
    extra: &[(String, String)],
    tell: OwnedFd,
) -> Run<()> {
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
    close_all_but(tell.as_raw_fd());
    // Before it can be seen inside: a root who may trace processes could take one over that still has the host's rights.
    become_member(spec, Entry::Visitor)?;
    // SAFETY: this process has one thread.
    match unsafe { namespace::fork_beside() }.map_err(namespace::refused)? {
        Fork::Parent(child) => File::from(tell).write_all(&child.pid.to_ne_bytes()).doing("tell of it"),
        Fork::Child => {
            drop(tell);
            eprintln!("{}", execute(spec, argv, extra));
            std::process::exit(127)
        }
    }
}

fn execute(spec: &Spec, argv: &[String], extra: &[(String, String)]) -> RunError {
    // Whoever leaves takes it along.
    if let Err(error) = die_with_parent() {
        return error;
    }
    let is_new = |name: &str| !extra.iter().any(|(known, _)| known == name);
    let own = environment(spec).filter(|&(name, _)| is_new(name) && name != "NOTIFY_SOCKET");
    let all = own.chain(extra.iter().map(|(name, value)| (name.as_str(), value.clone())));
    execute_program(argv, &all.collect::<Vec<_>>())
}
