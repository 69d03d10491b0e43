//! Readiness and status for systemd, by sd_notify(3). Nothing happens where nobody asked to be notified.

use sd_notify::NotifyState;

/// The bus name is held and the state is recovered.
pub fn ready() {
    notify(&[NotifyState::Ready]);
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

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot notify the service manager: {error}");
    }
}
