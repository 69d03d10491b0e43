//! lxc-monitord's socket, served while we are in its place, so that `lxc-monitor` keeps working.

use std::{
    future::pending,
    io,
    os::{linux::net::SocketAddrExt, unix::net},
    path::Path,
};

use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use super::{record, socket};

/// How many clients are served at once; more are turned away.
const CLIENTS_MAX: usize = 64;

/// The clients of an lxcpath.
pub(super) struct Clients {
    listener: Option<UnixListener>,
    streams: Vec<UnixStream>,
}

impl Clients {
    /// Listens in lxc-monitord's place. Where that fails there are just never any clients.
    pub(super) fn listen(lxcpath: &Path) -> Self {
        let listener = socket::monitord(lxcpath).and_then(|name| match bind(&name) {
            Ok(listener) => Some(listener),
            Err(error) => {
                warn!("cannot serve lxc-monitor for {}: {error}", lxcpath.display());
                None
            }
        });
        Self { listener, streams: Vec::new() }
    }

    /// Takes in one more client; never returns without a listener. Safe to drop at any time.
    pub(super) async fn accept(&mut self) {
        let Some(listener) = &self.listener else { return pending().await };
        match listener.accept().await {
            // As lxc-monitord does it.
            Ok((stream, _)) if socket::has_trusted_peer(&stream) => {
                if self.streams.len() >= CLIENTS_MAX {
                    self.streams.retain(is_there);
                }
                if self.streams.len() < CLIENTS_MAX {
                    self.streams.push(stream);
                }
            }
            Ok(_) => {}
            Err(error) => {
                warn!("no longer serving lxc-monitor: {error}");
                self.listener = None;
            }
        }
    }

    /// Passes a record on. Who does not take it at once, whole, is dropped: nobody may hold up the others.
    pub(super) fn send(&mut self, record: &[u8; record::SIZE]) {
        self.streams
            .retain(|stream| is_there(stream) && stream.try_write(record).is_ok_and(|n| n == record::SIZE));
    }
}

fn bind(name: &[u8]) -> io::Result<UnixListener> {
    let address = net::SocketAddr::from_abstract_name(name)?;
    let listener = net::UnixListener::bind_addr(&address)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Whether a client has neither left nor sent anything: clients only ever say "quit", which ends a lxc-monitord but
/// not us.
fn is_there(stream: &UnixStream) -> bool {
    matches!(stream.try_read(&mut [0; 8]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
