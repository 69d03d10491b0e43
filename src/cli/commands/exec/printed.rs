//! What a command prints in a guest, where its output is not this program's own.

use std::io::{self, Write};

use crate::cli::streams::Sink;

/// How much is kept of a stream.
const KEPT: usize = 64 * 1024;
/// How long a line may become before it is broken.
const LINE: usize = 16 * 1024;

/// Keeps the beginning of a stream.
#[derive(Debug, Default)]
pub(super) struct Captured {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Captured {
    /// What is no text is replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Whether there was more.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl Sink for Captured {
    fn take(&mut self, piece: &[u8]) {
        let room = KEPT - self.bytes.len();
        self.is_cut |= piece.len() > room;
        self.bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// Prints whole lines, each behind a prefix.
pub(super) struct Lines {
    prefix: String,
    begun: Vec<u8>,
    target: fn(&[u8]),
}

impl Lines {
    /// On standard output.
    pub(super) fn out(prefix: String) -> Self {
        Self { prefix, begun: Vec::new(), target: |line| write(io::stdout().lock(), line) }
    }

    /// On standard error.
    pub(super) fn errors(prefix: String) -> Self {
        Self { prefix, begun: Vec::new(), target: |line| write(io::stderr().lock(), line) }
    }

    /// Prints a last line that has no end.
    pub(super) fn finish(&mut self) {
        if !self.begun.is_empty() {
            self.print();
        }
    }

    fn print(&mut self) {
        let line = [self.prefix.as_bytes(), &self.begun, b"\n"].concat();
        self.begun.clear();
        (self.target)(&line);
    }
}

impl Sink for Lines {
    fn take(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'\n' => self.print(),
                byte => {
                    self.begun.push(*byte);
                    if self.begun.len() >= LINE {
                        self.print();
                    }
                }
            }
        }
    }
}

fn write(mut target: impl Write, line: &[u8]) {
    // Whoever read it has left.
    let _ = target.write_all(line).and_then(|()| target.flush());
}
