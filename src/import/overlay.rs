//! Overlays: TOML laid over a discovered guest, and the sections that `[defaults]` shares with them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ::toml::de::DeTable;

use crate::model::{
    Auto, Diagnostic, GroupName, Groups, GuestName, Origin, Owner, RebootAction, name::shown,
};

use super::{
    Layer, Sourced, Text, hook,
    native::{self, NativeLayer},
    ready, resource, restart,
    toml::{Document, Field, decode, either},
};

const START: [&str; 9] =
    ["auto", "order", "delay", "group", "after", "wants", "requires", "timeout", "network-online"];
const REBOOT: [&str; 2] = ["action", "limit"];
const STOP: [&str; 1] = ["timeout"];
/// What says when and how a guest is supervised, whatever runs it.
const SHARED: [&str; 9] =
    ["start", "ready", "restart", "health", "reboot", "stop", "hooks", "resources", "owner"];
/// Everything that may stand at the top of every overlay.
const TOP: [&str; 10] = {
    let mut keys = ["engine"; 10];
    let mut at = 0;
    while at < SHARED.len() {
        keys[at] = SHARED[at];
        at += 1;
    }
    keys
};
/// What stands in `[defaults]`. Commands, probes for ever and an owner are each guest's own.
const DEFAULTS: [&str; 6] = ["start", "ready", "restart", "reboot", "stop", "resources"];

/// An overlay, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    /// Its settings.
    pub layer: Layer,
    /// What only native guests have.
    pub native: NativeLayer,
    /// The keys of that, as written.
    pub native_keys: Vec<Sourced<&'static str>>,
    /// The engine it names. A discovered guest has its engine already.
    pub engine: Option<Sourced<String>>,
    /// Where something is lost that may have been part of a native guest itself.
    pub broken: Option<Origin>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads an overlay.
pub fn read(file: impl Into<Arc<Path>>, text: &Text) -> Overlay {
    let file = file.into();
    let mut overlay = Overlay::default();
    let text = decode(&file, text, &mut overlay.diagnostics);
    overlay.broken = overlay.diagnostics.first().map(|lost| lost.origin.clone());
    let known: Vec<_> = TOP.into_iter().chain(native::keys()).collect();
    let mut reader = native::Reader::new();
    let (mut document, table) = Document::parse(file, &text);
    for field in Document::fields("", &table) {
        let before = document.errors();
        if field.key == "engine" {
            overlay.engine =
                document.text(&field, "the name of an engine", "\"native\"", |name| Some(name.to_owned()));
        } else if let Some(key) = native::keys().find(|key| *key == field.key) {
            reader.read(&mut document, &field);
            overlay.native_keys.push(document.sourced(&field, key));
        } else {
            section(&mut document, &field, &mut overlay.layer, &known);
        }
        if overlay.broken.is_none() && document.errors() > before && !SHARED.contains(&field.key) {
            overlay.broken = document.last_error().or_else(|| Some(document.origin(&field)));
        }
    }
    overlay.native = reader.finish();
    overlay.diagnostics.extend(document.finish());
    overlay
}

/// Reads `[defaults]`.
pub(super) fn defaults<'t>(document: &mut Document<'t>, table: &DeTable<'t>) -> Layer {
    let mut layer = Layer::default();
    for field in Document::fields("defaults.", table) {
        section(document, &field, &mut layer, &DEFAULTS);
    }
    layer
}

/// Over a discovered guest, which is such a one, an overlay names no engine.
pub fn refuse_engine(guest: &GuestName, is: &str, overlay: &Overlay) -> Option<Diagnostic> {
    let engine = overlay.engine.as_ref()?;
    let message = format!(
        "engine = \"{}\" cannot stand in an overlay: {guest} is {is} already; remove the line",
        shown(&engine.value)
    );
    Some(Diagnostic::error(engine.origin.clone(), message).about(guest))
}

/// What to say of a file for a guest that was not discovered, and that no file says to be native.
pub fn orphan(guest: &GuestName, file: &Path, overlay: &Overlay) -> Diagnostic {
    let own = overlay.native_keys.first();
    match (&overlay.engine, own) {
        (Some(engine), _) if engine.value != "lxc" => Diagnostic::error(
            engine.origin.clone(),
            format!(
                "this version runs LXC containers and native guests only, so that {guest} with engine = \"{}\" is \
                 ignored; write engine = \"native\", or remove the file",
                shown(&engine.value)
            ),
        ),
        (None, Some(key)) => Diagnostic::error(
            key.origin.clone(),
            format!(
                "{} is a key of native guests, and nothing says that {guest} is one; write engine = \"native\" at \
                 the top",
                key.value
            ),
        ),
        _ => Diagnostic::warning(
            Origin::file(file),
            format!(
                "no container is named {guest}, so that these settings have no effect; create the container or \
                 remove the file"
            ),
        ),
    }
    .about(guest)
}

