//! Where guestd's files lie, and reading its own settings from them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::disk::hidden_from_user;
use crate::{
    import::{Files, ReadError, Settings, Sourced, lxc, settings::Written},
    model::{Diagnostic, Origin},
};

/// Where packages put settings.
const VENDOR: &str = "/usr/lib/guestd";
/// LXC's own settings.
const LXC_CONF: &str = "/etc/lxc/lxc.conf";
/// The name of the settings file, and of the folder of its drop-ins with `.d` behind.
const FILE: &str = "guestd.toml";

/// The folders of one guestd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// Settings and overlays.
    pub config: PathBuf,
    /// This boot's state.
    pub runtime: PathBuf,
    /// What outlives a boot.
    pub state: PathBuf,
}

impl Directories {
    /// The folders given as options; for those that are not, what systemd says in the environment, and the usual
    /// places if it says nothing.
    pub fn new(config: Option<PathBuf>, runtime: Option<PathBuf>, state: Option<PathBuf>) -> Self {
        Self {
            config: pick(config, env::var_os("CONFIGURATION_DIRECTORY"), "/etc/guestd"),
            runtime: pick(runtime, env::var_os("RUNTIME_DIRECTORY"), "/run/guestd"),
            state: pick(state, env::var_os("STATE_DIRECTORY"), "/var/lib/guestd"),
        }
    }

    /// The settings file that an administrator writes.
    pub fn settings_file(&self) -> PathBuf {
        self.config.join(FILE)
    }
}

/// systemd separates several folders by colons; the first is meant.
fn pick(option: Option<PathBuf>, environment: Option<OsString>, usual: &str) -> PathBuf {
    let first = |list: OsString| env::split_paths(&list).next().filter(|path| path.is_absolute());
    option.or_else(|| environment.and_then(first)).unwrap_or_else(|| PathBuf::from(usual))
}

/// Reads the settings: `guestd.toml`, then the drop-ins sorted by name. Of files with one name that of the later folder
/// counts: packages, then this boot, then the administrator.
pub fn load(directories: &Directories, files: &dyn Files) -> (Settings, Vec<Diagnostic>) {
    let folders = [Path::new(VENDOR), &directories.runtime, &directories.config];
    let mut written = Written::default();
    let mut diagnostics = Vec::new();
    let mut take = |path: PathBuf| match files.read(&path) {
        Ok(text) => {
            written.read(path, &text);
            true
        }
        Err(ReadError::Missing) => false,
        Err(error) => {
            diagnostics.push(ignored(&path, error));
            true
        }
    };
    let _ = folders.iter().rev().any(|folder| take(folder.join(FILE)));
    let (drop_ins, unreadable) = drop_ins(folders, files);
    for path in drop_ins {
        take(path);
    }
    diagnostics.extend(unreadable);
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
    let (settings, more) = written.settle(u32::try_from(processors).unwrap_or(u32::MAX), lxcpath(files));
    diagnostics.extend(more);
    (settings, diagnostics)
}

/// The lxcpath that LXC's own settings name.
pub(super) fn lxcpath(files: &dyn Files) -> Option<Sourced<String>> {
    let file = Path::new(LXC_CONF);
    lxc::lxcpath(file, &files.read(file).ok()?)
}

/// The drop-ins that count, sorted by name.
fn drop_ins(folders: [&Path; 3], files: &dyn Files) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let mut by_name = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for folder in folders {
        let folder = folder.join(format!("{FILE}.d"));
        match toml_files(&folder, files) {
            Ok(paths) => {
                by_name.extend(paths.into_iter().map(|path| (path.file_name().map(OsString::from), path)))
            }
            Err(error) => diagnostics.push(ignored(&folder, error)),
        }
    }
    (by_name.into_values().collect(), diagnostics)
}

/// The `*.toml` of a folder, sorted by name, without hidden files; a folder that does not exist has none.
pub(super) fn toml_files(folder: &Path, files: &dyn Files) -> Result<Vec<PathBuf>, ReadError> {
    let visible =
        |path: &PathBuf| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    match files.list(folder, ".toml") {
        Ok(paths) => Ok(paths.into_iter().filter(visible).collect()),
        Err(ReadError::Missing) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A settings file or folder that cannot be read.
pub(super) fn ignored(path: &Path, error: ReadError) -> Diagnostic {
    let consequence =
        hidden_from_user(error).unwrap_or(", so that its settings are ignored; mend or remove it");
    Diagnostic::error(Origin::file(path), format!("it {error}{consequence}"))
}
