//! `[sysctl]`: settings of the kernel that a guest's namespaces have for themselves.

use std::collections::BTreeMap;

use ::toml::de::DeValue;

use crate::{
    import::{
        Effective, LIST_MAX, Sourced,
        layer::{quoted, row},
        toml::{Document, Field},
    },
    model::name::shown,
};

/// What one source says in `[sysctl]`, by name with dots.
pub type SysctlLayer = BTreeMap<String, Sourced<String>>;

/// Reads the section. Names are keys in quotes, or, as TOML has it for dots without quotes, tables in tables.
pub(super) fn read<'t>(
    document: &mut Document<'t>,
    section: &Field<'_, 't>,
    before: &str,
    layer: &mut SysctlLayer,
) {
    document.section(section, |document, field| {
        let name = format!("{before}{}", field.key);
        if let (DeValue::Table(_), true) = (field.value.get_ref(), name.len() < NAME_MAX) {
            return read(document, field, &format!("{name}."), layer);
        }
        const WANTED: &str = "a number or a text in one line";
        let Some(value) =
            document.word(field, WANTED, "\"1\"", |text| is_value(text).then(|| text.to_owned()))
        else {
            return;
        };
        match refusal(&name) {
            Some(refusal) => document.error(field, || refusal),
            None if layer.len() >= LIST_MAX => {
                document.error(field, || format!("there are more than {LIST_MAX} sysctls; remove some"));
            }
            None => drop(layer.insert(name, value)),
        }
    });
}

const NAME_MAX: usize = 256;

/// What can be written to a file below /proc/sys.
pub(in crate::import) fn is_value(text: &str) -> bool {
    text.len() <= 4096 && text.chars().all(|c| c == '\t' || !c.is_control())
}

/// Why this one cannot be set for a guest, if so.
pub(in crate::import) fn refusal(name: &str) -> Option<String> {
    let shown = shown(name);
    if name == "kernel.hostname" {
        return Some(
            "sysctl.kernel.hostname has a key of its own; write hostname = \"...\" at the top".into(),
        );
    }
    if !is_name(name) {
        return Some(format!("\"{shown}\" is no name of a sysctl; write it as \"net.ipv4.ip_forward\""));
    }
    let is_own =
        ["net.", "kernel.msg", "kernel.shm", "fs.mqueue."].iter().any(|start| name.starts_with(start))
            || ["kernel.sem", "kernel.domainname"].contains(&name);
    (!is_own).then(|| {
        format!(
            "sysctl {shown} is the whole host's, not a guest's; here are net.*, kernel.msg*, kernel.sem, \
             kernel.shm*, kernel.domainname and fs.mqueue.*; set others with sysctl.d(5)"
        )
    })
}

/// Whether the name leads to a file below /proc/sys: its dots are slashes there, and its slashes dots (sysctl(8)).
fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/*@:".contains(&byte);
    let mut parts = name.split('.');
    name.len() <= NAME_MAX
        && name.bytes().all(known)
        && parts.all(|part| !part.is_empty() && part.bytes().any(|byte| byte != b'/'))
}

/// Every value that is written.
pub(super) fn rows(layer: &SysctlLayer) -> impl Iterator<Item = Effective> {
    layer.iter().map(|(name, value)| {
        let key = format!("sysctl.{}", quoted(name));
        row(key, quoted(&value.value), Some(value))
    })
}
