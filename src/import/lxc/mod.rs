//! Reads LXC's container configuration, every generation of it.
//!
//! Lenient where LXC is strict: LXC refuses a container for one bad line, guestd still takes its start settings and
//! says what is wrong. Everything that LXC reads is read in LXC's order; included files are read in place.

mod include;
mod key;
mod line;
mod lxcpath;
mod number;
mod statement;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::model::{
    Auto, Diagnostic, EngineSpec, Groups, Guest, GuestName, LxcSpec, Origin, end::SignalName,
};

use super::{Effective, Imported, LIST_MAX, Layer, Sourced};
use statement::Statement;

pub use include::Reader;
pub use lxcpath::{DEFAULT_LXCPATH, lxcpath};

/// What a container's configuration says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The settings that every guest has.
    pub layer: Layer,
    /// The settings that only LXC has.
    pub own: Own,
    /// Every file that was read, in the order of reading, each once.
    pub files: Vec<PathBuf>,
    /// A digest of names and contents of these files.
    pub fingerprint: u64,
    /// What is wrong with the container's own file. What is wrong with included files is the reader's.
    pub diagnostics: Vec<Diagnostic>,
}

/// The settings that only LXC has; what is not written, or was reset, is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// `lxc.signal.halt`.
    pub halt: Option<Sourced<i32>>,
    /// `lxc.signal.reboot`.
    pub reboot: Option<Sourced<i32>>,
    /// `lxc.signal.stop`.
    pub stop: Option<Sourced<i32>>,
    /// `lxc.hook.version`.
    pub hook_version: Option<Sourced<u8>>,
    /// `lxc.ephemeral`.
    pub ephemeral: Option<Sourced<bool>>,
    /// `lxc.rootfs.path`.
    pub rootfs: Option<Sourced<Box<str>>>,
    /// `lxc.log.file`.
    pub log_file: Option<Sourced<Box<str>>>,
    /// Any `lxc.console.*`.
    pub console: bool,
}

impl Config {
    /// Takes one statement into account: the last one counts, lists grow. False when a list is too long to take it all.
    fn apply(&mut self, statement: &Statement, origin: Origin) -> bool {
        fn set<T>(value: T, origin: Origin) -> Option<Sourced<T>> {
            Some(Sourced::new(value, origin))
        }
        let (layer, own) = (&mut self.layer, &mut self.own);
        match statement {
            Statement::Include(_) => {}
            Statement::Auto(value) => layer.auto = set(Auto::from(*value), origin),
            Statement::Order(value) => layer.order = set(*value, origin),
            Statement::Delay(value) => layer.delay = set(Duration::from_secs((*value).into()), origin),
            Statement::NoGroups => layer.groups = set(Groups::Null, origin),
            Statement::Groups(more) => {
                let mut groups = match layer.groups.take().map(|groups| groups.value) {
                    Some(Groups::In(names)) => names,
                    _ => Vec::new(),
                };
                for group in more {
                    if groups.len() <= LIST_MAX && !groups.contains(group) {
                        groups.push(group.clone());
                    }
                }
                let fits = groups.len() <= LIST_MAX;
                groups.truncate(LIST_MAX);
                layer.groups = set(Groups::In(groups), origin);
                return fits;
            }
            Statement::Halt(value) => own.halt = value.map(|value| Sourced::new(value, origin)),
            Statement::Reboot(value) => own.reboot = value.map(|value| Sourced::new(value, origin)),
            Statement::Stop(value) => own.stop = value.map(|value| Sourced::new(value, origin)),
            Statement::HookVersion(value) => own.hook_version = set(*value, origin),
            Statement::Ephemeral(value) => own.ephemeral = set(*value, origin),
            Statement::Rootfs(value) => own.rootfs = value.clone().map(|value| Sourced::new(value, origin)),
            Statement::LogFile(value) => {
                own.log_file = value.clone().map(|value| Sourced::new(value, origin))
            }
            Statement::Console => own.console = true,
        }
        true
    }

    /// The guest: these settings over `defaults`, under `overlay`.
    pub fn guest(self, name: GuestName, lxcpath: Arc<Path>, defaults: &Layer, overlay: Layer) -> Guest {
        let mut layer = defaults.clone();
        layer.lay(self.layer);
        layer.lay(overlay);
        let spec = LxcSpec {
            halt_signal: self.own.halt.map(|sourced| sourced.value),
            reboot_signal: self.own.reboot.map(|sourced| sourced.value),
            stop_signal: self.own.stop.map(|sourced| sourced.value),
            hook_version: self.own.hook_version.map_or(0, |sourced| sourced.value),
            ephemeral: self.own.ephemeral.is_some_and(|sourced| sourced.value),
            rootfs: self.own.rootfs.map(|sourced| sourced.value),
            log_file: self.own.log_file.map(|sourced| sourced.value),
            own_console: self.own.console,
            ..LxcSpec::new(lxcpath)
        };
        layer.guest(name, EngineSpec::Lxc(spec), self.fingerprint)
    }

    /// The guest, with the place that each setting came from. `overlays` are the files that gave `overlay`.
    pub fn imported(
        self,
        name: GuestName,
        lxcpath: Arc<Path>,
        defaults: &Layer,
        overlay: Layer,
        overlays: Vec<PathBuf>,
    ) -> Imported {
        let mut layer = defaults.clone();
        layer.lay(self.layer.clone());
        layer.lay(overlay.clone());
        let config = Origin::file(lxcpath.join(name.as_str()).join("config"));
        let mut effective =
            vec![Effective { key: "engine".into(), value: "\"lxc\"".into(), origin: Some(config) }];
        effective.extend(layer.effective());
        effective.extend(self.own.effective());
        let mut files = self.files.clone();
        files.extend(overlays);
        Imported { guest: self.guest(name, lxcpath, defaults, overlay), effective, files }
    }
}

impl Own {
    /// The settings in force, in LXC's writing; what is not set and has no one default is left out.
    fn effective(&self) -> Vec<Effective> {
        fn row<T>(
            key: &'static str,
            set: &Option<Sourced<T>>,
            default: Option<&str>,
            show: impl Fn(&T) -> String,
        ) -> Option<Effective> {
            let value = set.as_ref().map(|set| show(&set.value)).or_else(|| default.map(str::to_owned))?;
            Some(Effective { key: key.into(), value, origin: set.as_ref().map(|set| set.origin.clone()) })
        }
        let signal = |number: &i32| SignalName(*number).to_string();
        [
            row("lxc.signal.halt", &self.halt, None, signal),
            row("lxc.signal.reboot", &self.reboot, Some("SIGINT"), signal),
            row("lxc.signal.stop", &self.stop, Some("SIGKILL"), signal),
            row("lxc.hook.version", &self.hook_version, Some("0"), u8::to_string),
            row("lxc.ephemeral", &self.ephemeral, Some("0"), |on| u8::from(*on).to_string()),
            row("lxc.rootfs.path", &self.rootfs, None, ToString::to_string),
            row("lxc.log.file", &self.log_file, None, ToString::to_string),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}
