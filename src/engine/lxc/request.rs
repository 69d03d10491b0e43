//! Asking a running container: stop, reboot, freeze, thaw.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    Lxc,
    command::{CommandError, Monitor},
    freeze::{freeze, thaw, thaw_by_cgroup},
    locate,
    process::{Process, blocks, hears},
};
use crate::{
    engine::{EngineError, EngineResult, ErrorKind, Request},
    launch::unit,
    model::{Guest, LxcSpec, end::SignalName},
};

/// Between two looks at an init that was not ready to hear a signal.
const RECHECK: Duration = Duration::from_millis(50);
/// The longest such time: it is doubled.
const RECHECK_MAX: Duration = Duration::from_millis(500);
/// What asks init to reboot, where nothing else is set: what Control-Alt-Delete would send.
const SIGINT: i32 = 2;
/// What asks init to stop: a power failure.
const SIGPWR: i32 = 30;
/// What asks systemd to stop: SIGRTMIN+3.
const SIGRTMIN_3: i32 = 37;

/// Asks, and returns once it is done or was heard.
pub(super) async fn request(lxc: &Lxc, guest: &Guest, spec: &LxcSpec, request: Request) -> EngineResult<()> {
    let within = Some(guest.stop.timeout);
    match request {
        Request::Stop => stop(lxc, guest, spec, None).await,
        Request::Hint => stop(lxc, guest, spec, within).await,
        Request::Reboot => {
            let asking = Asking::new(guest, "ask it to reboot", within);
            let init = init(lxc, guest, spec).await.map_err(|error| error.about(asking.operation))?;
            // One that has just ended: so be it.
            let Some(init) = init else { return Ok(()) };
            asking.go_on(&init, |_| spec.reboot_signal.unwrap_or(SIGINT), || {}).await
        }
        Request::Freeze => freeze(guest, spec).await,
        Request::Thaw => thaw(lxc, guest, spec).await,
    }
}

/// Asks it to stop, as soon as there is somebody to ask. A container that is down, or ends meanwhile, need not be asked.
async fn stop(lxc: &Lxc, guest: &Guest, spec: &LxcSpec, within: Option<Duration>) -> EngineResult<()> {
    let asking = Asking::new(guest, "ask it to stop", within);
    let init = loop {
        match init(lxc, guest, spec).await {
            Ok(Some(init)) => break init,
            Ok(None) | Err(CommandError::NotListening) => return Ok(()),
            // It comes up, or goes down, or its monitor is stuck.
            Err(CommandError::Closed | CommandError::TimedOut) if !asking.is_over() => sleep(RECHECK).await,
            Err(error) => return Err(error.about(asking.operation)),
        }
    };
    // LXC's rule: systemd blocks SIGRTMIN+3 to fetch it by signalfd.
    let by_init = |pid| if blocks(pid, SIGRTMIN_3) { SIGRTMIN_3 } else { SIGPWR };
    let thaw = || {
        thaw_by_cgroup(lxc, guest, spec, &init).unwrap_or_else(|error| {
            let name = &guest.name;
            tracing::warn!(guest = %name, object_systemd_unit = unit::name(name), "{name}: {error}");
        });
    };
    asking.go_on(&init, |pid| spec.halt_signal.unwrap_or_else(|| by_init(pid)), thaw).await
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

/// How something is asked of an init.
struct Asking<'a> {
    guest: &'a Guest,
    operation: &'static str,
    /// When to give up.
    until: Option<Instant>,
}

impl<'a> Asking<'a> {
    fn new(guest: &'a Guest, operation: &'static str, within: Option<Duration>) -> Self {
        Self { guest, operation, until: within.map(|within| Instant::now() + within) }
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    fn failed(&self, kind: ErrorKind, reason: String) -> EngineError {
        EngineError { operation: self.operation, kind, reason }
    }

    /// Sends an init a signal; again when it was not ready to hear it, once it is. Before each look `prepare` is called,
    /// and `choose` says which signal: an init that is just coming up may show only later what it is.
    async fn go_on(
        &self,
        init: &Process,
        choose: impl Fn(i32) -> i32,
        prepare: impl Fn(),
    ) -> EngineResult<()> {
        let mut pause = RECHECK;
        let mut sent = false;
        loop {
            prepare();
            let signal = choose(init.pid());
            // Looked at before sending: a handler that comes between the two costs one signal more, not one too few.
            let ready = hears(init.pid(), signal);
            if ready || !sent {
                init.signal(signal).map_err(|error| {
                    self.failed(ErrorKind::Failed, format!("its init cannot be signalled: {error}"))
                })?;
                sent = true;
            }
            if ready {
                return Ok(());
            }
            if self.is_over() {
                let timeout = humantime::format_duration(self.guest.stop.timeout);
                let reason = format!("its init has not handled {} within {timeout}", SignalName(signal));
                return Err(self.failed(ErrorKind::TimedOut, reason));
            }
            tokio::select! {
                () = init.ended() => return Ok(()),
                () = sleep(pause) => pause = (pause * 2).min(RECHECK_MAX),
            }
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
