//! `[[mount]]`: what a native guest has in its tree beside the usual.

use ::toml::de::{DeTable, DeValue};

use crate::{
    import::{
        Effective, LIST_MAX, Sourced,
        findings::nearest,
        layer::{list, quoted, row},
        toml::{Document, Field},
        value,
    },
    model::{Mount, name::shown as shown_text},
};

/// The key.
pub(super) const KEY: &str = "mount";
/// The keys of one mount.
pub(super) const KEYS: [&str; 5] = ["source", "target", "type", "options", "optional"];

/// What a guest mounts when it mounts a folder of the host.
pub(in crate::import) const BIND: &str = "bind";

/// Reads the list. A mount that cannot be used is reported and left out.
pub(super) fn read<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Vec<Mount>>> {
    let tables = match field.value.get_ref() {
        DeValue::Array(tables) => tables,
        _ => {
            document.error(field, || {
                "mount is a list, one table for each mount; write [[mount]] with two brackets".into()
            });
            return None;
        }
    };
    if tables.len() > LIST_MAX {
        document
            .error(field, || format!("a guest has at most {LIST_MAX} mounts; those after them are ignored"));
    }
    let mut mounts = Vec::new();
    for table in tables.iter().take(LIST_MAX) {
        let element = field.element(table);
        if let Some(table) = document.table(&element) {
            mounts.extend(mount(document, &element, table));
        }
    }
    Some(document.sourced(field, mounts))
}

/// A mount of which not everything is read yet.
#[derive(Debug, Default)]
struct Draft {
    source: Option<String>,
    target: Option<String>,
    kind: Option<String>,
    options: Vec<String>,
    optional: bool,
}

impl Draft {
    /// Reads one key; none where it cannot be used.
    fn read<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<()> {
        match field.key {
            "source" => self.source = Some(document.text(field, SOURCE, "\"/srv/data\"", source_of)?.value),
            "target" => self.target = Some(document.text(field, TARGET, "\"/data\"", target_of)?.value),
            "type" => self.kind = Some(document.text(field, KIND, "\"tmpfs\"", kind_of)?.value),
            "options" => {
                self.options = document.list(field, "[\"ro\", \"nosuid\"]", options_of)?.value.concat();
            }
            "optional" => self.optional = document.boolean(field)?.value,
            _ => document.unknown(field, &KEYS),
        }
        Some(())
    }
}

fn mount<'t>(document: &mut Document<'t>, whole: &Field<'_, 't>, table: &DeTable<'t>) -> Option<Mount> {
    let mut draft = Draft::default();
    let mut is_usable = true;
    for field in Document::fields("mount.", table) {
        is_usable &= draft.read(document, &field).is_some();
    }
    let Draft { source, target, kind, options, optional } = draft;
    // What it lacks is no news where that is what could not be read.
    if !is_usable {
        return None;
    }
    let mount = complete(source, target, kind)
        .map(|(source, target, kind)| Mount { source, target, kind, options, optional })
        .map_err(str::to_owned)
        .and_then(sound);
    mount.map_err(|wrong| document.error(whole, || format!("this mount is ignored: {wrong}"))).ok()
}

/// What a folder or file of the host can be mounted with: no file system is asked, so that nobody else would notice a slip.
const OF_BIND: [&str; 17] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "relatime",
    "strictatime",
    "nodiratime",
    "nosymfollow",
    "bind",
    "rbind",
    "defaults",
    "nofail",
];

/// The mount, if its options can be used.
pub(in crate::import) fn sound(mount: Mount) -> Result<Mount, String> {
    let is_unknown = |option: &&String| !OF_BIND.contains(&option.as_str()) && !option.starts_with("x-");
    let Some(option) = mount.options.iter().find(is_unknown).filter(|_| mount.kind == BIND) else {
        return Ok(mount);
    };
    let hint = match nearest(option, OF_BIND) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {}", OF_BIND.join(", ")),
    };
    Err(format!("its type is \"bind\", which has no option {}; {hint}", shown_text(option)))
}

/// What a mount has to say: a target, and a source or a type.
fn complete(
    source: Option<String>,
    target: Option<String>,
    kind: Option<String>,
) -> Result<(String, String, String), &'static str> {
    let target = target.ok_or("it has no target; write target = \"/data\", where it is seen in the guest")?;
    let is_host_path = source.as_ref().is_some_and(|source| value::path(source).is_some());
    let kind = match kind {
        Some(kind) if kind == BIND && !is_host_path => {
            return Err(
                "its type is \"bind\", which needs the absolute path of the host without \"..\" as source",
            );
        }
        Some(kind) => kind,
        None if is_host_path => BIND.to_owned(),
        None => {
            return Err(
                "it has no type and its source is no absolute path without \"..\"; write one of them, \
                 such as type = \"tmpfs\"",
            );
        }
    };
    Ok((source.unwrap_or_else(|| kind.clone()), target, kind))
}

const SOURCE: &str =
    "a path of the host, a device, or the word that a file system wants, without line breaks";

fn source_of(text: &str) -> Option<String> {
    is_line(text).then(|| text.to_owned())
}

const TARGET: &str = "an absolute path inside the guest, below \"/\" and without \"..\"";

/// Where something may be mounted.
pub(in crate::import) fn target_of(text: &str) -> Option<String> {
    super::init::inside(text).filter(|path| path != "/" && is_line(path))
}

const KIND: &str = "a type of file system, such as \"tmpfs\", or \"bind\"";

/// A type of file system, as the kernel and mount(8) name them.
pub(in crate::import) fn kind_of(text: &str) -> Option<String> {
    let is_kind = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    is_kind.then(|| text.to_owned())
}

/// Options, perhaps several in one text, as fstab(5) writes them.
pub(in crate::import) fn options_of(text: &str) -> Result<Vec<String>, &'static str> {
    if !is_line(text) || text.split(',').any(str::is_empty) {
        return Err("an option of mount(8) is a text such as \"ro\" or \"size=64m\"; write it so");
    }
    Ok(text.split(',').map(str::to_owned).collect())
}

/// Text that fits in one line of a table of mounts.
fn is_line(text: &str) -> bool {
    !text.is_empty() && text.len() < 4096 && !text.contains(char::is_control)
}

/// Every value in force.
pub(super) fn rows(mounts: &Option<Sourced<Vec<Mount>>>) -> impl Iterator<Item = Effective> {
    let each = mounts.iter().flat_map(|mounts| mounts.value.iter().map(move |mount| (mount, mounts)));
    each.map(|(mount, mounts)| row(KEY, shown(mount), Some(mounts)))
}

fn shown(mount: &Mount) -> String {
    let [source, target, kind] = [&mount.source, &mount.target, &mount.kind].map(quoted);
    let options = match mount.options.as_slice() {
        [] => String::new(),
        options => format!(", options = {}", list(options)),
    };
    let optional = if mount.optional { ", optional = true" } else { "" };
    format!("{{ source = {source}, target = {target}, type = {kind}{options}{optional} }}")
}
