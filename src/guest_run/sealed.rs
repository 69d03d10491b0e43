//! A copy of this program that nobody can change: a guest whose root is the host's root sees the programs of processes in its
//! namespaces by `/proc/PID/exe`, and could write to them (CVE-2019-5736).

use std::{
    env, fs,
    io::{self, Write},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// What the kernel calls such a file (memfd_create(2)).
const NAME: &str = "guest-run";

/// Goes on in such a copy, with the same arguments, files and number. Returns where it is one already, or cannot be one.
///
/// # Errors
/// When it cannot be made.
pub fn ensure() -> io::Result<()> {
    let own = fs::File::open("/proc/self/exe")?;
    if fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(());
    }
    let copy = memfd_create(NAME, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut copy = fs::File::from(copy);
    io::copy(&mut &own, &mut copy)?;
    copy.flush()?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let mut arguments = env::args_os();
    let mut command = Command::new(path);
    command.arg0(arguments.next().unwrap_or_else(|| NAME.into())).args(arguments);
    Err(command.exec())
}
