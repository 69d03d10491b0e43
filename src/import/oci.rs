//! stub
use super::{Layer, Text, native::NativeLayer};
use crate::model::Diagnostic;
use std::path::Path;
/// The name of the file.
pub const FILE: &str = "config.json";
/// A bundle.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    /// l
    pub layer: Layer,
    /// n
    pub native: NativeLayer,
    /// d
    pub diagnostics: Vec<Diagnostic>,
}
/// Reads.
pub fn read(_file: &Path, _text: &Text) -> Bundle {
    Bundle::default()
}
