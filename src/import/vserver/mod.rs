//! Reads util-vserver's folders, `/etc/vservers/NAME`, to guests of the native engine.
//!
//! What is read is a [`Tree`]: plain data that somebody else took from the disk. Each file means what [`files`] says of it;
//! what means nothing any more is told with what to use instead. A guest is refused only where nobody could run it safely:
//! without a root of its own, or without a known style of init. One whose limits or capabilities cannot be used is known, and
//! not started ([`NativeSpec::refused`]).

mod capability;
mod cgroup;
pub mod files;
mod fstab;
mod init;
mod interface;
mod lifecycle;
mod limit;
mod network;
mod number;
mod process;
mod reading;
mod root;
mod sched;
mod script;
mod start;
mod sysctl;
#[cfg(test)]
mod tests;
pub mod tree;
mod vshelper;

use std::path::{Path, PathBuf};

use crate::model::{
    Diagnostic, EngineSpec, Guest, GuestName, NativeSpec, Origin, Severity,
    native::{Helper, Root, Security},
};

use super::{
    Effective, Imported, Layer, Sourced,
    fingerprint::Fingerprint,
    layer::{list, row},
    native::{self, NativeLayer},
};
use lifecycle::Ending;
use reading::Reading;

pub use tree::{Node, NodeError, Tree, What};

/// Where util-vserver keeps its configuration.
pub const DEFAULT_PATH: &str = "/etc/vservers";

/// What a guest's folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The settings that every guest has.
    pub layer: Layer,
    /// What the engine needs, but for the end of its stop, which depends on [`Layer::stop`]; none when the guest is refused.
    spec: Option<(NativeSpec, Ending)>,
    /// The context, and where it is written.
    pub context: Sourced<u32>,
    /// What was taken, for showing.
    effective: Vec<Effective>,
    /// Every file that was read.
    pub files: Vec<PathBuf>,
    /// A digest of all of them.
    pub fingerprint: u64,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a guest's folder. `helper` is `[vserver] helper`.
pub fn read(name: &GuestName, guest: &Tree, defaults: &Tree, helper: Option<&Path>) -> Config {
    let mut reading = Reading::new(name, guest, defaults);
    files::look(&mut reading);
    vshelper::defaults(&mut reading);
    vshelper::look(&mut reading);
    let mut layer = Layer::default();
    start::read(&mut reading, &mut layer);
    let context = root::context(&mut reading);
    let spec = spec(&mut reading, &mut layer, context.value, helper);
    let mut fingerprint = Fingerprint::new();
    guest.digest(&mut fingerprint);
    defaults.digest(&mut fingerprint);
    let (effective, diagnostics) = reading.finish();
    Config {
        layer,
        spec,
        context,
        effective,
        files: guest.files().collect(),
        fingerprint: fingerprint.finish(),
        diagnostics,
    }
}

/// What the engine needs.
fn spec(
    reading: &mut Reading<'_>,
    layer: &mut Layer,
    context: u32,
    helper: Option<&Path>,
) -> Option<(NativeSpec, Ending)> {
    process::called(reading);
    limit::of_guest(reading, layer);
    sched::read(reading, layer);
    let mut process = process::read(reading);
    process.limits = limit::of_processes(reading);
    process.processors = cgroup::read(reading, layer);
    process.sysctl = sysctl::read(reading);
    capability::flags(reading);
    let capabilities = capability::read(reading);
    let (hostname, domainname) = process::names(reading);
    let mounts = fstab::read(reading);
    let interfaces = interface::read(reading);
    let network = network::of(reading, &interfaces);
    // All of it is read before the guest is refused, so that everything wrong is told at once.
    let (root, init) = (root::find(reading), init::read(reading));
    let (root, init) = (root.filter(|_| !mounts.is_rootless)?, init?);
    let (environment, program) = (init.environment.clone(), init.init.clone());
    let (lifecycle, ending) = lifecycle::compose(reading, mounts, init);
    let spec = NativeSpec {
        user_namespace: false,
        init: program,
        environment,
        hostname,
        domainname,
        security: Security { capabilities, ..Security::usual(false) },
        process,
        network,
        lifecycle,
        helper: Helper::Vshelper {
            program: helper.map(Path::to_path_buf),
            context,
            folder: reading.guest.folder.clone(),
        },
        refused: reading.broken.as_ref().map(native::refused),
        ..NativeSpec::new(Root::Folder(root))
    };
    Some((spec, ending))
}

