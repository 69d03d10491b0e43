//! What is wrong with a file, and where.

use std::{fmt, path::Path, sync::Arc};

use super::name::GuestName;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1; none when the whole file is meant.
    pub line: Option<u32>,
}

impl Origin {
    /// The whole of a file.
    pub fn file(file: impl Into<Arc<Path>>) -> Self {
        Self { file: file.into(), line: None }
    }

    /// A line of a file, counted from 1.
    pub fn line(file: impl Into<Arc<Path>>, line: u32) -> Self {
        Self { file: file.into(), line: Some(line) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file.display()),
            None => write!(f, "{}", self.file.display()),
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something could not be used.
    Error,
    /// It was used, perhaps not as meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding: where, how bad, what, and what to do. `FILE:LINE: SEVERITY: MESSAGE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub origin: Origin,
    /// Which guest it concerns, where it concerns one.
    pub guest: Option<GuestName>,
    /// What is wrong and how to mend it; lower case, no full stop.
    pub message: String,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, origin, guest: None, message: message.into() }
    }

    /// A warning at a place.
    pub fn warning(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, origin, guest: None, message: message.into() }
    }

    /// A note at a place.
    pub fn note(origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, origin, guest: None, message: message.into() }
    }

    /// The same, about a guest.
    #[must_use]
    pub fn about(mut self, guest: &GuestName) -> Self {
        self.guest = Some(guest.clone());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.severity, self.message)
    }
}
