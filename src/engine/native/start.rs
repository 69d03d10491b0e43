//! Starting a native guest.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tokio_seqpacket::UnixSeqpacketListener;

use super::{Native, archive, connection::Connection, filter, kill, locked, uuid};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind, notify},
    guest_run::{
        self,
        spec::{ENGINE, FILE_MAX, Outcome, Place, Placement, SPEC, Spec},
    },
    helper::{in_full, record, short_path::ShortPath},
    kill_point::KillPoint,
    launch::{Launch, LaunchError, Launched, Program, Unit},
    model::{
        Capabilities, Condition, Guest, GuestName, NativeSpec,
        native::{Root, Seccomp},
    },
};

const OPERATION: &str = "start it";
/// How long it is waited for a monitor in a unit before PID 1 is asked whether it is there, and how often from then on.
const LOOK: Duration = Duration::from_secs(1);

/// A start under way: one that is dropped may go on.
struct Attempt<'a> {
    native: &'a Native,
    guest: &'a GuestName,
    is_over: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            locked(&self.native.interrupted).insert(self.guest.clone());
        }
    }
}

/// Starts a guest; returns when its init runs. After a failure nothing of it is left.
pub(super) async fn start(native: &Native, guest: &Guest, spec: &NativeSpec) -> EngineResult<()> {
    let Some(monitor) = &native.ground.monitor else {
        let reason = "guest-run is not installed; install it as /usr/lib/guestd/guest-run, or name it in GUESTD_GUEST_RUN";
        return Err(EngineError {
            operation: OPERATION,
            kind: ErrorKind::Unavailable,
            reason: reason.to_owned(),
        });
    };
    if let Some(reason) = &spec.refused {
        let reason = reason.clone();
        return Err(EngineError { operation: OPERATION, kind: ErrorKind::Misconfigured, reason });
    }
    let mut attempt = Attempt { native, guest: &guest.name, is_over: false };
    let place = native.place(&guest.name);
    let result = async {
        let root = root(native, guest, spec).await?;
        let listener = prepare(native, guest, spec, root).map_err(|reason| EngineError {
            operation: OPERATION,
            kind: ErrorKind::Failed,
            reason,
        })?;
        let launch = launch(native, guest, spec, monitor);
        launched(native, &launch, &place, listener).await
    }
    .await;
    attempt.is_over = true;
    if result.is_ok() {
        locked(&native.met).insert(guest.name.clone());
    } else {
        KillPoint::StartFailed.pass();
        // What it left behind would be in the way of the next one. The reason to tell is the first one.
        if let Err(left) = kill::sweep(native, &guest.name).await {
            tracing::warn!(guest = %guest.name, "{}: a failed start left something behind: {}", guest.name, left.reason);
        }
    }
    result
}

/// Where its root is: none for the host's.
async fn root(native: &Native, guest: &Guest, spec: &NativeSpec) -> EngineResult<Option<PathBuf>> {
    match &spec.root {
        Root::Folder(path) => Ok(Some(path.clone())),
        Root::Archive(path) => archive::unpacked(native, guest, path).await.map(Some),
        Root::VolatileHost => Ok(None),
    }
}

/// Writes what the monitor has to know, and begins to wait for it.
fn prepare(
    native: &Native,
    guest: &Guest,
    spec: &NativeSpec,
    root: Option<PathBuf>,
) -> Result<UnixSeqpacketListener, String> {
    let place = native.place(&guest.name);
    let failed = |error: io::Error| format!("cannot prepare {}: {error}", place.folder().display());
    // A guest's own root passes through them, in its mount namespace.
    let folder = |path: &std::path::Path| DirBuilder::new().recursive(true).mode(0o711).create(path);
    folder(&place.root()).map_err(failed)?;
    let ids = if spec.user_namespace {
        Some(native.ids_of(&guest.name).ok_or("no ids are left for its users; set user-namespace = false")?)
    } else {
        None
    };
    let spec = Spec {
        guest: guest.name.clone(),
        uuid: uuid::of(&guest.name),
        native: spec.clone(),
        root,
        ids,
        placement: match native.launcher.unit(&guest.name) {
            Some(_) => Placement::Unit,
            None => Placement::Top(guest_run::top(&guest.name)),
        },
        resources: guest.resources,
        filter: match spec.security.seccomp {
            Seccomp::Default => filter(native, spec.security.capabilities).map_err(failed)?.to_vec(),
            Seccomp::Off => Vec::new(),
        },
        helper: helper(native, &guest.name),
        stop_timeout: guest.stop.timeout,
        notify: notify_folder(native, guest),
    };
    // What a daemon that was killed over it has left.
    record::sweep(place.folder());
    record::write(place.folder(), SPEC, &spec, FILE_MAX).map_err(|error| in_full(&error).to_string())?;
    listen(&place).map_err(failed)
}

