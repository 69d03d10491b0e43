//! Which devices a guest may use whose root is the host's root: what everybody may, and what its settings name.
//!
//! A guest with users of its own needs no such rules: its root may make no device, and the host's belong to others.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use super::trouble::{Doing, Run, RunError};

/// The devices of every guest: name, major and minor number (Documentation/admin-guide/devices.txt).
pub const USUAL: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// What is used but not made in every guest: `/dev/ptmx`, and the terminals of `/dev/pts`.
const TERMINALS: [(u32, Option<u32>); 2] = [(5, Some(2)), (136, None)];

/// One rule: block or character device, its major number, and its minor number if not all.
type Rule = (bool, u32, Option<u32>);

fn rules(extra: &[PathBuf]) -> Run<Vec<Rule>> {
    let usual = USUAL.iter().map(|(_, major, minor)| (false, *major, Some(*minor)));
    let mut rules: Vec<Rule> = usual.chain(TERMINALS.map(|(major, minor)| (false, major, minor))).collect();
    for path in extra {
        let metadata = fs::metadata(path).doing(format_args!("look at the device {}", path.display()))?;
        let kind = metadata.file_type();
        if !kind.is_block_device() && !kind.is_char_device() {
            return Err(RunError::Configuration(format!("{} is no device", path.display())));
        }
        let number = metadata.rdev();
        rules.push((kind.is_block_device(), libc::major(number), Some(libc::minor(number))));
    }
    Ok(rules)
}

/// By the devices controller of cgroups v1.
///
/// # Errors
/// When a device is none, or the kernel refuses a rule.
pub fn limit_v1(payload: &Path, extra: &[PathBuf]) -> Run<()> {
    let write = |file: &str, rule: &str| {
        let path = payload.join(file);
        let open = OpenOptions::new().write(true).open(&path);
        open.and_then(|mut file| file.write_all(rule.as_bytes()))
            .doing(format_args!("write \"{rule}\" to {}", path.display()))
    };
    write("devices.deny", "a")?;
    for (is_block, major, minor) in rules(extra)? {
        let (kind, minor) =
            (if is_block { 'b' } else { 'c' }, minor.map_or("*".into(), |minor| minor.to_string()));
        write("devices.allow", &format!("{kind} {major}:{minor} rwm"))?;
    }
    Ok(())
}

/// An instruction of eBPF (linux/bpf.h).
const fn instruction(code: u8, registers: u8, offset: i16, immediate: u32) -> u64 {
    code as u64 | (registers as u64) << 8 | (offset.cast_unsigned() as u64) << 16 | (immediate as u64) << 32
}

/// A program for the kernel's `BPF_PROG_TYPE_CGROUP_DEVICE`: its context has the type of device in the low 16 bits of the first
/// word, then major and minor number. It returns 1 for what is allowed.
fn program(rules: &[Rule]) -> Vec<u64> {
    const LOAD: u8 = 0x61; // ldxw
    const AND: u8 = 0x54; // and32 with an immediate
    const UNEQUAL: u8 = 0x55; // jne with an immediate
    const MOVE: u8 = 0xb7; // mov64 an immediate
    const EXIT: u8 = 0x95;
    // Registers: the destination in the low half, the source in the high one. The context comes in register 1.
    let mut code = vec![
        instruction(LOAD, 0x12, 0, 0),
        instruction(AND, 0x02, 0, 0xffff),
        instruction(LOAD, 0x13, 4, 0),
        instruction(LOAD, 0x14, 8, 0),
    ];
    for (is_block, major, minor) in rules {
        // BPF_DEVCG_DEV_BLOCK is 1, BPF_DEVCG_DEV_CHAR 2.
        let kind = if *is_block { 1 } else { 2 };
        let rest = if minor.is_some() { 1 } else { 0 };
        code.push(instruction(UNEQUAL, 0x02, 3 + rest, kind));
        code.push(instruction(UNEQUAL, 0x03, 2 + rest, *major));
        code.extend(minor.map(|minor| instruction(UNEQUAL, 0x04, 2, minor)));
        code.extend([instruction(MOVE, 0x00, 0, 1), instruction(EXIT, 0, 0, 0)]);
    }
    code.extend([instruction(MOVE, 0x00, 0, 0), instruction(EXIT, 0, 0, 0)]);
    code
}

/// By a program of the kernel, which belongs to the cgroup from then on (bpf(2)).
///
/// # Errors
/// When a device is none, or the kernel refuses the program.
pub fn limit_v2(payload: Option<&OwnedFd>, extra: &[PathBuf]) -> Run<()> {
    let Some(payload) = payload else {
        let text = "this host has no cgroups, so that its devices cannot be kept from a guest; mount them, or give it users of its \
                    own (user-namespace = true)";
        return Err(RunError::Configuration(text.to_owned()));
    };
    let code = program(&rules(extra)?);
    let doing = "keep the host's devices from it (BPF_PROG_TYPE_CGROUP_DEVICE)";
    match attach(payload, &code) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text =
                format!("cannot {doing}: {error}; let this host use bpf(2), or set user-namespace = true");
            Err(RunError::Configuration(text))
        }
        attached => attached.doing(doing),
    }
}

fn attach(payload: &OwnedFd, code: &[u64]) -> io::Result<()> {
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    /// BPF_F_ALLOW_MULTI: the guest's own manager may add some of its own.
    const MULTI: u32 = 2;
    /// The beginning of `union bpf_attr` for loading.
    #[repr(C)]
    struct Load {
        kind: u32,
        count: u32,
        code: u64,
        license: u64,
    }
    /// That for attaching.
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    let load = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(code.len()).unwrap_or(u32::MAX),
        code: code.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    // SAFETY: the structure and what it points to live through the call, and it is as large as is said.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    let program = i32::try_from(program).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it for us.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        target: payload.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: CGROUP_DEVICE,
        flags: MULTI,
    };
    // SAFETY: as above.
    match unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
