//! Prints the phase of every guest, and each change of it as it happens, until it is interrupted.
//!
//! ```text
//! cargo run --example watch
//! ```

use futures_util::{StreamExt, stream::SelectAll};
use guestd::dbus::proxy::{self, GuestProxy, ManagerProxy};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let connection = proxy::connect().await?;
    let manager = ManagerProxy::new(&connection).await?;
    let mut changes = SelectAll::new();
    for (name, path) in manager.list_guests().await? {
        let guest = GuestProxy::builder(&connection).path(path).build().await?;
        // The first item of the stream is the phase as it is now.
        let phases = guest.receive_phase_changed().await;
        changes.push(phases.map(move |phase| (name.clone(), phase, guest.clone())).boxed());
    }
    while let Some((name, phase, guest)) = changes.next().await {
        let (phase, reason) = (phase.get().await?, guest.reason().await?);
        let joint = if reason.is_empty() { "" } else { ": " };
        println!("{name} is {phase}{joint}{reason}");
    }
    Ok(())
}
