//! The D-Bus room: translation only. [`Handle`] in, D-Bus out; nothing is decided here but who may act.
//!
//! On the bus name [`NAME`]:
//!
//! | path | interface | what |
//! | --- | --- | --- |
//! | `/org/guestd1` | `org.guestd1.Manager` | bulk requests, requests by name, lists, reload |
//! | `/org/guestd1` | `org.freedesktop.DBus.ObjectManager` | everything below it, coming and going |
//! | `/org/guestd1/guest/NAME` | `org.guestd1.Guest` | one guest; its name escaped as systemd escapes |
//! | `/org/guestd1/job/ID` | `org.guestd1.Job` | one job, until it is forgotten |
//!
//! The interfaces are described in `introspection/*.xml`. Objects hold no state: a property is read from the newest
//! snapshot when somebody asks, and the publisher signals what changed from one snapshot to the next. Calls run
//! side by side, since one that waits at a password prompt must not hold up the others; a client that needs an order
//! waits for each answer.

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinHandle};
use zbus::{Connection, connection::Builder, fdo};

use crate::daemon::handle::Handle;

mod attach;
mod authorisation;
mod concerned;
mod context;
pub mod describe;
pub mod errors;
mod guest;
mod job;
mod limit;
mod manager;
mod options;
mod pace;
pub mod path;
pub mod proxy;
mod publisher;
mod value;

use authorisation::Authorisation;
pub use authorisation::Callers;
use context::Context;
use manager::ManagerObject;
use publisher::Publisher;

/// The name on the bus.
pub const NAME: &str = "org.guestd1";

/// Why guestd is not, or no longer, on the bus.
#[derive(Debug, thiserror::Error)]
pub enum DbusError {
    /// The bus cannot be reached.
    #[error("cannot connect to the bus; is dbus running, and DBUS_SYSTEM_BUS_ADDRESS right")]
    Connect {
        /// Why not.
        #[source]
        source: zbus::Error,
    },
    /// The objects cannot be exported.
    #[error("cannot export {path} on the bus")]
    Export {
        /// The first object that could not.
        path: &'static str,
        /// Why not.
        #[source]
        source: zbus::Error,
    },
    /// Somebody else has the name.
    #[error("the bus name {name} is taken: another guestd runs on this bus")]
    NameTaken {
        /// The name.
        name: &'static str,
    },
    /// The bus does not give the name.
    #[error("cannot get the bus name {name}; is the bus policy org.guestd1.conf installed")]
    Name {
        /// The name.
        name: &'static str,
        /// Why not.
        #[source]
        source: zbus::Error,
    },
    /// The connection ended.
    #[error("the connection to the bus was closed")]
    Lost,
}

/// guestd on the bus. It leaves the bus when this is dropped.
#[derive(Debug)]
pub struct Service {
    connection: Connection,
    publisher: JoinHandle<()>,
}

impl Service {
    /// The connection, for other services on the same bus.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits until the connection is lost. The guests do not mind; the caller may [`serve`] again.
    pub async fn lost(&self) -> DbusError {
        self.connection.closed().await;
        DbusError::Lost
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.publisher.abort();
    }
}

/// Looks whether guestd's name is free on the system bus, so that a second guestd ends before it takes anything over. It
/// is requested only when everything can be answered; whoever takes it in between still makes that fail.
///
/// # Errors
/// [`DbusError::NameTaken`], or that the bus cannot be asked.
pub async fn is_alone_on_system_bus() -> Result<(), DbusError> {
    let is_taken = async {
        let connection = Builder::system().build().await?;
        zbus::Result::Ok(authorisation::bus(&connection).await?.name_has_owner(NAME.try_into()?).await?)
    };
    match is_taken.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(DbusError::NameTaken { name: NAME }),
        Err(source) => Err(DbusError::Connect { source }),
    }
}

/// Puts guestd on the system bus: exports everything, then requests the name.
///
/// # Errors
/// [`DbusError`] says which step failed.
pub async fn serve_system_bus(handle: Handle) -> Result<Service, DbusError> {
    serve_on_bus(Builder::system(), handle).await
}

/// The same, on any bus.
///
/// # Errors
/// [`DbusError`] says which step failed.
pub async fn serve_on_bus(builder: Builder<'_>, handle: Handle) -> Result<Service, DbusError> {
    let service = serve(builder, handle, Callers::OnBus).await?;
    let flags = fdo::RequestNameFlags::DO_NOT_QUEUE;
    match service.connection.request_name_with_flags(NAME, flags).await {
        Ok(_) => Ok(service),
        Err(zbus::Error::NameTaken) => Err(DbusError::NameTaken { name: NAME }),
        Err(source) => Err(DbusError::Name { name: NAME, source }),
    }
}

/// Exports everything on a connection, without a name: for a peer-to-peer connection, and the first half of
/// [`serve_on_bus`].
///
/// # Errors
/// [`DbusError`] says which step failed.
pub async fn serve(builder: Builder<'_>, handle: Handle, callers: Callers) -> Result<Service, DbusError> {
    let (wait, waiting) = mpsc::unbounded_channel();
    let mut snapshots = handle.subscribe();
    let context = Arc::new(Context::new(handle, Authorisation::new(callers), wait));
    let connection = builder
        .serve_at(path::MANAGER, fdo::ObjectManager)
        .serve_at(path::MANAGER, ManagerObject::new(context.clone()))
        .build()
        .await
        .map_err(|source| DbusError::Connect { source })?;
    let publisher = Publisher::begin(connection.clone(), context, &mut snapshots)
        .await
        .map_err(|source| DbusError::Export { path: path::MANAGER, source })?;
    let publisher = tokio::spawn(async move {
        if let Err(error) = publisher.run(snapshots, waiting).await {
            tracing::warn!(%error, "nothing more can be published on the bus");
        }
    });
    Ok(Service { connection, publisher })
}
