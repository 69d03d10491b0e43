//! One pass over the files: settings, containers and overlays in; guests, and what is wrong with each file, out.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Directories, Inventory,
    whole::{self, Dependencies},
};
use crate::{
    daemon::{
        disk::{Disk, hidden_from_user},
        settings::{ignored, toml_files},
    },
    import::{
        Files, Layer, ReadError, Settings, lxc,
        native::{self, NativeLayer},
        overlay,
        vserver::OVERLAID,
    },
    launch,
    model::{Diagnostic, EngineKind, Guest, GuestName, Origin, Severity},
    plan::Guests,
};

mod vserver;

/// What LXC resolves a relative `lxc.include` against when guestd starts it.
const BASE: &str = "/";

/// One pass under way.
pub(super) struct Pass<'l> {
    directories: &'l Directories,
    pub(super) settings: &'l Settings,
    /// What was known before: what can no longer be used stays as it was.
    pub(super) before: Option<&'l Inventory>,
    pub(super) reader: lxc::Reader<'static>,
    /// The files under `guests/`, by guest, each list in the order in which they are laid.
    pub(super) overlays: BTreeMap<GuestName, Vec<PathBuf>>,
    pub(super) guests: Guests,
    pub(super) dependencies: Dependencies,
    /// The files that guests were made of, where somebody wants to know.
    pub(super) files: Option<Vec<PathBuf>>,
    /// Whether every lxcpath could be read, as far as it is there.
    pub(super) complete: bool,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// What is laid over a guest that was discovered.
#[derive(Debug, Default)]
pub(super) struct Overlaid {
    /// The settings of every guest.
    pub(super) layer: Layer,
    /// Those of native guests, which vservers take a few of.
    pub(super) native: NativeLayer,
    /// The files that say so.
    pub(super) files: Vec<PathBuf>,
}

impl<'l> Pass<'l> {
    pub(super) fn new(
        directories: &'l Directories,
        settings: &'l Settings,
        before: Option<&'l Inventory>,
    ) -> Self {
        let mut pass = Self {
            directories,
            settings,
            before,
            reader: lxc::Reader::new(&Disk, BASE),
            overlays: BTreeMap::new(),
            guests: Guests::new(),
            dependencies: Dependencies::new(),
            files: None,
            complete: true,
            diagnostics: Vec::new(),
        };
        pass.index();
        pass
    }

    /// Finds the overlay files: `NAME.toml`, and `*.toml` of `NAME.toml.d`.
    fn index(&mut self) {
        let folder = self.directories.config.join("guests");
        for (suffix, is_folder) in [(".toml", false), (".toml.d", true)] {
            let paths = match Disk.list(&folder, suffix) {
                Ok(paths) => paths,
                Err(ReadError::Missing) => continue,
                Err(error) => return self.diagnostics.push(ignored(&folder, error)),
            };
            for path in paths {
                let file =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                if file.starts_with('.') {
                    continue;
                }
                match GuestName::new(file.strip_suffix(suffix).unwrap_or(&file)) {
                    Ok(name) if is_folder => match toml_files(&path, &Disk) {
                        Ok(files) => self.overlays.entry(name).or_default().extend(files),
                        Err(error) => self.diagnostics.push(ignored(&path, error)),
                    },
                    Ok(name) => self.overlays.entry(name).or_default().push(path),
                    Err(error) => self.diagnostics.push(Diagnostic::error(
                        Origin::file(path),
                        format!("the file is named after no possible guest: {error}; rename or remove it"),
                    )),
                }
            }
        }
    }

    /// Reads every container of an lxcpath.
    pub(super) fn discover(&mut self, lxcpath: &Arc<Path>) {
        let mut entries = match entries(lxcpath) {
            Ok(entries) => entries,
            Err(error) => return self.no_lxcpath(lxcpath, error.into()),
        };
        entries.sort_unstable();
        for entry in entries {
            match entry.to_str().map_or_else(|| GuestName::new(&entry.to_string_lossy()), GuestName::new) {
                Ok(name) => self.container(lxcpath, &name),
                Err(error) => {
                    let folder = lxcpath.join(&entry);
                    if folder.join("config").is_file() {
                        let message = format!(
                            "the container is ignored: {error}; rename it (lxc-copy -R -n OLD -N NEW)"
                        );
                        self.diagnostics.push(Diagnostic::error(Origin::file(folder), message));
                    }
                }
            }
        }
    }

