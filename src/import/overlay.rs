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
    Layer, Sourced, Text, hook, ready, resource, restart,
    toml::{Document, Field, decode, either},
};

const START: [&str; 9] =
    ["auto", "order", "delay", "group", "after", "wants", "requires", "timeout", "network-online"];
const REBOOT: [&str; 2] = ["action", "limit"];
const STOP: [&str; 1] = ["timeout"];
/// Everything that may stand at the top of an overlay.
const TOP: [&str; 10] =
    ["start", "ready", "restart", "health", "reboot", "stop", "hooks", "resources", "owner", "engine"];
/// What stands in `[defaults]`. Commands, probes for ever and an owner are each guest's own.
const DEFAULTS: [&str; 6] = ["start", "ready", "restart", "reboot", "stop", "resources"];

/// An overlay, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overlay {
    /// Its settings.
    pub layer: Layer,
    /// The engine it names. A discovered guest has its engine already.
    pub engine: Option<Sourced<String>>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads an overlay.
pub fn read(file: impl Into<Arc<Path>>, text: &Text) -> Overlay {
    let file = file.into();
    let mut overlay = Overlay::default();
    let text = decode(&file, text, &mut overlay.diagnostics);
    let (mut document, table) = Document::parse(file, &text);
    for field in Document::fields("", &table) {
        if field.key == "engine" {
            overlay.engine =
                document.text(&field, "the name of an engine", "\"native\"", |name| Some(name.to_owned()));
        } else {
            section(&mut document, &field, &mut overlay.layer, &TOP);
        }
    }
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

/// Over a discovered guest an overlay names no engine.
pub fn refuse_engine(guest: &GuestName, overlay: &Overlay) -> Option<Diagnostic> {
    let engine = overlay.engine.as_ref()?;
    let message = format!(
        "engine = \"{}\" cannot stand in an overlay: {guest} is an LXC container already; remove the line",
        shown(&engine.value)
    );
    Some(Diagnostic::error(engine.origin.clone(), message).about(guest))
}

/// What to say of a file for a guest that was not discovered.
pub fn orphan(guest: &GuestName, file: &Path, overlay: &Overlay) -> Diagnostic {
    match &overlay.engine {
        Some(engine) if engine.value != "lxc" => Diagnostic::error(
            engine.origin.clone(),
            format!(
                "this version runs LXC containers only, so that {guest} with engine = \"{}\" is ignored; remove the file",
                shown(&engine.value)
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
    let homes: Vec<_> = homes.map(|section| format!("[{above}{section}]")).collect();
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
    SECTIONS.into_iter().filter(move |(_, keys)| keys.contains(&key)).map(|(section, _)| section)
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
