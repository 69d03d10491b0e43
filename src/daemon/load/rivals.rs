//! LXC's own units, where they start and stop the same containers as guestd: found in systemd's folders, and told.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    import::lxc::DEFAULT_LXCPATH,
    model::{Diagnostic, Guest, GuestName, Origin, path},
    plan::Guests,
};

/// Where systemd looks for units, first those that count first.
const FOLDERS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "lib/systemd/system",
    "usr/lib/systemd/system",
];
/// What runs `lxc-autostart` at boot, and stops every container at shutdown.
const SERVICE: &str = "lxc.service";
/// What guestd's package lays over it, so that it does neither.
const DROP_IN: &str = "lxc.service.d/guestd.conf";
/// The most entries of one folder that are looked at.
const MOST: usize = 4096;
/// The most guests that a message names.
const NAMED: usize = 3;

/// The units of LXC's package that start with the host, and the containers that they mean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rivals {
    /// LXC's own lxcpath, which these units use.
    lxcpath: PathBuf,
    /// The link that makes `lxc.service` start, unless something keeps its hands off the containers.
    service: Option<PathBuf>,
    /// The links that make `lxc@NAME.service` start.
    instances: BTreeMap<GuestName, PathBuf>,
}

impl Rivals {
    /// Looks into systemd's folders below `root`. What cannot be read is taken for empty.
    pub(super) fn look(root: &Path, lxcpath: Option<PathBuf>) -> Self {
        let lxcpath = lxcpath.unwrap_or_else(|| DEFAULT_LXCPATH.into());
        let mut found = Self { lxcpath, ..Self::default() };
        let works = |unit: &str| first(root, unit).is_some_and(|path| !is_masked(&path));
        let template = works("lxc@.service");
        for (unit, link) in links(root) {
            if is_masked(&link) {
                continue;
            }
            let instance = unit.strip_prefix("lxc@").and_then(|unit| unit.strip_suffix(".service"));
            match instance.map(GuestName::new) {
                None if unit == SERVICE && works(SERVICE) && !works(DROP_IN) => found.service = Some(link),
                Some(Ok(name)) if first(root, &unit).map_or(template, |path| !is_masked(&path)) => {
                    found.instances.insert(name, link);
                }
                _ => {}
            }
        }
        found
    }

    /// What these units mean for the guests.
    pub(super) fn diagnostics(&self, guests: &Guests) -> Vec<Diagnostic> {
        let lxcpath = path::normal(&self.lxcpath);
        let is_meant = |guest: &&Guest| guest.lxcpath().is_some_and(|path| path::normal(path) == lxcpath);
        let meant = || guests.values().map(|guest| &**guest).filter(is_meant);
        let service = self.service.iter().filter(|_| meant().next().is_some()).map(|link| {
            let message = format!(
                "{SERVICE} starts and stops {} beside guestd, at boot and at shutdown; \"systemctl disable lxc\" \
                 leaves them to guestd",
                listed(meant())
            );
            Diagnostic::warning(Origin::file(link.as_path()), message)
        });
        let instances = meant().filter(|guest| guest.start.auto.is_candidate(true)).filter_map(|guest| {
            let (name, link) = (&guest.name, self.instances.get(&guest.name)?);
            let message = format!(
                "lxc@{name}.service starts {name} at boot beside guestd, out of order and without its unit; \
                 \"systemctl disable lxc@{name}\" leaves it to guestd"
            );
            Some(Diagnostic::warning(Origin::file(link.as_path()), message).about(name))
        });
        service.chain(instances).collect()
    }
}

fn listed<'g>(guests: impl Iterator<Item = &'g Guest>) -> String {
    let names: Vec<&str> = guests.map(|guest| guest.name.as_str()).collect();
    let rest = names.len().saturating_sub(NAMED);
    let shown = names[..names.len() - rest].join(", ");
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

/// Every link to one of LXC's units that makes it start with another, by the unit's name. Of several the first counts.
fn links(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut links = BTreeMap::new();
    let is_pull = |path: &PathBuf| path.extension().is_some_and(|end| end == "wants" || end == "requires");
    for folder in
        FOLDERS.iter().flat_map(|folder| entries(&root.join(folder)).filter(is_pull).collect::<Vec<_>>())
    {
        for link in entries(&folder) {
            let unit = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if unit == SERVICE || unit.starts_with("lxc@") {
                links.entry(unit).or_insert(link);
            }
        }
    }
    links
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().take(MOST).map(|entry| entry.path())
}

/// The file of this name that counts.
fn first(root: &Path, name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| root.join(folder).join(name)).find(|path| path.symlink_metadata().is_ok())
}

fn is_masked(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

#[cfg(test)]
mod tests;