    /// An lxcpath that cannot be read. What is known of it stays, unless it is gone.
    fn no_lxcpath(&mut self, lxcpath: &Arc<Path>, error: ReadError) {
        let mut kept = 0;
        if error != ReadError::Missing {
            self.complete = false;
            kept = self.keep_all(lxcpath);
        }
        let origin = Origin::file(Arc::clone(lxcpath));
        let hidden = hidden_from_user(error);
        let diagnostic = match (error, &self.settings.lxc_paths_origin) {
            (ReadError::Missing, None) => {
                Diagnostic::note(origin, "the folder does not exist, so that there are no LXC containers")
            }
            (error, written) => {
                let by = written.as_ref().map(|written| format!(", named by {written},")).unwrap_or_default();
                let error = if error == ReadError::Missing && lxcpath.exists() {
                    "is not a folder".into()
                } else {
                    error.to_string()
                };
                let consequence = match (hidden, kept) {
                    (Some(hidden), _) => hidden.into(),
                    (_, 0) => "; its containers are not managed; mend that or name another".into(),
                    _ => format!(
                        "; its containers stay as they were known before ({kept}); mend that or name another"
                    ),
                };
                Diagnostic::error(origin, format!("the lxcpath{by} {error}{consequence}"))
            }
        };
        self.diagnostics.push(diagnostic);
    }

    /// Keeps every guest known of an lxcpath, and says how many these are.
    fn keep_all(&mut self, lxcpath: &Path) -> usize {
        let Some(before) = self.before else { return 0 };
        let of_path = before.guests.values().filter(|guest| guest.lxcpath() == Some(lxcpath));
        let names: Vec<_> = of_path.map(|guest| guest.name.clone()).collect();
        names.iter().filter(|name| self.keep(lxcpath, name)).count()
    }

    /// Keeps a guest as it was known, if it was, unless an earlier lxcpath has it.
    fn keep(&mut self, lxcpath: &Path, name: &GuestName) -> bool {
        self.keep_if(name, |guest| guest.lxcpath() == Some(lxcpath))
    }

    /// Keeps a guest as it was known, if it was and is such a one, unless another of its name is read already.
    fn keep_if(&mut self, name: &GuestName, is_such: impl FnOnce(&Guest) -> bool) -> bool {
        let known = self.before.and_then(|before| before.guests.get(name));
        let Some(guest) = known.filter(|guest| is_such(guest)).cloned() else { return false };
        if self.guests.contains_key(name) {
            return false;
        }
        self.overlays.remove(name);
        self.guests.insert(name.clone(), guest);
        self.keep_dependencies(name);
        true
    }

    fn keep_dependencies(&mut self, name: &GuestName) {
        match self.before.and_then(|before| before.dependencies.get(name)) {
            Some(named) => self.dependencies.insert(name.clone(), named.clone()),
            None => self.dependencies.remove(name),
        };
    }

    /// Reads one container, if there is one of this name.
    pub(super) fn container(&mut self, lxcpath: &Arc<Path>, name: &GuestName) {
        let config = match self.reader.read(lxcpath, name) {
            Ok(config) => config,
            Err(ReadError::Missing) => return,
            Err(error) => return self.unreadable(lxcpath, name, error),
        };
        if let Some(first) = self.guests.get(name).and_then(|guest| guest.lxcpath()) {
            let message = format!(
                "a container of this name lies in {} too, which is the one that counts; rename one of them",
                first.display()
            );
            let origin = Origin::file(lxcpath.join(name.as_str()));
            return self.diagnostics.push(Diagnostic::error(origin, message).about(name));
        }
        let already = self.diagnostics.len();
        let Overlaid { layer: overlay, files, .. } = self.overlay(lxcpath, name);
        let broken_overlay = first_error(&self.diagnostics[already..]);
        let broken_config =
            first_error(&config.diagnostics).or_else(|| first_error(self.reader.about(&config.files)));
        self.diagnostics.extend_from_slice(&config.diagnostics);
        if let Some(all) = &mut self.files {
            all.extend(config.files.iter().cloned().chain(files));
        }
        let layer = self.laid(&overlay);
        self.diagnostics.extend(layer.findings().map(|found| found.about(name)));
        if !self.is_systemd() {
            let found = whole::without_systemd(&layer, EngineKind::Lxc);
            self.diagnostics.extend(found.map(|found| found.about(name)));
        }
        let named = whole::dependencies(&layer);
        if !named.is_empty() {
            self.dependencies.insert(name.clone(), named);
        }
        let read = config.guest(name.clone(), Arc::clone(lxcpath), &self.settings.defaults, overlay);
        let guest = self.kept(read, broken_config, broken_overlay);
        self.guests.insert(name.clone(), guest);
    }

