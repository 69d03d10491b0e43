//! The manager's part for what is defined: settings and guests, read again as they change.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    super::{
        load,
        watcher::{Change, Watcher},
        worker::Work,
    },
    Manager, rules,
};
use crate::{
    model::{Guest, GuestName, Severity, status::DaemonStatus},
    supervise::{effect::Level, state::State},
};

/// How long a config may be missing from its folder before its guest is taken for destroyed: editors put a new file in
/// the place of the old one.
const BETWEEN_TWO_CONFIGS: Duration = Duration::from_secs(1);

/// Watches the lxcpaths; none where the kernel does not let us, which is said.
pub fn watch(paths: &[Arc<Path>]) -> Option<Watcher> {
    Watcher::new(paths)
        .inspect_err(|error| {
            tracing::warn!("cannot watch the lxcpaths: {error}; \"guestctl reload\" makes guestd look");
        })
        .ok()
}

impl Manager {
    /// Reads one guest's files again.
    pub(super) fn reread(&mut self, name: &GuestName) {
        if self.is_between_two_configs(name) {
            return;
        }
        let now = self.clock.now();
        let was_known = self.inventory.guests.contains_key(name);
        let before = self.fleet.guest(name).cloned();
        self.inventory.refresh(&self.directories, name);
        self.show_diagnostics();
        match self.inventory.guests.get(name).cloned() {
            Some(guest) => self.fleet.define(guest, now),
            None => self.fleet.undefine(name, now),
        }
        if was_known {
            self.note_gone(name);
        }
        if let Some(before) = before {
            self.adjust(&before);
        }
    }

    /// Gives a guest that runs what its settings say of resources now, where they said something else before.
    fn adjust(&mut self, before: &Guest) {
        let name = &before.name;
        let Some(now) = self.fleet.guest(name) else { return };
        let changed = now.resources.changes(&before.resources);
        if !changed.is_empty() && self.fleet.state(name).is_some_and(State::is_running) {
            self.give(name, Work::Adjust(changed));
        }
    }

    /// Whether a known guest's folder is there, and its config is not, for no longer than an editor needs.
    fn is_between_two_configs(&mut self, name: &GuestName) -> bool {
        let known = self.inventory.guests.get(name).and_then(|guest| guest.lxcpath());
        let folder = known.map(|lxcpath| lxcpath.join(name.as_str()));
        let is_halfway = folder.is_some_and(|folder| folder.is_dir() && !folder.join("config").exists());
        if !is_halfway {
            self.missing.remove(name);
            return false;
        }
        let now = self.clock.now().instant;
        let until = *self.missing.entry(name.clone()).or_insert(now.plus(BETWEEN_TWO_CONFIGS));
        if until <= now {
            self.missing.remove(name);
        }
        now < until
    }

    /// Looks again for the configs that were missing.
    pub(super) fn look_for_missing(&mut self) {
        let now = self.clock.now().instant;
        let due = self.missing.iter().filter(|(_, until)| **until <= now);
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.reread(&name);
            self.missing.remove(&name);
        }
    }

    /// Says so when a guest that was known has no configuration any more, and is not forgotten yet since it runs.
    fn note_gone(&mut self, name: &GuestName) {
        if !self.inventory.guests.contains_key(name) && self.fleet.guest(name).is_some() {
            let text = "runs on without a configuration, and is forgotten once it is down".to_owned();
            self.fleet.note(name, Level::Warning, text);
        }
    }

    /// Publishes what is wrong now, and logs what was not known to be wrong before.
    fn show_diagnostics(&mut self) {
        let found = self.inventory.diagnostics();
        let old = &self.daemon.diagnostics;
        if **old == *found {
            return;
        }
        for new in found.iter().filter(|found| found.severity != Severity::Note && !old.contains(found)) {
            tracing::warn!("{new}");
        }
        self.daemon = Arc::new(DaemonStatus { diagnostics: found.into(), ..(*self.daemon).clone() });
    }

    pub(super) fn notice_changes(&mut self) {
        let Some(changes) = self.watcher.as_mut().map(Watcher::changes) else { return };
        if changes.contains(&Change::Everything) {
            self.reload();
            return;
        }
        for change in changes {
            if let Change::Container(_, name) = change {
                self.reread(&name);
            }
        }
    }

    /// Reads everything again, and looks again at what does not run. The watch begins before the files are read, so that
    /// nothing falls in between.
    pub(super) fn reload(&mut self) {
        let before = self.inventory.clone();
        loop {
            let watched = self.inventory.settings.lxc_paths.clone();
            self.watcher = watch(&watched);
            self.inventory = load::reload(&self.directories, &before);
            if self.inventory.settings.lxc_paths == watched {
                break;
            }
        }
        tracing::info!("reloaded: {} guests", self.inventory.guests.len());
        self.fleet.look_at_the_others();
        let known: Vec<Arc<Guest>> =
            before.guests.keys().filter_map(|name| self.fleet.guest(name)).cloned().collect();
        self.take_inventory();
        for name in before.guests.keys() {
            self.note_gone(name);
        }
        for guest in known {
            self.adjust(&guest);
        }
    }

    pub(super) fn take_inventory(&mut self) {
        let now = self.clock.now();
        let settings = &self.inventory.settings;
        (self.set_paths)(&settings.lxc_paths);
        self.daemon = Arc::new(DaemonStatus {
            order: settings.order,
            max_starting: settings.max_starting,
            lxcpaths: settings.lxc_paths.iter().map(|path| path.to_path_buf()).collect(),
            ..(*self.daemon).clone()
        });
        self.show_diagnostics();
        self.fleet.load(rules(&self.inventory), self.inventory.guests.clone(), now);
    }
}
