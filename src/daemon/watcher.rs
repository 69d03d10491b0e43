//! Notices containers that are created, changed or destroyed: inotify on each lxcpath and on each container's folder.
//!
//! The kernel queues an event before the call that causes it returns, so a queue that is read before a command is
//! handled holds everything that happened before the command was sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::io::unix::AsyncFd;

use crate::model::GuestName;

/// What happened to a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The container of this name in this lxcpath is new, changed or gone.
    Container(Arc<Path>, GuestName),
    /// So much happened that events were lost, or an lxcpath itself appeared or vanished: everything must be read.
    Everything,
}

enum Watched {
    /// An lxcpath.
    Path(Arc<Path>),
    /// A container's folder.
    Container(Arc<Path>, GuestName),
    /// A folder above lxcpaths that are not there yet.
    Above(PathBuf),
}

/// The watches.
pub struct Watcher {
    inotify: AsyncFd<Inotify>,
    watches: Watches,
    watched: HashMap<WatchDescriptor, Watched>,
    /// Containers' folders, to find their watches again.
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// Lxcpaths that are not there yet.
    awaited: Vec<Arc<Path>>,
}

/// Room for a few hundred events; names are at most 255 bytes.
const BUFFER: usize = 16 * 1024;

impl Watcher {
    /// Watches these lxcpaths and every folder in them. A path that is not there is awaited in the folder above it.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left.
    pub fn new(paths: &[Arc<Path>]) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        // SAFETY: the descriptor belongs to `inotify`, which moves into the `AsyncFd`, is never replaced in it, and
        // lives exactly as long.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        let mut watcher =
            Self { inotify, watches, watched: HashMap::new(), folders: BTreeMap::new(), awaited: Vec::new() };
        for path in paths {
            watcher.watch_path(path);
        }
        watcher.await_paths();
        Ok(watcher)
    }

    /// Watches the nearest folder above each lxcpath that is not there. Last, since it may be another lxcpath, whose
    /// watch then tells.
    fn await_paths(&mut self) {
        let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR | WatchMask::MASK_ADD;
        for path in self.awaited.clone() {
            let found = path.ancestors().skip(1).find_map(|above| {
                let descriptor = self.watches.add(above, mask).ok()?;
                Some((descriptor, above.to_owned()))
            });
            if let Some((descriptor, above)) = found {
                self.watched.entry(descriptor).or_insert(Watched::Above(above));
            }
        }
    }

    fn watch_path(&mut self, path: &Arc<Path>) {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let Ok(descriptor) = self.watches.add(path, mask) else {
            self.awaited.push(path.clone());
            return;
        };
        self.watched.insert(descriptor, Watched::Path(path.clone()));
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            if let Some(name) = guest_name(&entry.file_name()) {
                self.watch_container(path, &name);
            }
        }
    }

    fn watch_container(&mut self, path: &Arc<Path>, name: &GuestName) {
        let folder = path.join(name.as_str());
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::ONLYDIR;
        if let Ok(descriptor) = self.watches.add(&folder, mask) {
            self.folders.insert(folder, descriptor.clone());
            self.watched.insert(descriptor, Watched::Container(path.clone(), name.clone()));
        }
    }

    /// Waits until something has happened.
    pub async fn readable(&self) {
        match self.inotify.readable().await {
            Ok(mut guard) => guard.clear_ready(),
            // The runtime is ending; there is nothing to wait for any more.
            Err(_) => std::future::pending().await,
        }
    }

    /// Everything that has happened since the last call, each container once.
    pub fn changes(&mut self) -> BTreeSet<Change> {
        let mut changes = BTreeSet::new();
        let mut buffer = [0; BUFFER];
        loop {
            let events: Vec<_> = match self.inotify.get_mut().read_events(&mut buffer) {
                Ok(events) => events.map(|event| event.to_owned()).collect(),
                Err(_) => break,
            };
            if events.is_empty() {
                break;
            }
            for event in events {
                self.take(&event, &mut changes);
            }
        }
        changes
    }

    fn take(&mut self, event: &inotify::EventOwned, changes: &mut BTreeSet<Change>) {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            changes.insert(Change::Everything);
            return;
        }
        match self.watched.get(&event.wd) {
            Some(Watched::Above(above)) if self.is_awaited(above, event.name.as_deref()) => {
                changes.insert(Change::Everything);
            }
            Some(Watched::Above(_)) => {}
            Some(Watched::Path(path)) => {
                let path = path.clone();
                // LXC keeps its own files there, with a dot in front; they are no containers.
                if event.name.as_deref().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                    return;
                }
                let name = event.name.as_deref().and_then(guest_name);
                let Some(name) = name.filter(|_| !self.is_awaited(&path, event.name.as_deref())) else {
                    changes.insert(Change::Everything);
                    return;
                };
                if event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                    self.watch_container(&path, &name);
                } else {
                    self.forget(&path.join(name.as_str()));
                }
                changes.insert(Change::Container(path, name));
            }
            Some(Watched::Container(path, name)) => {
                let file = event.name.as_deref();
                if file.is_some_and(|file| file == "config" || file == "guestd.toml") {
                    changes.insert(Change::Container(path.clone(), name.clone()));
                }
            }
            None => {}
        }
    }

    /// Whether a new entry of a folder leads to an lxcpath that was not there.
    fn is_awaited(&self, above: &Path, name: Option<&OsStr>) -> bool {
        let entry = name.map(|name| above.join(name));
        entry.is_some_and(|entry| self.awaited.iter().any(|path| path.starts_with(&entry)))
    }

    /// A folder that was moved away would otherwise still report under its old name.
    fn forget(&mut self, folder: &Path) {
        if let Some(descriptor) = self.folders.remove(folder) {
            self.watched.remove(&descriptor);
            // It has removed itself when the folder was deleted.
            let _ = self.watches.remove(descriptor);
        }
    }
}

fn guest_name(name: &OsStr) -> Option<GuestName> {
    GuestName::new(name.to_str()?).ok()
}

#[cfg(test)]
mod tests;
