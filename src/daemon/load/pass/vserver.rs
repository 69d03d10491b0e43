//! Guests of util-vserver: what a pass over the files makes of `/etc/vservers`.

use std::{path::PathBuf, sync::Arc};

use super::{Overlaid, Pass, first_error};
use crate::{
    daemon::{
        disk::hidden_from_user,
        load::{vserver::Folder, whole},
    },
    import::{
        Imported, ReadError,
        vserver::{self, Config, Tree, files},
    },
    model::{Diagnostic, EngineSpec, Guest, GuestName, Origin, native::Helper},
};

impl Pass<'_> {
    /// Reads every guest of util-vserver, or the one of this name.
    pub(in crate::daemon::load) fn vservers(&mut self, only: Option<&GuestName>) {
        let folder = match Folder::open(&self.settings.vserver_path) {
            Ok(folder) => folder,
            Err(error) => return self.no_vservers(error),
        };
        let one = only.map(|name| Ok(vec![(name.to_string(), true)]));
        let entries = match one.unwrap_or_else(|| folder.entries()) {
            Ok(entries) => entries,
            Err(error) => return self.no_vservers(error),
        };
        let defaults = self.vserver_defaults(&folder);
        let guests = entries.iter().filter(|(entry, _)| !files::is_leftover(entry));
        for (entry, is_folder) in guests {
            match GuestName::new(entry) {
                Ok(name) if *is_folder => self.vserver(&folder, &defaults, &name),
                Ok(_) => self.vserver_link(entry),
                Err(error) => self.misnamed_vserver(&folder, entry, &error.to_string()),
            }
        }
    }

    fn vserver_defaults(&mut self, folder: &Folder) -> Tree {
        let path = self.settings.vserver_path.join(".defaults");
        match folder.tree(".defaults") {
            Ok(tree) => tree.unwrap_or_else(|| Tree::empty(path)),
            Err(error) => {
                let message = format!("the folder {error}, so that nothing in it counts; mend that");
                self.diagnostics.push(Diagnostic::error(Origin::file(path.as_path()), message));
                Tree::empty(path)
            }
        }
    }

    /// The folder of all guests cannot be read. What is known of it stays, unless it is gone.
    fn no_vservers(&mut self, error: ReadError) {
        let path = &self.settings.vserver_path;
        let Some(by) = self.settings.vserver_path_origin.as_ref() else {
            if error != ReadError::Missing {
                self.unreadable_vservers(&error, "");
            }
            return;
        };
        let by = format!(", named by {by},");
        if error == ReadError::Missing {
            let message = format!("the folder of vservers{by} does not exist; make it, or name another");
            return self.diagnostics.push(Diagnostic::error(Origin::file(Arc::clone(path)), message));
        }
        self.unreadable_vservers(&error, &by);
    }

    fn unreadable_vservers(&mut self, error: &ReadError, by: &str) {
        self.complete = false;
        let known: Vec<GuestName> =
            self.before.into_iter().flat_map(|before| before.guests.keys().cloned()).collect();
        let kept = known.iter().filter(|name| self.keep_vserver(name)).count();
        let consequence = match hidden_from_user(*error) {
            Some(hidden) => hidden.to_owned(),
            None => {
                format!("; its guests stay as they were known before ({kept}); mend that or name another")
            }
        };
        let origin = Origin::file(Arc::clone(&self.settings.vserver_path));
        self.diagnostics
            .push(Diagnostic::error(origin, format!("the folder of vservers{by} {error}{consequence}")));
    }

    /// An entry that is no folder by itself.
    fn vserver_link(&mut self, entry: &str) {
        let path = self.settings.vserver_path.join(entry);
        if path.join("vdir").symlink_metadata().is_ok() {
            let message = "the guest is ignored: its folder is a symbolic link, and a guest has one name; move the \
                           folder here (mv), and let links lead to it";
            self.diagnostics.push(Diagnostic::error(Origin::file(path), message));
        }
    }

    fn misnamed_vserver(&mut self, folder: &Folder, entry: &str, error: &str) {
        if matches!(folder.tree(entry), Ok(Some(tree)) if tree.nodes.contains_key("vdir")) {
            let path = self.settings.vserver_path.join(entry);
            let message = format!("the guest is ignored: {error}; rename its folder");
            self.diagnostics.push(Diagnostic::error(Origin::file(path), message));
        }
    }

    /// Reads one guest, if there is one of this name.
    fn vserver(&mut self, folder: &Folder, defaults: &Tree, name: &GuestName) {
        let path = self.settings.vserver_path.join(name.as_str());
        let tree = match folder.tree(name.as_str()) {
            Ok(Some(tree)) if is_guest(&tree) => tree,
            Ok(_) => return,
            Err(error) => {
                let consequence = match (hidden_from_user(error), self.keep_vserver(name)) {
                    (Some(hidden), _) => hidden,
                    (_, true) => "; the guest stays as it was known before; mend that",
                    (_, false) => "; the guest is not managed; mend that",
                };
                self.overlays.remove(name);
                let message = format!("the folder {error}{consequence}");
                return self.diagnostics.push(Diagnostic::error(Origin::file(path), message).about(name));
            }
        };
        if let Some(first) = self.guests.get(name) {
            let message = format!(
                "{} of this name is the one that counts; rename one of them",
                first.lxcpath().map_or_else(
                    || "another guest".to_owned(),
                    |lxcpath| format!("a container in {}", lxcpath.display())
                )
            );
            return self.diagnostics.push(Diagnostic::error(Origin::file(path), message).about(name));
        }
        let config = vserver::read(name, &tree, defaults, self.settings.vserver_helper.as_deref());
        if let Some(all) = &mut self.files {
            all.extend(tree.nodes.keys().map(|path| tree.at(path)));
            all.extend(defaults.nodes.keys().map(|path| defaults.at(path)));
        }
        self.take_vserver(name, config);
    }

    fn take_vserver(&mut self, name: &GuestName, config: Config) {
        self.diagnostics.extend_from_slice(&config.diagnostics);
        let already = self.diagnostics.len();
        let vservers = Arc::clone(&self.settings.vserver_path);
        let Overlaid { layer: overlay, native, files: overlays } = self.overlay(&vservers, name);
        let config = config.overlaid(native);
        if let Some(all) = &mut self.files {
            all.extend(overlays);
        }
        let is_taken = self.is_context_taken(name, &config);
        let broken_overlay = first_error(&self.diagnostics[already..]);
        let layer = config.laid(&self.settings.defaults, overlay.clone());
        let Some(read) = config.guest(name.clone(), &self.settings.defaults, overlay).filter(|_| !is_taken)
        else {
            if self.keep_vserver(name) {
                let message =
                    format!("{name} keeps the settings that it had before, until the errors here are mended");
                let origin = config.first_error().unwrap_or(&config.context.origin).clone();
                self.diagnostics.push(Diagnostic::warning(origin, message).about(name));
            }
            return;
        };
        self.note_twin(&read);
        self.diagnostics.extend(layer.findings().map(|found| found.about(name)));
        let named = whole::dependencies(&layer);
        if !named.is_empty() {
            self.dependencies.insert(name.clone(), named);
        }
        let guest = self.kept(read, config.first_error().cloned(), broken_overlay);
        self.guests.insert(name.clone(), guest);
    }

    /// Whether another guest has the context, which is then told: its helper would be told of the wrong one.
    fn is_context_taken(&mut self, name: &GuestName, config: &Config) -> bool {
        let context = config.context.value;
        let mut others = self.others(name);
        let Some(other) = others.find(|other| context_of(other) == Some(context)).map(|other| &other.name)
        else {
            return false;
        };
        let message = format!(
            "the guest is refused: {other} has the context {context} too, and helpers know guests by it; write another \
             number into context"
        );
        drop(others);
        self.diagnostics.push(Diagnostic::error(config.context.origin.clone(), message).about(name));
        true
    }

    /// The other guests. Where one alone is read, these are those that were known before.
    fn others<'s>(&'s self, name: &'s GuestName) -> impl Iterator<Item = &'s Arc<Guest>> {
        let before = self.before.filter(|_| self.files.is_some()).map(|before| before.guests.values());
        let all = self.guests.values().chain(before.into_iter().flatten());
        all.filter(move |guest| guest.name != *name)
    }

    /// Tells of a guest that has the root of another.
    fn note_twin(&mut self, read: &Guest) {
        let root = root_of(read);
        let twin =
            self.others(&read.name).find(|other| root_of(other) == root).map(|other| other.name.clone());
        if let Some(twin) = twin {
            let path = self.settings.vserver_path.join(read.name.as_str()).join("vdir");
            let message =
                format!("{twin} has the same root: never let both run at once, or give each its own");
            self.diagnostics.push(Diagnostic::warning(Origin::file(path), message).about(&read.name));
        }
    }

    /// Keeps a guest of util-vserver as it was known, if it was.
    fn keep_vserver(&mut self, name: &GuestName) -> bool {
        self.keep_if(name, |guest| context_of(guest).is_some())
    }

    /// One guest of util-vserver with the place that each setting came from; none if there is none, or it is refused.
    pub(in crate::daemon::load) fn imported_vserver(&mut self, name: &GuestName) -> Option<Imported> {
        let folder = Folder::open(&self.settings.vserver_path).ok()?;
        let tree = folder.tree(name.as_str()).ok().flatten().filter(is_guest)?;
        let defaults = self.vserver_defaults(&folder);
        let config = vserver::read(name, &tree, &defaults, self.settings.vserver_helper.as_deref());
        let vservers = Arc::clone(&self.settings.vserver_path);
        let Overlaid { layer: overlay, native, files: overlays } = self.overlay(&vservers, name);
        let config = config.overlaid(native);
        let layer = config.laid(&self.settings.defaults, overlay.clone());
        self.diagnostics.extend_from_slice(&config.diagnostics);
        self.diagnostics.extend(layer.findings().map(|found| found.about(name)));
        config.imported(name.clone(), &self.settings.defaults, overlay, overlays)
    }
}

/// Whether a folder is a guest's: something in it is known.
fn is_guest(tree: &Tree) -> bool {
    tree.nodes.keys().any(|path| files::row(files::GUEST, path).is_some())
}

/// The context of a guest of util-vserver.
fn context_of(guest: &Guest) -> Option<u32> {
    match &guest.engine {
        EngineSpec::Native(spec) => match &spec.helper {
            Helper::Vshelper { context, .. } => Some(*context),
            Helper::Guestd => None,
        },
        EngineSpec::Lxc(_) => None,
    }
}

/// Where the root of a native guest is.
fn root_of(guest: &Guest) -> Option<&PathBuf> {
    match &guest.engine {
        EngineSpec::Native(spec) => spec.root.path(),
        EngineSpec::Lxc(_) => None,
    }
}
