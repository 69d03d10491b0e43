//! A native guest: the keys that only such guests have, and the guest that all of its files make together.
//!
//! A container that is held less than was written is worse than one that does not start. So an error in what makes up the
//! guest itself keeps it from being started ([`NativeSpec::refused`]), where an error in when and how it is supervised
//! costs only itself, as for every guest.

use std::path::{Path, PathBuf};

use crate::model::{
    Diagnostic, EngineSpec, GuestName, Mount, NativeSpec, Network, Origin, Severity,
    name::{shown, shown_path},
};

use super::{
    Effective, Imported, Layer, ReadError, Sourced, Text,
    fingerprint::Fingerprint,
    layer::{or, take},
    network, oci,
    overlay::Overlay,
    probe::Choice,
    toml::{Document, Field},
};

pub(super) mod init;
pub(super) mod mounts;
pub(super) mod process;
pub(super) mod root;
pub(super) mod security;
pub(super) mod sysctl;
#[cfg(test)]
mod tests;

use self::{
    init::InitLayer,
    process::ProcessLayer,
    root::{RootLayer, Source},
    security::SecurityLayer,
};

/// The name of the engine.
pub const ENGINE: &str = "native";

/// The keys with sections of their own, and what stands in these; of the others any name is allowed.
pub(super) const SECTIONS: [(&str, &[&str]); 4] = [
    ("capabilities", &security::CAPABILITIES),
    ("limits", &process::LIMITS),
    (mounts::KEY, &mounts::KEYS),
    (network::KEY, &network::KEYS),
];

/// Those of them that are lists of tables.
pub(super) const LISTS: [&str; 2] = [mounts::KEY, network::KEY];

/// All keys that stand at the top of a native guest's file, beside those that every guest has.
pub fn keys() -> impl Iterator<Item = &'static str> {
    let keys = [&root::KEYS[..], &init::KEYS, &LISTS, &security::KEYS, &process::KEYS];
    keys.into_iter().flatten().copied()
}

/// What one source says of a native guest; what it does not mention is none. Lists replace; tables are laid key by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NativeLayer {
    /// Where its file system comes from.
    pub root: RootLayer,
    /// Its first process.
    pub init: InitLayer,
    /// `[[mount]]`.
    pub mounts: Option<Sourced<Vec<Mount>>>,
    /// `network`, or `[[network]]`.
    pub network: Option<Sourced<Network>>,
    /// Its rights.
    pub security: SecurityLayer,
    /// How its processes are treated.
    pub process: ProcessLayer,
}

impl NativeLayer {
    /// Lays another source over this one: what it says wins.
    pub fn lay(&mut self, over: Self) {
        self.root.lay(over.root);
        self.init.lay(over.init);
        take(&mut self.mounts, over.mounts);
        take(&mut self.network, over.network);
        self.security.lay(over.security);
        self.process.lay(over.process);
    }

    /// The setting, with the built-in defaults beneath; none without a root.
    fn settled(&self) -> Option<NativeSpec> {
        let root = self.root.settled()?;
        let user_namespace = self.root.has_own_users();
        let text = |said: &Option<Sourced<String>>| said.as_ref().map(|said| said.value.clone());
        let environment = self.init.environment.iter();
        Some(NativeSpec {
            read_only: self.root.read_only.as_ref().is_some_and(|said| said.value),
            user_namespace,
            init: self.init.settled(),
            environment: environment.map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            hostname: text(&self.init.hostname),
            domainname: text(&self.init.domainname),
            mounts: self.mounts.as_ref().map_or_else(Vec::new, |mounts| mounts.value.clone()),
            network: or(&self.network, Network::None),
            security: self.security.settled(user_namespace),
            process: self.process.settled(),
            ..NativeSpec::new(root)
        })
    }

    /// What only shows in all sources together.
    fn findings(&self) -> impl Iterator<Item = Diagnostic> {
        let found = [self.root.contradiction(), self.init.idle(), self.security.contradiction()];
        found.into_iter().flatten().chain(self.of_the_host())
    }

