//! What the manual says is what the code says.

use std::{fs, path::Path};

use guestd::import::vserver::files;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The rows of the table in a module's documentation, without its markup.
fn rows_of_code(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"));
    let rows = lines.filter(|line| !line.starts_with("---")).map(|line| line.replace('`', ""));
    rows.map(|row| row.split(" | ").map(str::to_owned).collect()).collect()
}

/// The rows of the only table of a manual page, whose first cells are blocks of text (tbl(1)).
fn rows_of_page(text: &str) -> Vec<Vec<String>> {
    let (_, table) = text.split_once("\n.TS\n").expect("a table");
    let (table, rest) = table.split_once("\n.TE\n").expect("its end");
    assert!(!rest.contains("\n.TS\n"), "another table");
    let mut plain = table.replace("\\-", "-");
    for font in ["\\fB", "\\fR"] {
        plain = plain.replace(font, "");
    }
    let rows = plain.split("T{\n").skip(1);
    let cells = |row: &str| {
        let (first, others) = row.split_once("\nT}|").expect("a first cell");
        let first = first.lines().collect::<Vec<_>>().join(" ");
        std::iter::once(first).chain(others.trim_end().split('|').map(str::to_owned)).collect()
    };
    rows.map(cells).collect()
}

#[test]
fn the_table_of_ends_is_the_one_that_is_decided_by() {
    let (code, page) =
        (rows_of_code(&read("src/supervise/recover.rs")), rows_of_page(&read("man/guestd.toml.5")));
    assert!(code.len() > 10 && code.iter().all(|row| row.len() == 4), "{code:#?}");
    assert_eq!(page, code, "man/guestd.toml.5 and src/supervise/recover.rs differ");
}

#[test]
fn the_manual_names_what_hooks_get() {
    let (code, page) = (read("src/daemon/hook.rs"), read("man/guestd.toml.5"));
    let named = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
        let words = words.filter(|word| word.starts_with("GUESTD_")).map(str::to_owned);
        words.collect::<std::collections::BTreeSet<_>>()
    };
    let (_, hooks) = page.split_once(".SS [hooks]\n").expect("a section");
    let (hooks, _) = hooks.split_once(".SS ").expect("its end");
    assert_eq!(named(hooks), named(&code));
}

/// The text of a section of a page, without its markup.
fn section(page: &str, heading: &str) -> String {
    let (_, text) = page.split_once(&format!("\n{heading}\n")).expect(heading);
    let text = text.split("\n.SH ").next().unwrap_or(text);
    let mut plain = text.replace("\\-", "-").replace("\\~", " ").replace("\\(dq", "\"");
    for font in ["\\fB", "\\fI", "\\fR"] {
        plain = plain.replace(font, "");
    }
    plain
}

#[test]
fn the_manual_has_every_key_of_a_guest() {
    let page = section(&read("man/guestd.toml.5"), ".SH \"SETTINGS OF A GUEST\"");
    // A heading, a tag of its own, or one of a list: the key stands as a word in bold.
    let bold = page.lines().filter(|line| line.starts_with(".B") || line.starts_with(".SS"));
    let words: std::collections::BTreeSet<&str> =
        bold.flat_map(|line| line.split([' ', '"', '=', '[', ']', ','])).collect();
    let missing: Vec<_> = guestd::import::overlay::keys().filter(|(_, key)| !words.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?} of guests are not in man/guestd.toml.5");
}

#[test]
fn the_manual_has_every_file_of_util_vserver() {
    let page = read("man/guestd-vserver.5");
    for (rows, heading) in
        [(files::GUEST, ".SH FILES OF A GUEST\n"), (files::DEFAULTS, ".SH FILES OF .DEFAULTS\n")]
    {
        let (_, section) = page.split_once(heading).expect(heading);
        let (section, _) = section.split_once(".SH ").expect("its end");
        let at = section.find(".TP\n").expect("a list");
        assert!(section[at..] == files::manual(rows), "write this into it:\n{}", files::manual(rows));
    }
}
