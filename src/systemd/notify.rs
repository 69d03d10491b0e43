//! Readiness and status for systemd, by sd_notify(3). Nothing happens where nobody asked to be notified.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior};

/// The bus name is held and the state is recovered.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The daemon reads its settings again, on SIGHUP; [`ready`] says that it has (`Type=notify-reload` in
/// systemd.service(5)).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        // In one message, as sd_notify(3) asks for.
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("cannot read the clock: {error}"),
    }
}

/// The daemon is on its way out; guests go on.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    let line = text.replace(['\n', '\r'], " ");
    notify(&[NotifyState::Status(&line)]);
}

/// This may take longer: the service manager waits at least so long from now before it gives up, also beyond the limit
/// in the unit (`EXTEND_TIMEOUT_USEC`).
pub fn extend(by: Duration) {
    notify(&[NotifyState::ExtendTimeoutUsec(u32::try_from(by.as_micros()).unwrap_or(u32::MAX))]);
}

/// Whether a service manager wants to be notified.
pub fn is_wanted() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells the service manager that the loop which owns this still turns, twice in the time that it allows
/// (`WatchdogSec=`). Without a service manager that watches there is no timer.
#[derive(Debug)]
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Asks the environment. Needs a running Tokio runtime.
    pub fn new() -> Self {
        Self(sd_notify::watchdog_enabled().map(|limit| {
            let mut turns = tokio::time::interval(limit / 2);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            turns
        }))
    }

    /// Waits until it is time to [feed](Self::feed) it.
    pub async fn hungry(&mut self) {
        match &mut self.0 {
            Some(turns) => drop(turns.tick().await),
            None => std::future::pending().await,
        }
    }

    /// The loop turns.
    pub fn feed(&self) {
        notify(&[NotifyState::Watchdog]);
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