    /// Whether guests are launched in units of systemd.
    pub(super) fn is_systemd(&self) -> bool {
        launch::is_systemd(self.settings.launcher)
    }

    /// All that guestd's own files say of a guest whose overlays say this.
    pub(super) fn laid(&self, overlay: &Layer) -> Layer {
        let mut layer = self.settings.defaults.clone();
        layer.lay(overlay.clone());
        layer
    }

    /// The guest to go on with: where its files are broken, what was known of it before counts. With the config, its
    /// digest stays too, so that a reboot does not start the guest anew with what LXC would refuse.
    pub(super) fn kept(
        &mut self,
        read: Guest,
        config: Option<Origin>,
        overlay: Option<Origin>,
    ) -> Arc<Guest> {
        let broken = config.as_ref().or(overlay.as_ref());
        let known = self.before.and_then(|before| before.guests.get(&read.name));
        let (Some(origin), Some(known)) = (broken, known.filter(|known| known.lxcpath() == read.lxcpath()))
        else {
            return Arc::new(read);
        };
        let name = &read.name;
        let (engine, fingerprint) = (read.engine.clone(), read.fingerprint);
        let overlaid = Guest { engine, fingerprint, ..Guest::clone(known) };
        if config.is_none() && overlaid == read || **known == read {
            return Arc::new(read);
        }
        self.keeps(name, origin);
        if config.is_some() {
            return Arc::clone(known);
        }
        Arc::new(overlaid)
    }

    /// Says that a guest stays as it was known, and keeps whom it names.
    pub(super) fn keeps(&mut self, name: &GuestName, broken: &Origin) {
        let message =
            format!("{name} keeps the settings that it had before, until the errors here are mended");
        self.diagnostics.push(Diagnostic::warning(broken.clone(), message).about(name));
        self.keep_dependencies(name);
    }

    /// A container whose `config` cannot be read.
    fn unreadable(&mut self, lxcpath: &Path, name: &GuestName, error: ReadError) {
        let consequence = match (hidden_from_user(error), self.keep(lxcpath, name)) {
            (Some(hidden), _) => hidden,
            (_, true) => "; the container stays as it was known before; mend that",
            (_, false) => "; the container is not managed; mend that",
        };
        self.overlays.remove(name);
        let origin = Origin::file(lxcpath.join(name.as_str()).join("config"));
        let message = format!("the file {error}{consequence}");
        self.diagnostics.push(Diagnostic::error(origin, message).about(name));
    }

    /// Everything laid over a container or a vserver: `guestd.toml` in its folder, then the files under `guests/`.
    pub(super) fn overlay(&mut self, lxcpath: &Path, name: &GuestName) -> Overlaid {
        let own = lxcpath.join(name.as_str()).join("guestd.toml");
        let is_vserver = *lxcpath == *self.settings.vserver_path;
        let (is, taken) = if is_vserver { ("a vserver", OVERLAID) } else { ("an LXC container", &[][..]) };
        let mut overlaid = Overlaid::default();
        for path in std::iter::once(own).chain(self.overlays.remove(name).unwrap_or_default()) {
            match Disk.read(&path) {
                Ok(text) => {
                    let overlay = overlay::read(path.as_path(), &text);
                    self.diagnostics.extend(overlay::refuse_engine(name, is, &overlay));
                    self.diagnostics.extend(native::refuse_keys(name, is, taken, &overlay));
                    self.diagnostics.extend(overlay.diagnostics.into_iter().map(|found| found.about(name)));
                    overlaid.layer.lay(overlay.layer);
                    overlaid.native.lay(overlay.native);
                    overlaid.files.push(path);
                }
                Err(ReadError::Missing) => {}
                Err(error) => self.diagnostics.push(ignored(&path, error).about(name)),
            }
        }
        overlaid
    }

    /// What is wrong with the files.
    pub(super) fn finish(mut self) -> (Guests, Dependencies, Vec<Diagnostic>) {
        self.diagnostics.extend(self.reader.take_diagnostics());
        (self.guests, self.dependencies, self.diagnostics)
    }
}

/// Where the first error is.
pub(super) fn first_error<'d>(diagnostics: impl IntoIterator<Item = &'d Diagnostic>) -> Option<Origin> {
    let mut errors = diagnostics.into_iter().filter(|found| found.severity == Severity::Error);
    errors.next().map(|found| found.origin.clone())
}

/// The names in an lxcpath that may be containers: LXC skips what begins with a dot.
fn entries(lxcpath: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(lxcpath)? {
        let name = entry?.file_name();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    Ok(names)
}
