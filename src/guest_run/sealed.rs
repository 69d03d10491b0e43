//! This program as nobody can write to it: a guest whose root is the host's root sees the programs of processes in its namespaces by
//! `/proc/PID/exe`, and could write to them (CVE-2019-5736).

use std::{
    env,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Command,
};

use rustix::fs::{StatVfsMountFlags, fstatvfs};

use super::tree::{self, Change};

const OWN: &str = "/proc/self/exe";

/// Goes on as what is executed from a read-only mount that hangs nowhere, so that no namespace can make it writable, with the same
/// arguments, files and number. Returns where it is that already, or cannot be.
///
/// # Errors
/// When it cannot be made.
pub fn ensure() -> io::Result<()> {
    if fstatvfs(File::open(OWN)?)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        // What ps(1) shows is the number of a file otherwise.
        let _ = rustix::thread::set_name(c"guest-run");
        return Ok(());
    }
    let program = tree::copy(Path::new(OWN))?;
    tree::change(program.as_fd(), Change { set: libc::MOUNT_ATTR_RDONLY, ..Change::default() })?;
    let mut arguments = env::args_os();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0(arguments.next().unwrap_or_else(|| "guest-run".into())).args(arguments);
    Err(command.exec())
}
