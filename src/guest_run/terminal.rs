//! Terminals: the caller's, and new ones in a guest.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, fstat, fstatfs, makedev, open},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{OptionalActions, isatty},
};

use super::trouble::{Doing, Run};
use crate::terminal::{Raw, resize};

/// `DEVPTS_SUPER_MAGIC` (linux/magic.h).
const DEVPTS: u64 = 0x1cd1;
/// So much is copied at once, in bytes.
const AT_ONCE: usize = 4096;

/// Hears when the caller's terminal has another size.
///
/// # Errors
/// When the kernel refuses.
pub fn resizes() -> Run<SignalFd> {
    let resized: SigSet = std::iter::once(Signal::SIGWINCH).collect();
    resized.thread_block().doing("hear of its size")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&resized, flags).doing("hear of its size")
}

/// Writes to standard output.
pub fn write_all(mut text: &[u8]) {
    while !text.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), text) {
            Ok(length) => text = &text[length..],
            Err(rustix::io::Errno::INTR) => {}
            // Nobody looks any more, which the next read of the input tells as well.
            Err(_) => return,
        }
    }
}

/// A new terminal of the guest that this process has entered, both ends: the one that is kept, and the guest's. None where the
/// guest has none to give. What lies in its `/dev` is its own doing: only the kernel's file system of terminals counts.
pub fn inside() -> Option<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let kept = open("/dev/pts/ptmx", flags, Mode::empty()).ok()?;
    let is_real = fstatfs(&kept).is_ok_and(|found| u64::try_from(found.f_type) == Ok(DEVPTS))
        && fstat(&kept).is_ok_and(|found| found.st_rdev == makedev(5, 2));
    if !is_real {
        return None;
    }
    unlockpt(&kept).ok()?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    // The other end is opened without a path.
    let other = ioctl_tiocgptpeer(&kept, flags).ok()?;
    Some((kept, other))
}

/// Whether the caller has a terminal.
pub fn is_on_one() -> bool {
    isatty(rustix::stdio::stdin()) && isatty(rustix::stdio::stdout())
}

/// Copies between the caller's terminal and one of a guest's, until the process of this pidfd has ended or nobody types any more.
///
/// # Errors
/// When it cannot be waited for.
pub fn copy(terminal: &OwnedFd, ended: BorrowedFd<'_>) -> Run<()> {
    let resized = resizes()?;
    let _raw = Raw::begin(OptionalActions::Now);
    let stdin = rustix::stdio::stdin();
    resize(stdin, terminal);
    let mut buffer = [0; AT_ONCE];
    loop {
        let files = [stdin, terminal.as_fd(), resized.as_fd(), ended];
        let mut polled = files.each_ref().map(|file| PollFd::new(file, PollFlags::IN));
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.doing("wait for its terminal")?,
        };
        let [typed, shown, size, is_over] = polled.map(|file| !file.revents().is_empty());
        if size {
            while let Ok(Some(_)) = resized.read_signal() {
                resize(stdin, terminal);
            }
        }
        // At its end what it wrote last is still there.
        let more = shown && pass(terminal.as_fd(), &mut buffer);
        if is_over && !more || typed && !type_in(terminal, &mut buffer) {
            return Ok(());
        }
    }
}

/// Whether something was shown.
fn pass(terminal: BorrowedFd<'_>, buffer: &mut [u8]) -> bool {
    let length = rustix::io::read(terminal, &mut *buffer).unwrap_or(0);
    write_all(&buffer[..length]);
    length > 0
}

/// Whether more may be typed.
fn type_in(terminal: &OwnedFd, buffer: &mut [u8]) -> bool {
    let length = rustix::io::read(rustix::stdio::stdin(), &mut *buffer).unwrap_or(0);
    // What the guest does not take is lost, as on every terminal.
    let _ = rustix::io::write(terminal, &buffer[..length]);
    length > 0
}

/// Makes a terminal the calling process's own.
///
/// # Errors
/// When the kernel refuses.
pub fn take(terminal: &OwnedFd) -> Run<()> {
    rustix::process::setsid().doing("begin a session")?;
    rustix::process::ioctl_tiocsctty(terminal).doing("take its terminal")?;
    let dups = || -> io::Result<()> {
        rustix::stdio::dup2_stdin(terminal)?;
        rustix::stdio::dup2_stdout(terminal)?;
        Ok(rustix::stdio::dup2_stderr(terminal)?)
    };
    dups().doing("use its terminal")
}
