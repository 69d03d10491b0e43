//! Asking a running container: stop, reboot, freeze, thaw.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{
    Lxc, cgroup,
    command::{CommandError, Monitor},
    locate,
    process::{Process, blocks, hears},
    reason, socket,
};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind, Request},
    launch::{self, Cgroups, LaunchError, Program, freezer},
    model::{Guest, LxcSpec, end::SignalName},
};

/// Between two looks at an init that was not ready to hear a signal.
const RECHECK: Duration = Duration::from_millis(50);
/// The part of it that comes before LXC's own.
const FREEZE_FIRST: Duration = Duration::from_secs(1);
/// The time that freezing or thawing may take.
const FREEZE: Duration = Duration::from_secs(10);
/// What asks init to reboot, where nothing else is set: what Control-Alt-Delete would send.
const SIGINT: i32 = 2;
/// What asks init to stop: a power failure.
const SIGPWR: i32 = 30;
/// What asks systemd to stop: SIGRTMIN+3.
const SIGRTMIN_3: i32 = 37;

/// Asks, and returns once it is done or was heard.
pub(super) async fn request(lxc: &Lxc, guest: &Guest, spec: &LxcSpec, request: Request) -> EngineResult<()> {
    match request {
        Request::Stop => {
            // LXC's rule: systemd blocks SIGRTMIN+3 to fetch it by signalfd.
            let by_init = |pid| if blocks(pid, SIGRTMIN_3) { SIGRTMIN_3 } else { SIGPWR };
            ask(lxc, guest, spec, "ask it to stop", |pid| spec.halt_signal.unwrap_or_else(|| by_init(pid)))
                .await
        }
        Request::Reboot => {
            ask(lxc, guest, spec, "ask it to reboot", |_| spec.reboot_signal.unwrap_or(SIGINT)).await
        }
        Request::Freeze => freeze(lxc, guest, spec).await,
        Request::Thaw => run(guest, spec, "lxc-unfreeze", "thaw it").await,
    }
}

/// With the freezer of v1, `lxc-freeze` sleeps for a second between two looks, and the first one is nearly always too
/// early. So it is called when everything is frozen already, to tell its monitor and who listens there.
async fn freeze(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> EngineResult<()> {
    if let Ok(Some(init)) = init(lxc, guest, spec).await {
        let cgroups = Cgroups(cgroup::of_processes([init.pid()], guest.name.as_str()).into_iter().collect());
        // What does not freeze by then, LXC tries too, and says why.
        let _ = timeout(FREEZE_FIRST, freeze_in_v1(&cgroups, init.pid())).await;
    }
    let frozen = run(guest, spec, "lxc-freeze", "freeze it").await;
    if frozen.is_err() {
        // Half frozen it would be of no use to anybody. The reason to tell is the first one.
        let _ = run(guest, spec, "lxc-unfreeze", "thaw it").await;
    }
    frozen
}

/// Freezes by the freezer of v1, if there is one: asks again and again, as the kernel wants it, until all have stopped.
async fn freeze_in_v1(cgroups: &Cgroups, init: i32) -> std::io::Result<()> {
    let mut pause = Duration::from_millis(1);
    while freezer::begin_in_v1(cgroups)? && !freezer::is_frozen(init)? {
        sleep(pause).await;
        pause *= 2;
    }
    Ok(())
}

/// Its init, by its monitor's word or without it. None when that one is dead.
async fn init(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> Result<Option<Process>, CommandError> {
    let monitor = Monitor::new(&spec.lxcpath, guest.name.as_str());
    let (error, located) = match Monitor::within(monitor.inits()).await {
        Ok(inits) => return Ok(Process::of(inits.init).ok()),
        Err(CommandError::TimedOut) => (CommandError::TimedOut, locate::by_processes(guest, spec).await),
        Err(error @ (CommandError::NotListening | CommandError::Foreign(_))) => {
            (error, locate::orphan(lxc.paths(), guest, spec).await)
        }
        Err(error) => return Err(error),
    };
    located.map(|located| Some(located.init)).ok_or(error)
}

/// Sends its init a signal; again when the init was not ready to hear it, once it is. `choose` is asked each time: an
/// init that is just coming up may show only later what it is.
async fn ask(
    lxc: &Lxc,
    guest: &Guest,
    spec: &LxcSpec,
    operation: &'static str,
    choose: impl Fn(i32) -> i32,
) -> EngineResult<()> {
    let failed = |error: std::io::Error| EngineError {
        operation,
        kind: ErrorKind::Failed,
        reason: format!("its init cannot be signalled: {error}"),
    };
    let Some(init) = init(lxc, guest, spec).await.map_err(|error| error.about(operation))? else {
        // It has just ended: so be it.
        return Ok(());
    };
    let deadline = Instant::now() + guest.stop.timeout;
    let mut sent = false;
    loop {
        let signal = choose(init.pid());
        // Looked at before sending: a handler that comes between the two costs one signal more, not one too few.
        let ready = hears(init.pid(), signal);
        if ready || !sent {
            init.signal(signal).map_err(failed)?;
            sent = true;
        }
        if ready {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(EngineError {
                operation,
                kind: ErrorKind::TimedOut,
                reason: format!("its init does not handle {}", SignalName(signal)),
            });
        }
        tokio::select! {
            () = init.ended() => return Ok(()),
            () = sleep(RECHECK) => {}
        }
    }
}

/// Runs LXC's own program: it knows which freezer this host has.
async fn run(
    guest: &Guest,
    spec: &LxcSpec,
    program: &'static str,
    operation: &'static str,
) -> EngineResult<()> {
    let mut argv: Vec<std::ffi::OsString> =
        [program, "-n", guest.name.as_str(), "-P"].map(Into::into).to_vec();
    argv.push(socket::trimmed(&spec.lxcpath).into());
    launch::run(&Program { argv, environment: Vec::new(), timeout: FREEZE }).await.map_err(|error| {
        let kind = match error {
            LaunchError::Spawn { .. } | LaunchError::Unit { .. } => ErrorKind::Unavailable,
            LaunchError::TimedOut { .. } => ErrorKind::TimedOut,
            LaunchError::Exited { .. } => ErrorKind::Failed,
        };
        let words = match &error {
            LaunchError::Exited { stderr, .. } => reason::of_stderr(stderr),
            LaunchError::Spawn { .. } | LaunchError::Unit { .. } | LaunchError::TimedOut { .. } => None,
        };
        EngineError { operation, kind, reason: words.unwrap_or_else(|| error.to_string()) }
    })
}

impl CommandError {
    /// It as the failure of an operation.
    pub(super) fn about(self, operation: &'static str) -> EngineError {
        let kind = match &self {
            Self::NotListening | Self::Closed => ErrorKind::Busy,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Foreign(_) | Self::Refused(nix::errno::Errno::EPERM | nix::errno::Errno::EACCES) => {
                ErrorKind::Denied
            }
            Self::Refused(_) | Self::Socket(_) => ErrorKind::Failed,
        };
        EngineError { operation, kind, reason: self.to_string() }
    }
}
