//! Sessions of people in guests as units of PID 1: so they live in no sandbox and no cgroup of the daemon's, and go on
//! without it.

use std::{io, os::fd::AsFd, process::ExitStatus, time::Duration};

use futures_util::StreamExt;
use tokio::{runtime::Handle, time::timeout};
use zbus::{Fd, Variant, proxy::CacheProperties};
use zbus_systemd::systemd1::UnitProxy;

use super::{ANSWER, Systemd, closed, hook::Held};
use crate::{
    launch::{
        HookEnd, Session, direct,
        unit::{self, Properties},
    },
    model::GuestName,
};

/// How long a session may take to end before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(5);
/// From here on exit statuses are still the session's own: each is well.
const STATUSES: std::ops::Range<i32> = 1..256;
/// Warnings, as syslog(3) counts.
const WARNING: i32 = 4;

impl Systemd {
    /// Runs a session in a unit of its own until it has ended.
    pub(super) async fn session(&self, guest: &GuestName, session: Session) -> io::Result<ExitStatus> {
        match self.session_ended(guest, session).await.map_err(io::Error::other)? {
            HookEnd::Exited(status) => Ok(status),
            HookEnd::Failed(error) => Err(error),
            HookEnd::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn session_ended(&self, guest: &GuestName, session: Session) -> zbus::Result<HookEnd> {
        let mut ends = self.jobs.listen().ok_or_else(closed)?;
        let properties = || properties(guest, &session);
        let (held, job) = timeout(ANSWER, self.begin(|number| name(guest, number), properties))
            .await
            .unwrap_or_else(|_| Err(zbus::Error::Failure("PID 1 does not answer".into())))?;
        let unit = held.unit.clone();
        let _running = Running(held);
        ends.of(&job).await.ok_or_else(closed)?;
        // The person's ends are PID 1's and the session's now.
        let Session { program, begun, .. } = session;
        // Nobody may wait for that.
        let _ = begun.send(());
        self.until_over(&unit).await?;
        self.told(&unit, &program).await
    }

    /// Waits until a unit is over that is kept in memory.
    async fn until_over(&self, name: &str) -> zbus::Result<()> {
        let path = self.manager.get_unit(name.into()).await?;
        let unit = UnitProxy::builder(&self.connection).path(path.clone());
        // What it tells is only taken as a hint: it may be as old as the subscription.
        let unit = unit.cache_properties(CacheProperties::Lazily).build().await?;
        let mut changes = unit.receive_active_state_changed().await;
        while !matches!(self.active_state(&path).await?.as_str(), "inactive" | "failed") {
            changes.next().await.ok_or_else(closed)?;
        }
        Ok(())
    }
}

/// A session's unit, stopped when this is dropped. When the daemon ends, its runtime begins nothing more, and the session
/// goes on.
struct Running(Held);

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(runtime) = Handle::try_current() {
            let (manager, unit) = (self.0.manager.clone(), self.0.unit.clone());
            // One that is over is not stopped, and that is all.
            runtime.spawn(async move { drop(manager.stop_unit(unit, "replace".into()).await) });
        }
    }
}

/// The name of a session's unit. It is none that a guest's could be.
fn name(guest: &GuestName, number: u64) -> String {
    format!("guestd-session-{guest}-{number}.service")
}

/// What systemd, 252 or newer, is to know of a session's unit.
fn properties(guest: &GuestName, session: &Session) -> zbus::Result<Properties> {
    let [stdin, stdout, stderr] = &session.stdio;
    let stream = |fd: &std::os::fd::OwnedFd| Fd::from(fd.as_fd()).try_to_owned().map(Variant::Fd);
    let fields: Vec<_> = vec![format!("GUEST={guest}").into_bytes()];
    let answers: (Vec<i32>, Vec<i32>) = (STATUSES.collect(), Vec::new());
    unit::owned(vec![
        ("Description", format!("Session in guest {guest}").into()),
        ("Documentation", vec!["man:guestctl-attach(1)".to_owned()].into()),
        // Whether it could be executed is known when its start is over.
        ("Type", "exec".into()),
        ("ExecStartEx", Variant::new(vec![unit::verbatim(&session.program.argv, &[])])),
        ("Environment", vec![format!("PATH={}", direct::PATH)].into()),
        ("StandardInputFileDescriptor", stream(stdin)?),
        ("StandardOutputFileDescriptor", stream(stdout)?),
        ("StandardErrorFileDescriptor", stream(stderr)?),
        // The leader of the session ends all of it, also what is in the guest.
        ("KillMode", "mixed".into()),
        ("TimeoutStopUSec", unit::micros(ENDS_WITHIN).into()),
        ("SuccessExitStatus", Variant::new(answers)),
        ("IgnoreSIGPIPE", false.into()),
        ("LogExtraFields", Variant::new(fields)),
        ("LogLevelMax", WARNING.into()),
        // Held until the status is known, and collected then, or with its own end where this daemon is gone.
        ("AddRef", true.into()),
        ("CollectMode", "inactive-or-failed".into()),
    ])
}
