//! TOML with places: each value is taken by itself, so that a bad one never loses the others, and each finding has its
//! line.

use std::{fmt::Display, ops::Range, path::Path, sync::Arc, time::Duration};

use ::toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::model::{Diagnostic, Limit, Origin, name::shown};

use super::{
    LIST_MAX, Sourced, Text,
    findings::{Findings, nearest, source},
    value,
};

/// A file being read.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    findings: Findings,
}

/// One `key = value`.
#[derive(Debug, Clone)]
pub struct Field<'v, 't> {
    /// The section it stands in, with a dot at the end; empty at the top.
    pub section: &'v str,
    /// Its key.
    pub key: &'v str,
    /// Its value.
    pub value: &'v Spanned<DeValue<'t>>,
    at: Range<usize>,
}

impl<'v, 't> Field<'v, 't> {
    /// Section and key.
    pub fn name(&self) -> String {
        format!("{}{}", self.section, shown(self.key))
    }

    /// One element of its value, under its name.
    pub fn element(&self, element: &'v Spanned<DeValue<'t>>) -> Self {
        Self { value: element, at: element.span(), ..self.clone() }
    }
}

/// Text for [`Document`]. What is not UTF-8 is replaced and what is not TOML is taken out line by line, and reported.
pub fn decode(file: &Arc<Path>, text: &Text, diagnostics: &mut Vec<Diagnostic>) -> String {
    let mut findings = Findings::new(Arc::clone(file));
    if text.cut {
        findings.error(None, || "the file is larger than 1 MiB; its end is ignored; shorten it".into());
    }
    let mut decoded = match std::str::from_utf8(&text.bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            findings.error(line_at(&text.bytes, error.valid_up_to()), || {
                "the file is not valid UTF-8, which TOML requires; write it in UTF-8".into()
            });
            String::from_utf8_lossy(&text.bytes).into_owned()
        }
    };
    repair(&mut decoded, &mut findings);
    diagnostics.extend(findings.finish());
    decoded
}

/// Blanks each line that cannot be parsed, so that the others keep their meaning and their place; with the heading of a
/// section goes the whole section, whose settings would else fall to the section above. When it shows only later that
/// something is wrong, as with a bracket that is never closed, the last line before that goes.
fn repair(text: &mut String, findings: &mut Findings) {
    /// A file with more broken lines than this is not TOML at all.
    const MOST: usize = 20;
    for _ in 0..MOST {
        let Err(error) = DeTable::parse(text) else { return };
        let at = error.span().map_or(text.len(), |span| span.start.min(text.len()));
        let end =
            text.as_bytes()[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end);
        let end = text[..end].trim_end_matches([' ', '\t', '\n', '\r']).len();
        let start = text[..end].rfind('\n').map_or(0, |start| start + 1);
        if start == end {
            break;
        }
        let (end, what) = match is_heading(&text[start..end]) {
            true => (end + section_length(&text[end..]), "section"),
            false => (end, "line"),
        };
        findings.error(line_at(text.as_bytes(), start), || {
            format!("not valid TOML: {}; the {what} is ignored; mend it", error.message().replace('\n', "; "))
        });
        let blank: String = text[start..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(start..end, &blank);
    }
    if DeTable::parse(text).is_err() {
        findings.error(None, || "the file is not TOML and is ignored; mend or remove it".into());
        text.clear();
    }
}

/// Whether a line that cannot be parsed was meant to begin a section: one of its brackets may be missing.
fn is_heading(line: &str) -> bool {
    let line = line.trim();
    let bare = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    line.starts_with('[') || line.strip_suffix(']').is_some_and(|name| !name.is_empty() && bare(name))
}

/// How much of this text comes before the next heading.
fn section_length(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            break;
        }
        length += line.len();
    }
    length
}

/// The line, counted from 1, that a place is in.
fn line_at(text: &[u8], at: usize) -> u32 {
    u32::try_from(1 + text[..at].iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u32::MAX)
}

impl<'t> Document<'t> {
    /// Reads text that [`decode`] has made.
    pub fn parse(file: Arc<Path>, text: &'t str) -> (Self, DeTable<'t>) {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let table = DeTable::parse(text).map(Spanned::into_inner).unwrap_or_default();
        (Self { text, lines, findings: Findings::new(file) }, table)
    }

