//! `[hooks]`: commands as lists of words.

use std::collections::BTreeMap;

use ::toml::de::DeValue;

use crate::model::{Argv, HookStage, Hooks};

use super::{
    Effective, Sourced,
    layer::{list, row},
    toml::{Document, Field},
};

/// Its keys.
pub(super) const KEYS: [&str; 5] = {
    let mut keys = [""; 5];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = HookStage::ALL[at].as_str();
        at += 1;
    }
    keys
};

const EXAMPLE: &str = "[[\"/usr/local/bin/mount-data\", \"web\"]]";

/// What one source says in `[hooks]`.
pub type HooksLayer = BTreeMap<HookStage, Sourced<Vec<Argv>>>;

/// Reads the section.
pub(super) fn read<'t>(document: &mut Document<'t>, section: &Field<'_, 't>, layer: &mut HooksLayer) {
    document.section(section, |document, field| {
        match HookStage::ALL.into_iter().find(|stage| stage.as_str() == field.key) {
            Some(stage) => layer.extend(commands(document, field).map(|commands| (stage, commands))),
            None => document.unknown(field, &KEYS),
        }
    });
}

/// The commands of a stage; one that is none is reported and left out. Where all of them are, so is the list.
fn commands<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Vec<Argv>>> {
    let elements = match field.value.get_ref() {
        DeValue::Array(elements) if elements.iter().all(|element| element.get_ref().is_array()) => elements,
        _ => {
            const WANTED: &str = "a list of commands, each a list of a program and its arguments";
            return document.wrong(field, WANTED, EXAMPLE);
        }
    };
    if elements.len() > Hooks::MAX {
        return document.wrong(field, &format!("at most {} commands", Hooks::MAX), EXAMPLE);
    }
    let mut commands = Vec::new();
    for element in elements {
        commands.extend(argv(document, &field.element(element), EXAMPLE));
    }
    if commands.is_empty() && !elements.is_empty() {
        document.nothing_left(field);
        return None;
    }
    Some(document.sourced(field, commands))
}

/// A command: a list of words.
pub(super) fn argv<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, example: &str) -> Option<Argv> {
    let words = field.value.get_ref().as_array().and_then(|words| {
        words.iter().map(|word| Some(word.get_ref().as_str()?.to_owned())).collect::<Option<Vec<_>>>()
    });
    let Some(words) = words else {
        return document.wrong(field, "a list of texts, a program and its arguments", example);
    };
    match Argv::new(words) {
        Ok(argv) => Some(argv),
        Err(error) => {
            document.error(field, || format!("a command of {} is ignored: {error}", field.name()));
            None
        }
    }
}

/// The setting; a stage of which nothing is said has no commands.
pub(super) fn settled(layer: &HooksLayer) -> Hooks {
    let of = |stage| layer.get(&stage).map_or_else(Vec::new, |commands| commands.value.clone());
    Hooks {
        pre_start: of(HookStage::PreStart),
        post_start: of(HookStage::PostStart),
        pre_stop: of(HookStage::PreStop),
        post_stop: of(HookStage::PostStop),
        on_failure: of(HookStage::OnFailure),
    }
}

/// Every value in force.
pub(super) fn rows(layer: &HooksLayer) -> impl Iterator<Item = Effective> {
    HookStage::ALL.into_iter().map(|stage| {
        let written = layer.get(&stage);
        let commands = written.map_or(&[][..], |written| &written.value);
        let shown: Vec<_> = commands.iter().map(|argv| list(argv)).collect();
        row(format!("hooks.{stage}"), format!("[{}]", shown.join(", ")), written)
    })
}
