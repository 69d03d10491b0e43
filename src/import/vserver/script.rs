//! `scripts`: programs of the host around a guest's start and stop.

use crate::model::{Deed, Place, Step};

use super::{
    files::is_leftover,
    reading::Reading,
    tree::{Kind, Tree, What},
};

/// The shell that runs scripts which are no programs.
const SHELL: &str = "/bin/sh";

/// When scripts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Initialize,
    PrepreStart,
    PreStart,
    PostStart,
    PreStop,
    PostStop,
    PostpostStop,
}

impl Stage {
    /// Its name, which is that of its file.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::PrepreStart => "prepre-start",
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
            Self::PostStop => "post-stop",
            Self::PostpostStop => "postpost-stop",
        }
    }

    /// A start that a script refuses is undone; a stop goes on whatever they say.
    const fn must_succeed(self) -> bool {
        matches!(self, Self::Initialize | Self::PrepreStart | Self::PreStart | Self::PostStart)
    }
}

/// The scripts of a stage: the guest's own; those of `.defaults` where it has none, or where one of its own that is meant for
/// the shell asks for them.
pub(super) fn steps(reading: &mut Reading<'_>, stage: Stage) -> Vec<Step> {
    let own = of_tree(reading, reading.guest, stage);
    let mut steps = own.steps;
    if steps.is_empty() || own.keeps_defaults {
        steps.extend(of_tree(reading, reading.defaults, stage).steps);
    }
    steps
}

/// The scripts of one folder.
#[derive(Default)]
struct Found {
    steps: Vec<Step>,
    keeps_defaults: bool,
}

fn of_tree(reading: &mut Reading<'_>, tree: &Tree, stage: Stage) -> Found {
    let word = stage.as_str();
    let (single, folder) = (format!("scripts/{word}"), format!("scripts/{word}.d"));
    let more = tree.names(&folder).map(|name| format!("{folder}/{name}"));
    let mut found = Found::default();
    for path in std::iter::once(single).chain(more).filter(|path| !is_leftover(path)) {
        let (is_program, text) = match tree.what(&path) {
            Some(What::File { text, executable }) => (*executable, text.bytes.as_slice()),
            Some(What::Elsewhere { kind: Kind::Program, .. }) => (true, &b""[..]),
            Some(What::Elsewhere { kind: Kind::File, .. }) => (false, &b""[..]),
            _ => continue,
        };
        if !is_program {
            sourced(reading, tree, &path);
            found.keeps_defaults |= asks_for_defaults(text);
        }
        found.steps.push(step(reading, tree, stage, &path, is_program));
    }
    found
}

fn step(reading: &Reading<'_>, tree: &Tree, stage: Stage, path: &str, is_program: bool) -> Step {
    let script = tree.at(path).to_string_lossy().into_owned();
    let mut argv = vec![script, stage.as_str().to_owned(), reading.name.to_string()];
    if !is_program {
        argv.insert(0, SHELL.to_owned());
    }
    let directory = match stage {
        Stage::Initialize | Stage::PrepreStart => Place::Folder(reading.folder().to_owned()),
        _ => Place::Root,
    };
    let short = path.strip_prefix("scripts/").unwrap_or(path);
    let is_default = std::ptr::eq(tree, reading.defaults);
    Step {
        name: if is_default { format!(".defaults {short}") } else { short.to_owned() },
        what: Deed::Run { argv, directory, success: Vec::new() },
        must_succeed: stage.must_succeed(),
    }
}

fn sourced(reading: &mut Reading<'_>, tree: &Tree, path: &str) {
    reading.warning(&tree.origin(path), || {
        "the script is not executable: util-vserver would have read it into its own shell, where it could change what \
         follows; here it is run by /bin/sh and cannot; make it executable if that is enough (chmod +x)"
            .into()
    });
}

/// Whether a script sets `DONT_SKIP_DEFAULTS` to something.
fn asks_for_defaults(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let sets = |line: &str| {
        let line = line.trim_start();
        let value =
            line.strip_prefix("export ").unwrap_or(line).trim_start().strip_prefix("DONT_SKIP_DEFAULTS=");
        value.is_some_and(|value| !value.starts_with(char::is_whitespace) && !value.trim().is_empty())
    };
    text.lines().any(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_ask_for_defaults_by_a_variable() {
        for (text, expected) in [
            ("DONT_SKIP_DEFAULTS=1\n", true),
            ("#!/bin/sh\n  export DONT_SKIP_DEFAULTS=yes", true),
            ("# DONT_SKIP_DEFAULTS=1\n", false),
            ("DONT_SKIP_DEFAULTS=\n", false),
            ("echo $DONT_SKIP_DEFAULTS\n", false),
            ("\u{0}\n", false),
        ] {
            assert_eq!(asks_for_defaults(text.as_bytes()), expected, "{text:?}");
        }
    }
}
