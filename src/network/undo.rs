//! Takes away what a record tells of, last things first. Each may be done already, wholly or in part.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use crate::model::{GuestName, LinkName, network::Mac};

use super::{
    NetworkError, Step, device,
    record::{self, Record, Trace},
    rtnl::Rtnl,
    vlan,
};

/// Undoes all of it, and removes the record. What cannot be undone keeps the rest from nothing but the removal.
pub async fn all(
    host: &Rtnl,
    netns: Option<BorrowedFd<'_>>,
    left: &Record,
    path: &Path,
) -> Result<(), NetworkError> {
    let has_vlan = left.traces.iter().any(|trace| matches!(trace, Trace::Vlan(_)));
    // Until the record is gone, so that of two that share a VLAN one sees that it is the last.
    let _lock = if has_vlan { Some(record::lock(path)?) } else { None };
    let is_inside = |trace: &Trace| matches!(trace, Trace::Device(_) | Trace::Inside { .. });
    let found = match netns {
        None if left.traces.iter().any(is_inside) => left.netns.find(),
        _ => None,
    };
    let netns = netns.or(found.as_ref().map(AsFd::as_fd));
    let mut failed = None;
    for trace in left.traces.iter().rev() {
        let undone = match trace {
            Trace::Veth { name, mac } => veth(host, name, *mac).await,
            Trace::Vlan(vlan) => vlan::undo(host, vlan, path).await,
            Trace::Device(device) => device::bring_home(host, netns, device).await,
            Trace::Inside { names, kind } => inside(netns, &left.guest, names, kind).await,
        };
        failed = failed.or(undone.err());
    }
    // When all are home: one may have come with the name of another.
    for trace in left.traces.iter().rev() {
        if let Trace::Device(device) = trace {
            failed = failed.or(device::restore(host, device).await.err());
        }
    }
    match failed {
        Some(error) => Err(error),
        None => record::remove(path),
    }
}

/// An end of a pair with this name and another hardware address is somebody else's.
async fn veth(host: &Rtnl, name: &LinkName, mac: Mac) -> Result<(), NetworkError> {
    let Some(found) = host.link(name).await.map_err(NetworkError::unseen(name))? else { return Ok(()) };
    if !found.is("veth") || found.mac != mac.bytes() {
        return Ok(());
    }
    host.remove(found.index).await.map_err(NetworkError::refused(name, Step::Remove))
}

/// A namespace that has ended has taken it along.
async fn inside(
    netns: Option<BorrowedFd<'_>>,
    guest: &GuestName,
    names: &[String; 2],
    kind: &str,
) -> Result<(), NetworkError> {
    let Some(netns) = netns else { return Ok(()) };
    let inside = super::inside(netns)?;
    let removed = async {
        for name in names {
            match inside.link(name).await? {
                Some(found) if found.is(kind) => inside.remove(found.index).await?,
                _ => {}
            }
        }
        Ok(())
    };
    removed.await.map_err(|word| NetworkError::Kept { guest: guest.clone(), kind: kind.to_owned(), word })
}
