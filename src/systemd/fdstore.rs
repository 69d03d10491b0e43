//! Open files that systemd keeps for the next daemon while this one is started again (`FileDescriptorStoreMax=` in
//! systemd.service(5), sd_pid_notify_with_fds(3)). A stop of the unit gives them up.

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use sd_notify::NotifyState;

/// Files by the names under which they were kept.
pub type Kept = Vec<(String, OwnedFd)>;

/// Takes over what the daemon before this one had kept. They stay kept until they are [forgotten](forget).
///
/// # Safety
/// Only one caller may have them: call it once, before anything else opens or closes files by their numbers.
pub unsafe fn take_over() -> Kept {
    let passed = sd_notify::listen_fds_with_names();
    let passed = passed.inspect_err(|error| tracing::warn!("what systemd has kept cannot be used: {error}"));
    let passed = passed.into_iter().flatten();
    // SAFETY: systemd has opened these for us (`LISTEN_PID` says so), and by this function's contract nobody else has
    // taken them.
    passed.map(|(number, name)| (name, unsafe { OwnedFd::from_raw_fd(number) })).collect()
}

/// Lets systemd keep a file under a name: at most 255 characters, without control characters and colons. One that it has
/// already is not kept twice.
pub fn keep(name: &str, file: BorrowedFd<'_>) {
    tell(&[NotifyState::FdStore, NotifyState::FdName(name)], &[file]);
}

/// Lets systemd close what it has under this name.
pub fn forget(name: &str) {
    tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)], &[]);
}

fn tell(states: &[NotifyState<'_>], files: &[BorrowedFd<'_>]) {
    let told =
        if files.is_empty() { sd_notify::notify(states) } else { sd_notify::notify_with_fds(states, files) };
    told.unwrap_or_else(|error| tracing::debug!("cannot notify the service manager: {error}"));
}
