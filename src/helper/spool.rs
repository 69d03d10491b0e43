//! Requests that were answered while the daemon was away: one file each, `RUNTIME_DIR/spool/MICROS-PID-NAME.json`.
//!
//! `guest-helper` leaves them; the daemon reads them when it is back, and removes each once what came of it is stored: so
//! it loses none. A file it cannot use is moved to `spool/bad`, for a person to look at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::{
    record::{self, RecordError},
    wire::{Decision, Event},
};
use crate::model::{GuestName, Limit, Timestamp};

/// The most requests kept. Beyond it the oldest of the same guest go first.
pub const ENTRIES_MAX: usize = 1000;
/// The most files kept in `spool/bad`; further ones are removed.
const BAD_MAX: usize = 100;
/// The largest entry, in bytes: its reason comes from a decision, and those are short.
const FILE_MAX: u64 = 8 * 1024;
/// A temporary file so old has lost its writer: `guest-helper` never lives longer without the daemon than 2 s.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

/// A request, and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spooled {
    /// Whom it is about.
    pub guest: GuestName,
    /// What happened.
    pub event: Event,
    /// When it was answered.
    pub at: Timestamp,
    /// The answer that was given.
    pub decision: Decision,
    /// Why, for people.
    pub reason: String,
    /// The limit that was used up, where the loop guard refused it: such a guest has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tripped: Option<Limit>,
}

/// An entry as it stands in its file.
#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    #[serde(flatten)]
    request: Spooled,
}

/// The form of the files this version writes and reads.
const VERSION: u32 = 1;

/// What the name of an entry says. Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct EntryName {
    at: u64,
    pid: u32,
    guest: GuestName,
}

impl EntryName {
    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".json")?.splitn(3, '-');
        let at = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        Some(Self { at, pid, guest: GuestName::new(parts.next()?).ok()? })
    }

    fn file(&self) -> String {
        format!("{}-{}-{}.json", self.at, self.pid, self.guest)
    }
}

fn folder(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("spool")
}

/// Leaves a request for the daemon. Answers how many older ones had to be dropped to make room.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn leave(runtime_dir: &Path, request: Spooled) -> Result<usize, RecordError> {
    let folder = folder(runtime_dir);
    record::ensure_folder(&folder)?;
    let dropped = make_room(&folder, &request.guest)?;
    let name = EntryName { at: request.at.0, pid: std::process::id(), guest: request.guest.clone() };
    record::write(&folder, &name.file(), &Entry { version: VERSION, request }, FILE_MAX)?;
    Ok(dropped)
}

/// Removes the oldest entries of a guest until there is room for one more. A guest that has none takes the room from
/// the one that has most: a guest that reboots without end silences no other.
fn make_room(folder: &Path, guest: &GuestName) -> Result<usize, RecordError> {
    let mut by_guest: BTreeMap<GuestName, Vec<EntryName>> = BTreeMap::new();
    for entry in listed(folder)?.into_iter().filter_map(|name| EntryName::parse(&name)) {
        by_guest.entry(entry.guest.clone()).or_default().push(entry);
    }
    let total: usize = by_guest.values().map(Vec::len).sum();
    let surplus = (total + 1).saturating_sub(ENTRIES_MAX);
    for _ in 0..surplus {
        let busiest = by_guest.iter().max_by_key(|(_, entries)| entries.len()).map(|(name, _)| name.clone());
        let own = by_guest.get(guest).is_some_and(|entries| !entries.is_empty()).then(|| guest.clone());
        let Some(entries) = own.or(busiest).and_then(|victim| by_guest.get_mut(&victim)) else { break };
        entries.sort_unstable();
        if !entries.is_empty() {
            record::remove(&folder.join(entries.remove(0).file()))?;
        }
    }
    Ok(surplus)
}

/// The requests of one guest that are waiting for the daemon, oldest first. What cannot be read is passed over: the
/// daemon will say so.
pub fn pending(runtime_dir: &Path, guest: &GuestName) -> Vec<Spooled> {
    let folder = folder(runtime_dir);
    let mut entries: Vec<EntryName> = listed(&folder)
        .unwrap_or_default()
        .into_iter()
        .filter_map(|name| EntryName::parse(&name))
        .filter(|entry| entry.guest == *guest)
        .collect();
    entries.sort_unstable();
    entries.iter().filter_map(|entry| read(&folder, entry).ok()).collect()
}

