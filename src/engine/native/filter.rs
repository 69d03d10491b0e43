//! The system calls that a guest may not make: those that change or look into the host as a whole, or that no container needs.
//! Compiled once, since that takes longer than all else of a start.

use std::io::{self, Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

use crate::model::{Capabilities, Capability};

/// What is refused with EPERM, as a kernel without the right would (systemd-nspawn and LXC refuse these too). The rest is a matter
/// of capabilities.
const REFUSED: [&str; 38] = [
    // Other kernels, and parts of this one.
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "create_module",
    "get_kernel_syms",
    "query_module",
    // Files by handles, past every mount (CVE-2014-9357).
    "open_by_handle_at",
    // Programs in the kernel, and looks into it.
    "bpf",
    "perf_event_open",
    "lookup_dcookie",
    "userfaultfd",
    "kcmp",
    // Files of processes that a pidfd stands for, which a socket of the host gives (SO_PEERPIDFD).
    "pidfd_getfd",
    // System calls that no filter sees, and a large part of the kernel: programs do without (io_uring_setup(2)).
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    // Keys are the whole host's.
    "add_key",
    "keyctl",
    "request_key",
    // The host's memory, accounting and hardware.
    "swapon",
    "swapoff",
    "acct",
    "iopl",
    "ioperm",
    "vm86",
    "vm86old",
    "pciconfig_read",
    "pciconfig_write",
    "nfsservctl",
    "uselib",
    "_sysctl",
    // The host's clock.
    "settimeofday",
    "stime",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
];

/// What puts words into the terminal of whoever enters a guest, or into a console of the host (ioctl_tty(2), ioctl_console(2)).
const TYPING: [u64; 2] = [TIOCSTI, TIOCLINUX];
/// As all processors but MIPS and SPARC have it (asm-generic/ioctls.h).
const TIOCSTI: u64 = 0x5412;
/// See [`TIOCSTI`].
const TIOCLINUX: u64 = 0x541C;

/// The calls that make user namespaces, with which of their arguments says so.
const MAKING_USERS: [(&str, u32); 2] =
    [("unshare", 0), ("clone", if cfg!(target_arch = "s390x") { 1 } else { 0 })];

/// Whether a guest with these may make user namespaces. Without `CAP_SYS_ADMIN` it mounts nothing; in a user namespace it would have
/// that, and reach cgroups of the host that it is not in (CVE-2022-0492).
pub fn may_make_users(capabilities: Capabilities) -> bool {
    Capability::named("sys_admin").is_some_and(|admin| capabilities.contains(admin))
}

/// Compiles the filter, for this processor and the others whose programs it runs.
///
/// # Errors
/// When the library refuses.
pub fn compile(may_make_users: bool) -> io::Result<Vec<u64>> {
    let wrong = |error: libseccomp::error::SeccompError| io::Error::other(error.to_string());
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).map_err(wrong)?;
    let others: &[ScmpArch] = match ScmpArch::native() {
        ScmpArch::X8664 => &[ScmpArch::X86, ScmpArch::X32],
        ScmpArch::Aarch64 => &[ScmpArch::Arm],
        _ => &[],
    };
    for other in others {
        filter.add_arch(*other).map_err(wrong)?;
    }
    // The monitor has set the rest already when it comes to privileges.
    filter.set_ctl_nnp(false).map_err(wrong)?;
    filter.set_act_badarch(ScmpAction::Errno(libc::ENOSYS)).map_err(wrong)?;
    for name in REFUSED {
        // Not every library knows each of them, nor every processor.
        let Ok(call) = ScmpSyscall::from_name(name) else { continue };
        filter.add_rule(ScmpAction::Errno(libc::EPERM), call).map_err(wrong)?;
    }
    refuse_some(&mut filter, may_make_users).map_err(wrong)?;
    let memory = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    filter.export_bpf(&file).map_err(wrong)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|instruction| u64::from_ne_bytes(*instruction)).collect())
}

