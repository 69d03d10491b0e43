//! A native guest's network: set up over rtnetlink, and undone by what was written down while it was set up.
//!
//! [`apply`] makes interfaces and puts them into the guest's namespace; [`undo`] takes away what is left of them on the
//! host. Both block, and belong into a short-lived process, or a thread, without an async runtime. Before each step that
//! leaves something on the host, the record says what; so whoever dies in between leaves a record that [`undo`] works off,
//! whatever the guest's configuration says by then. Most of a network leaves nothing: what is made inside the guest's
//! namespace ends with it.

use std::{fs::File, future::Future, os::fd::BorrowedFd, path::Path};

use crate::model::{GuestName, Links, Network};

mod device;
mod dress;
mod error;
pub mod fault;
mod naming;
mod place;
mod record;
mod rtnl;
mod seen;
mod undo;
mod vlan;

pub use error::{NetworkError, Step, Word};

use record::{Book, NamespaceId};
use rtnl::Rtnl;

/// Sets up a guest's network in its namespace. The record's folder (made if need be, mode 0700) must be the same for all
/// guests of a host and hold nothing else; the record says what [`undo`] is to undo, and is there only if that is
/// something. What fails undoes itself.
///
/// # Errors
/// [`NetworkError`] with the interface, the step, the kernel's word, and what to do.
pub fn apply(
    network: &Network,
    guest: &GuestName,
    netns: BorrowedFd<'_>,
    record: &Path,
) -> Result<(), NetworkError> {
    match network {
        Network::Host => Ok(()),
        Network::None => run(async { dress::loopback(&inside(netns)?).await }),
        Network::Links(links) => run(set_up(links, guest, netns, record)),
    }
}

/// Undoes what is left of a guest's network on the host: what [`apply`] has done, or had begun to do when it was killed.
/// Where nothing is left, nothing is done. A device of the host that is on its way back is waited for.
///
/// # Errors
/// [`NetworkError`] with what could not be undone; the record stays, and all the rest is undone.
pub fn undo(record: &Path) -> Result<(), NetworkError> {
    let Some(left) = record::read(record)? else { return Ok(()) };
    run(async {
        let host = Rtnl::here().map_err(|source| NetworkError::Unreachable { whose: "the host", source })?;
        undo::all(&host, None, &left, record).await
    })
}

/// A namespace that is being set up.
struct Site<'a> {
    host: Rtnl,
    inside: Rtnl,
    netns: BorrowedFd<'a>,
    guest: &'a GuestName,
    machine: Vec<u8>,
    book: Book<'a>,
}

async fn set_up(
    links: &Links,
    guest: &GuestName,
    netns: BorrowedFd<'_>,
    record: &Path,
) -> Result<(), NetworkError> {
    let unreachable = |source| NetworkError::Unreachable { whose: "the guest", source };
    let id = NamespaceId::of(netns).map_err(unreachable)?;
    let mut site = Site {
        host: Rtnl::here().map_err(|source| NetworkError::Unreachable { whose: "the host", source })?,
        inside: inside(netns)?,
        netns,
        guest,
        machine: naming::machine(),
        book: Book::open(record, guest, id)?,
    };
    match site.build(links).await {
        Ok(()) => Ok(()),
        Err(failed) => {
            // What the record says, not what it was meant to say: its last entry may not have been written.
            let undone = match record::read(record) {
                Ok(Some(left)) => undo::all(&site.host, Some(netns), &left, record).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            Err(match undone {
                Ok(()) => failed,
                Err(undo) => NetworkError::Left { failed: Box::new(failed), undo: Box::new(undo) },
            })
        }
    }
}

impl Site<'_> {
    /// First all interfaces are put into the guest, then each is set up, and routes come when all are up.
    async fn build(&mut self, links: &Links) -> Result<(), NetworkError> {
        dress::loopback(&self.inside).await?;
        let mut placed = Vec::new();
        for (number, link) in links.iter().enumerate() {
            placed.push((link, self.place(number, link).await?));
        }
        for (link, index) in &placed {
            dress::addresses(&self.inside, link, *index).await?;
        }
        for (link, index) in &placed {
            dress::routes(&self.inside, link, *index).await?;
        }
        Ok(())
    }
}

fn inside(netns: BorrowedFd<'_>) -> Result<Rtnl, NetworkError> {
    Rtnl::within(netns).map_err(|source| NetworkError::Unreachable { whose: "the guest", source })
}

/// Whether an interface of the host is a radio.
fn is_wireless(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).join("phy80211").exists()
}

/// The namespace of this thread.
fn here() -> Result<File, NetworkError> {
    let opened = File::open("/proc/thread-self/ns/net");
    opened.map_err(|source| NetworkError::Unreachable { whose: "the host", source })
}

fn run<T>(future: impl Future<Output = Result<T, NetworkError>>) -> Result<T, NetworkError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| NetworkError::Unreachable { whose: "the host", source })?.block_on(future)
}
