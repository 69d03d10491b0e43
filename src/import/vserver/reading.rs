//! One guest's folder, while it is read: what it says, and what is found wrong with it.

use std::path::Path;

use crate::{
    import::{
        Effective, Sourced,
        findings::{Findings, source},
        layer::{list, quoted},
    },
    model::{Diagnostic, GuestName, Origin, Severity},
};

use super::tree::{Line, Tree, What};

/// A guest's folder and `.defaults`, while they are read.
pub(super) struct Reading<'t> {
    pub(super) name: &'t GuestName,
    pub(super) guest: &'t Tree,
    pub(super) defaults: &'t Tree,
    findings: Findings,
    /// What was taken, for showing.
    pub(super) effective: Vec<Effective>,
    /// Where something cannot be used that holds the guest.
    pub(super) broken: Option<Origin>,
}

/// What says how much of the host a guest may have. A guest that is held less than was written is worse than one that does not
/// start.
const HOLDS: [&str; 8] =
    ["bcapabilities", "capabilities", "rlimits", "ulimits", "sched", "schedule", "cpuset", "cgroup"];

impl<'t> Reading<'t> {
    pub(super) fn new(name: &'t GuestName, guest: &'t Tree, defaults: &'t Tree) -> Self {
        let findings = Findings::new(guest.folder.clone());
        Self { name, guest, defaults, findings, effective: Vec::new(), broken: None }
    }

    /// The guest's folder.
    pub(super) fn folder(&self) -> &'t Path {
        &self.guest.folder
    }

    /// Whether an entry is there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.guest.has(path)
    }

    /// The first line of a file.
    pub(super) fn scalar(&mut self, path: &str) -> Option<Line> {
        let Some(line) = self.guest.first(path) else {
            if matches!(self.guest.what(path), Some(What::File { .. })) {
                let origin = self.guest.origin(path);
                self.warning(&origin, || {
                    "its first line says nothing; write something, or remove the file".into()
                });
            }
            return None;
        };
        self.show(path, quoted(&line.text), &line.origin);
        Some(line)
    }

    /// The first line of a file, as something; what it cannot be is an error that names what would be.
    pub(super) fn value<T>(
        &mut self,
        path: &str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Sourced<T>> {
        let line = self.scalar(path)?;
        match read(&line.text) {
            Some(value) => Some(Sourced::new(value, line.origin)),
            None => {
                self.wrong(&line, wanted);
                None
            }
        }
    }

    /// The lines of a file that say something.
    pub(super) fn lines(&mut self, path: &str) -> Vec<Line> {
        let lines = self.guest.lines(path);
        if let Some(first) = lines.first() {
            let texts: Vec<_> = lines.iter().take(64).map(|line| &line.text).collect();
            self.show(path, list(&texts), &first.origin);
        }
        lines
    }

    fn show(&mut self, path: &str, value: String, origin: &Origin) {
        self.effective.push(Effective { key: path.to_owned().into(), value, origin: Some(origin.clone()) });
    }

    /// A line that cannot be used.
    pub(super) fn wrong(&mut self, line: &Line, wanted: &str) {
        self.error(&line.origin, || format!("\"{}\" is ignored; write {wanted}", source(&line.text)));
    }

    /// Something cannot be used.
    pub(super) fn error(&mut self, origin: &Origin, message: impl FnOnce() -> String) {
        let below = origin.file.strip_prefix(self.folder()).ok();
        let first = below.and_then(|below| below.components().next());
        if self.broken.is_none()
            && HOLDS.iter().any(|hold| first.is_some_and(|first| first.as_os_str() == *hold))
        {
            self.broken = Some(origin.clone());
        }
        self.findings.push_at(Severity::Error, origin.clone(), message);
    }

    /// Something is used, perhaps not as meant.
    pub(super) fn warning(&mut self, origin: &Origin, message: impl FnOnce() -> String) {
        self.findings.push_at(Severity::Warning, origin.clone(), message);
    }

    /// Something is worth knowing.
    pub(super) fn note(&mut self, origin: &Origin, message: impl FnOnce() -> String) {
        self.findings.push_at(Severity::Note, origin.clone(), message);
    }

    /// All that was found.
    pub(super) fn finish(self) -> (Vec<Effective>, Vec<Diagnostic>) {
        let name = self.name;
        let found = self.findings.finish().into_iter().map(|found| found.about(name)).collect();
        (self.effective, found)
    }
}
