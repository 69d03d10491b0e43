//! Without a daemon: configuration is read here, and planned here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{arguments::Places, render::deps::Node};
use crate::{
    daemon::{
        clock::Clock,
        load::{self, Absent, Directories},
        state,
    },
    engine::{lxc, native},
    import::Effective,
    model::{
        Action, Diagnostic, EngineKind, Guest, GuestName, Outlook, Selection, Severity, path,
        status::PhaseWord,
    },
    plan::{self, Guests},
};

/// Why nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The lxcpath of the request is not there, or nobody may read it.
    #[error("cannot read the lxcpath {}: {source}", .path.display())]
    Lxcpath {
        /// The lxcpath.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Which containers run cannot be seen.
    #[error("cannot see which containers of {} run: {source}", .lxcpath.display())]
    Running {
        /// Where they are defined.
        lxcpath: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A plan made here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// What would be done.
    pub outlook: Outlook,
    /// The errors in the files that it was made from. What is wrong with all of them together shows in the refusals.
    pub errors: Vec<Diagnostic>,
}

/// Makes sure that an lxcpath is there. Whether one may look into it is another question.
///
/// # Errors
/// [`OfflineError::Lxcpath`].
pub fn find(lxcpath: &Path) -> Result<(), OfflineError> {
    fs::metadata(lxcpath)
        .map(drop)
        .map_err(|source| OfflineError::Lxcpath { path: lxcpath.to_owned(), source })
}

/// Plans a bulk request from the configuration, and from what runs just now. An lxcpath that the settings do not name
/// is planned by itself. Who is held, and who was up before, is known from the state directory, where one may read that. Boot
/// groups count as not brought up yet: what this boot has seen, only the daemon knows.
///
/// # Errors
/// [`OfflineError`].
pub fn plan(places: &Places, action: Action, selection: &Selection) -> Result<Planned, OfflineError> {
    if let Some(path) = &selection.lxcpath {
        fs::read_dir(path).map_err(|source| OfflineError::Lxcpath { path: path.clone(), source })?;
    }
    let inventory = match &selection.lxcpath {
        Some(path) => load::load_with_path(&directories(places), path),
        None => load::load(&directories(places)),
    };
    let mut selection = selection.clone();
    if let Some(path) = &mut selection.lxcpath
        && let Some(meant) = path::meant(&inventory.settings.lxc_paths, path)
    {
        *path = meant.to_path_buf();
    }
    if selection.boot {
        selection.groups.clone_from(&inventory.settings.boot_groups);
    }
    let running = running(places, &inventory.guests)?;
    let is_running = |name: &GuestName| running.contains(name);
    let kept = state::look(&directories(places), Clock::start().now());
    let held = |name: &GuestName| kept.get(name)?.hold.as_ref().map(|hold| hold.reason.clone());
    let was_up = |name: &GuestName| kept.get(name).is_some_and(|kept| kept.was_up);
    let plan = plan::autostart(
        &inventory.guests,
        &selection,
        action,
        inventory.settings.order,
        plan::Standing { is_running: &is_running, held: &held, was_up: &was_up },
    );
    let mut errors = inventory.in_files;
    errors.retain(|found| found.severity == Severity::Error);
    Ok(Planned { outlook: plan.into(), errors })
}

/// The guests that run, from one look at each lxcpath, and at each native guest.
fn running(places: &Places, guests: &Guests) -> Result<BTreeSet<GuestName>, OfflineError> {
    let runtime_dir = directories(places).runtime;
    let is_native = |guest: &&Arc<Guest>| guest.engine_kind() == EngineKind::Native;
    let native = guests.values().filter(is_native).map(|guest| &guest.name);
    let native = native.filter(|name| native::is_running(&runtime_dir, name)).cloned();
    let lxcpaths: BTreeSet<&Path> = guests.values().filter_map(|guest| guest.lxcpath()).collect();
    let mut running: BTreeSet<GuestName> = native.collect();
    for lxcpath in lxcpaths {
        let here = guests.values().filter(|guest| guest.lxcpath() == Some(lxcpath)).map(|guest| &guest.name);
        let names = lxc::running(lxcpath, here);
        running
            .extend(names.map_err(|source| OfflineError::Running { lxcpath: lxcpath.to_owned(), source })?);
    }
    Ok(running)
}

/// On whom each guest depends, from the configuration, and whether it runs.
///
/// # Errors
/// [`OfflineError::Running`].
pub fn dependencies(places: &Places) -> Result<BTreeMap<String, Node>, OfflineError> {
    let guests = load::load(&directories(places)).guests;
    let running = running(places, &guests)?;
    let owned = |names: &[GuestName]| names.iter().map(ToString::to_string).collect();
    let node = |guest: &Guest| Node {
        phase: if running.contains(&guest.name) { PhaseWord::Up } else { PhaseWord::Down }
            .as_str()
            .to_owned(),
        requires: owned(&guest.start.requires),
        wants: owned(&guest.start.wants),
        after: owned(&guest.start.after),
    };
    Ok(guests.values().map(|guest| (guest.name.to_string(), node(guest))).collect())
}

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Everything wrong, sorted by place.
    pub findings: Vec<Diagnostic>,
    /// How many guests were read.
    pub guests: usize,
}

/// Reads everything.
pub fn check(places: &Places) -> Checked {
    let inventory = load::load(&directories(places));
    let mut findings = inventory.diagnostics();
    findings.extend(state::check(&directories(places).state));
    findings.sort_by(|a, b| (&a.origin, a.severity, &a.message).cmp(&(&b.origin, b.severity, &b.message)));
    Checked { findings, guests: inventory.guests.len() }
}

/// The effective values of a guest, or why there are none; and what is wrong with the files that were read.
pub fn values(places: &Places, guest: &GuestName) -> (Result<Vec<Effective>, Absent>, Vec<Diagnostic>) {
    let (imported, findings) = load::effective(&directories(places), guest);
    (imported.map(|imported| imported.effective), findings)
}

/// The names of all guests that are defined.
pub fn names(places: &Places) -> Vec<GuestName> {
    load::load(&directories(places)).guests.into_keys().collect()
}

fn directories(places: &Places) -> Directories {
    Directories::new(places.config_dir.clone(), places.runtime_dir.clone(), places.state_dir.clone())
}
