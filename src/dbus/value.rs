//! What D-Bus can carry: text without NUL, time in microseconds.
//!
//! Guests and the files of others have a say in some of this text, and a bus cuts off whoever sends it a NUL.

use std::{path::Path, time::Duration};

use super::errors::Error;

/// Text as D-Bus can carry it: a NUL becomes the replacement character.
pub fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A path as D-Bus can carry it; what is not UTF-8 is replaced.
pub fn path(path: &Path) -> String {
    text(&path.to_string_lossy())
}

/// Names, which are known to be clean.
pub fn names<T: ToString>(names: &[T]) -> Vec<String> {
    names.iter().map(T::to_string).collect()
}

/// A duration in microseconds; saturates.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The text of a JSON object of `describe`, in which a NUL is escaped.
///
/// # Errors
/// None in practice: every map in it has strings as keys.
pub fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Bus(zbus::Error::Failure(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_not_sent() {
        assert_eq!(text("a\0b"), "a\u{fffd}b");
        assert_eq!(path(Path::new("/srv/\0")), "/srv/\u{fffd}");
        assert_eq!(json(&"a\0b").unwrap(), "\"a\\u0000b\"");
    }

    #[test]
    fn durations_saturate() {
        assert_eq!(micros(Duration::from_millis(1500)), 1_500_000);
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }
}
