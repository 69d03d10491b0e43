//! The daemon's presence on the bus, from the moment it is ready until a signal says stop: a bus that goes away is waited
//! for, and served again with everything as it is by then. Guests do not mind either.

use std::{future::pending, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{DaemonError, handle::Handle};
use crate::{
    dbus::{self, DbusError},
    systemd::notify,
};

/// Between two tries to connect to a bus that is gone; doubled up to the second.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, DaemonError> {
        let of = |kind| signal(kind).map_err(DaemonError::Signals);
        let (terminate, interrupt) = (of(SignalKind::terminate())?, of(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup: of(SignalKind::hangup())? })
    }
}

/// Waits for a signal to end. Where guests are launched by the bus too, its end is the daemon's, which its service manager
/// starts again: there is more than the name to be had anew.
///
/// # Errors
/// [`DaemonError::Bus`] when the bus is gone for good, or another guestd has the name on it.
pub async fn until_told(handle: &Handle, bus: dbus::Service, needs_bus: bool) -> Result<(), DaemonError> {
    let mut signals = Signals::new()?;
    let mut bus = Some(bus);
    loop {
        let lost = async {
            match &bus {
                Some(bus) => bus.lost().await,
                None => pending().await,
            }
        };
        let back = async {
            match &bus {
                Some(_) => pending().await,
                None => again(handle).await,
            }
        };
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hangup.recv() => {
                notify::reloading();
                // The manager outlives this loop.
                let _ = handle.reload().await;
                notify::ready();
            }
            lost = lost => {
                if needs_bus {
                    return Err(DaemonError::Bus(lost));
                }
                tracing::warn!("{lost}: guests go on, and guestd can be asked again once there is a bus");
                bus = None;
            }
            back = back => {
                bus = Some(back.map_err(DaemonError::Bus)?);
                tracing::info!("back on the bus");
            }
        }
    }
}

/// Tries to serve the bus until that works, or another guestd is there.
async fn again(handle: &Handle) -> Result<dbus::Service, DbusError> {
    let mut pause = RETRY;
    loop {
        match dbus::serve_system_bus(handle.clone()).await {
            Err(DbusError::NameTaken { .. }) => return Err(DbusError::NameTaken { name: dbus::NAME }),
            Err(error) => tracing::debug!("the bus is not back yet: {error}"),
            Ok(service) => return Ok(service),
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
