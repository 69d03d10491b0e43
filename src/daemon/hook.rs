//! Runs guests' hooks (`[hooks]`): the commands of a stage one after the other, on the host, through the launcher.
//!
//! Their environment is `GUESTD_GUEST`, `GUESTD_STAGE`, `GUESTD_ENGINE`, `GUESTD_REASON` (why it ended or failed; empty
//! where that is not known), and for LXC containers `GUESTD_LXCPATH` and `GUESTD_ROOTFS`. Each command has the guest's
//! `start.timeout`, or in the stages of the way down its `stop.timeout`.

use std::{ffi::OsString, time::Duration};

use crate::{
    engine::{EngineError, EngineResult, ErrorKind},
    launch::{HookEnd, Launcher, Program},
    model::{Argv, EngineSpec, Guest, HookStage},
    systemd::message,
};

/// Runs the hooks before a start. The first that fails ends the start, as in util-vserver.
///
/// # Errors
/// With what it did.
pub async fn pre_start(launcher: &dyn Launcher, guest: &Guest) -> EngineResult<()> {
    for argv in guest.hooks.of(HookStage::PreStart) {
        run(launcher, guest, HookStage::PreStart, argv, "").await.map_err(|reason| EngineError {
            operation: "run its pre-start hook",
            kind: ErrorKind::Failed,
            reason,
        })?;
    }
    Ok(())
}

/// Runs the hooks of any other stage. Nothing depends on how they end: it is only told.
pub async fn run_all(launcher: &dyn Launcher, guest: &Guest, stage: HookStage, reason: &str) {
    for argv in guest.hooks.of(stage) {
        if let Err(why) = run(launcher, guest, stage, argv, reason).await {
            message::warn(&guest.name, format_args!("{}: its {stage} hook failed: {why}", guest.name));
        }
    }
}

async fn run(
    launcher: &dyn Launcher,
    guest: &Guest,
    stage: HookStage,
    argv: &Argv,
    reason: &str,
) -> Result<(), String> {
    let timeout = time_of(guest, stage);
    let environment = environment(guest, stage, reason);
    let argv_words = argv.iter().map(OsString::from).collect();
    let program = Program { argv: argv_words, environment, timeout };
    match launcher.run_hook(&guest.name, &program).await {
        HookEnd::Exited(status) if status.success() => Ok(()),
        HookEnd::Exited(status) => Err(format!("{}: {status}", argv.program())),
        HookEnd::TimedOut => {
            let timeout = humantime::format_duration(timeout);
            Err(format!("{} took longer than {timeout}, and was killed", argv.program()))
        }
        HookEnd::Failed(error) => Err(format!("{} cannot be run: {error}", argv.program())),
    }
}

fn time_of(guest: &Guest, stage: HookStage) -> Duration {
    match stage {
        HookStage::PreStart | HookStage::PostStart => guest.start.timeout,
        HookStage::PreStop | HookStage::PostStop | HookStage::OnFailure => guest.stop.timeout,
    }
}

fn environment(guest: &Guest, stage: HookStage, reason: &str) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("GUESTD_GUEST".into(), guest.name.as_str().into()),
        ("GUESTD_STAGE".into(), stage.as_str().into()),
        ("GUESTD_ENGINE".into(), guest.engine_kind().as_str().into()),
        ("GUESTD_REASON".into(), reason.into()),
    ];
    match &guest.engine {
        EngineSpec::Lxc(spec) => {
            environment.push(("GUESTD_LXCPATH".into(), spec.lxcpath.as_os_str().to_owned()));
            environment.extend(spec.rootfs.as_deref().map(|rootfs| ("GUESTD_ROOTFS".into(), rootfs.into())));
        }
        EngineSpec::Native(spec) => {
            environment.extend(spec.root.path().map(|path| ("GUESTD_ROOTFS".into(), path.into())));
        }
    }
    environment
}
