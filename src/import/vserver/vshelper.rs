//! `apps/vshelper`: read again when a guest calls for its helper. Here it is only looked at, so that what would fail then is
//! known before.

use crate::import::findings::{nearest, source};

use super::{
    files::{DEFAULTS, Fate, row, unfit},
    reading::Reading,
    tree::{Kind, Tree, What},
};

/// Methods that the helper itself has.
const METHODS: [&str; 3] = ["restart", "async", "sync"];
/// What a guest's end, or its wish, is called.
const EVENTS: [&str; 6] = ["restart", "halt", "poweroff", "startup", "shutdown", "oom"];

/// Looks at what the helper will read.
pub(super) fn look(reading: &mut Reading<'_>) {
    events(reading, reading.guest);
    action(reading, reading.guest);
    action(reading, reading.defaults);
}

/// The programs of events, which have to be programs.
fn events(reading: &mut Reading<'_>, tree: &Tree) {
    for event in EVENTS {
        let path = format!("apps/vshelper/{event}");
        let is_text = matches!(
            tree.what(&path),
            Some(What::File { executable: false, .. } | What::Elsewhere { kind: Kind::File, .. })
        );
        if is_text {
            reading.warning(&tree.origin(&path), || {
                "it is not executable, so that the helper leaves it out; make it so (chmod +x), or remove it".into()
            });
        }
    }
}

fn action(reading: &mut Reading<'_>, tree: &Tree) {
    let Some(line) = tree.first("apps/vshelper/action") else { return };
    let method = line.text.as_str();
    let is_name = !method.contains('/') && !method.starts_with('.');
    let own = format!("apps/vshelper-methods/{method}");
    let is_there = match reading.defaults.what(&own) {
        Some(What::File { executable, .. }) => *executable,
        Some(What::Elsewhere { kind, .. }) => *kind == Kind::Program,
        _ => false,
    };
    if METHODS.contains(&method) || (is_name && is_there) {
        return;
    }
    let near = nearest(method, METHODS).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    let folder = reading.defaults.at("apps/vshelper-methods");
    reading.error(&line.origin, || {
        format!(
            "\"{}\" is neither restart, async or sync nor a program in {}{near}; the helper fails with it",
            source(method),
            folder.display()
        )
    });
}

/// What is wrong with the entries of `.defaults` as such, said once for all guests.
pub(super) fn defaults(reading: &mut Reading<'_>) {
    let tree = reading.defaults;
    for (path, node) in &tree.nodes {
        let Some(row) = row(DEFAULTS, path) else { continue };
        if matches!(row.fate, Fate::Used | Fate::Helper)
            && !matches!(node.what, What::Folder)
            && let Some(wrong) = unfit(row.shape, node)
        {
            reading.error(&tree.origin(path), || wrong);
        }
    }
    events(reading, tree);
}
