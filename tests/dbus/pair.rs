//! The room at one end of a connection between two peers, a client at the other.

use std::os::unix::net::UnixStream;

use guestd::dbus::{self, Callers, proxy};
use zbus::{Connection, Guid, connection::Builder};

use crate::manager::{Manager, guest};

/// A service, and a client of it.
pub struct Pair {
    /// Plays the manager.
    pub manager: Manager,
    /// The client's end.
    pub client: Connection,
    /// The room under test.
    pub service: dbus::Service,
}

impl Pair {
    /// A service for this manager, and a client with this user id.
    pub async fn of(manager: Manager, uid: u32) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = Builder::unix_stream(theirs).server(Guid::generate()).p2p();
        let handle = manager.handle.clone();
        let (service, client) = tokio::join!(
            dbus::serve(server, handle, Callers::Peer { uid }),
            Builder::unix_stream(ours).p2p().build(),
        );
        Self { manager, client: client.unwrap(), service: service.unwrap() }
    }

    /// Two guests, and a client who is root.
    pub async fn root() -> Self {
        Self::of(Manager::of([guest("web-1", &["web"]), guest("db", &[])]), 0).await
    }

    /// The manager's object.
    pub async fn proxy(&self) -> proxy::ManagerProxy<'_> {
        uncached(proxy::ManagerProxy::builder(&self.client)).await
    }

    /// A guest's object.
    pub async fn guest(&self, path: &str) -> proxy::GuestProxy<'_> {
        uncached(proxy::GuestProxy::builder(&self.client).path(path.to_owned())).await
    }

    /// A job's object.
    pub async fn job(&self, id: u32) -> proxy::JobProxy<'_> {
        uncached(proxy::JobProxy::builder(&self.client).path(format!("/org/guestd1/job/{id}"))).await
    }
}

/// A proxy that asks every time.
pub async fn uncached<'a, T>(builder: zbus::proxy::Builder<'a, T>) -> T
where
    T: From<zbus::Proxy<'a>> + zbus::proxy::Defaults,
{
    builder.cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
}
