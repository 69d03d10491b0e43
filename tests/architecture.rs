//! The shape of the house: pure rooms stay pure, dependencies point one way, files stay small.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Rooms that only handle plain data.
const PURE: [&str; 5] = ["src/model", "src/import", "src/plan", "src/supervise", "src/helper/wire.rs"];

/// What a pure room never names: runtimes, buses, system calls, files, processes, clocks.
const FORBIDDEN: [&str; 12] = [
    "tokio",
    "zbus",
    "nix::",
    "rustix",
    "libc::",
    "std::fs",
    "std::process",
    "std::env",
    "SystemTime",
    "::now(",
    "std::net",
    "std::os",
];

/// Which room may not see which.
const WALLS: [(&str, &[&str]); 8] = [
    (
        "src/model",
        &["import", "plan", "supervise", "engine", "launch", "helper", "network", "daemon", "dbus", "cli"],
    ),
    ("src/import", &["supervise", "engine", "launch", "daemon", "dbus", "cli"]),
    ("src/plan", &["import", "supervise", "engine", "launch", "helper", "daemon", "dbus", "cli"]),
    ("src/supervise", &["import", "launch", "checks", "daemon", "dbus", "cli"]),
    ("src/checks", &["import", "plan", "daemon", "dbus", "cli"]),
    ("src/engine", &["import", "plan", "supervise", "checks", "daemon", "dbus", "cli"]),
    ("src/network", &["plan", "supervise", "engine", "launch", "checks", "daemon", "dbus", "cli"]),
    ("src/dbus", &["import", "supervise", "engine", "launch", "cli"]),
];

/// The most lines that a file has, unless its first lines say why it has more.
const LINES: usize = 400;

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(under)];
    while let Some(at) = folders.pop() {
        if at.is_dir() {
            folders.extend(fs::read_dir(&at).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if at.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&at).expect("text");
            found.push((at.strip_prefix(root).expect("a path below").to_owned(), text));
        }
    }
    assert!(!found.is_empty(), "no source under {under}");
    found
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().enumerate();
    lines.filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs")
}

#[test]
fn pure_rooms_do_no_input_or_output_and_ask_no_clock() {
    let mut offences = Vec::new();
    for (path, text) in PURE.iter().flat_map(|room| sources(room)).filter(|(path, _)| !is_test(path)) {
        for (at, line) in code(&text) {
            let named = FORBIDDEN.iter().filter(|word| line.contains(**word));
            offences.extend(named.map(|word| format!("{}:{at} names {word}", path.display())));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn dependencies_point_one_way() {
    let mut offences = Vec::new();
    for (room, walls) in WALLS {
        for (path, text) in sources(room).into_iter().filter(|(path, _)| !is_test(path)) {
            for (at, line) in code(&text) {
                let seen = walls.iter().filter(|other| {
                    line.contains(&format!("crate::{other}::")) || line.contains(&format!("    {other}::"))
                });
                offences.extend(seen.map(|other| format!("{}:{at} sees {other}", path.display())));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn files_stay_small_and_say_what_they_are() {
    let mut offences = Vec::new();
    for (path, text) in sources("src").into_iter().chain(sources("tests")) {
        let lines = text.lines().count();
        if lines > LINES && !text.lines().take(20).any(|line| line.contains("over 400 lines because")) {
            offences.push(format!("{} has {lines} lines", path.display()));
        }
        if !text.starts_with("//!") {
            offences.push(format!("{} does not say what it is", path.display()));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}
