//! What outlives a boot: `guests/NAME.json` in the state directory, one file a guest (`stored`).
//!
//! The manager hands over what changed after each thing that happened; a thread of its own writes it (`writer`), so that no
//! disk holds up the loop. Of each guest only the newest is written, whole, with an fsync before it takes the place of the
//! older one.
//!
//! What an operator asked for (holds, and what is wanted of a guest whose turn has come) is on the disk before the answer: the
//! manager lets the answer wait for [`StateStore::durable`], but no longer than [`DURABLE_WITHIN`]. Ends follow when the disk
//! has time, within milliseconds, and what is wanted of guests that a job starts within a second, when they have started; a
//! power cut may cost the last of it. What the next daemon of this boot must not miss (who has failed, who is to be started again) is in the runtime directory, written at once
//! (`daemon/store.rs`).
//!
//! What cannot be kept is told once, and when it can be kept again; guests run on. A file that cannot be read, or is of a newer
//! version, is moved aside before anything takes its place (`helper::record::set_aside`); where that fails, it stays.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::sync::oneshot;

mod boot;
pub mod stored;
mod writer;

use super::load::Directories;

use self::{
    stored::StoredGuest,
    writer::{Haste, Write, Writer},
};
use crate::{
    helper::{in_full, record},
    model::{Diagnostic, GuestName, Now, Origin},
    supervise::{fleet::Fleet, recollection::Recollection},
};

/// The longest that an answer waits for the disk.
pub const DURABLE_WITHIN: Duration = Duration::from_secs(5);

/// Where the files of guests lie below a state directory.
pub fn folder(state: &Path) -> PathBuf {
    state.join("guests")
}

/// The state directory's files.
#[derive(Debug)]
pub struct StateStore {
    /// This boot.
    boot: String,
    /// What was handed over last.
    kept: BTreeMap<GuestName, Kept>,
    writer: Writer,
}

#[derive(Debug)]
struct Kept {
    what: Recollection,
    /// Where the guest is defined.
    lxcpath: Option<PathBuf>,
}

impl StateStore {
    /// Reads what an earlier daemon kept: it comes with what each guest is to be given.
    pub fn open(directories: &Directories, now: Now) -> (Self, Vec<(GuestName, Recollection)>) {
        let (folder, boot) = (folder(&directories.state), boot::id(&directories.runtime, now));
        record::sweep(&folder);
        let (mut found, mut sound) = (Vec::new(), Vec::new());
        for (name, read) in read_all(&folder) {
            match read {
                Ok(stored) => {
                    sound.push(name.clone());
                    found.push((name, stored.recollection(Some(&boot), now)));
                }
                Err(error) => tracing::warn!(
                    "{}; nothing is known from before of guest {name}, and the file is moved aside when there is \
                     something new to keep",
                    in_full(&error)
                ),
            }
        }
        let kept =
            found.iter().map(|(name, what)| (name.clone(), Kept { what: what.clone(), lxcpath: None }));
        (Self { boot, kept: kept.collect(), writer: Writer::begin(folder, sound) }, found)
    }

    /// Hands over what changed of guests. Returns what is to be given back to those that were forgotten, should they be
    /// defined again: their lxcpath is not there just now.
    pub fn record(&mut self, fleet: &Fleet, now: Now) -> Vec<(GuestName, Recollection)> {
        let mut absent = Vec::new();
        for name in fleet.changed() {
            match fleet.guest(name).zip(fleet.state(name)) {
                Some((guest, state)) => {
                    let lxcpath = guest.lxcpath().map(Path::to_owned);
                    self.keep(name, Kept { what: Recollection::of(state), lxcpath }, now);
                }
                None => absent.extend(self.forget(name)),
            }
        }
        absent
    }

    fn keep(&mut self, name: &GuestName, new: Kept, now: Now) {
        let known = self.kept.get(name).map(|kept| &kept.what);
        let is_new = match known {
            Some(known) => *known != new.what,
            // Of a guest to which nothing has happened yet there is nothing to keep.
            None => new.what != Recollection::default(),
        };
        if is_new {
            let stored = StoredGuest::new(name, &self.boot, &new.what, now);
            let is_quiet =
                known.map_or(new.what.history.is_empty(), |known| known.history == new.what.history);
            let haste = if is_quiet { Haste::Settled } else { Haste::Now };
            self.writer.write(name, Write::Whole(stored.into()), haste);
        }
        if is_new || known.is_some() {
            self.kept.insert(name.clone(), new);
        }
    }

    /// A guest is defined no more, and down.
    fn forget(&mut self, name: &GuestName) -> Option<(GuestName, Recollection)> {
        let Kept { what, lxcpath } = self.kept.remove(name)?;
        if lxcpath.is_none_or(|lxcpath| is_there(&lxcpath)) {
            self.writer.write(name, Write::Nothing, Haste::Now);
            return None;
        }
        Some((name.clone(), what))
    }

    /// Resolves when all that was handed over until now is on the disk, or cannot be brought there; none when it is already.
    pub fn durable(&self) -> Option<oneshot::Receiver<()>> {
        self.writer.written()
    }

    /// Why something is not kept, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.writer.trouble()
    }

    /// Waits until [`StateStore::trouble`] says something else.
    pub async fn changed(&self) {
        self.writer.changed().await;
    }
}

/// Whether an lxcpath is there: an empty folder is what an unmounted one leaves behind.
fn is_there(lxcpath: &Path) -> bool {
    fs::read_dir(lxcpath).is_ok_and(|mut entries| entries.next().is_some())
}

/// Every guest's file in the folder.
fn read_all(folder: &Path) -> Vec<(GuestName, Result<StoredGuest, stored::Unusable>)> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != std::io::ErrorKind::NotFound {
                tracing::warn!(
                    "cannot read {}: {error}; nothing is known of guests from before",
                    folder.display()
                );
            }
            return Vec::new();
        }
    };
    let name_of = |name: &str| GuestName::new(name.strip_suffix(".json")?).ok();
    let names = entries.flatten().filter_map(|entry| name_of(entry.file_name().to_str()?));
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    let read = names.into_iter().filter_map(|name| {
        let read = stored::read(folder, &name).transpose()?;
        Some((name, read))
    });
    read.collect()
}

/// What was kept, for who plans without a daemon. What cannot be read counts as not there: who is no root may read nothing.
pub fn look(directories: &Directories, now: Now) -> BTreeMap<GuestName, Recollection> {
    let boot = boot::known(&directories.runtime);
    let read = read_all(&folder(&directories.state)).into_iter();
    read.filter_map(|(name, read)| Some((name, read.ok()?.recollection(boot.as_deref(), now)))).collect()
}

/// What is wrong with the files, for `guestctl check`: nothing where one may not look.
pub fn check(state: &Path) -> Vec<Diagnostic> {
    let folder = folder(state);
    if fs::read_dir(&folder).is_err() {
        return Vec::new();
    }
    let found = read_all(&folder).into_iter().filter_map(|(name, read)| {
        let error = read.err()?;
        let file = folder.join(stored::file_name(&name));
        let text = format!(
            "{}; what was known of the guest is lost, and guestd moves the file aside when it has something new to keep",
            in_full(&error)
        );
        Some(Diagnostic::warning(Origin::file(file), text).about(&name))
    });
    found.collect()
}

#[cfg(test)]
mod tests;
