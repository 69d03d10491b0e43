//! Hooks and probes as units of PID 1: what they run may do what the daemon's own sandbox forbids, and is held together
//! by a cgroup.

use std::{
    io, os::unix::process::ExitStatusExt, process::ExitStatus, sync::atomic::Ordering, time::Duration,
};

use nix::unistd::{AccessFlags, access};
use tokio::{runtime::Handle, time::timeout};
use zbus::{OwnedObjectPath, Variant, proxy::CacheProperties};
use zbus_systemd::systemd1::{ManagerProxy, ServiceProxy};

use super::{EXISTS, GRACE, Systemd, is};
use crate::{
    launch::{
        HookEnd, Program, direct,
        unit::{self, Properties},
    },
    model::GuestName,
};

/// Why nothing more is heard of a job.
const CLOSED: &str = "the bus was closed";
/// How long a killed process is waited for before its unit is given up, and how long what a hook has left running may
/// take to end after it.
const DIES_WITHIN: Duration = Duration::from_secs(1);
/// How the main process of a service ended (siginfo(7)).
const EXITED: i32 = 1;
const KILLED: i32 = 2;
const DUMPED: i32 = 3;
/// The exit status in place of that of a program that could not be executed (systemd.exec(5)).
const NOT_EXECUTED: i32 = 203;
/// From here on exit statuses are systemd's own, before it executes anything.
const OWN_STATUSES: i32 = 200;
const SIGKILL: i32 = 9;
/// Warnings, as syslog(3) counts.
const WARNING: i32 = 4;

/// What a program is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something happens to a guest; the journal has it, and what it prints.
    Hook,
    /// A guest is asked how it is. That happens every few seconds, and fills no journal; one that takes too long is killed,
    /// and that is an answer too.
    Probe,
}

impl Systemd {
    /// Runs a program in a unit of its own until that has ended. Once it is begun, it goes on when nobody waits for it
    /// any more, and then its unit vanishes with its end.
    pub(super) async fn hook(&self, guest: &GuestName, program: &Program, kind: Kind) -> HookEnd {
        match timeout(program.timeout.saturating_add(GRACE), self.ended(guest, program, kind)).await {
            Ok(Ok(end)) => end,
            Ok(Err(error)) => failed(error),
            Err(_) => failed("systemd does not tell how it ended"),
        }
    }

    async fn ended(&self, guest: &GuestName, program: &Program, kind: Kind) -> zbus::Result<HookEnd> {
        let Some(mut ends) = self.jobs.listen() else { return Ok(failed(CLOSED)) };
        let properties = || properties(guest, program, kind);
        let (held, job) = self.begin(|number| name(guest, number), properties).await?;
        match ends.of(&job).await.as_deref() {
            None => Ok(failed(CLOSED)),
            Some("canceled") => Ok(failed(format_args!("somebody has stopped {}", held.unit))),
            Some(_) => self.told(&held.unit, program).await,
        }
    }

    /// Starts the unit, under a name that no other has: a hook of a daemon before this one may still run.
    pub(super) async fn begin(
        &self,
        name: impl Fn(u64) -> String,
        properties: impl Fn() -> zbus::Result<Properties>,
    ) -> zbus::Result<(Held, OwnedObjectPath)> {
        loop {
            let unit = name(self.hooks.fetch_add(1, Ordering::Relaxed));
            let properties = properties()?;
            let held = Held { manager: self.manager.clone(), unit: unit.clone() };
            match self.manager.start_transient_unit(unit, "fail".into(), properties, Vec::new()).await {
                Err(error) if is(&error, EXISTS) => {}
                result => return Ok((held, result?)),
            }
        }
    }

    /// How the program of a unit ended that is over.
    pub(super) async fn told(&self, unit: &str, program: &Program) -> zbus::Result<HookEnd> {
        let path = self.manager.get_unit(unit.into()).await?;
        let service = ServiceProxy::builder(&self.connection).path(path);
        let service = service.cache_properties(CacheProperties::No).build().await?;
        let (code, status) = (service.exec_main_code().await?, service.exec_main_status().await?);
        if (code, status) == (EXITED, NOT_EXECUTED) {
            return Ok(HookEnd::Failed(why_not_executed(program)));
        }
        Ok(end(code, status, &service.result().await?))
    }
}

/// A unit that is kept in memory after its end, so that its result can be asked for, until this is dropped or the
/// daemon is gone.
pub(super) struct Held {
    pub(super) manager: ManagerProxy<'static>,
    pub(super) unit: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        // When the daemon ends, so does its connection, and PID 1 needs no word.
        if let Ok(runtime) = Handle::try_current() {
            let (manager, unit) = (self.manager.clone(), std::mem::take(&mut self.unit));
            runtime.spawn(async move { drop(manager.unref_unit(unit).await) });
        }
    }
}

fn failed(why: impl ToString) -> HookEnd {
    HookEnd::Failed(io::Error::other(why.to_string()))
}

/// Why a program could not be executed, as far as that can be seen afterwards: systemd tells it to the journal only.
fn why_not_executed(program: &Program) -> io::Error {
    let found = direct::found(program.name().as_ref());
    match found.and_then(|path| Ok(access(&path, AccessFlags::X_OK)?)) {
        Err(error) => error,
        Ok(()) => io::Error::other("systemd cannot execute it (status 203/EXEC): is its interpreter there?"),
    }
}

/// How a program ended, by what systemd says of its process and of the unit.
fn end(code: i32, status: i32, result: &str) -> HookEnd {
    match code {
        EXITED => HookEnd::Exited(ExitStatus::from_raw(status << 8)),
        // Its signal is then systemd's.
        _ if result == "timeout" => HookEnd::TimedOut,
        KILLED | DUMPED => HookEnd::Exited(ExitStatus::from_raw(status)),
        _ => failed(format_args!("systemd has not run it: {result}")),
    }
}

