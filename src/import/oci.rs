//! An OCI bundle's `config.json` (the OCI runtime specification, 1.x), as far as a native guest can be made from it.
//!
//! What lies in it is laid beneath what the guest's own file says. Namespaces, `/proc`, `/dev` and the like are the monitor's
//! own; everything else that is not used is told.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Process as OciProcess, Spec};

use crate::model::{
    Capabilities, Capability, Diagnostic, Network, Origin,
    name::{clipped, shown},
};

use super::{
    Layer, Sourced, Text,
    findings::Findings,
    native::{NativeLayer, init, root::is_below, sysctl},
};

mod mounts;
mod process;
mod resources;
#[cfg(test)]
mod tests;
mod unused;

/// The name of the file in its bundle.
pub const FILE: &str = "config.json";

/// What a bundle says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bundle {
    /// Of what every guest has: its resources.
    pub layer: Layer,
    /// Of what native guests have.
    pub native: NativeLayer,
    /// What is wrong with it, and what of it is not used.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a bundle's file, whose folder is the bundle.
pub fn read(file: &Path, text: &Text) -> Bundle {
    let mut findings = Findings::new(file.into());
    let spec = match serde_json::from_slice::<Spec>(&text.bytes) {
        Ok(spec) if !text.cut => spec,
        _ if text.cut => {
            findings.error(None, || "the file is larger than 1 MiB, and is ignored; shorten it".into());
            return Bundle { diagnostics: findings.finish(), ..Bundle::default() };
        }
        Err(error) => {
            let line = u32::try_from(error.line()).ok().filter(|line| *line > 0);
            findings.error(line, || {
                let error = clipped(&error.to_string(), 200);
                format!("not the configuration of an OCI runtime: {error}; mend it")
            });
            return Bundle { diagnostics: findings.finish(), ..Bundle::default() };
        }
        Ok(spec) => spec,
    };
    let mut reader = Reader {
        folder: file.parent().unwrap_or(Path::new("/")),
        findings,
        layer: Layer::default(),
        native: NativeLayer::default(),
    };
    reader.spec(&spec);
    unused::tell(&spec, &mut reader.findings);
    let Reader { findings, layer, native, .. } = reader;
    Bundle { layer, native, diagnostics: findings.finish() }
}

/// A bundle's file under way.
struct Reader<'r> {
    folder: &'r Path,
    findings: Findings,
    layer: Layer,
    native: NativeLayer,
}

impl Reader<'_> {
    /// A value; of JSON the line is not known.
    fn said<T>(&self, value: T) -> Option<Sourced<T>> {
        Some(Sourced::new(value, self.origin()))
    }

    fn origin(&self) -> Origin {
        self.findings.origin(None)
    }

    fn wrong(&mut self, key: &str, found: impl std::fmt::Display, wanted: &str) {
        let found = shown(&found.to_string());
        self.findings.error(None, || format!("{key} must be {wanted}, not \"{found}\"; mend it"));
    }

    fn spec(&mut self, spec: &Spec) {
        if spec.version().split('.').next() != Some("1") {
            self.wrong("ociVersion", spec.version(), "a version that begins with 1");
        }
        self.root(spec);
        for (key, said) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
            // Programs that make bundles leave these empty where they have nothing to say.
            let Some(said) = said.as_ref().filter(|said| !said.is_empty()) else { continue };
            match (init::own_name(said), key) {
                (Some(name), "hostname") => self.native.init.hostname = self.said(name),
                (Some(name), _) => self.native.init.domainname = self.said(name),
                (None, _) => self.wrong(key, said, "a name of letters, digits, \"-\", \"_\" and \".\""),
            }
        }
        if let Some(process) = spec.process() {
            self.process(process);
        }
        self.mounts(spec);
        self.network(spec);
        if let Some(linux) = spec.linux() {
            self.linux(linux);
        }
    }

    fn root(&mut self, spec: &Spec) {
        let Some(root) = spec.root() else {
            return self.findings.error(None, || {
                "there is no root; write \"root\": { \"path\": \"rootfs\" }, the folder beside this file"
                    .into()
            });
        };
        let path = self.in_bundle(root.path());
        if is_below(&path) {
            let origin = self.origin();
            self.native.root.of_bundle = Some(Sourced::new(path, origin));
        } else {
            self.wrong("root.path", root.path().display(), "a folder, and not the root of the host");
        }
        self.native.root.is_written = true;
        self.native.root.read_only = root.readonly().and_then(|read_only| self.said(read_only));
    }

    /// A path of the host, which may be written from the bundle's folder.
    fn in_bundle(&self, path: &Path) -> PathBuf {
        crate::model::path::normal(&self.folder.join(path))
    }

    /// A process is in the namespaces of whoever starts it where the bundle names no others.
    fn network(&mut self, spec: &Spec) {
        let linux = spec.linux().iter();
        let mut namespaces = linux.flat_map(|linux| linux.namespaces().iter().flatten());
        if !namespaces.any(|namespace| namespace.typ() == LinuxNamespaceType::Network) {
            self.native.network = self.said(Network::Host);
        }
    }

    fn linux(&mut self, linux: &oci_spec::runtime::Linux) {
        let namespaces = linux.namespaces().iter().flatten();
        let has_users =
            namespaces.map(|namespace| namespace.typ()).any(|kind| kind == LinuxNamespaceType::User);
        if has_users || linux.uid_mappings().as_ref().is_some_and(|mappings| !mappings.is_empty()) {
            self.native.root.user_namespace = self.said(true);
        }
        for (name, value) in sorted(linux.sysctl()) {
            match sysctl::refusal(name) {
                Some(refusal) => self.findings.error(None, || format!("linux.{refusal}")),
                None if !sysctl::is_value(value) => {
                    self.wrong(&format!("linux.sysctl.{}", shown(name)), value, "text in one line");
                }
                None => {
                    let value = Sourced::new(value.clone(), self.origin());
                    self.native.process.sysctl.insert(name.clone(), value);
                }
            }
        }
        if let Some(resources) = linux.resources() {
            self.resources(resources);
        }
        self.devices(linux);
        if let Some(personality) = linux.personality() {
            self.personality(personality);
        }
    }
}

/// The entries of a table in JSON, in an order that does not change from one reading to the next.
fn sorted(
    table: &Option<std::collections::HashMap<String, String>>,
) -> std::collections::BTreeMap<&String, &String> {
    table.iter().flatten().collect()
}

/// The set of these capabilities.
fn capabilities(process: &OciProcess) -> Option<Capabilities> {
    let bounding = process.capabilities().as_ref()?.bounding().as_ref()?;
    let named = bounding.iter().filter_map(|capability| Capability::named(&capability.to_string()));
    Some(named.fold(Capabilities::NONE, Capabilities::with))
}
