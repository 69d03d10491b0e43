//! Who the guest's init is, and what it may do: the last steps before its program.

use std::{ffi::CString, io};

use nix::errno::Errno;
use rustix::{
    fs::Mode,
    process::{Gid, Signal, Uid, chdir, set_parent_process_death_signal, umask},
    thread::{set_no_new_privs, set_thread_groups},
};

use crate::{
    guest_run::{
        link::Link,
        spec::Spec,
        trouble::{Doing, Run, RunError},
    },
    launch::PATH,
    model::Capabilities,
};

/// The end of the process that made this one is this one's (prctl(2), PR_SET_PDEATHSIG). A change of ids undoes it.
pub fn die_with_parent() -> Run<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing("be killed with its monitor")
}

/// The same once nothing changes any more; fails where the monitor has gone meanwhile.
pub fn die_with_monitor(link: &Link) -> Run<()> {
    die_with_parent()?;
    if link.is_closed() {
        return Err(RunError::Inside("its monitor has ended".into()));
    }
    Ok(())
}

/// Becomes the guest's root among its own users.
///
/// # Errors
/// When the kernel refuses.
pub fn become_root() -> Run<()> {
    let refused = "become root of its user namespace";
    set_thread_groups(&[]).doing(refused)?;
    set_ids(0, 0).doing(refused)
}

/// All ids of the calling process, which is its only thread.
fn set_ids(user: u32, group: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    Ok(rustix::thread::set_thread_res_uid(user, user, user)?)
}

/// Whether it is the guest's init or somebody who enters it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// With the guest's own user, working directory and priorities.
    Init,
    /// As its root.
    Visitor,
}

/// Takes the guest's limits and rights on, in an order in which each step is still allowed.
///
/// # Errors
/// When the kernel refuses one.
pub fn become_member(spec: &Spec, entry: Entry) -> Run<()> {
    let (process, security) = (&spec.native.process, &spec.native.security);
    let (user, group, groups) = match entry {
        Entry::Init => spec.native.init.user.clone(),
        Entry::Visitor => (0, 0, Vec::new()),
    };
    if let Some(mask) = process.umask {
        umask(Mode::from_raw_mode(mask));
    }
    if let Some(domain) = process.personality {
        // SAFETY: it takes a number.
        let result = unsafe { libc::personality(domain) };
        (if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }).doing("set its personality")?;
    }
    let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
    set_thread_groups(&groups).doing("set its groups")?;
    drop_bounding(security.capabilities)?;
    if security.no_new_privileges {
        set_no_new_privs(true).doing("give up new privileges")?;
    }
    // While it still may.
    filter(&spec.filter)?;
    set_ids(user, group).doing(format_args!("become user {user}"))?;
    set_capabilities(if user == 0 { security.capabilities } else { Capabilities::NONE })?;
    let directory = if entry == Entry::Init { spec.native.init.directory.as_str() } else { "/" };
    chdir(directory).doing(format_args!("enter {directory}"))
}

/// Runs the init's program; with a link to the monitor, as process 1. Returns when that fails.
pub fn execute(spec: &Spec, argv: &[String], link: Option<&Link>) -> RunError {
    let member = become_member(spec, Entry::Init);
    let member = member.and_then(|()| link.map_or(Ok(()), die_with_monitor));
    if let Err(error) = member {
        return error;
    }
    // SAFETY: it takes numbers; every file but the first three is closed by the execution.
    unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    execute_program(argv, &environment(spec).collect::<Vec<_>>())
}

