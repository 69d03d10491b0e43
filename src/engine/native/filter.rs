//! The system calls that a guest may not make: those that change or look into the host as a whole, or that no container needs.
//! Compiled once, since that takes longer than all else of a start.

use std::io::{self, Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpFilterContext, ScmpSyscall};

/// What is refused with EPERM, as a kernel without the right would (systemd-nspawn and LXC refuse these too). The rest is a matter
/// of capabilities.
const REFUSED: [&str; 34] = [
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

/// Compiles the filter, for this processor and the others whose programs it runs.
///
/// # Errors
/// When the library refuses.
pub fn compile() -> io::Result<Vec<u64>> {
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
    let memory = rustix::fs::memfd_create("filter", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    filter.export_bpf(&file).map_err(wrong)?;
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.as_chunks::<8>().0.iter().map(|instruction| u64::from_ne_bytes(*instruction)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_is_small_and_the_same_each_time() {
        let filter = compile().unwrap();
        assert!((40..400).contains(&filter.len()), "{} instructions", filter.len());
        assert_eq!(filter, compile().unwrap());
    }
}
