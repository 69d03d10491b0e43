//! `guestctl unit-stop`: what a guest's unit runs when somebody stops the unit.

use std::{ffi::OsString, os::unix::process::CommandExt, path::Path, process::Command, time::Duration};

use zbus::fdo::DBusProxy;

use crate::{
    cli::{
        bus::{Bus, Options},
        error::Error,
        exit::GuestctlExit,
        job,
        output::tell,
    },
    dbus::NAME,
    model::{JobState, Verb},
};

const PROGRAM: &str = "guestctl";

/// Has guestd stop a guest; where guestd is gone, the program of its engine does. Does nothing when the unit's main process has
/// ended already: then systemd runs this as well, without `MAINPID` (systemd.exec(5)), and the guest may be about to be
/// started again.
pub(super) async fn run(name: &str, otherwise: &[OsString]) -> Result<GuestctlExit, Error> {
    if std::env::var_os("MAINPID").is_none_or(|pid| pid.is_empty()) {
        return Ok(GuestctlExit::Done);
    }
    let Some((program, arguments)) = otherwise.split_first() else { return Ok(GuestctlExit::Failed) };
    let by = Path::new(program).file_name().unwrap_or(program).display();
    match by_guestd(name).await {
        Ok(true) => return Ok(GuestctlExit::Done),
        Ok(false) => tell(PROGRAM, &format!("{name}: guestd does not run; {by} stops it")),
        Err(error) => tell(PROGRAM, &format!("{name}: guestd could not stop it; {by} does: {error}")),
    }
    let source = Command::new(program).args(arguments).exec();
    Err(Error::Setup { operation: "run what stops it", source })
}

/// Whether guestd has stopped it. One that does not run is left alone: its start would have to wait for the stop of
/// this very unit.
async fn by_guestd(name: &str) -> Result<bool, Error> {
    let bus = Bus::connect().await?;
    let names = DBusProxy::new(bus.connection()).await.map_err(|source| Error::NoBus { source })?;
    let runs = names.name_has_owner(NAME.try_into().map_err(|_| Error::JobLost)?).await;
    if !runs.unwrap_or(false) {
        return Ok(false);
    }
    let path = bus.operate(Verb::Stop, name, &Options::new()).await?;
    // It is stopped otherwise at once where guestd does not.
    let job = job::follow(&bus, &path, Duration::ZERO, |_| {}).await?;
    Ok(job.state == JobState::Done)
}
