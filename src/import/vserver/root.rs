//! `vdir` and `context`: where the guest's root is, and as whom its helper knows it.

use std::path::{Component, Path, PathBuf};

use crate::import::{Sourced, fingerprint::Fingerprint};

use super::{
    number,
    reading::Reading,
    tree::{Kind, NodeError, What},
};

/// The contexts that can be written: above are those that the kernel gave by itself.
const WRITTEN: std::ops::RangeInclusive<u32> = 2..=49_151;
/// How many contexts the kernel gave by itself.
const GIVEN: u64 = 65_536 - 49_152;

/// Folders below `/` that belong to the host.
const HOST: [&str; 14] =
    ["bin", "boot", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr", "var"];

/// The context. Where none can be used, one is made of the name, among those that the kernel gave by itself.
pub(super) fn context(reading: &mut Reading<'_>) -> Sourced<u32> {
    const WANTED: &str = "a number from 2 to 49151 that no other guest has, such as 40001";
    let number = |text: &str| {
        let number = number::unsigned(text).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| WRITTEN.contains(number))
    };
    let origin = reading.guest.origin("context");
    reading.value("context", WANTED, number).unwrap_or_else(|| {
        let made = Fingerprint::of(reading.name.as_str().as_bytes()) % GIVEN;
        Sourced::new(49_152 + u32::try_from(made).unwrap_or(0), origin)
    })
}

/// The guest's root; none where there is none that is its own.
pub(super) fn find(reading: &mut Reading<'_>) -> Option<PathBuf> {
    let origin = reading.guest.origin("vdir");
    let written = reading.guest.nodes.get("vdir").and_then(|node| node.link.clone());
    let leads = written.map(|link| format!(" (to {})", link.display())).unwrap_or_default();
    let refused = |reading: &mut Reading<'_>, why: &str| {
        reading.error(&origin, || format!("the guest is refused: vdir{leads} {why}"));
        None
    };
    let mend = "make it a symbolic link to the guest's root, such as /vservers/NAME";
    let path = match reading.guest.what("vdir") {
        None => return refused(reading, &format!("is missing, so that the guest has no root; {mend}")),
        Some(What::Nothing(NodeError::Dangling)) => {
            return refused(
                reading,
                "is a symbolic link to nothing; make or mount the guest's root, or mend the link",
            );
        }
        Some(What::Nothing(error)) => return refused(reading, &format!("{error}; {mend}")),
        Some(What::File { .. } | What::Elsewhere { kind: Kind::File | Kind::Program | Kind::Other, .. }) => {
            return refused(reading, &format!("is no folder; {mend}"));
        }
        Some(What::Folder) => reading.guest.at("vdir"),
        Some(What::Elsewhere { path, kind: Kind::Folder }) => path.clone(),
    };
    if let Some(why) = foreign(&path, reading.folder()) {
        return refused(reading, &format!("is {why}, which is the host's; {mend}"));
    }
    let base = match reading.defaults.what("vdirbase") {
        Some(What::Elsewhere { path, .. }) => path.clone(),
        _ => reading.defaults.at("vdirbase"),
    };
    if base.starts_with(&path) {
        return refused(reading, &format!("is {}, where all guests' roots lie; {mend}", path.display()));
    }
    Some(path)
}

/// Why a folder cannot be a guest's root.
fn foreign(path: &Path, folder: &Path) -> Option<String> {
    let mut below = path.components().filter(|part| matches!(part, Component::Normal(_)));
    let (first, second) = (below.next(), below.next());
    let is_hosts = match (first, second) {
        (None, _) => true,
        (Some(first), None) => HOST.iter().any(|host| first.as_os_str() == *host),
        _ => false,
    };
    (is_hosts || folder.starts_with(path)).then(|| path.display().to_string())
}
