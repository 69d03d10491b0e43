//! Running a program inside a native guest that runs.

use std::{ffi::OsString, path::Path};

use crate::{guest_run::spec::Place, model::GuestName};

/// What a person gets who asks for no command.
pub const SHELL: &str = "/bin/sh";

/// The command line by which a program runs inside a guest, as its root and with a fresh environment, to which `variables` are
/// added; its exit status is that of the program, or 127 where that cannot be run.
pub fn attach(
    monitor: &Path,
    runtime_dir: &Path,
    guest: &GuestName,
    variables: &[(&str, &str)],
    command: impl IntoIterator<Item = impl Into<OsString>>,
) -> Vec<OsString> {
    let folder = Place::of(runtime_dir, guest).folder().to_owned();
    let mut line: Vec<OsString> = vec![monitor.into(), "attach".into(), folder.into()];
    line.extend(variables.iter().map(|(name, value)| format!("{name}={value}").into()));
    line.push("--".into());
    line.extend(command.into_iter().map(Into::into));
    line
}

/// The command line that shows a guest's console.
pub fn enter_console(monitor: &Path, runtime_dir: &Path, guest: &GuestName) -> Vec<OsString> {
    vec![monitor.into(), "console".into(), Place::of(runtime_dir, guest).folder().into()]
}
