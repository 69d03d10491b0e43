//! A process of the host enters a guest that runs, for a command in it.

use std::{
    io::{self, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, waitpid};

use super::{
    cgroup::Group,
    inside::{Entry, become_member, become_root, die_with_parent, environment, execute_program},
    link::Link,
    namespace::{self, Child, Fork},
    program,
    spec::Spec,
    standard::Standard,
    terminal,
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

/// What of a guest's environment is for its init only.
const OF_INIT: [&str; 2] = ["NOTIFY_SOCKET", "container_uuid"];

/// A command, and variables of its environment.
type Command<'a> = (&'a [String], &'a [(String, String)]);

/// Runs a command in the guest with this init, and waits for its end. No file is open in it but the first three.
///
/// # Errors
/// When the guest cannot be entered.
pub fn run(
    spec: &Spec,
    init: &Child,
    group: Option<&Group>,
    command: Command<'_>,
    standard: Standard,
) -> Run<WaitStatus> {
    let tasks = group.map(Group::tasks).transpose()?.unwrap_or_default();
    let (own, other) = Link::pair().doing("make a socket")?;
    match fork(group, init)? {
        Fork::Parent(child) => {
            drop(other);
            let status = wait(child.pid)?;
            match own.receive().doing("hear who entered")? {
                Some((entered, files)) => accompany(&entered, files),
                // It has said itself why it could not.
                None => Ok(status),
            }
        }
        Fork::Child => {
            for mut file in tasks {
                // A hierarchy less to be counted in.
                let _ = file.write_all(b"0");
            }
            drop(own);
            // A guest can freeze the cgroup that this is in, and whoever waits may be ended.
            let _ = die_with_parent();
            let _ = program::be_ordinary();
            let code = enter(spec, &init.pidfd, command, standard, other).map_or_else(
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

/// Waits for the end of what has entered: its number, and both ends of its terminal in the guest where it has one.
fn accompany(entered: &[u8], files: Vec<OwnedFd>) -> Run<WaitStatus> {
    let number = entered.try_into().map(i32::from_ne_bytes).ok().and_then(Pid::from_raw);
    let pid = number.ok_or_else(|| RunError::Inside("nobody knows who entered".into()))?;
    // The other end stays open here, so that the first can be read whatever the command does with its own.
    if let [terminal, _other] = &files[..] {
        let ended = pidfd_open(pid, PidfdFlags::empty()).doing("open what entered")?;
        terminal::copy(terminal, ended.as_fd())?;
    }
    // Whoever goes on without his terminal is told that it has gone.
    drop(files);
    wait(pid.as_raw_nonzero().get())
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
fn enter(spec: &Spec, pidfd: &OwnedFd, command: Command<'_>, standard: Standard, tell: Link) -> Run<()> {
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
    tell.keep_alone();
    let terminal =
        if standard == Standard::Callers && terminal::is_on_one() { terminal::inside() } else { None };
    // Before it can be seen inside: a root who may trace processes could take one over that still has the host's rights.
    become_member(spec, Entry::Visitor)?;
    // A change of ids has undone that.
    die_with_parent()?;
    if tell.is_closed() {
        return Err(RunError::Inside("whoever wanted it has gone".into()));
    }
    // SAFETY: this process has one thread.
    match unsafe { namespace::fork_beside() }.map_err(namespace::refused)? {
        Fork::Parent(child) => {
            let files: Vec<OwnedFd> = terminal.into_iter().flat_map(|(kept, other)| [kept, other]).collect();
            tell.send(&child.pid.to_ne_bytes(), &files).doing("tell of it")
        }
        Fork::Child => {
            drop(tell);
            eprintln!("{}", execute(spec, command, standard, terminal));
            std::process::exit(127)
        }
    }
}

fn execute(
    spec: &Spec,
    (argv, extra): Command<'_>,
    standard: Standard,
    terminal: Option<(OwnedFd, OwnedFd)>,
) -> RunError {
    // Whoever leaves takes it along. The caller's own terminal is nothing to the guest, where it has one to give.
    let prepared = die_with_parent().and_then(|()| match terminal {
        Some((kept, other)) => {
            drop(kept);
            terminal::take(&other)
        }
        None => standard.put().doing("open its files"),
    });
    if let Err(error) = prepared {
        return error;
    }
    let is_new = |name: &str| !extra.iter().any(|(known, _)| known == name);
    let own = environment(spec).filter(|&(name, _)| is_new(name) && !OF_INIT.contains(&name));
    let all = own.chain(extra.iter().map(|(name, value)| (name.as_str(), value.clone())));
    execute_program(argv, &all.collect::<Vec<_>>())
}
