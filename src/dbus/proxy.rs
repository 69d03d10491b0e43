//! The client's side: proxies for the three interfaces, with typed errors.
//!
//! Everything that acts allows polkit to ask for a password; where no agent runs, polkit refuses at once.

use std::collections::HashMap;

use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, proxy};

use super::errors::Error;

/// A step of `Plan`: wave, guest, delay in microseconds, reason.
pub type PlanRow = (u32, String, u64, String);
/// A guest that a plan leaves out, and why.
pub type RefusalRow = (String, String);
/// A diagnostic: severity, guest (or empty), file, line (or 0), message.
pub type DiagnosticRow = (String, String, String, u32, String);

/// Connects to the system bus, or to the one that `DBUS_SYSTEM_BUS_ADDRESS` names.
///
/// # Errors
/// When it cannot be reached.
pub async fn connect() -> zbus::Result<Connection> {
    Connection::system().await
}

/// `org.guestd1.Manager`.
#[proxy(interface = "org.guestd1.Manager", default_service = "org.guestd1", default_path = "/org/guestd1")]
pub trait Manager {
    /// Begins a bulk request: `action` is start, shutdown, kill or reboot; "" in `groups` is the null group.
    #[zbus(allow_interactive_auth)]
    fn autostart(
        &self,
        action: &str,
        groups: &[&str],
        options: &HashMap<&str, Variant<'_>>,
    ) -> Result<OwnedObjectPath, Error>;
    /// What a bulk request would do.
    fn plan(
        &self,
        action: &str,
        groups: &[&str],
        options: &HashMap<&str, Variant<'_>>,
    ) -> Result<Vec<PlanRow>, Error>;
    /// Whom it would leave out.
    fn refusals(
        &self,
        action: &str,
        groups: &[&str],
        options: &HashMap<&str, Variant<'_>>,
    ) -> Result<Vec<RefusalRow>, Error>;
    /// Brings the guest up.
    #[zbus(allow_interactive_auth)]
    fn start(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops it: option `timeout` i, in seconds.
    #[zbus(allow_interactive_auth)]
    fn stop(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops it, then starts it.
    #[zbus(allow_interactive_auth)]
    fn restart(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Asks its init to reboot.
    #[zbus(allow_interactive_auth)]
    fn reboot(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Kills it.
    #[zbus(allow_interactive_auth)]
    fn kill(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops its processes where they are.
    #[zbus(allow_interactive_auth)]
    fn freeze(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Lets them go on.
    #[zbus(allow_interactive_auth)]
    fn thaw(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Forgets a failure.
    #[zbus(allow_interactive_auth)]
    fn reset(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Keeps it from being started automatically: option `reason` s.
    #[zbus(allow_interactive_auth)]
    fn hold(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Ends a hold.
    #[zbus(allow_interactive_auth)]
    fn release(&self, name: &str, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Every guest and its path.
    fn list_guests(&self) -> Result<Vec<(String, OwnedObjectPath)>, Error>;
    /// The path of a guest.
    fn get_guest(&self, name: &str) -> Result<OwnedObjectPath, Error>;
    /// Every job and its path.
    fn list_jobs(&self) -> Result<Vec<(u32, OwnedObjectPath)>, Error>;
    /// Everything, as the JSON of [`super::describe::Host`].
    fn describe(&self) -> Result<String, Error>;
    /// What is wrong with the files that were read.
    fn diagnostics(&self) -> Result<Vec<DiagnosticRow>, Error>;
    /// Runs a command in a guest, or its root's shell, with this input, output and errors; returns when it has ended:
    /// `exited` with a status, or `killed` by a signal. Options `console` b and `term` s.
    #[zbus(allow_interactive_auth)]
    fn attach(
        &self,
        name: &str,
        command: &[&str],
        options: &HashMap<&str, Variant<'_>>,
        stdio: &[zbus::Fd<'_>],
    ) -> Result<(String, i32), Error>;
    /// A session of this client has begun in the guest.
    #[zbus(signal)]
    fn attached(&self, guest: &str) -> Result<(), Error>;
    /// Reports that a guest asked for something itself: `reboot`, `halt`, `poweroff` or `stop`. The decision, `restart`, `stop`
    /// or `ignore`, and why.
    #[zbus(allow_interactive_auth)]
    fn report(&self, name: &str, event: &str) -> Result<(String, String), Error>;
    /// What these guests use, or all that run: `memory`, `memory-limit` and `tasks`, and `cpu` in microseconds.
    fn usage(&self, guests: &[&str]) -> Result<HashMap<String, HashMap<String, OwnedVariant>>, Error>;
    /// Reads settings and guests again.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> Result<(), Error>;

    /// The version of the daemon.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> Result<String, Error>;
    /// What starts guests: `systemd` or `direct`.
    #[zbus(property)]
    fn launcher(&self) -> Result<String, Error>;
    /// Who may act: `polkit` or `root-only`.
    #[zbus(property)]
    fn authorization(&self) -> Result<String, Error>;
    /// How `start.order` is read.
    #[zbus(property)]
    fn order(&self) -> Result<String, Error>;
    /// At most so many guests are being started at once.
    #[zbus(property)]
    fn max_starting(&self) -> Result<u32, Error>;
    /// What keeps guests from beginning to start just now; empty when nothing does.
    #[zbus(property)]
    fn held_back(&self) -> Result<String, Error>;
    /// The lxcpaths that are managed.
    #[zbus(property)]
    fn lxc_paths(&self) -> Result<Vec<String>, Error>;
    /// How many guests there are.
    #[zbus(property)]
    fn guests_total(&self) -> Result<u32, Error>;
    /// How many of them are up.
    #[zbus(property)]
    fn guests_up(&self) -> Result<u32, Error>;
    /// How many have failed.
    #[zbus(property)]
    fn guests_failed(&self) -> Result<u32, Error>;
}

/// `org.guestd1.Guest`.
#[proxy(interface = "org.guestd1.Guest", default_service = "org.guestd1")]
pub trait Guest {
    /// Brings the guest up.
    #[zbus(allow_interactive_auth)]
    fn start(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops it: option `timeout` i, in seconds.
    #[zbus(allow_interactive_auth)]
    fn stop(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops it, then starts it.
    #[zbus(allow_interactive_auth)]
    fn restart(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Asks its init to reboot.
    #[zbus(allow_interactive_auth)]
    fn reboot(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Kills it.
    #[zbus(allow_interactive_auth)]
    fn kill(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Stops its processes where they are.
    #[zbus(allow_interactive_auth)]
    fn freeze(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Lets them go on.
    #[zbus(allow_interactive_auth)]
    fn thaw(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Forgets a failure.
    #[zbus(allow_interactive_auth)]
    fn reset(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Keeps it from being started automatically: option `reason` s.
    #[zbus(allow_interactive_auth)]
    fn hold(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Ends a hold.
    #[zbus(allow_interactive_auth)]
    fn release(&self, options: &HashMap<&str, Variant<'_>>) -> Result<OwnedObjectPath, Error>;
    /// Everything about it, as the JSON of [`super::describe::GuestDetails`].
    fn describe(&self) -> Result<String, Error>;

    /// Its name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> Result<String, Error>;
    /// What is.
    #[zbus(property)]
    fn phase(&self) -> Result<String, Error>;
    /// What is wanted: `up` or `down`.
    #[zbus(property)]
    fn intent(&self) -> Result<String, Error>;
    /// Whether it serves.
    #[zbus(property)]
    fn ready(&self) -> Result<bool, Error>;
    /// Why it is where it is.
    #[zbus(property)]
    fn reason(&self) -> Result<String, Error>;
    /// The process id of its init on the host; 0 when it does not run.
    #[zbus(property)]
    fn init_pid(&self) -> Result<i32, Error>;
    /// Since when it is in this phase, in microseconds since 1970; 0 when that is not known.
    #[zbus(property)]
    fn since(&self) -> Result<u64, Error>;
    /// When it is started again by itself, in microseconds since 1970; 0 when that is not known.
    #[zbus(property)]
    fn next_try(&self) -> Result<u64, Error>;
}

/// `org.guestd1.Job`.
#[proxy(interface = "org.guestd1.Job", default_service = "org.guestd1")]
pub trait Job {
    /// Cancels what the job has not begun.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self) -> Result<(), Error>;

    /// Its number.
    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> Result<u32, Error>;
    /// What it does to each guest.
    #[zbus(property(emits_changed_signal = "const"))]
    fn verb(&self) -> Result<String, Error>;
    /// How far it is: `running`, `done`, `failed`, `canceled`.
    #[zbus(property)]
    fn state(&self) -> Result<String, Error>;
    /// How many guests have a result, and of how many.
    #[zbus(property)]
    fn progress(&self) -> Result<(u32, u32), Error>;
    /// What it is doing or waiting for.
    #[zbus(property)]
    fn status(&self) -> Result<String, Error>;
    /// The result of each guest so far, as [`crate::model::Outcome`] writes it.
    #[zbus(property)]
    fn results(&self) -> Result<HashMap<String, String>, Error>;
    /// When it was accepted, in microseconds since 1970.
    #[zbus(property(emits_changed_signal = "const"))]
    fn started(&self) -> Result<u64, Error>;
    /// When it ended; 0 while it runs.
    #[zbus(property)]
    fn ended(&self) -> Result<u64, Error>;
}
