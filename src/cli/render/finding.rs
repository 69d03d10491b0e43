//! What is wrong with the configuration, and where values come from: `guestctl check` and `guestctl cat`.

use serde::Serialize;

use super::{Style, counted, plain};
use crate::{
    import::Effective,
    model::{Diagnostic, Severity},
};

/// Findings in their order, one a line, and how many there are.
pub fn findings(style: Style, findings: &[Diagnostic], guests: usize) -> String {
    let mut out = String::new();
    for finding in findings {
        let colour = match finding.severity {
            Severity::Error => super::colour_of("failed"),
            Severity::Warning => super::colour_of("waiting"),
            Severity::Note => None,
        };
        let severity = style.paint(colour, &finding.severity.to_string());
        let origin = plain(&finding.origin.to_string());
        out.push_str(&format!("{origin}: {severity}: {}\n", plain(&finding.message)));
    }
    out.push_str(&format!("{}\n", totals(findings, guests)));
    out
}

fn totals(findings: &[Diagnostic], guests: usize) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Note));
    let notes = if notes == 0 { String::new() } else { format!(", {}", counted(notes, "note")) };
    format!(
        "{}, {}{notes} in {}",
        counted(errors, "error"),
        counted(warnings, "warning"),
        counted(guests, "guest")
    )
}

/// A finding as JSON.
#[derive(Debug, Serialize)]
pub struct FindingJson<'a> {
    severity: Severity,
    file: String,
    line: Option<u32>,
    guest: Option<&'a str>,
    message: &'a str,
}

impl<'a> From<&'a Diagnostic> for FindingJson<'a> {
    fn from(finding: &'a Diagnostic) -> Self {
        Self {
            severity: finding.severity,
            file: finding.origin.file.display().to_string(),
            line: finding.origin.line,
            guest: finding.guest.as_ref().map(|guest| guest.as_str()),
            message: &finding.message,
        }
    }
}

/// Values as lines of settings, each with its origin behind a `#`, aligned.
pub fn values(values: &[Effective]) -> String {
    let said: Vec<_> =
        values.iter().map(|value| plain(&format!("{} = {}", value.key, value.value))).collect();
    // A long value does not push all the others' origins off the screen.
    let width = said.iter().map(|text| text.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let origin = |value: &Effective| {
        value.origin.as_ref().map_or("default".to_owned(), |origin| plain(&origin.to_string()))
    };
    let lines = said.iter().zip(values);
    lines.map(|(text, value)| format!("{text:<width$}  # {}\n", origin(value))).collect()
}

/// A value as JSON.
#[derive(Debug, Serialize)]
pub struct ValueJson<'a> {
    key: &'a str,
    value: &'a str,
    file: Option<String>,
    line: Option<u32>,
}

impl<'a> From<&'a Effective> for ValueJson<'a> {
    fn from(value: &'a Effective) -> Self {
        let origin = value.origin.as_ref();
        Self {
            key: &value.key,
            value: &value.value,
            file: origin.map(|origin| origin.file.display().to_string()),
            line: origin.and_then(|origin| origin.line),
        }
    }
}