/// Begins to wait for the monitor.
fn listen(place: &Place) -> io::Result<UnixSeqpacketListener> {
    match fs::remove_file(place.engine()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixSeqpacketListener::bind(ShortPath::of(place.folder())?.join(ENGINE))
}

fn filter(native: &Native, capabilities: Capabilities) -> io::Result<std::sync::Arc<[u64]>> {
    let may_make_users = filter::may_make_users(capabilities);
    let mut known = locked(&native.filters);
    if let Some(filter) = known.get(&may_make_users) {
        return Ok(filter.clone());
    }
    let filter: std::sync::Arc<[u64]> = filter::compile(may_make_users)?.into();
    known.insert(may_make_users, filter.clone());
    Ok(filter)
}

fn helper(native: &Native, guest: &GuestName) -> Vec<PathBuf> {
    let Some(helper) = &native.ground.helper else { return Vec::new() };
    let runtime = native.ground.runtime_dir.clone();
    vec![helper.clone(), "--runtime-dir".into(), runtime, "--guest".into(), guest.as_str().into()]
}

/// Where a guest that tells when it is ready finds the socket, if that is there.
fn notify_folder(native: &Native, guest: &Guest) -> Option<PathBuf> {
    let folder = std::path::absolute(notify::folder(&native.ground.runtime_dir, &guest.name)).ok()?;
    (guest.ready.when == Condition::Notify && folder.join(notify::SOCKET).exists()).then_some(folder)
}

fn launch(native: &Native, guest: &Guest, spec: &NativeSpec, monitor: &std::path::Path) -> Launch {
    let name = guest.name.as_str();
    let folder = native.place(&guest.name).folder().to_owned();
    let mut argv: Vec<OsString> = vec![monitor.into()];
    if native.launcher.unit(&guest.name).is_some() {
        argv.push("--foreground".into());
    }
    argv.push(folder.clone().into());
    let mut stop = ["guestctl", "unit-stop", name, "--"].map(OsString::from).to_vec();
    stop.extend([monitor.into(), "stop".into(), folder.into()]);
    stop.push(guest.stop.timeout.as_secs().to_string().into());
    Launch {
        guest: guest.name.clone(),
        program: Program { argv, environment: Vec::new(), timeout: guest.start.timeout },
        unit: Unit {
            description: format!("native guest {name}"),
            files: spec.root.path().cloned().into_iter().collect(),
            stop,
            stop_timeout: guest.stop.timeout,
            network_online: guest.start.network_online,
            resources: guest.resources,
            console: true,
        },
    }
}

/// Launches the monitor, and waits until its guest runs.
async fn launched(
    native: &Native,
    launch: &Launch,
    place: &Place,
    mut listener: UnixSeqpacketListener,
) -> EngineResult<()> {
    let deadline = Instant::now() + launch.program.timeout;
    let timed_out = || {
        let timeout = humantime::format_duration(launch.program.timeout);
        let reason = format!("it was not running after {timeout} (start.timeout)");
        EngineError { operation: OPERATION, kind: ErrorKind::TimedOut, reason }
    };
    match native.launcher.launch(launch).await {
        Ok(Launched::Up) => return Ok(()),
        Ok(Launched::Kept | Launched::Found) => {}
        Err(LaunchError::TimedOut { .. }) => return Err(timed_out()),
        Err(error) => return Err(explained(place, Some(error))),
    }
    let connection = loop {
        let look = deadline.min(Instant::now() + LOOK);
        match timeout_at(look, Connection::accept(&mut listener)).await {
            Ok(connection) => break connection.map_err(|error| super::failed(OPERATION, &error))?,
            Err(_) if Instant::now() >= deadline => return Err(timed_out()),
            // One that took over from a run before is connected to nobody.
            Err(_) => match native.launcher.keeper(&launch.guest).await {
                Ok(None) => return Err(explained(place, None)),
                _ => {
                    if let Ok(connection) = Connection::watching(place).await {
                        break connection;
                    }
                }
            },
        }
    };
    match timeout_at(deadline, connection.told()).await {
        // It runs, or has run.
        Ok(Ok(Some(_))) => Ok(()),
        Ok(Ok(None) | Err(_)) => Err(explained(place, None)),
        Err(_) => Err(timed_out()),
    }
}

/// Why it does not run, by the monitor's own words where it left some.
fn explained(place: &Place, error: Option<LaunchError>) -> EngineError {
    let spawn = match &error {
        Some(LaunchError::Spawn { .. } | LaunchError::Unit { .. }) => error.as_ref(),
        _ => None,
    };
    if let Some(error) = spawn {
        return EngineError { operation: OPERATION, kind: ErrorKind::Unavailable, reason: error.to_string() };
    }
    let (kind, reason) = match record::read::<Outcome>(&place.outcome(), FILE_MAX) {
        Ok(Some(Outcome::Failed(trouble))) if trouble.is_permanent => {
            (ErrorKind::Misconfigured, trouble.reason)
        }
        Ok(Some(Outcome::Failed(trouble))) => (ErrorKind::Failed, trouble.reason),
        _ => {
            let words = error
                .map_or_else(|| "its monitor ended without a word".to_owned(), |error| error.to_string());
            (ErrorKind::Failed, words)
        }
    };
    EngineError { operation: OPERATION, kind, reason }
}