    /// Reads the fields of a section.
    pub fn section(&mut self, section: &Field<'_, 't>, mut read: impl FnMut(&mut Self, &Field<'_, 't>)) {
        if let Some(table) = self.table(section) {
            for field in Self::fields(&format!("{}.", section.name()), table) {
                read(self, &field);
            }
        }
    }

    /// Everything found wrong.
    pub fn finish(self) -> Vec<Diagnostic> {
        self.findings.finish()
    }

    /// How many errors were found so far.
    pub fn errors(&self) -> u32 {
        self.findings.errors()
    }

    /// Where the last error is, as far as errors are kept.
    pub fn last_error(&self) -> Option<Origin> {
        self.findings.last_error().map(|error| error.origin.clone())
    }

    /// The fields of a table, in the order written.
    pub fn fields<'v>(section: &'v str, table: &'v DeTable<'t>) -> impl Iterator<Item = Field<'v, 't>> {
        table.iter().map(move |(key, value)| Field {
            section,
            key: key.get_ref().as_ref(),
            value,
            at: key.span(),
        })
    }

    /// The line that a field is in.
    pub fn line(&self, field: &Field<'_, 't>) -> u32 {
        u32::try_from(self.lines.partition_point(|start| *start <= field.at.start)).unwrap_or(u32::MAX)
    }

    /// Where a field is.
    pub fn origin(&self, field: &Field<'_, 't>) -> Origin {
        self.findings.origin(Some(self.line(field)))
    }

    /// A field cannot be used.
    pub fn error(&mut self, field: &Field<'_, 't>, message: impl FnOnce() -> String) {
        let line = self.line(field);
        self.findings.error(line, message);
    }

    /// A field is used, or left alone, perhaps not as meant.
    pub fn warning(&mut self, field: &Field<'_, 't>, message: impl FnOnce() -> String) {
        let line = self.line(field);
        self.findings.warning(line, message);
    }

    /// A field that nobody knows.
    pub fn unknown(&mut self, field: &Field<'_, 't>, known: &[&str]) {
        self.error(field, || match nearest(field.key, known.iter().copied()) {
            Some(near) => format!("unknown key {}; did you mean {}{near}?", field.name(), field.section),
            None => format!("unknown key {}; known here: {}", field.name(), known.join(", ")),
        });
    }

    /// A list whose every element was refused.
    pub fn nothing_left(&mut self, field: &Field<'_, 't>) {
        let name = field.name();
        self.error(field, || format!("{name} is ignored, since nothing in it can be used; mend that"));
    }

    /// A value of the wrong type, or outside what is allowed.
    pub fn wrong<T>(&mut self, field: &Field<'_, 't>, wanted: &str, example: &str) -> Option<T> {
        let found = source(self.text.get(field.value.span()).unwrap_or_default());
        self.error(field, || {
            format!("{} must be {wanted}, not {found}; write {} = {example}", field.name(), shown(field.key))
        });
        None
    }

    /// A value with its place.
    pub fn sourced<T>(&self, field: &Field<'_, 't>, value: T) -> Sourced<T> {
        Sourced::new(value, self.origin(field))
    }

    /// A section.
    pub fn table<'v>(&mut self, field: &Field<'v, 't>) -> Option<&'v DeTable<'t>> {
        match field.value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                let name = field.name();
                self.error(field, || format!("{name} is a section; write [{name}] and its keys below"));
                None
            }
        }
    }

    /// True or false.
    pub fn boolean(&mut self, field: &Field<'_, 't>) -> Option<Sourced<bool>> {
        match field.value.get_ref().as_bool() {
            Some(value) => Some(self.sourced(field, value)),
            None => self.wrong(field, "true or false", "true"),
        }
    }

    /// A whole number within bounds.
    pub fn integer<T: TryFrom<i64>>(
        &mut self,
        field: &Field<'_, 't>,
        wanted: &str,
        example: &str,
    ) -> Option<Sourced<T>> {
        match whole(field.value.get_ref()).and_then(|number| T::try_from(number).ok()) {
            Some(value) => Some(self.sourced(field, value)),
            None => self.wrong(field, wanted, example),
        }
    }

    /// How many of something, of which there is at least one.
    pub fn count(&mut self, field: &Field<'_, 't>, example: &str) -> Option<Sourced<u32>> {
        const WANTED: &str = "a whole number of at least 1";
        match self.integer(field, WANTED, example)? {
            Sourced { value: 0, .. } => self.wrong(field, WANTED, example),
            number => Some(number),
        }
    }

    /// A duration: seconds, or text with units.
    pub fn duration(&mut self, field: &Field<'_, 't>) -> Option<Sourced<Duration>> {
        let duration = match field.value.get_ref() {
            DeValue::String(text) => value::duration(text),
            other => whole(other).and_then(value::seconds),
        };
        match duration {
            Some(value) => Some(self.sourced(field, value)),
            None => self.wrong(field, "a number of seconds or a duration such as \"1m 30s\"", "\"5s\""),
        }
    }

    /// A duration that `is_allowed`.
    pub fn duration_where(
        &mut self,
        field: &Field<'_, 't>,
        is_allowed: impl FnOnce(Duration) -> bool,
        wanted: &str,
        example: &str,
    ) -> Option<Sourced<Duration>> {
        let duration = self.duration(field)?;
        if is_allowed(duration.value) { Some(duration) } else { self.wrong(field, wanted, example) }
    }

    /// A time that something may take: zero would mean that it can never be done.
    pub fn patience(&mut self, field: &Field<'_, 't>) -> Option<Sourced<Duration>> {
        self.duration_where(field, |duration| !duration.is_zero(), "longer than zero", "\"90s\"")
    }

    /// A limit.
    pub fn limit(&mut self, field: &Field<'_, 't>, example: &str) -> Option<Sourced<Limit>> {
        self.text(field, "a count and a time, neither of them zero", example, value::limit)
    }

    /// One of these words.
    pub fn one_of<T: Copy + Display>(&mut self, field: &Field<'_, 't>, words: &[T]) -> Option<Sourced<T>> {
        let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let wanted = either(&quoted);
        let example = quoted.first().map_or("", |first| first);
        self.text(field, &wanted, example, |text| words.iter().copied().find(|word| word.to_string() == text))
    }

    /// Text that `read` understands.
    pub fn text<T>(
        &mut self,
        field: &Field<'_, 't>,
        wanted: &str,
        example: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Sourced<T>> {
        match field.value.get_ref().as_str().and_then(read) {
            Some(value) => Some(self.sourced(field, value)),
            None => self.wrong(field, wanted, example),
        }
    }

    /// A whole number, or text: both as text that `read` understands.
    pub fn word<T>(
        &mut self,
        field: &Field<'_, 't>,
        wanted: &str,
        example: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Sourced<T>> {
        match whole(field.value.get_ref()).map(|number| number.to_string()) {
            Some(number) => match read(&number) {
                Some(value) => Some(self.sourced(field, value)),
                None => self.wrong(field, wanted, example),
            },
            None => self.text(field, wanted, example, read),
        }
    }

    /// A list of texts, or one text; an element that `read` refuses is reported and left out. Where it refuses all of
    /// them, so is the list.
    pub fn list<T, E: Display>(
        &mut self,
        field: &Field<'_, 't>,
        example: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Sourced<Vec<T>>> {
        const WANTED: &str = "a list of texts";
        let elements: Vec<_> = match field.value.get_ref() {
            DeValue::String(_) => vec![field.value],
            DeValue::Array(array) => array.iter().collect(),
            _ => return self.wrong(field, WANTED, example),
        };
        if elements.len() > LIST_MAX {
            let wanted = format!("at most {LIST_MAX} texts");
            return self.wrong(field, &wanted, example);
        }
        let is_empty = elements.is_empty();
        let mut values = Vec::new();
        for element in elements {
            let element = field.element(element);
            match element.value.get_ref().as_str().map(&read) {
                Some(Ok(value)) => values.push(value),
                Some(Err(error)) => {
                    self.error(&element, || format!("an element of {} is ignored: {error}", element.name()));
                }
                None => self.wrong(&element, WANTED, example).unwrap_or(()),
            }
        }
        if values.is_empty() && !is_empty {
            self.nothing_left(field);
            return None;
        }
        Some(self.sourced(field, values))
    }
}

/// These, of which one is meant: `a, b or c`.
pub fn either(choices: &[String]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

fn whole(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