/// The name of a hook's unit. It is none that a guest's could be.
fn name(guest: &GuestName, number: u64) -> String {
    format!("guestd-hook-{guest}-{number}.service")
}

/// What systemd, 252 or newer, is to know of a hook's unit. It has the same from it as from the direct launcher, but
/// that the journal has what it prints, among what is told of the guest's own unit.
fn properties(guest: &GuestName, program: &Program, kind: Kind) -> zbus::Result<Properties> {
    let environment = [vec![format!("PATH={}", direct::PATH)], unit::environment(program)].concat();
    let fields = [format!("GUEST={guest}"), format!("OBJECT_SYSTEMD_UNIT={}", unit::name(guest))];
    let fields: Vec<_> = fields.map(String::into_bytes).into();
    // To say no is no failure of the unit.
    let signals = if kind == Kind::Probe { vec![SIGKILL] } else { Vec::new() };
    let answers: (Vec<i32>, Vec<i32>) = ((1..OWN_STATUSES).collect(), signals);
    let mut values: Vec<(&str, Variant<'static>)> = vec![
        ("Description", format!("{} for guest {guest}", program.name()).into()),
        ("Documentation", vec!["man:guestd.toml(5)".to_owned()].into()),
        ("Type", "oneshot".into()),
        ("ExecStartEx", Variant::new(vec![unit::verbatim(&program.argv, &[])])),
        ("Environment", environment.into()),
        // Zero would be for ever.
        ("TimeoutStartUSec", unit::micros(program.timeout).max(1).into()),
        ("TimeoutStartFailureMode", "kill".into()),
        ("TimeoutStopUSec", unit::micros(DIES_WITHIN).into()),
        ("KillMode", "control-group".into()),
        ("SuccessExitStatus", Variant::new(answers)),
        ("IgnoreSIGPIPE", false.into()),
        ("LogExtraFields", Variant::new(fields)),
        // Held until the status is known, and collected then, or with the end of this daemon.
        ("AddRef", true.into()),
        ("CollectMode", "inactive-or-failed".into()),
    ];
    if kind == Kind::Probe {
        // Also of what PID 1 says of the unit.
        values.push(("LogLevelMax", WARNING.into()));
    }
    unit::owned(values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::name::GUEST_NAME_MAX;

    fn guest() -> GuestName {
        GuestName::new("web").unwrap()
    }

    #[test]
    fn the_process_tells_how_it_ended_and_else_the_unit() {
        let code = |end| match end {
            HookEnd::Exited(status) => (status.code(), status.signal()),
            end => panic!("{end:?}"),
        };
        assert_eq!(code(end(EXITED, 0, "success")), (Some(0), None));
        assert_eq!(code(end(EXITED, 7, "success")), (Some(7), None));
        assert_eq!(code(end(KILLED, 9, "signal")), (None, Some(9)));
        assert_eq!(code(end(DUMPED, 11, "core-dump")), (None, Some(11)));
        // What it left running would not end.
        assert_eq!(code(end(EXITED, 1, "timeout")), (Some(1), None));
        assert!(matches!(end(KILLED, 9, "timeout"), HookEnd::TimedOut));
        assert!(matches!(end(0, 0, "resources"), HookEnd::Failed(_)));
    }

    #[test]
    fn why_a_program_was_not_executed_is_seen_afterwards() {
        let why = |path: &str| {
            let program =
                Program { argv: vec![path.into()], environment: Vec::new(), timeout: Duration::ZERO };
            why_not_executed(&program).kind()
        };
        assert_eq!(why("/nonexistent/program"), io::ErrorKind::NotFound);
        assert_eq!(why("/etc/passwd"), io::ErrorKind::PermissionDenied);
        // It seems to be well.
        assert_eq!(why("/bin/sh"), io::ErrorKind::Other);
    }

    #[test]
    fn no_hook_is_taken_for_a_guest() {
        let longest = GuestName::new(&"x".repeat(GUEST_NAME_MAX)).unwrap();
        // The longest that systemd takes (systemd.unit(5)).
        assert!(name(&longest, u64::MAX).len() < 256);
        for slice in ["system.slice", unit::SLICE] {
            assert_eq!(unit::of_cgroup(&Path::new(slice).join(name(&guest(), 1))), None);
        }
    }

    #[test]
    fn a_hook_has_its_own_environment_and_its_words_as_they_are() {
        let argv = ["/srv/$de cide%n", "$HOME"].map(Into::into).to_vec();
        let environment = vec![("GUESTD_GUEST".into(), "web".into())];
        let all = properties(&guest(), &Program { argv, environment, timeout: Duration::ZERO }, Kind::Hook)
            .unwrap();
        let value = |key: &str| all.iter().find(|(name, _)| name == key).unwrap().1.try_clone().unwrap();
        assert_eq!(
            Vec::<(String, Vec<String>, Vec<String>)>::try_from(value("ExecStartEx")).unwrap(),
            [(
                "/srv/$de cide%n".into(),
                vec!["/srv/$de cide%n".into(), "$HOME".into()],
                vec!["no-env-expand".into()]
            )]
        );
        assert_eq!(
            Vec::<String>::try_from(value("Environment")).unwrap(),
            [format!("PATH={}", direct::PATH), "GUESTD_GUEST=web".into()]
        );
        assert_eq!(u64::try_from(value("TimeoutStartUSec")).unwrap(), 1);
        assert!(!all.iter().any(|(name, _)| name == "Slice" || name.starts_with("Protect")));
    }
}