/// Executes a program of the guest, looked for as execvpe(3) does, with this environment. Returns when that fails.
pub fn execute_program(argv: &[String], variables: &[(&str, String)]) -> RunError {
    let text = |text: String| CString::new(text).ok();
    let words: Option<Vec<_>> = argv.iter().cloned().map(text).collect();
    let pairs: Option<Vec<_>> =
        variables.iter().map(|(name, value)| text(format!("{name}={value}"))).collect();
    let (Some(words), Some(pairs)) = (words, pairs) else {
        return RunError::Configuration("a word of its command, or of its environment, has a NUL".into());
    };
    let Some(program) = words.first() else {
        return RunError::Configuration("its command is empty".into());
    };
    let path = variables.iter().find(|(name, _)| *name == "PATH").map_or(PATH, |(_, path)| path);
    reset_signals();
    let mut failure = Errno::ENOENT;
    for candidate in candidates(program, path) {
        match nix::unistd::execve(&candidate, &words, &pairs) {
            Err(Errno::ENOENT) => {}
            Err(error) => failure = error,
            Ok(never) => match never {},
        }
    }
    let reason = format!("cannot run {}: {}", argv[0], failure.desc());
    match failure {
        Errno::ENOENT | Errno::EACCES | Errno::ENOEXEC => RunError::Configuration(reason),
        _ => RunError::Inside(reason),
    }
}

fn candidates(program: &CString, path: &str) -> Vec<CString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.clone()];
    }
    let named = |folder: &str| CString::new([folder.as_bytes(), b"/", program.as_bytes()].concat()).ok();
    path.split(':').filter_map(named).collect()
}

/// What every process of the guest begins with.
pub fn environment(spec: &Spec) -> impl Iterator<Item = (&str, String)> {
    let notify = spec.notify.as_ref().map(|_| {
        use crate::engine::notify::{INSIDE, SOCKET};
        ("NOTIFY_SOCKET", format!("{INSIDE}/{SOCKET}"))
    });
    let usual = [
        ("PATH", PATH.to_owned()),
        ("TERM", "linux".to_owned()),
        ("HOME", "/root".to_owned()),
        ("container", "guestd".to_owned()),
        ("container_uuid", spec.uuid.clone()),
    ];
    let own = &spec.native.environment;
    let is_own = |name: &str| own.iter().any(|(known, _)| known == name);
    let usual = usual.into_iter().filter(move |(name, value)| !value.is_empty() && !is_own(name));
    usual.chain(notify).chain(own.iter().map(|(name, value)| (name.as_str(), value.clone())))
}

/// As a new process has them: nothing blocked, nothing ignored.
fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: the default is no function of ours; numbers that cannot be set are refused, which changes nothing.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let empty = nix::sys::signal::SigSet::empty();
    let _ = empty.thread_set_mask();
}

/// Every one that the kernel knows, also those that it has learnt since this was written.
fn drop_bounding(kept: Capabilities) -> Run<()> {
    for number in (0..u64::BITS).filter(|number| kept.0 & (1 << number) == 0) {
        // SAFETY: it takes numbers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        // A kernel that does not know it has nothing to drop.
        if result != 0 && io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            return Err(io::Error::last_os_error()).doing(format_args!("drop the capability {number}"));
        }
    }
    Ok(())
}

/// Gives up all others, now that nothing is left to be set up. What the monitor itself does not have, nobody gets.
fn set_capabilities(kept: Capabilities) -> Run<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: VERSION, pid: 0 };
    // Effective, permitted and inheritable: the low halves, then the high ones.
    let mut sets = [0_u32; 6];
    // SAFETY: version 3 takes a header, and writes two groups of three numbers.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error()).doing("read its capabilities");
    }
    let (low, high) = (kept.0 as u32 & sets[1], (kept.0 >> 32) as u32 & sets[4]);
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: version 3 takes a header and two groups of three numbers.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    (if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }).doing("set its capabilities")
}

fn filter(instructions: &[u64]) -> Run<()> {
    if instructions.is_empty() {
        return Ok(());
    }
    let length = u16::try_from(instructions.len())
        .map_err(|_| RunError::Configuration("the filter of its system calls is too long".into()))?;
    let program = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut().cast() };
    // SAFETY: an instruction has eight bytes, as each number has; the kernel copies them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    (if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }).doing("filter its system calls")
}
