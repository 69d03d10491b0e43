//! Where a test lets a step fail, or kills the process before it.
//!
//! A debug build counts the steps that change something: requests to the kernel, and writes of the record. At the step
//! that [`VARIABLE`] names, as `fail:N` or `kill:N`, it is refused with an error that no kernel gives here, or the process
//! ends itself by SIGKILL. In a release build nothing of this is left.

/// Names the step.
pub const VARIABLE: &str = "GUESTD_NETWORK_FAULT";

/// One step more. An error if it is to fail.
#[cfg(debug_assertions)]
pub(super) fn pass() -> Result<(), nix::errno::Errno> {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };

    static PLANNED: LazyLock<Option<(bool, u64)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (what, step) = text.split_once(':')?;
        Some((what == "kill", step.parse().ok()?))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let step = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
    match *PLANNED {
        Some((is_kill, at)) if at == step => {
            if is_kill {
                // Nothing outlives this, so that its result means nothing.
                let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            }
            Err(nix::errno::Errno::EXFULL)
        }
        _ => Ok(()),
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(super) fn pass() -> Result<(), nix::errno::Errno> {
    Ok(())
}
