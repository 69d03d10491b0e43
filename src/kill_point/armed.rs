//! Which moments were asked for, how often each was passed, and the end.

use std::{
    io::Write,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Signal, getpid, kill_process};

use super::{KillPoint, MARKER, VARIABLE};

/// A moment that was asked for, and how many times it is still to be passed.
struct Armed(KillPoint, AtomicU64);

static ARMED: LazyLock<Vec<Armed>> = LazyLock::new(|| {
    let asked = std::env::var(VARIABLE).unwrap_or_default();
    asked.split(',').filter(|name| !name.is_empty()).map(parse).collect()
});

/// # Panics
/// When there is no such moment: a test that never hits it would prove nothing.
fn parse(text: &str) -> Armed {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    let point = KillPoint::ALL.iter().copied().find(|point| point.name() == name);
    let times = times.parse().ok().filter(|times| *times > 0);
    let (Some(point), Some(times)) = (point, times) else {
        panic!("{VARIABLE}: there is no moment {text:?}")
    };
    Armed(point, AtomicU64::new(times))
}

pub(super) fn pass(point: KillPoint) {
    let is_it = |armed: &&Armed| armed.0 == point && armed.1.fetch_sub(1, Ordering::Relaxed) == 1;
    if ARMED.iter().any(|armed| is_it(&armed)) {
        end(point);
    }
}

/// Ends this process as others would: nothing of it is cleared up.
fn end(point: KillPoint) {
    // In one piece, whoever else writes there. Whether it is heard changes nothing.
    let _ = std::io::stderr().write_all(format!("{MARKER}{}\n", point.name()).as_bytes());
    let _ = kill_process(getpid(), Signal::KILL);
    // Another thread may have to be stopped first.
    loop {
        std::thread::park();
    }
}
