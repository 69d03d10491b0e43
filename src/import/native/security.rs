//! What a native guest may do with the kernel.

use std::path::PathBuf;

use crate::{
    import::{
        Effective, Sourced,
        layer::{list, or, quoted, row, take},
        toml::{Document, Field},
        value,
    },
    model::{
        Capabilities, Capability, Diagnostic,
        name::shown,
        native::{Seccomp, Security},
    },
};

/// The keys.
pub(super) const KEYS: [&str; 4] = ["capabilities", "no-new-privileges", "seccomp", "devices"];
/// The keys of `[capabilities]`.
pub(super) const CAPABILITIES: [&str; 2] = ["add", "drop"];

/// All capabilities.
const ALL: &str = "all";

/// What one source says of the guest's rights.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecurityLayer {
    /// The whole set, where a bundle says it.
    pub capabilities: Option<Sourced<Capabilities>>,
    /// `capabilities.add`.
    pub add: Option<Sourced<Capabilities>>,
    /// `capabilities.drop`.
    pub drop: Option<Sourced<Capabilities>>,
    /// `no-new-privileges`.
    pub no_new_privileges: Option<Sourced<bool>>,
    /// `seccomp`.
    pub seccomp: Option<Sourced<Seccomp>>,
    /// `devices`.
    pub devices: Option<Sourced<Vec<PathBuf>>>,
}

impl SecurityLayer {
    /// Reads one of the [`KEYS`].
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        match field.key {
            "capabilities" => document.section(field, |document, field| match field.key {
                "add" => self.add = capabilities(document, field),
                "drop" => self.drop = capabilities(document, field),
                _ => document.unknown(field, &CAPABILITIES),
            }),
            "no-new-privileges" => self.no_new_privileges = document.boolean(field),
            "seccomp" => self.seccomp = document.one_of(field, &Seccomp::ALL),
            _ => self.devices = document.list(field, "[\"/dev/fuse\"]", device),
        }
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.capabilities, over.capabilities);
        take(&mut self.add, over.add);
        take(&mut self.drop, over.drop);
        take(&mut self.no_new_privileges, over.no_new_privileges);
        take(&mut self.seccomp, over.seccomp);
        take(&mut self.devices, over.devices);
    }

    /// The setting, with what is usual beneath.
    pub(super) fn settled(&self, has_own_users: bool) -> Security {
        let usual = Security::usual(has_own_users);
        let [add, drop] = [&self.add, &self.drop].map(|said| or(said, Capabilities::NONE));
        let beneath = or(&self.capabilities, usual.capabilities);
        let capabilities = match drop == everything() {
            true => add,
            false => Capabilities((beneath.0 | add.0) & !drop.0),
        };
        Security {
            capabilities,
            no_new_privileges: or(&self.no_new_privileges, usual.no_new_privileges),
            seccomp: or(&self.seccomp, usual.seccomp),
            devices: or(&self.devices, usual.devices),
        }
    }

    /// A capability that is added and dropped.
    pub(super) fn contradiction(&self) -> Option<Diagnostic> {
        let (add, drop) = (self.add.as_ref()?, self.drop.as_ref()?);
        if [add.value, drop.value].contains(&everything()) {
            return None;
        }
        let both = Capabilities(add.value.0 & drop.value.0).iter().next()?;
        let message = format!(
            "capabilities.add and capabilities.drop ({}) both have {both}, which is dropped; remove it from one \
             of them",
            drop.origin
        );
        Some(Diagnostic::warning(add.origin.clone(), message))
    }

    /// Every value in force.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let names = |set: Capabilities| match set == everything() {
            true => list(&[ALL]),
            false => list(&set.iter().collect::<Vec<_>>()),
        };
        let set = |key, said: &Option<Sourced<_>>| row(key, names(or(said, Capabilities::NONE)), said);
        let security = self.settled(true);
        let of_bundle = self.capabilities.as_ref();
        let mut rows: Vec<_> =
            of_bundle.map(|said| row("capabilities", names(said.value), Some(said))).into_iter().collect();
        let devices: Vec<_> = security.devices.iter().map(|path| path.display()).collect();
        rows.extend([
            set("capabilities.add", &self.add),
            set("capabilities.drop", &self.drop),
            row("no-new-privileges", security.no_new_privileges.to_string(), &self.no_new_privileges),
            row("seccomp", quoted(security.seccomp), &self.seccomp),
            row("devices", list(&devices), &self.devices),
        ]);
        rows
    }
}

fn everything() -> Capabilities {
    Capability::all().fold(Capabilities::NONE, Capabilities::with)
}

fn capabilities<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Capabilities>> {
    let named = |text: &str| match (text, Capability::named(text)) {
        (ALL, _) => Ok(everything()),
        (_, Some(capability)) => Ok(Capabilities::NONE.with(capability)),
        (_, None) => Err(format!(
            "the kernel has no capability \"{}\"; write one of capabilities(7), such as \"CAP_SYS_TIME\", or \
             \"{ALL}\"",
            shown(text)
        )),
    };
    let sets = document.list(field, "[\"CAP_SYS_TIME\"]", named)?;
    Some(sets.map(|sets| sets.into_iter().fold(Capabilities::NONE, |all, set| Capabilities(all.0 | set.0))))
}

/// A device of the host.
pub(in crate::import) fn device(text: &str) -> Result<PathBuf, String> {
    let path = value::path(text).filter(|path| path.starts_with("/dev") && path.components().count() > 2);
    path.ok_or_else(|| {
        format!("\"{}\" is no path below /dev without \"..\"; write it as \"/dev/fuse\"", shown(text))
    })
}
