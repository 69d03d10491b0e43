//! Descriptors of the daemon that no other program may inherit.

/// Makes sure that a program which is about to be run inherits none but its three streams. Everything that is opened here
/// is closed then anyway; but what callers hand over by the bus is received without that (zbus 6.2).
pub(super) fn keep() {
    // SAFETY: no descriptor is closed, and none is taken over: each only gets the flag that closes it in other programs.
    // Where the kernel has no such call, all is as it was.
    unsafe { libc::close_range(3, libc::c_uint::MAX, CLOEXEC) };
}

/// `CLOSE_RANGE_CLOEXEC` (close_range(2)).
#[allow(clippy::cast_possible_wrap, reason = "a small number")]
const CLOEXEC: libc::c_int = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
