//! Where a test lets a step fail, or kills the process behind it.
//!
//! A debug build counts the steps of the monitor and of the guest's process, each from one on. At the step that [`VARIABLE`]
//! names, as `monitor:fail:N`, `monitor:kill:N`, `child:fail:N` or `child:kill:N`, what was done counts as failed, or the process
//! ends itself by SIGKILL. In a release build nothing of this is left.

/// Names the step.
#[cfg(debug_assertions)]
pub const VARIABLE: &str = "GUESTD_RUN_FAULT";

#[cfg(debug_assertions)]
mod counted {
    use std::{
        io,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
    };

    static IS_CHILD: AtomicBool = AtomicBool::new(false);
    static PASSED: AtomicU64 = AtomicU64::new(0);

    pub fn begin_child() {
        IS_CHILD.store(true, Ordering::Relaxed);
        PASSED.store(0, Ordering::Relaxed);
    }

    pub fn pass() -> io::Result<()> {
        let step = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        let Ok(planned) = std::env::var(super::VARIABLE) else { return Ok(()) };
        let who = if IS_CHILD.load(Ordering::Relaxed) { "child" } else { "monitor" };
        let mut words = planned.split(':');
        let is_here = words.next() == Some(who);
        let what = words.next();
        if !is_here || words.next().and_then(|number| number.parse().ok()) != Some(step) {
            return Ok(());
        }
        if what == Some("kill") {
            // Nothing outlives this, so that its result means nothing.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
        Err(io::Error::from_raw_os_error(libc::EXFULL))
    }
}

#[cfg(debug_assertions)]
pub(super) use counted::{begin_child, pass};

/// Nothing.
#[cfg(not(debug_assertions))]
pub(super) fn begin_child() {}

/// Nothing.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "it fails in debug builds")]
pub(super) fn pass() -> std::io::Result<()> {
    Ok(())
}
