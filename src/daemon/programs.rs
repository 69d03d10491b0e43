//! Other programs of guestd, that guests or their engines run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Names the helper that guests' hooks run.
const HELPER_VARIABLE: &str = "GUESTD_HELPER";
/// Names the monitor of native guests.
const MONITOR_VARIABLE: &str = "GUESTD_GUEST_RUN";

/// The helper: the one named in the environment, else the one installed with this daemon, below the same prefix or beside
/// it.
pub(super) fn helper() -> Option<PathBuf> {
    let found = find("guest-helper", HELPER_VARIABLE);
    if found.is_none() {
        tracing::warn!(
            "guest-helper is not installed: reboots of guests are decided only after they have happened; install it \
             as /usr/lib/guestd/guest-helper, or name it in {HELPER_VARIABLE}"
        );
    }
    found
}

/// The monitor of native guests, found likewise. That there is none is told to who starts such a guest.
pub(super) fn monitor() -> Option<PathBuf> {
    find("guest-run", MONITOR_VARIABLE)
}

fn find(name: &str, variable: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(named.into());
    }
    let [below, beside] = near("lib/guestd", name);
    let usual = Some(Path::new("/usr/lib/guestd").join(name));
    [below, usual, beside].into_iter().flatten().find(|place| place.is_file())
}

/// The program that leads sessions of people in guests: the one installed with this daemon, else whichever is found.
pub(super) fn runner() -> OsString {
    const NAME: &str = "guestctl";
    let found = near("bin", NAME).into_iter().flatten().find(|place| place.is_file());
    found.map_or_else(|| NAME.into(), PathBuf::into_os_string)
}

/// Where a program may lie that was installed, or built, with this daemon: in this folder below the same prefix, or beside it.
fn near(folder: &str, name: &str) -> [Option<PathBuf>; 2] {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let below = beside.and_then(Path::parent).map(|prefix| prefix.join(folder).join(name));
    [below, beside.map(|folder| folder.join(name))]
}