/// The keys of native guests that an overlay may have over one of these: what there is no file for.
pub const OVERLAID: &[&str] = &["devices"];

impl Config {
    /// Lays over it what an overlay says in [`OVERLAID`].
    #[must_use]
    pub fn overlaid(mut self, overlay: NativeLayer) -> Self {
        if let (Some((spec, _)), Some(devices)) = (&mut self.spec, overlay.security.devices) {
            let value = list(&devices.value.iter().map(|path| path.display()).collect::<Vec<_>>());
            self.effective.push(row("devices", value, &devices));
            let mut fingerprint = Fingerprint::new();
            fingerprint.write(&self.fingerprint.to_le_bytes());
            devices.value.iter().for_each(|path| fingerprint.write(path.to_string_lossy().as_bytes()));
            self.fingerprint = fingerprint.finish();
            spec.security.devices = devices.value;
        }
        self
    }

    /// Whether nobody could run the guest safely.
    pub fn is_refused(&self) -> bool {
        self.spec.is_none()
    }

    /// Where the first error is.
    pub fn first_error(&self) -> Option<&Origin> {
        let mut errors = self.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        errors.next().map(|found| &found.origin)
    }

    /// All that is said of the guest: these settings over `defaults`, under `overlay`. What util-vserver does where nothing
    /// is said goes beneath all.
    pub fn laid(&self, defaults: &Layer, overlay: Layer) -> Layer {
        let mut layer = defaults.clone();
        layer.lay(self.layer.clone());
        layer.lay(overlay);
        layer
    }

    /// The guest; none when it is refused.
    pub fn guest(&self, name: GuestName, defaults: &Layer, overlay: Layer) -> Option<Guest> {
        let layer = self.laid(defaults, overlay);
        let (mut spec, ending) = self.spec.clone()?;
        let mut guest =
            layer.guest(name, EngineSpec::Native(NativeSpec::clone(&spec).into()), self.fingerprint);
        if layer.stop_timeout.is_none() {
            guest.stop.timeout = start::STOP_TIMEOUT;
        }
        spec.lifecycle.stop.extend(ending.steps(guest.stop.timeout));
        guest.engine = EngineSpec::Native(spec.into());
        Some(guest)
    }

    /// The guest, with the place that each setting came from; none when it is refused. `overlays` are the files that gave
    /// `overlay`.
    pub fn imported(
        &self,
        name: GuestName,
        defaults: &Layer,
        overlay: Layer,
        overlays: Vec<PathBuf>,
    ) -> Option<Imported> {
        let layer = self.laid(defaults, overlay.clone());
        let guest = self.guest(name, defaults, overlay)?;
        let EngineSpec::Native(spec) = &guest.engine else { return None };
        let Helper::Vshelper { folder, .. } = &spec.helper else { return None };
        let engine = Effective {
            key: "engine".into(),
            value: "\"native\"".into(),
            origin: Some(Origin::file(folder.clone())),
        };
        let mut effective = vec![engine];
        effective.extend(layer.effective());
        if layer.stop_timeout.is_none() {
            let value = super::layer::time(guest.stop.timeout);
            effective
                .iter_mut()
                .filter(|row| row.key == "stop.timeout")
                .for_each(|row| row.value.clone_from(&value));
        }
        effective.extend(self.effective.iter().cloned());
        effective.extend(lifecycle::rows(&spec.lifecycle, folder));
        let files = self.files.iter().cloned().chain(overlays).collect();
        Some(Imported { guest, effective, files })
    }
}
