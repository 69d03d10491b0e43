//! Notices containers that are created, changed or destroyed: inotify on each lxcpath and on each container's folder.
//!
//! The kernel queues an event before the call that causes it returns, so a queue that is read before a command is
//! handled holds everything that happened before the command was sent.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    io,
    os::unix::fs::MetadataExt,
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
    /// A folder above lxcpaths.
    Above(Arc<Path>),
}

/// The watches.
pub struct Watcher {
    inotify: AsyncFd<Inotify>,
    watches: Watches,
    watched: HashMap<WatchDescriptor, Watched>,
    /// Containers' folders, to find their watches again.
    folders: BTreeMap<PathBuf, WatchDescriptor>,
    /// The lxcpaths, there or not.
    paths: Vec<Arc<Path>>,
}

/// Room for a few hundred events; names are at most 255 bytes.
const BUFFER: usize = 16 * 1024;

/// How often the nearest folder above an lxcpath is looked for, while folders come.
const LOOKS: usize = 64;

impl Watcher {
    /// Watches these lxcpaths and every folder in them, and the nearest folder above each: there it shows when one comes, or
    /// goes although something of it is still in use.
    ///
    /// # Errors
    /// When the kernel has no inotify instance left.
    pub fn new(paths: &[Arc<Path>]) -> io::Result<Self> {
        let inotify = Inotify::init()?;
        let watches = inotify.watches();
        // SAFETY: the descriptor belongs to `inotify`, which moves into the `AsyncFd`, is never replaced in it, and
        // lives exactly as long.
        let inotify = unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)?;
        let mut watcher = Self {
            inotify,
            watches,
            watched: HashMap::new(),
            folders: BTreeMap::new(),
            paths: paths.to_vec(),
        };
        for path in paths {
            watcher.watch_path(path);
        }
        watcher.watch_above();
        Ok(watcher)
    }

    /// Watches the nearest folder above each lxcpath. Last, since it may be another lxcpath, whose watch then tells.
    fn watch_above(&mut self) {
        let mask = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::ONLYDIR
            | WatchMask::MASK_ADD;
        for path in self.paths.clone() {
            let mut nearest = None;
            // What comes between two looks at one place is found by the next look, and by its watch after that.
            for _ in 0..LOOKS {
                let found = path.ancestors().skip(1).find_map(|above| {
                    let descriptor = self.watches.add(above, mask).ok()?;
                    Some((descriptor, Arc::<Path>::from(above)))
                });
                let Some((descriptor, above)) = found else { break };
                self.watched.entry(descriptor).or_insert_with(|| Watched::Above(above.clone()));
                if nearest.replace(above.clone()) == Some(above) {
                    break;
                }
            }
            let is_path = |watched: &Watched| matches!(watched, Watched::Path(known) if *known == path);
            if !self.watched.values().any(is_path) {
                self.watch_path(&path);
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
        let Ok(descriptor) = self.watches.add(path, mask) else { return };
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
            | WatchMask::CREATE
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
            Some(Watched::Above(at) | Watched::Path(at)) if self.leads_to_path(at, event.name.as_deref()) => {
                changes.insert(Change::Everything);
            }
            Some(Watched::Above(_)) => {}
            Some(Watched::Path(path)) => {
                let path = path.clone();
                // LXC keeps its own files there, with a dot in front; they are no containers.
                if event.name.as_deref().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                    return;
                }
                let Some(name) = event.name.as_deref().and_then(guest_name) else {
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
                let of_ours = |file: &&OsStr| *file == "config" || *file == "guestd.toml";
                let Some(file) = event.name.as_deref().filter(of_ours) else { return };
                // A new file is read once it is written, which a link need not be.
                let is_new = event.mask.contains(EventMask::CREATE);
                if !is_new || is_link(&path.join(name.as_str()).join(file)) {
                    changes.insert(Change::Container(path.clone(), name.clone()));
                }
            }
            None => {}
        }
    }

    /// Whether an entry of a folder is an lxcpath, or leads to one.
    fn leads_to_path(&self, above: &Path, name: Option<&OsStr>) -> bool {
        let entry = name.map(|name| above.join(name));
        entry.is_some_and(|entry| self.paths.iter().any(|path| path.starts_with(&entry)))
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

/// Whether a file is a symbolic link, or has other names.
fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|file| file.is_symlink() || file.nlink() > 1)
}

fn guest_name(name: &OsStr) -> Option<GuestName> {
    GuestName::new(name.to_str()?).ok()
}

#[cfg(test)]
mod tests;
