//! Reads everything: settings, every container of every lxcpath, every vserver, the overlays on them, and native guests.
//!
//! A broken file costs itself only, and when it breaks later, not even that: what was known before stays. Files that
//! containers share are read once in one load.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    import::{Imported, ReadError, Settings},
    launch,
    model::{Diagnostic, GuestName, Origin, Severity, path},
    plan::Guests,
};

mod native;
mod pass;
mod rivals;
mod vserver;
mod whole;

use self::{
    pass::{Overlaid, Pass},
    rivals::Rivals,
    whole::Dependencies,
};
use super::{disk::Disk, settings};

pub use super::settings::Directories;

/// Everything that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The daemon's settings.
    pub settings: Settings,
    /// Every guest by name.
    pub guests: Guests,
    /// What is wrong with single files.
    pub in_files: Vec<Diagnostic>,
    /// What is wrong with all of it together: dependencies that cannot be kept, an order that nobody chose, and units that
    /// start the same guests.
    pub in_whole: Vec<Diagnostic>,
    dependencies: Dependencies,
    rivals: Rivals,
    /// Whether every lxcpath could be read. If not, what is missing proves nothing.
    complete: bool,
}

impl Inventory {
    /// Everything found wrong, the errors first, then by place.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        tidy(self.in_files.iter().chain(&self.in_whole).cloned().collect())
    }

    /// Reads one guest's files again, in whichever lxcpath they lie, and sees what that means for the others.
    pub fn refresh(&mut self, directories: &Directories, name: &GuestName) {
        let mut pass = Pass::new(directories, &self.settings, Some(self));
        pass.files = Some(Vec::new());
        for lxcpath in &self.settings.lxc_paths {
            pass.container(lxcpath, name);
        }
        pass.vservers(Some(name));
        pass.complete &= self.complete;
        pass.leftovers(Some(name));
        let files = pass.files.take().unwrap_or_default();
        let (mut guests, mut dependencies, found) = pass.finish();
        let stale = |old: &Diagnostic| {
            old.guest.as_ref() == Some(name) || files.iter().any(|file| **file == *old.origin.file)
        };
        self.in_files.retain(|old| !stale(old));
        self.in_files.extend(found);
        self.in_files = tidy(std::mem::take(&mut self.in_files));
        let (new, named) = (guests.remove(name), dependencies.remove(name));
        let same = new.as_ref().map(|guest| &guest.start) == self.guests.get(name).map(|guest| &guest.start)
            && named.as_ref() == self.dependencies.get(name);
        match new {
            Some(guest) => self.guests.insert(name.clone(), guest),
            None => self.guests.remove(name),
        };
        match named {
            Some(named) => self.dependencies.insert(name.clone(), named),
            None => self.dependencies.remove(name),
        };
        if !same {
            self.look_at_whole(directories);
        }
    }

    /// Finds what no file shows by itself.
    fn look_at_whole(&mut self, directories: &Directories) {
        let Self { settings, guests, dependencies, rivals, complete, .. } = &*self;
        let mut found = whole::cycles(guests, dependencies);
        if *complete {
            found.extend(whole::strangers(guests, dependencies));
        }
        found.extend(whole::order(settings, &directories.settings_file(), guests));
        found.extend(whole::unreached(settings, &directories.settings_file(), guests));
        found.extend(rivals.diagnostics(guests));
        self.in_whole = found;
    }
}

/// Reads everything.
pub fn load(directories: &Directories) -> Inventory {
    read(directories, None, None)
}

/// Reads everything; when the settings do not name this lxcpath (an absolute one), its containers instead of theirs.
pub fn load_with_path(directories: &Directories, lxc_path: &Path) -> Inventory {
    read(directories, Some(lxc_path), None)
}

/// Reads everything again. The settings of the daemon, and those of each guest, stay as they were where the new ones
/// have errors (design section 3).
pub fn reload(directories: &Directories, before: &Inventory) -> Inventory {
    read(directories, None, Some(before))
}