    /// Settings of the network's that would be the host's.
    fn of_the_host(&self) -> Option<Diagnostic> {
        let network = self.network.as_ref().filter(|network| network.value == Network::Host)?;
        let (name, value) = self.process.sysctl.iter().find(|(name, _)| name.starts_with("net."))?;
        let message = format!(
            "sysctl {} contradicts network = \"host\" ({}): it would set the host's own; set that with sysctl.d(5), or \
             give the guest a network of its own",
            shown(name),
            network.origin
        );
        Some(Diagnostic::error(value.origin.clone(), message))
    }

    /// Every setting in force, with the place it came from.
    fn effective(&self) -> Vec<Effective> {
        let mut rows = self.root.rows();
        rows.extend(self.init.rows());
        rows.extend(mounts::rows(&self.mounts));
        rows.extend(network::rows(&self.network));
        rows.extend(self.security.rows());
        rows.extend(self.process.rows());
        rows
    }
}

/// Reads the native keys of one file.
#[derive(Debug)]
pub(super) struct Reader {
    layer: NativeLayer,
    choice: Choice<Source>,
}

impl Reader {
    /// Nothing is said so far.
    pub(super) fn new() -> Self {
        Self { layer: NativeLayer::default(), choice: Choice::open() }
    }

    /// Reads one of the [`keys`]; false for another.
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) -> bool {
        let Self { layer, choice } = self;
        match field.key {
            key if root::KEYS.contains(&key) => layer.root.read(document, field, choice),
            key if init::KEYS.contains(&key) => layer.init.read(document, field),
            key if security::KEYS.contains(&key) => layer.security.read(document, field),
            key if process::KEYS.contains(&key) => layer.process.read(document, field),
            mounts::KEY => layer.mounts = mounts::read(document, field),
            network::KEY => layer.network = network::read(document, field),
            _ => return false,
        }
        true
    }

    /// What the file says.
    pub(super) fn finish(mut self) -> NativeLayer {
        self.layer.root.source = self.choice.made();
        self.layer
    }
}

/// Why a guest is not started of which something cannot be used.
pub(super) fn refused(place: &Origin) -> String {
    format!("{place}: what is written there cannot be used; \"guestctl check\" tells why")
}

/// Everything that is said of one native guest, file by file.
#[derive(Debug, Clone)]
pub struct Definition {
    name: GuestName,
    layer: Layer,
    native: NativeLayer,
    engine: Option<Sourced<String>>,
    files: Vec<PathBuf>,
    fingerprint: Fingerprint,
    /// Where something of the guest itself cannot be used.
    broken: Option<Origin>,
    diagnostics: Vec<Diagnostic>,
}

impl Definition {
    /// Nothing is said so far.
    pub fn new(name: GuestName) -> Self {
        Self {
            name,
            layer: Layer::default(),
            native: NativeLayer::default(),
            engine: None,
            files: Vec::new(),
            fingerprint: Fingerprint::new(),
            broken: None,
            diagnostics: Vec::new(),
        }
    }

    /// Lays the next file over what is said so far. What is wrong in it stays with the overlay's reader.
    pub fn lay(&mut self, file: &Path, text: &Text, overlay: Overlay) {
        self.note(file, text);
        self.layer.lay(overlay.layer);
        self.native.lay(overlay.native);
        take(&mut self.engine, overlay.engine);
        self.broken = self.broken.take().or(overlay.broken);
    }

    /// A file of the guest cannot be read.
    pub fn lack(&mut self, file: &Path) {
        self.broken = self.broken.take().or_else(|| Some(Origin::file(file)));
    }

    /// The file of the bundle that is still to be read, beneath all others.
    pub fn bundle(&self) -> Option<PathBuf> {
        self.native.root.bundle().map(|folder| folder.value.join(oci::FILE))
    }

