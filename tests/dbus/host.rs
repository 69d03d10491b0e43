//! guestd on a private bus, called with busctl as this user or that.

use std::{process::Output, sync::Arc};

use guestd::{
    dbus::{self, DbusError, Service},
    model::Auto,
};
use zbus::connection::Builder;

use crate::{
    bus::Bus,
    manager::{Manager, guest, name},
};

/// The user that owns nothing.
pub const NOBODY: u32 = 65534;

/// guestd on a bus of its own.
pub struct Host {
    /// The bus.
    pub bus: Arc<Bus>,
    /// Plays the manager.
    pub manager: Manager,
    /// The room under test.
    pub service: Service,
}

impl Host {
    /// Two guests: `web-1` in the group web, which requires `db` in data and backup.
    pub async fn start() -> Self {
        let bus = Arc::new(Bus::start());
        let mut db = guest("db", &["data", "backup"]);
        db.auto = Auto::No;
        let mut web = guest("web-1", &["web"]);
        web.requires = [name("db")].into();
        let manager = Manager::of([web, db]);
        let service = serve(&bus, &manager).await.unwrap();
        Self { bus, manager, service }
    }

    /// Calls a method of the manager as a user.
    pub async fn call(&self, uid: u32, arguments: &[&str]) -> Output {
        let target = ["call", "org.guestd1", "/org/guestd1", "org.guestd1.Manager"];
        self.busctl(uid, &[&target, arguments].concat()).await
    }

    /// Runs busctl as a user, while this thread goes on serving.
    pub async fn busctl(&self, uid: u32, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|part| (*part).to_owned()).collect();
        let bus = Arc::clone(&self.bus);
        let run = move || bus.busctl(uid, &arguments);
        tokio::task::spawn_blocking(run).await.unwrap()
    }
}

/// Puts guestd on the bus.
pub async fn serve(bus: &Bus, manager: &Manager) -> Result<Service, DbusError> {
    let address = bus.address();
    dbus::serve_on_bus(Builder::address(address.as_str()), manager.handle.clone()).await
}

/// What busctl printed, after it succeeded.
pub fn answer(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Why busctl failed.
pub fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}
