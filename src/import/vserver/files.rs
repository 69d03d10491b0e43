//! Every file of util-vserver's configuration and what becomes of it: the one table that says so, which the manual page
//! guestd-vserver(5) repeats; and what is wrong with the entries of a folder as such.

use crate::import::findings::nearest;

use super::{
    reading::Reading,
    tree::{CLOSED, Kind, Node, Tree, What},
};

mod table;

pub use table::{DEFAULTS, GUEST};

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It means here what it meant to util-vserver, or what its row says.
    Used,
    /// It is read when a guest calls for the helper.
    Helper,
    /// What it asked for is always so, or of no use any more.
    Needless,
    /// What it asked for is not done; its row says what to use instead.
    Lost,
    /// It belongs to other tools, which may go on using it.
    Others,
}

impl Fate {
    /// The word in the manual.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Helper => "helper",
            Self::Needless => "needless",
            Self::Lost => "lost",
            Self::Others => "other tools",
        }
    }
}

/// What an entry has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text file.
    Text,
    /// A program, or a script for the shell.
    Program,
    /// A folder.
    Folder,
    /// A symbolic link, whose end is what counts.
    Link,
    /// Whatever: it only matters that it is there.
    Any,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its path in the folder; `*` is any one name, `**` all that lies below.
    pub path: &'static str,
    /// What it is.
    pub shape: Shape,
    /// What becomes of it.
    pub fate: Fate,
    /// What it means here, or what to use instead.
    pub meaning: &'static str,
}

impl File {
    const fn new(path: &'static str, shape: Shape, fate: Fate, meaning: &'static str) -> Self {
        Self { path, shape, fate, meaning }
    }

    fn matches(&self, path: &str) -> bool {
        let mut names = path.split('/');
        for part in self.path.split('/') {
            match (part, names.next()) {
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (part, Some(name)) if part == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

/// The row of an entry.
pub fn row<'r>(rows: &'r [File], path: &str) -> Option<&'r File> {
    rows.iter().find(|row| row.matches(path))
}

/// Leftovers of editors and package managers, which util-vserver leaves alone as well.
pub fn is_leftover(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ends = ["~", ".rpmnew", ".rpmsave", ".rpmorig", ".dpkg-old", ".dpkg-new", ".dpkg-dist"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains(".cfsaved")
}

/// Looks at every entry of the guest's folder: whether it is known, whether it is what it should be, and whether it still
/// means something.
pub(super) fn look(reading: &mut Reading<'_>) {
    let tree = reading.guest;
    for (path, node) in tree.nodes.iter().filter(|(path, _)| !is_leftover(path)) {
        match row(GUEST, path) {
            Some(row) => known(reading, tree, path, node, row),
            None => unknown(reading, tree, path),
        }
    }
}

fn known(reading: &mut Reading<'_>, tree: &Tree, path: &str, node: &Node, row: &File) {
    let origin = tree.origin(path);
    let meaning = row.meaning;
    match row.fate {
        Fate::Used | Fate::Helper if CLOSED.contains(&path) => {}
        Fate::Used | Fate::Helper => {
            if let Some(wrong) = unfit(row.shape, node) {
                reading.error(&origin, || wrong);
            }
        }
        // Of a folder that nobody reads its name is enough.
        Fate::Needless | Fate::Lost if path.contains('/') && row.path.ends_with("**") => {}
        Fate::Needless => reading.note(&origin, || format!("this is not needed any more: {meaning}")),
        Fate::Lost => reading.warning(&origin, || format!("this has no effect: {meaning}")),
        Fate::Others => {}
    }
}

/// Why an entry cannot be what its row says.
pub(super) fn unfit(shape: Shape, node: &Node) -> Option<String> {
    match (&node.what, shape) {
        (What::Nothing(error), _) => Some(format!("it {error}; mend or remove it")),
        (What::Elsewhere { path, .. }, Shape::Text | Shape::Folder) => Some(format!(
            "it leads out of the folder of all guests, to {}; guestd reads nothing there: copy it here",
            path.display()
        )),
        (What::Elsewhere { kind: Kind::Folder | Kind::Other, path }, Shape::Program) => {
            Some(format!("it leads to {}, which is no file; mend or remove it", path.display()))
        }
        (What::Folder, Shape::Text | Shape::Program) => {
            Some("it is a folder and should be a file; remove it".to_owned())
        }
        (What::File { .. }, Shape::Folder) => {
            Some("it is a file and should be a folder; remove it".to_owned())
        }
        (What::File { text, .. }, Shape::Text) if text.cut => {
            Some("the file is larger than 1 MiB; what comes after is ignored; shorten it".to_owned())
        }
        _ => None,
    }
}

/// An entry that nobody knows. Of a folder that nobody knows it is said once.
fn unknown(reading: &mut Reading<'_>, tree: &Tree, path: &str) {
    let above = path.rsplit_once('/').map(|(above, _)| above);
    if above.is_some_and(|above| row(GUEST, above).is_none()) {
        return;
    }
    let known = GUEST.iter().map(|row| row.path).filter(|known| !known.contains('*'));
    let hint = nearest(path, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    reading.note(&tree.origin(path), || format!("guestd does not know this, and leaves it alone{hint}"));
}

/// The rows as the manual page guestd-vserver(5) has them.
pub fn manual(rows: &[File]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let entry = |row: &File| {
        let (path, meaning) = (escaped(row.path), escaped(row.meaning));
        format!(".TP\n\\fB{path}\\fR (\\fI{}\\fR)\n{meaning}.\n", row.fate.as_str())
    };
    rows.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_match_whole_paths() {
        for (path, expected) in [
            ("vdir", Some("vdir")),
            ("apps/init/mark", Some("apps/init/mark")),
            ("apps/init/marks", None),
            ("rlimits/nproc.hard", Some("rlimits/*")),
            ("interfaces/0/ip", Some("interfaces/*/ip")),
            ("interfaces/0/ip/x", None),
            ("interfaces/dev", Some("interfaces/dev")),
            ("apps/pkgmgmt/base/x/y", Some("apps/pkgmgmt/**")),
            ("scripts/pre-start.d/10-x", Some("scripts/pre-start.d/*")),
            ("scripts/pre-stop.d", Some("scripts/pre-stop.d")),
            ("", None),
        ] {
            assert_eq!(row(GUEST, path).map(|row| row.path), expected, "{path:?}");
        }
    }

    #[test]
    fn every_row_is_reached_and_says_something() {
        for rows in [GUEST, DEFAULTS] {
            for file in rows {
                let path = file.path.replace("**", "x").replace('*', "x");
                assert_eq!(row(rows, &path).map(|row| row.path), Some(file.path));
                assert!(!file.meaning.is_empty() && !file.meaning.ends_with('.'), "{}", file.path);
                assert!(!file.meaning.starts_with(['.', '\'']), "{}", file.path);
            }
        }
    }
}