    /// Lays the bundle's file beneath what is said.
    pub fn lay_bundle(&mut self, file: &Path, read: Result<Text, ReadError>) {
        let text = match read {
            Ok(text) => text,
            Err(error) => return self.no_bundle(file, error),
        };
        self.note(file, &text);
        let oci::Bundle { mut layer, mut native, diagnostics } = oci::read(file, &text);
        layer.lay(std::mem::take(&mut self.layer));
        native.lay(std::mem::take(&mut self.native));
        (self.layer, self.native) = (layer, native);
        self.broken = self.broken.take().or_else(|| first_error(&diagnostics));
        self.diagnostics.extend(diagnostics);
    }

    fn no_bundle(&mut self, file: &Path, error: ReadError) {
        let said = self.native.root.bundle().map(|folder| folder.origin);
        let origin = said.unwrap_or_else(|| Origin::file(file));
        let message =
            format!("{} {error}; name a folder with a {} and the root in it", shown_path(file), oci::FILE);
        self.broken = Some(origin.clone());
        self.diagnostics.push(Diagnostic::error(origin, message));
    }

    fn note(&mut self, file: &Path, text: &Text) {
        self.fingerprint.write(file.as_os_str().as_encoded_bytes());
        self.fingerprint.write(&[0]);
        self.fingerprint.write(&Fingerprint::of(&text.bytes).to_le_bytes());
        self.files.push(file.to_path_buf());
    }

    /// What the files say with `defaults` beneath: the guest, unless it has no root; and what is wrong beside what was wrong
    /// in single files of TOML.
    pub fn finish(mut self, defaults: &Layer) -> Defined {
        let mut layer = defaults.clone();
        layer.lay(self.layer);
        let mut found = self.diagnostics;
        found.extend(self.native.findings());
        let broken = self.broken.take().or_else(|| first_error(&found));
        let spec =
            self.native.settled().map(|spec| NativeSpec { refused: broken.as_ref().map(refused), ..spec });
        if !self.native.root.is_written {
            let file = self.files.first().cloned().unwrap_or_default();
            let origin = self.engine.as_ref().map_or_else(|| Origin::file(file), |said| said.origin.clone());
            found.push(Diagnostic::error(origin, no_root(&self.name)));
        }
        let engine = super::layer::row("engine", super::layer::quoted(ENGINE), &self.engine);
        let imported = spec.map(|spec| {
            let native = EngineSpec::Native(spec.into());
            let effective = std::iter::once(engine).chain(layer.effective()).chain(self.native.effective());
            Imported {
                guest: layer.guest(self.name.clone(), native, self.fingerprint.finish()),
                effective: effective.collect(),
                files: self.files.clone(),
            }
        });
        found.extend(layer.findings());
        let diagnostics = found.into_iter().map(|found| found.about(&self.name)).collect();
        Defined { imported, layer, files: self.files, diagnostics }
    }
}

fn first_error(found: &[Diagnostic]) -> Option<Origin> {
    let error = found.iter().find(|found| found.severity == Severity::Error)?;
    Some(error.origin.clone())
}

fn no_root(name: &GuestName) -> String {
    format!(
        "{name} has no root, so that it cannot be a guest; write root = \"/srv/{name}\" (a folder), root = \
         \"volatile-host\", bundle = \"...\" or archive = \"...\""
    )
}

/// What the files of one native guest make.
#[derive(Debug, Clone)]
pub struct Defined {
    /// The guest; none without a root.
    pub imported: Option<Imported>,
    /// All that is said of it beside its engine's part.
    pub layer: Layer,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What only shows in all files together, and in the bundle's.
    pub diagnostics: Vec<Diagnostic>,
}

/// What to say of native keys over a guest that was discovered, and is such a one; `taken` are those that it takes all the same.
pub fn refuse_keys(
    guest: &GuestName,
    is: &str,
    taken: &[&str],
    overlay: &Overlay,
) -> impl Iterator<Item = Diagnostic> {
    overlay.native_keys.iter().filter(|key| !taken.contains(&key.value)).map(move |key| {
        let message = format!(
            "{} is a key of native guests, and {guest} is {is}, whose own configuration says that; remove it",
            key.value
        );
        Diagnostic::error(key.origin.clone(), message).about(guest)
    })
}
