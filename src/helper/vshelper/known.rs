//! Which guest has a context: guests that run, or ran, have left it in guestd's runtime directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    guest_run::spec::{FILE_MAX, Place},
    helper::record,
    model::{GuestName, native::Helper},
};

/// The most guests that are looked at.
const GUESTS_MAX: usize = 65_536;

/// A guest with a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub guest: GuestName,
    /// Its context.
    pub context: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// Where its root is.
    pub root: Option<PathBuf>,
}

/// What is needed of a monitor's `Spec`.
#[derive(Deserialize)]
struct Part {
    guest: GuestName,
    native: Native,
    root: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Native {
    helper: Helper,
}

fn read(place: &Place) -> Option<Known> {
    let found: Option<Part> = record::read(&place.spec(), FILE_MAX).ok()?;
    let Part { guest, native, root } = found?;
    let Helper::Vshelper { context, folder, .. } = native.helper else { return None };
    Some(Known { guest, context, folder: folder.to_path_buf(), root })
}

/// The guest of this name, if it is one with a context.
pub fn named(runtime_dir: &Path, guest: &GuestName) -> Option<Known> {
    read(&Place::of(runtime_dir, guest)).filter(|known| known.guest == *guest)
}

/// The guest with this context: the one that runs, else one that ran.
pub fn of_context(runtime_dir: &Path, context: u32) -> Option<Known> {
    let folders = fs::read_dir(Place::all(runtime_dir)).into_iter().flatten().flatten().take(GUESTS_MAX);
    let mut ran = None;
    for place in folders.map(|folder| Place::at(folder.path())) {
        match read(&place).filter(|known| known.context == context) {
            Some(known) if place.socket().exists() => return Some(known),
            known => ran = ran.or(known),
        }
    }
    ran
}
