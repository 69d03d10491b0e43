//! The files under `guests/` that no container was found for: native guests, and what has no effect.

use std::{path::PathBuf, sync::Arc};

use super::{
    pass::{Pass, first_error},
    whole,
};
use crate::{
    daemon::{disk::Disk, settings::ignored},
    import::{
        Files, Layer,
        native::{self, Defined, Definition},
        overlay::{self, Overlay},
    },
    model::{Diagnostic, EngineKind, Guest, GuestName},
};

/// The files of one guest, read.
struct Read {
    definition: Definition,
    overlays: Vec<(PathBuf, Overlay)>,
    unreadable: Vec<Diagnostic>,
}

impl Read {
    /// Whether they define a native guest: the last word counts.
    fn is_native(&self) -> bool {
        self.engine() == Some(native::ENGINE)
    }

    /// What is wrong in single files.
    fn diagnostics(&self, name: &GuestName) -> Vec<Diagnostic> {
        let found = self.overlays.iter().flat_map(|(_, overlay)| &overlay.diagnostics);
        let found = found.map(|found| found.clone().about(name));
        found.chain(self.unreadable.iter().cloned()).collect()
    }

    fn engine(&self) -> Option<&str> {
        let named = self.overlays.iter().rev().find_map(|(_, overlay)| overlay.engine.as_ref());
        named.map(|engine| engine.value.as_str())
    }
}

impl Pass<'_> {
    /// Defines the guests of the files that are left over, all of them or one, and tells what is then still left over.
    pub(super) fn leftovers(&mut self, only: Option<&GuestName>) {
        let left = std::mem::take(&mut self.overlays).into_iter();
        for (name, paths) in left.filter(|(name, _)| only.is_none_or(|only| only == name)) {
            let read = read_all(&name, paths);
            let is_lost = read.engine().is_none() && first_error(&read.diagnostics(&name)).is_some();
            if read.is_native() || is_lost && self.was_native(&name) {
                self.define(&name, read);
            } else if self.complete {
                self.left_over(&name, &read);
            }
        }
    }

    /// The guest that the files of this name define, if they do.
    pub(super) fn defined(&mut self, name: &GuestName) -> Option<Defined> {
        let read = read_all(name, self.overlays.remove(name)?);
        if !read.is_native() {
            return None;
        }
        self.diagnostics.extend(read.diagnostics(name));
        Some(self.finish_definition(read.definition))
    }

    fn finish_definition(&mut self, mut definition: Definition) -> Defined {
        if let Some(file) = definition.bundle() {
            let text = Disk.read_whole(&file);
            definition.lay_bundle(&file, text);
        }
        let defined = definition.finish(&self.settings.defaults);
        self.diagnostics.extend_from_slice(&defined.diagnostics);
        defined
    }

    /// Takes the guest, or what was known of it where its files are broken, if anything was.
    fn define(&mut self, name: &GuestName, read: Read) {
        let already = self.diagnostics.len();
        self.diagnostics.extend(read.diagnostics(name));
        let Defined { imported, layer, files, .. } = self.finish_definition(read.definition);
        let broken = first_error(&self.diagnostics[already..]);
        if let Some(all) = &mut self.files {
            all.extend(files);
        }
        self.note_layer(name, &layer);
        let known = self.before.and_then(|before| before.guests.get(name));
        let guest = match (imported, broken, known.filter(|_| self.was_native(name)).cloned()) {
            (Some(imported), broken, _) => self.kept(imported.guest, broken, None),
            (None, Some(broken), Some(known)) => {
                self.keeps(name, &broken);
                known
            }
            (None, ..) => {
                self.dependencies.remove(name);
                return;
            }
        };
        self.guests.insert(name.clone(), guest);
    }

    /// Takes what guestd's own files say of a native guest.
    fn note_layer(&mut self, name: &GuestName, layer: &Layer) {
        if !self.is_systemd() {
            let found = whole::without_systemd(layer, EngineKind::Native);
            self.diagnostics.extend(found.map(|found| found.about(name)));
        }
        let named = whole::dependencies(layer);
        if !named.is_empty() {
            self.dependencies.insert(name.clone(), named);
        }
    }

    fn was_native(&self, name: &GuestName) -> bool {
        let known: Option<&Arc<Guest>> = self.before.and_then(|before| before.guests.get(name));
        known.is_some_and(|known| known.engine_kind() == EngineKind::Native)
    }

    fn left_over(&mut self, name: &GuestName, read: &Read) {
        if read.engine().is_none() {
            self.diagnostics.extend(read.diagnostics(name));
        } else {
            self.diagnostics.extend_from_slice(&read.unreadable);
        }
        let found = read.overlays.iter().map(|(path, overlay)| overlay::orphan(name, path, overlay));
        self.diagnostics.extend(found);
    }
}

fn read_all(name: &GuestName, paths: Vec<PathBuf>) -> Read {
    let definition = Definition::new(name.clone());
    let mut read = Read { definition, overlays: Vec::new(), unreadable: Vec::new() };
    for path in paths {
        match Disk.read(&path) {
            Ok(text) => {
                let overlay = overlay::read(path.as_path(), &text);
                read.definition.lay(&path, &text, overlay.clone());
                read.overlays.push((path, overlay));
            }
            Err(error) => {
                read.definition.lack(&path);
                read.unreadable.push(ignored(&path, error).about(name));
            }
        }
    }
    read
}
