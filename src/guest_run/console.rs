//! A guest's console: a pseudo-terminal, whose other end is copied to where it is read.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::OsStringExt,
            fs::{FileExt, OpenOptionsExt},
        },
    },
    path::{Path, PathBuf},
};

use rustix::pty::{ptsname, unlockpt};

use super::say;
use crate::engine::lines::Lines;

/// How much of the last output is kept in the file, at least; it holds twice as much at most.
pub const KEPT: usize = 32 * 1024;

/// The monitor's end.
#[derive(Debug)]
pub struct Console {
    terminal: File,
    kept: Option<File>,
    length: usize,
    lines: Lines,
}

impl Console {
    /// Takes the terminal over, and keeps its last output in a file.
    ///
    /// # Errors
    /// When it cannot be read without waiting.
    pub fn new(terminal: OwnedFd, kept: &Path) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&terminal)?;
        rustix::fs::fcntl_setfl(&terminal, flags | rustix::fs::OFlags::NONBLOCK)?;
        let mut options = OpenOptions::new();
        // Without it the console works all the same.
        let kept = options.create(true).read(true).append(true).mode(0o600).open(kept).ok();
        let length = kept.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        let length = usize::try_from(length).unwrap_or(0);
        Ok(Self { terminal: terminal.into(), kept, length, lines: Lines::default() })
    }

    /// Takes what the guest has written. None when nobody in it has the console open: it may be opened again.
    pub fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        match self.terminal.read(buffer) {
            Ok(0) => None,
            Ok(length) => {
                let text = &buffer[..length];
                self.keep(text);
                tell(|tell| self.lines.take(text, tell));
                Some(text)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(&[]),
            Err(_) => None,
        }
    }

    /// What somebody types. What the guest does not take is lost, as on every terminal.
    pub fn write(&mut self, text: &[u8]) {
        let _ = self.terminal.write(text);
    }

    /// Sets its size, as whoever looks at it has it.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = rustix::termios::tcsetwinsize(self.terminal.as_fd(), size);
    }

    fn keep(&mut self, text: &[u8]) {
        let Some(kept) = &mut self.kept else { return };
        if self.length > 2 * KEPT {
            let mut tail = vec![0; KEPT];
            let begin = u64::try_from(self.length - KEPT).unwrap_or(u64::MAX);
            let shortened = kept.read_exact_at(&mut tail, begin).and_then(|()| kept.set_len(0));
            if shortened.and_then(|()| kept.write_all(&tail)).is_ok() {
                self.length = KEPT;
            }
        }
        // A full file system costs the log, nothing else.
        if kept.write_all(text).is_ok() {
            self.length += text.len();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // A line that has no end yet gets none any more.
        tell(|tell| self.lines.flush(tell));
    }
}

/// Writes lines to standard output, together.
fn tell(lines: impl FnOnce(&mut dyn FnMut(&str))) {
    let mut text = String::new();
    lines(&mut |line| {
        text.push_str(line);
        text.push('\n');
    });
    if !text.is_empty() {
        say::write(rustix::stdio::stdout(), text.as_bytes());
    }
}

impl AsFd for Console {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}

/// A new terminal in the guest's own `/dev/pts`: the end that is kept, and the path of the other.
///
/// # Errors
/// When it cannot be made.
pub fn open_terminal() -> io::Result<(OwnedFd, PathBuf)> {
    let mut options = OpenOptions::new();
    let terminal = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/pts/ptmx")?;
    unlockpt(&terminal)?;
    let other = ptsname(&terminal, Vec::new())?;
    Ok((terminal.into(), OsString::from_vec(other.into_bytes()).into()))
}
