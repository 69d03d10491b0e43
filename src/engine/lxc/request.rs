//! Asking a running container: stop, reboot, freeze, thaw.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Lxc,
    command::{CommandError, Monitor},
    freeze::{freeze, thaw},
    locate,
    process::{Process, blocks, hears},
};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind, Request},
    model::{Guest, LxcSpec, end::SignalName},
};

/// Between two looks at an init that was not ready to hear a signal.
const RECHECK: Duration = Duration::from_millis(50);
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
        Request::Freeze => freeze(guest, spec).await,
        Request::Thaw => thaw(lxc, guest, spec).await,
    }
}

/// Its init, by its monitor's word or without it. None when that one is dead.
pub(super) async fn init(lxc: &Lxc, guest: &Guest, spec: &LxcSpec) -> Result<Option<Process>, CommandError> {
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
