//! What is found wrong with one file, or one folder, while it is read; bounded, since a guest may own the file.

use std::{path::Path, sync::Arc};

use crate::model::{Diagnostic, Origin, Severity, name::clip};

/// The most findings of one severity that are kept of one file.
const MOST: u32 = 50;

/// The findings about one file, or one folder.
#[derive(Debug)]
pub struct Findings {
    file: Arc<Path>,
    list: Vec<Diagnostic>,
    counts: [u32; 3],
}

impl Findings {
    /// None yet.
    pub fn new(file: Arc<Path>) -> Self {
        Self { file, list: Vec::new(), counts: [0; 3] }
    }

    /// The file.
    pub fn file(&self) -> &Arc<Path> {
        &self.file
    }

    /// A line of the file, or the whole file.
    pub fn origin(&self, line: Option<u32>) -> Origin {
        Origin { file: Arc::clone(&self.file), line }
    }

    /// Something cannot be used.
    pub fn error(&mut self, line: impl Into<Option<u32>>, message: impl FnOnce() -> String) {
        self.push(Severity::Error, line.into(), message);
    }

    /// Something is used, perhaps not as meant.
    pub fn warning(&mut self, line: impl Into<Option<u32>>, message: impl FnOnce() -> String) {
        self.push(Severity::Warning, line.into(), message);
    }

    /// Something is worth knowing.
    pub fn note(&mut self, line: impl Into<Option<u32>>, message: impl FnOnce() -> String) {
        self.push(Severity::Note, line.into(), message);
    }

    /// Keeps one finding, if there is room.
    pub fn push(&mut self, severity: Severity, line: Option<u32>, message: impl FnOnce() -> String) {
        self.push_at(severity, self.origin(line), message);
    }

    /// Keeps one finding of a place, if there is room: where the findings are those of a folder, in one of its files.
    pub fn push_at(&mut self, severity: Severity, origin: Origin, message: impl FnOnce() -> String) {
        let count = &mut self.counts[severity as usize];
        *count = count.saturating_add(1);
        if *count <= MOST {
            self.list.push(Diagnostic { severity, origin, guest: None, message: message() });
        }
    }

    /// How many errors were found, kept or not.
    pub fn errors(&self) -> u32 {
        self.counts[Severity::Error as usize]
    }

    /// The last error that is kept.
    pub fn last_error(&self) -> Option<&Diagnostic> {
        self.list.iter().rfind(|found| found.severity == Severity::Error)
    }

    /// All that is kept, and a note of how much is not.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        let left_out: u32 = self.counts.iter().map(|count| count.saturating_sub(MOST)).sum();
        if left_out > 0 {
            self.list.push(Diagnostic::note(
                self.origin(None),
                format!("{left_out} more problems are not shown; mend the first ones and look again"),
            ));
        }
        self.list
    }
}

/// A piece of a file for a message. It has quotes of its own, and stays as it is written as far as that is harmless.
pub fn source(text: &str) -> String {
    clip(text, 40, &['"', '\'', '\\'])
}

/// The known name nearest to a mistaken one, if one is near at all.
pub fn nearest<'k>(mistaken: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// No name that is known is nearly as long; comparing costs the square of the length.
    const LONGEST: usize = 64;
    if mistaken.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(mistaken, name), name))
        .filter(|(distance, name)| *distance <= (name.len() / 4).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let known = ["auto", "order", "delay", "group"];
        assert_eq!(nearest("ordr", known), Some("order"));
        assert_eq!(nearest("autos", known), Some("auto"));
        assert_eq!(nearest("memory-limit", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }

    #[test]
    fn a_flood_is_bounded_by_severity_and_counted() {
        let mut findings = Findings::new(Path::new("/f").into());
        for line in 0..1000 {
            findings.warning(line, || "w".into());
        }
        findings.error(1001, || "e".into());
        let list = findings.finish();
        assert_eq!(list.len(), 52);
        assert_eq!(list[50].severity, Severity::Error);
        assert!(list[51].message.starts_with("950 more problems"), "{}", list[51].message);
    }
}
