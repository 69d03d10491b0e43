//! What the helper says of itself: on standard error, which is the log's file where there is one.

use std::{cell::Cell, fs::File, io::IsTerminal, time::SystemTime};

use crate::helper::client::write_line;

/// Where a call's lines go.
#[derive(Debug, Default)]
pub struct Log {
    /// They go to a file, where nobody else says when.
    is_dated: Cell<bool>,
}

impl Log {
    /// Takes a file for all that is said from now on, also by what is run instead.
    pub fn take(&self, file: &File) {
        let taken = rustix::stdio::dup2_stdout(file).and_then(|()| rustix::stdio::dup2_stderr(file));
        self.is_dated.set(taken.is_ok());
    }

    /// Says one line.
    pub fn say(&self, line: &str) {
        if self.is_dated.get() {
            let date = humantime::format_rfc3339_seconds(SystemTime::now());
            write_line(&format!("{date} vshelper"), line);
        } else {
            write_line("vshelper", line);
        }
    }
}

/// Whether a person calls, who sees what is said.
pub fn is_at_terminal() -> bool {
    std::io::stdin().is_terminal()
}