/// Calls of which some uses are refused. Only the low half of an argument counts: the kernel ignores the rest too.
fn refuse_some(
    filter: &mut ScmpFilterContext,
    may_make_users: bool,
) -> Result<(), libseccomp::error::SeccompError> {
    let refused = ScmpAction::Errno(libc::EPERM);
    for request in TYPING {
        let is_it = ScmpArgCompare::new(1, ScmpCompareOp::MaskedEqual(0xffff_ffff), request);
        filter.add_rule_conditional(refused, ScmpSyscall::from_name("ioctl")?, &[is_it])?;
    }
    if may_make_users {
        return Ok(());
    }
    let users = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
    for (name, argument) in MAKING_USERS {
        let has_it = ScmpArgCompare::new(argument, ScmpCompareOp::MaskedEqual(users), users);
        filter.add_rule_conditional(refused, ScmpSyscall::from_name(name)?, &[has_it])?;
    }
    // Its flags lie in memory, where no filter looks. C libraries go on with clone(2) then.
    if let Ok(call) = ScmpSyscall::from_name("clone3") {
        filter.add_rule(ScmpAction::Errno(libc::ENOSYS), call)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_small_and_the_same_each_time() {
        for may_make_users in [true, false] {
            let filter = compile(may_make_users).unwrap();
            assert!((40..400).contains(&filter.len()), "{} instructions", filter.len());
            assert_eq!(filter, compile(may_make_users).unwrap());
        }
    }

    /// What the kernel says to a system call under a filter: its error, 0 for none.
    fn answer(filter: &[u64], call: libc::c_long, arguments: [libc::c_long; 3]) -> i32 {
        use std::os::unix::process::CommandExt;
        let length = u16::try_from(filter.len()).unwrap();
        let filter = filter.to_vec();
        let mut command = std::process::Command::new("/bin/true");
        let ask = move || {
            let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
            // SAFETY: the program lives through the call, and is as long as is said; the others take numbers.
            let result = unsafe {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program);
                *libc::__errno_location() = 0;
                libc::syscall(call, arguments[0], arguments[1], arguments[2])
            };
            Err(io::Error::from_raw_os_error(if result < 0 {
                io::Error::last_os_error().raw_os_error().unwrap_or(0)
            } else {
                0
            }))
        };
        // SAFETY: it makes system calls only.
        unsafe { command.pre_exec(ask) };
        command.stdin(std::process::Stdio::null()).spawn().unwrap_err().raw_os_error().unwrap()
    }

    #[test]
    fn some_uses_of_calls_are_refused() {
        let users = libc::c_long::from(libc::CLONE_NEWUSER);
        let files = libc::c_long::from(libc::CLONE_FILES);
        for may_make_users in [true, false] {
            let filter = compile(may_make_users).unwrap();
            for request in [0x5412, 0x541c, 0x7_0000_5412] {
                let said = answer(&filter, libc::SYS_ioctl, [0, request, 0]);
                assert_eq!(said, libc::EPERM, "{request:#x}");
            }
            for call in [libc::SYS_io_uring_setup, libc::SYS_pidfd_getfd] {
                assert_eq!(answer(&filter, call, [0, 0, 0]), libc::EPERM);
            }
            // Standard input is no terminal.
            assert_eq!(answer(&filter, libc::SYS_ioctl, [0, 0x5413, 0]), libc::ENOTTY);
            let refused = |code| if may_make_users { 0 } else { code };
            assert_eq!(answer(&filter, libc::SYS_unshare, [users | files, 0, 0]), refused(libc::EPERM));
            assert_eq!(answer(&filter, libc::SYS_unshare, [files, 0, 0]), 0);
            let said = answer(&filter, libc::SYS_clone3, [0, 0, 0]);
            assert_eq!(said, if may_make_users { libc::EINVAL } else { libc::ENOSYS });
        }
    }
}
