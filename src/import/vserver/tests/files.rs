//! The table of files: nothing in it is forgotten.

use super::*;
use crate::import::vserver::files::{Fate, GUEST, Shape};

/// What is good for a file whose content matters.
fn content(path: &str) -> &'static str {
    match path {
        "context" => "40001\n",
        "name" => "web\n",
        path if path.ends_with("/ip") => "192.0.2.3/24\n",
        path if path.ends_with("/gw") => "192.0.2.1\n",
        path if path.ends_with("/dev") => "eth0\n",
        _ => "\n",
    }
}

#[test]
fn every_file_of_the_table_is_read_or_told() {
    for row in GUEST.iter().filter(|row| row.path != "vdir" && row.path != "run") {
        let path = row.path.replace("**", "x").replace('*', "x");
        let what = match row.shape {
            Shape::Folder => What::Folder,
            Shape::Program => program(),
            Shape::Text | Shape::Link | Shape::Any => text(content(&path)),
        };
        let config = read(vec![(path.as_str(), what)]);
        let told = ["this has no effect: ", "this is not needed any more: "]
            .map(|how| format!("{how}{}", row.meaning));
        let is_told = |found: &Diagnostic| told.contains(&found.message);
        let told = config.diagnostics.iter().filter(|found| is_told(found)).count();
        match row.fate {
            Fate::Needless | Fate::Lost => assert!(told >= 1, "{path}: {:?}", said(&config)),
            Fate::Used | Fate::Helper | Fate::Others => assert_eq!(told, 0, "{path}: {:?}", said(&config)),
        }
        let is_unknown = said(&config).iter().any(|found| found.contains("guestd does not know"));
        assert!(!is_unknown, "{path}");
    }
}
