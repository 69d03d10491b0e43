//! What is typed on this terminal while it belongs to a guest. It is read in a thread of its own, only for as long as
//! somebody gets it, and whatever becomes of that: so the escape is heard also where a guest hangs.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, read, write},
    pipe::{PipeFlags, pipe_with},
};
use tokio::sync::Notify;

/// Ctrl-], so many times within this time, leaves a guest: what `machinectl login` has.
const ESCAPE: u8 = 0x1d;
const TIMES: usize = 3;
const WITHIN: Duration = Duration::from_secs(1);
/// How much may be typed ahead of a guest that does not read; the rest is lost.
const AHEAD: usize = 64 * 1024;
const PIECE: usize = 4096;

/// The keyboard of this terminal.
#[derive(Debug)]
pub struct Keyboard {
    shared: Arc<Shared>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
struct Shared {
    target: Mutex<Option<Arc<OwnedFd>>>,
    left: Notify,
}

impl Shared {
    /// A single value has nothing that a panic could leave half done.
    fn target(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keyboard {
    /// Reads nothing yet.
    ///
    /// # Errors
    /// When there can be no pipe, or no thread.
    pub fn listen() -> io::Result<Self> {
        let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let work = move || {
            // Without its input nothing more is typed.
            let _ = pass_on(&of_thread, &woken);
        };
        thread::Builder::new().name("keyboard".into()).spawn(work)?;
        Ok(Self { shared, wake })
    }

    /// From now on everything typed goes there, or nothing is read. It must not block.
    pub fn types_into(&self, target: Option<Arc<OwnedFd>>) {
        *self.shared.target() = target;
        // The pipe holds more than this will ever write.
        let _ = write(&self.wake, b"x");
    }

    /// Waits for the escape.
    pub async fn left(&self) {
        self.shared.left.notified().await;
    }
}

fn pass_on(shared: &Shared, woken: &OwnedFd) -> Result<(), Errno> {
    let (mut ahead, mut escape, mut buffer) = (Vec::new(), Escape::default(), [0; PIECE]);
    loop {
        let target = shared.target().clone();
        if target.is_none() {
            ahead.clear();
        }
        let (is_woken, is_typed) = waited(woken, target.as_deref(), !ahead.is_empty())?;
        if is_woken {
            if read(woken, &mut buffer)? == 0 {
                return Ok(());
            }
            continue;
        }
        if is_typed {
            let length = read(io::stdin(), &mut buffer)?;
            if length == 0 {
                return Ok(());
            }
            if escape.is_in(&buffer[..length], Instant::now()) {
                shared.left.notify_one();
            }
            let room = AHEAD.saturating_sub(ahead.len()).min(length);
            ahead.extend_from_slice(&buffer[..room]);
        }
        if let Some(target) = target.filter(|_| !ahead.is_empty()) {
            match write(&*target, &ahead) {
                Ok(length) => drop(ahead.drain(..length)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Nobody is there any more.
                Err(_) => ahead.clear(),
            }
        }
    }
}

/// Waits for a wish, for a key where somebody gets it, and for room there where something is typed ahead. Whether it was the
/// first or the second.
fn waited(woken: &OwnedFd, target: Option<&OwnedFd>, is_ahead: bool) -> Result<(bool, bool), Errno> {
    let input = io::stdin();
    let mut waited = vec![PollFd::new(woken, PollFlags::IN)];
    if let Some(target) = target {
        waited.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN));
        // Also that nobody is there any more is told, and then the end of this is near.
        if is_ahead {
            waited.push(PollFd::new(target, PollFlags::OUT));
        }
    }
    match poll(&mut waited, None) {
        Err(Errno::INTR) => return Ok((false, false)),
        result => result?,
    };
    let is_ready = |at: usize| waited.get(at).is_some_and(|one| !one.revents().is_empty());
    Ok((is_ready(0), is_ready(1)))
}

/// Counts how often the escape came in a row.
#[derive(Debug, Default)]
struct Escape {
    times: usize,
    since: Option<Instant>,
}

impl Escape {
    /// Whether it is complete with what was typed now.
    fn is_in(&mut self, typed: &[u8], now: Instant) -> bool {
        if self.since.is_some_and(|since| now.duration_since(since) > WITHIN) {
            *self = Self::default();
        }
        for byte in typed {
            if *byte != ESCAPE {
                *self = Self::default();
                continue;
            }
            self.since.get_or_insert(now);
            self.times += 1;
            if self.times == TIMES {
                *self = Self::default();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_in_a_row_within_a_second_are_the_escape() {
        let now = Instant::now();
        let later = |millis| now + Duration::from_millis(millis);
        let mut escape = Escape::default();
        assert!(escape.is_in(b"\x1d\x1d\x1d", now));
        assert!(
            !escape.is_in(b"\x1d\x1dx\x1d", now) && !escape.is_in(b"\x1d", now) && escape.is_in(b"\x1d", now)
        );
        assert!(!escape.is_in(b"\x1d", later(0)) && !escape.is_in(b"\x1d", later(900)));
        // The first was too long ago: this is the first again.
        assert!(!escape.is_in(b"\x1d", later(1100)) && !escape.is_in(b"\x1d", later(1200)));
        assert!(escape.is_in(b"\x1d", later(1300)));
    }
}
