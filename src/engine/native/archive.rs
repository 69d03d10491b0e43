//! Roots that come as archives: unpacked once, below the state directory, by tar(1).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use super::Native;
use crate::{
    engine::{EngineError, EngineResult, ErrorKind},
    launch::{HookEnd, Program, in_words},
    model::Guest,
};

const OPERATION: &str = "unpack its root";
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// The folder that a guest's archive is unpacked in; it is now, if it was not yet.
pub(super) async fn unpacked(native: &Native, guest: &Guest, archive: &Path) -> EngineResult<PathBuf> {
    let folder = native.ground.state_dir.join("native").join(guest.name.as_str());
    let root = folder.join("root");
    // A setuid file of a guest's is one of the host's, for whoever gets at it.
    let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
    if root.is_dir() {
        return Ok(root);
    }
    let wrong = |kind, reason: String| EngineError { operation: OPERATION, kind, reason };
    if let Err(error) = fs::metadata(archive) {
        let reason = format!("the archive {} cannot be used: {error}", archive.display());
        return Err(wrong(ErrorKind::Misconfigured, reason));
    }
    // Under another name until it is whole.
    let part = folder.join("unpacking");
    let made = || -> io::Result<()> {
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::create_dir(&part)?;
        // It is the root of a guest with users of its own choice, unless the archive has an entry for it.
        fs::set_permissions(&part, fs::Permissions::from_mode(0o755))
    };
    made().map_err(|error| wrong(ErrorKind::Failed, format!("cannot make {}: {error}", part.display())))?;
    let words =
        ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--xattrs", "--xattrs-include=*"];
    let mut argv: Vec<OsString> = words.map(Into::into).to_vec();
    argv.extend(["--file".into(), archive.into(), "--directory".into(), part.clone().into()]);
    let program = Program { argv, environment: Vec::new(), timeout: PATIENCE };
    let reason = match native.launcher.run_hook(&guest.name, &program).await {
        HookEnd::Exited(status) if status.success() => {
            return fs::rename(&part, &root).map(|()| root.clone()).map_err(|error| {
                wrong(ErrorKind::Failed, format!("cannot make {}: {error}", root.display()))
            });
        }
        HookEnd::Exited(status) => format!("tar ended with {}", in_words(status)),
        HookEnd::TimedOut => format!("tar took longer than {PATIENCE:?}"),
        HookEnd::Failed(error) => format!("tar cannot be run: {error}"),
    };
    let _ = fs::remove_dir_all(&part);
    Err(wrong(ErrorKind::Failed, format!("{}: {reason}", archive.display())))
}