fn read(directories: &Directories, lxc_path: Option<&Path>, before: Option<&Inventory>) -> Inventory {
    let (mut settings, mut in_files) = settings::load(directories, &Disk);
    let broken = in_files.iter().find(|found| found.severity == Severity::Error);
    if let (Some(error), Some(before)) = (broken, before)
        && settings != before.settings
    {
        let message = "guestd keeps all the settings that it had before, until the errors here are mended";
        in_files.push(Diagnostic::warning(error.origin.clone(), message));
        settings = before.settings.clone();
    }
    let foreign = lxc_path.filter(|path| path::meant(&settings.lxc_paths, path).is_none());
    if let Some(path) = foreign {
        let path = path::normal(path);
        settings.lxc_paths_origin = Some(Origin::file(path.as_path()));
        settings.lxc_paths = vec![path.into()];
    }
    let mut pass = Pass::new(directories, &settings, before);
    for lxcpath in &settings.lxc_paths {
        pass.discover(lxcpath);
    }
    if foreign.is_none() {
        pass.vservers(None);
    }
    let complete = foreign.is_none() && pass.complete;
    if foreign.is_none() {
        pass.leftovers(None);
    }
    let (guests, dependencies, found) = pass.finish();
    in_files.extend(found);
    let in_files = tidy(in_files);
    let rivals = rivals();
    let mut inventory =
        Inventory { settings, guests, in_files, in_whole: Vec::new(), dependencies, rivals, complete };
    inventory.look_at_whole(directories);
    inventory
}

/// LXC's own units that start and stop guests of this host, if it is systemd's.
fn rivals() -> Rivals {
    if !launch::systemd::is_booted() {
        return Rivals::default();
    }
    Rivals::look(Path::new("/"), settings::lxcpath(&Disk).map(|path| path.value.into()))
}

/// Why a guest cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absent {
    /// No lxcpath has a container of this name, and no file defines it.
    #[error("no guest is named \"{guest}\" in the configuration")]
    Unknown {
        /// The name.
        guest: GuestName,
    },
    /// Its configuration cannot be read, so that nobody knows whether there is one.
    #[error("{} {source}", .path.display())]
    Unreadable {
        /// The configuration.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
}

/// One guest with the place that each setting came from, and what is wrong with its files and with the settings of
/// the daemon, which may say where it lies.
pub fn effective(directories: &Directories, name: &GuestName) -> (Result<Imported, Absent>, Vec<Diagnostic>) {
    let (settings, mut found) = settings::load(directories, &Disk);
    found.retain(|found| found.severity == Severity::Error);
    let mut absent = Absent::Unknown { guest: name.clone() };
    for lxcpath in &settings.lxc_paths {
        let mut pass = Pass::new(directories, &settings, None);
        match pass.reader.read(lxcpath, name) {
            Ok(config) => {
                let Overlaid { layer: overlay, files, .. } = pass.overlay(lxcpath, name);
                found.extend_from_slice(&config.diagnostics);
                found.extend(pass.laid(&overlay).findings().map(|found| found.about(name)));
                let path = Arc::clone(lxcpath);
                let imported = config.imported(name.clone(), path, &settings.defaults, overlay, files);
                found.extend(pass.finish().2);
                return (Ok(imported), tidy(found));
            }
            Err(ReadError::Missing) => {}
            Err(source) if matches!(absent, Absent::Unknown { .. }) => {
                absent = Absent::Unreadable { path: lxcpath.join(name.as_str()).join("config"), source };
            }
            Err(_) => {}
        }
    }
    if let Absent::Unknown { .. } = absent {
        let mut pass = Pass::new(directories, &settings, None);
        let vserver = pass.imported_vserver(name);
        let imported = vserver.or_else(|| pass.defined(name).and_then(|defined| defined.imported));
        found.extend(pass.finish().2);
        return (imported.ok_or(absent), tidy(found));
    }
    (Err(absent), tidy(found))
}

/// Sorts, and says once what many guests share.
fn tidy(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| {
        (a.severity, &a.origin, &a.message, &a.guest).cmp(&(b.severity, &b.origin, &b.message, &b.guest))
    });
    diagnostics.dedup_by(|later, kept| {
        let same =
            (later.severity, &later.origin, &later.message) == (kept.severity, &kept.origin, &kept.message);
        if same && later.guest != kept.guest {
            kept.guest = None;
        }
        same
    });
    diagnostics
}