/// The names in the folder; none if it is not there. Names that are no text are none of ours.
fn listed(folder: &Path) -> Result<Vec<String>, RecordError> {
    let failed = |source| RecordError::Io { operation: "list", path: folder.to_owned(), source };
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
        Ok(entries) => {
            Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        }
    }
}

/// Why an entry is bad.
#[derive(Debug, thiserror::Error)]
enum BadEntry {
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("{} is gone", .path.display())]
    Gone { path: PathBuf },
    #[error("its form is {found}; this version reads {VERSION}")]
    Version { found: u32 },
    #[error("it does not agree with its name")]
    Disagrees,
    #[error("it is not named MICROS-PID-NAME.json")]
    BadName,
}

fn read(folder: &Path, name: &EntryName) -> Result<Spooled, BadEntry> {
    let path = folder.join(name.file());
    let entry: Entry = record::read(&path, FILE_MAX)?.ok_or(BadEntry::Gone { path })?;
    if entry.version != VERSION {
        return Err(BadEntry::Version { found: entry.version });
    }
    if entry.request.guest != name.guest || entry.request.at.0 != name.at {
        return Err(BadEntry::Disagrees);
    }
    Ok(entry.request)
}

/// A request that lies in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lying {
    /// Its file, for [`remove`].
    pub file: String,
    /// What it says.
    pub request: Spooled,
}

/// Reads every request that is not among those `taken`, oldest first, and logs what it finds. Nothing in the spool is fatal.
pub fn look(runtime_dir: &Path, taken: &BTreeSet<String>) -> Vec<Lying> {
    let folder = folder(runtime_dir);
    let names = listed(&folder).unwrap_or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "could not read the spool of helper requests"
        );
        Vec::new()
    });
    let mut entries = Vec::new();
    for name in names {
        match EntryName::parse(&name) {
            // A parsed number may be written in more than one way; only the way we write it is ours.
            Some(entry) if entry.file() == name => {
                entries.extend(Some(entry).filter(|_| !taken.contains(&name)))
            }
            _ if record::is_temporary(&name) => sweep(&folder.join(name)),
            _ if name == "bad" => {}
            _ => set_aside(&folder, &name, &BadEntry::BadName),
        }
    }
    entries.sort_unstable();
    entries.iter().filter_map(|entry| read_or_set_aside(&folder, entry)).collect()
}

fn read_or_set_aside(folder: &Path, entry: &EntryName) -> Option<Lying> {
    let file = entry.file();
    match read(folder, entry) {
        Ok(request) => Some(Lying { file, request }),
        Err(reason) => {
            set_aside(folder, &file, &reason);
            None
        }
    }
}

/// Removes a request of which nothing more is to be known.
///
/// # Errors
/// [`RecordError`] with the file, which will be read again.
pub fn remove(runtime_dir: &Path, file: &str) -> Result<(), RecordError> {
    record::remove(&folder(runtime_dir).join(file))
}

/// Removes a temporary file whose writer is gone.
fn sweep(path: &Path) {
    let modified = fs::symlink_metadata(path).and_then(|found| found.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    if age.is_some_and(|age| age > ABANDONED_AFTER)
        && let Err(error) = record::remove(path)
    {
        tracing::warn!(error = &error as &dyn std::error::Error, "an abandoned file stays in the spool");
    }
}

/// Moves a file that cannot be used to `bad`, or removes it when enough lie there.
fn set_aside(folder: &Path, name: &str, reason: &BadEntry) {
    let bad = folder.join("bad");
    let room = record::ensure_folder(&bad).is_ok() && listed(&bad).is_ok_and(|kept| kept.len() < BAD_MAX);
    let path = folder.join(name);
    let moved = if room { fs::rename(&path, bad.join(name)) } else { fs::remove_file(&path) };
    let fate = match (moved, room) {
        (Ok(()), true) => "moved to spool/bad",
        (Ok(()), false) => "removed; spool/bad is full",
        (Err(_), _) => "left where it is; it could not be moved",
    };
    let name = crate::model::name::shown(name);
    tracing::warn!(
        file = name,
        error = reason as &dyn std::error::Error,
        "a spooled request cannot be used: {fate}"
    );
}

#[cfg(test)]
mod tests;
