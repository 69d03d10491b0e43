//! Probes: the keys of `[ready]` and `[health]` that say what a guest is asked, of which each section takes one.

use std::path::PathBuf;

use crate::model::Probe;

use super::{
    Sourced, hook,
    layer::{list, quoted},
    toml::{Document, Field},
    value,
};

/// The keys.
pub(super) const KEYS: [&str; 4] = ["tcp", "exec", "socket", "file"];

/// Reads the value of one of the [`KEYS`]; none for another key.
pub(super) fn read<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Probe>> {
    match field.key {
        "tcp" => document.text(
            field,
            "an address and a port, such as \"10.0.3.5:5432\", \"[fe80::1]:22\" or \"db.example:5432\"",
            "\"10.0.3.5:5432\"",
            |text| value::address(text).map(|(host, port)| Probe::Tcp { host, port }),
        ),
        "exec" => {
            let argv = hook::argv(document, field, "[\"/usr/bin/test\", \"-e\", \"/run/ready\"]")?;
            Some(document.sourced(field, Probe::Exec(argv.into_words())))
        }
        "socket" => path(document, field, "\"/run/postgresql/.s.PGSQL.5432\"", Probe::Socket),
        "file" => path(document, field, "\"/run/ready\"", Probe::File),
        _ => None,
    }
}

fn path<'t>(
    document: &mut Document<'t>,
    field: &Field<'_, 't>,
    example: &str,
    probe: impl FnOnce(PathBuf) -> Probe,
) -> Option<Sourced<Probe>> {
    document.text(field, "an absolute path inside the guest, without \"..\"", example, |text| {
        value::path(text).map(probe)
    })
}

/// The value as TOML writes it.
pub(super) fn shown(probe: &Probe) -> String {
    match probe {
        Probe::Exec(argv) => list(argv),
        Probe::Tcp { .. } | Probe::Socket(_) | Probe::File(_) => quoted(probe.target()),
    }
}

/// Several keys of which a section may have only one.
#[derive(Debug)]
pub(super) struct Choice<T> {
    /// The key that was met first, with its line.
    first: Option<(String, u32)>,
    value: Option<Sourced<T>>,
}

impl<T> Choice<T> {
    /// None is written so far.
    pub(super) fn open() -> Self {
        Self { first: None, value: None }
    }

    /// One of the keys is written, with this value if it can be used. Beside another of them neither counts: whoever
    /// wrote both meant one of the two, and nobody knows which.
    pub(super) fn is<'t>(
        &mut self,
        document: &mut Document<'t>,
        field: &Field<'_, 't>,
        value: Option<Sourced<T>>,
    ) {
        match &self.first {
            None => {
                self.first = Some((field.name(), document.line(field)));
                self.value = value;
            }
            Some((first, line)) => {
                document.error(field, || {
                    format!(
                        "{} contradicts {first} (line {line}): only one of them can be; neither counts, \
                         remove one",
                        field.name()
                    )
                });
                self.value = None;
            }
        }
    }

    /// What was chosen.
    pub(super) fn made(self) -> Option<Sourced<T>> {
        self.value
    }
}