fn section<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, layer: &mut Layer, known: &[&str]) {
    match field.key {
        key if !known.contains(&key) => stranger(document, field, known),
        "start" => document.section(field, |document, field| start(document, field, layer)),
        "ready" => layer.ready.read(document, field),
        "restart" => layer.restart.read(document, field),
        "health" => layer.health.read(document, field),
        "reboot" => document.section(field, |document, field| reboot(document, field, layer)),
        "stop" => document.section(field, |document, field| match field.key {
            "timeout" => layer.stop_timeout = document.duration(field),
            _ => document.unknown(field, &STOP),
        }),
        "hooks" => hook::read(document, field, &mut layer.hooks),
        "owner" => layer.owner = document.one_of(field, &Owner::ALL),
        "resources" => document.section(field, |document, field| resource::read(document, field, layer)),
        _ => document.unknown(field, known),
    }
}

/// A key that is not known here; perhaps it is elsewhere.
fn stranger<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, known: &[&str]) {
    let (key, above) = (field.key, field.section);
    let homes = homes(key).filter(|section| known.contains(section));
    let heading = |section| match native::LISTS.contains(&section) {
        true => format!("[[{section}]]"),
        false => format!("[{above}{section}]"),
    };
    let homes: Vec<_> = homes.map(heading).collect();
    if !homes.is_empty() {
        document.error(field, || {
            format!("unknown key {}; {key} belongs into the section {}", field.name(), either(&homes))
        });
    } else if ["health", "hooks", "owner"].contains(&key) {
        document.error(field, || {
            format!("unknown key {}; {key} is each guest's own: write it into guests/NAME.toml", field.name())
        });
    } else {
        document.unknown(field, known);
    }
}

/// The sections that a key stands in.
fn homes(key: &str) -> impl Iterator<Item = &'static str> {
    SECTIONS
        .into_iter()
        .chain(native::SECTIONS)
        .filter(move |(_, keys)| keys.contains(&key))
        .map(|(section, _)| section)
}

/// The sections that every guest has, and their keys.
const SECTIONS: [(&str, &[&str]); 8] = [
    ("start", &START),
    ("ready", &ready::READY),
    ("restart", &restart::KEYS),
    ("health", &ready::HEALTH),
    ("reboot", &REBOOT),
    ("stop", &STOP),
    ("hooks", &hook::KEYS),
    ("resources", &resource::KEYS),
];

/// Every key of an overlay with its section, for whoever wants to tell about them; those at the top have none.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let inside = SECTIONS.into_iter().chain(native::SECTIONS);
    let inside = inside.flat_map(|(section, keys)| keys.iter().map(move |key| (section, *key)));
    TOP.into_iter().chain(native::keys()).map(|key| ("", key)).chain(inside)
}

fn start<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, layer: &mut Layer) {
    match field.key {
        "auto" => layer.auto = auto(document, field),
        "order" => layer.order = document.integer(field, "a whole number such as 10 or -1", "10"),
        "delay" => layer.delay = document.duration(field),
        "group" => layer.groups = Some(groups(document, field)),
        "after" => layer.after = guests(document, field),
        "wants" => layer.wants = guests(document, field),
        "requires" => layer.requires = guests(document, field),
        "timeout" => layer.start_timeout = document.patience(field),
        "network-online" => layer.network_online = document.boolean(field),
        _ => document.unknown(field, &START),
    }
}

fn auto<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Auto>> {
    const WANTED: &str = "true, false or \"last-state\"";
    match field.value.get_ref().as_bool() {
        Some(yes) => Some(document.sourced(field, yes.into())),
        None => {
            document.text(field, WANTED, "true", |word| (word == Auto::LAST_STATE).then_some(Auto::LastState))
        }
    }
}

fn reboot<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, layer: &mut Layer) {
    match field.key {
        "action" => {
            layer.reboot_action = document.text(
                field,
                "\"restart\", \"stop\" or the absolute path of a script",
                "\"restart\"",
                |text| match text {
                    "restart" => Some(RebootAction::Restart),
                    "stop" => Some(RebootAction::Stop),
                    path if path.starts_with('/') && !path.contains('\0') => {
                        Some(RebootAction::Script(PathBuf::from(path)))
                    }
                    _ => None,
                },
            );
        }
        "limit" => layer.reboot_limit = document.limit(field, "\"5/1m\""),
        _ => document.unknown(field, &REBOOT),
    }
}

/// Whoever wrote groups did not mean the null group, also when none of them can be used.
fn groups<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Sourced<Groups> {
    let groups = match document.list(field, "[\"web\"]", GroupName::new).map(distinct) {
        Some(names) if names.value.is_empty() => Groups::Null,
        names => Groups::In(names.map_or_else(Vec::new, |names| names.value)),
    };
    document.sourced(field, groups)
}

fn guests<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Vec<GuestName>>> {
    document.list(field, "[\"db\"]", GuestName::new).map(distinct)
}

/// Keeps the first of equal elements.
fn distinct<T: PartialEq>(mut list: Sourced<Vec<T>>) -> Sourced<Vec<T>> {
    let mut kept = Vec::with_capacity(list.value.len());
    for value in list.value.drain(..) {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    list.value = kept;
    list
}

#[cfg(test)]
mod tests;
