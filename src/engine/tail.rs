//! The last lines of a console, for a guest that has to be killed.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use super::lines::Lines;
use crate::model::name::clipped;

/// So much of its end is looked at, in bytes,
const END: u64 = 4096;
/// and so many lines of that are told, each with so many characters.
const LINES: usize = 5;
const LENGTH: usize = 200;

/// The last lines of what a guest has written on its console into this file, oldest first, escaped. None where there is
/// no such file.
pub fn last_lines(path: &Path) -> Vec<String> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let length = file.metadata().map_or(0, |found| found.len());
    let begin = length.saturating_sub(END);
    let mut end = vec![0; usize::try_from(length - begin).unwrap_or_default()];
    if file.read_exact_at(&mut end, begin).is_err() {
        return Vec::new();
    }
    // The first line is cut off.
    let skipped =
        if begin == 0 { 0 } else { end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
    let (mut lines, mut told) = (Lines::default(), Vec::new());
    let mut tell = |line: &str| told.push(clipped(line, LENGTH));
    lines.take(&end[skipped..], &mut tell);
    lines.flush(&mut tell);
    told.retain(|line| !line.is_empty());
    told.split_off(told.len().saturating_sub(LINES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_told_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.log");
        assert_eq!(last_lines(&path), Vec::<String>::new());
        std::fs::write(&path, "one\r\n\x1b[1mtwo\x1b[0m\r\nlogin: ").unwrap();
        assert_eq!(last_lines(&path), ["one", "two", "login:"]);
        let many: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, many).unwrap();
        let last: Vec<String> = (9995..10_000).map(|number| format!("line {number}")).collect();
        assert_eq!(last_lines(&path), last);
        std::fs::write(&path, "x".repeat(100_000)).unwrap();
        let lines = last_lines(&path);
        assert!(!lines.is_empty() && lines.iter().all(|line| line.len() <= LENGTH + 3), "{lines:?}");
    }
}
