//! The terminal of this program, where it passes on what is typed: a client's, and that of what enters a guest.

use std::os::fd::AsFd;

use rustix::{
    stdio::stdin,
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize},
};

/// This terminal passes on every key as it is, until this is dropped.
#[derive(Debug)]
pub struct Raw {
    was: Termios,
    give_back: OptionalActions,
}

impl Raw {
    /// Begins with that, where standard input is a terminal. It is given back as it was: at once, or once all is printed.
    pub fn begin(give_back: OptionalActions) -> Option<Self> {
        let was = tcgetattr(stdin()).ok()?;
        let mut raw = was.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self { was, give_back })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // One that is gone is as it was.
        let _ = tcsetattr(stdin(), self.give_back, &self.was);
    }
}

/// Gives another terminal the size of this one.
pub fn resize(own: impl AsFd, other: impl AsFd) {
    // A serial line knows no size.
    if let Ok(size) = tcgetwinsize(own) {
        let _ = tcsetwinsize(other, size);
    }
}
