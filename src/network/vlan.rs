//! VLANs of the host's interfaces that are interfaces of the host themselves, and carry several guests.

use rtnetlink::LinkVlan;

use crate::model::{Link, LinkName, network::VlanId};

use super::{
    NetworkError, Site, Step,
    record::{self, HostVlan, Trace},
    rtnl::Rtnl,
    seen::Seen,
};

/// The interface of the host that is this VLAN.
pub async fn existing(
    host: &Rtnl,
    link: &Link,
    parent: u32,
    id: VlanId,
) -> Result<Option<Seen>, NetworkError> {
    let links = host.links().await.map_err(NetworkError::unseen(&link.name))?;
    Ok(links.into_iter().find(|seen| seen.upon == Some(parent) && seen.vlan == Some(id.get())))
}

/// Makes a VLAN of an interface, unless it is there. One that another guest's network has made is shared, and removed
/// with the last of them; any other is left as it is.
pub async fn on_host(
    site: &mut Site<'_>,
    link: &Link,
    device: &LinkName,
    parent: u32,
    id: VlanId,
) -> Result<u32, NetworkError> {
    let path = site.book.path();
    let _lock = record::lock(path)?;
    let refused = || NetworkError::refused(&link.name, Step::Vlan(id, device.clone()));
    let found = existing(&site.host, link, parent, id).await?;
    let name = match &found {
        Some(found) => found.name.clone(),
        None => {
            let name = name(device, id);
            if site.host.link(&name).await.map_err(NetworkError::unseen(&link.name))?.is_some() {
                let (link, name) = (link.name.clone(), LinkName::new(&name).unwrap_or(device.clone()));
                return Err(NetworkError::Taken { link, place: "the host", name, key: "vlan" });
            }
            name
        }
    };
    let vlan = HostVlan { name: LinkName::new(&name).unwrap_or(device.clone()), parent, id };
    let is_own = |trace: &Trace| matches!(trace, Trace::Vlan(other) if other.is_same(&vlan));
    if site.book.record().traces.iter().any(is_own) {
        return found.map(|found| found.index).ok_or_else(|| gone(link, &vlan));
    }
    let Some(found) = found else {
        site.book.note(Trace::Vlan(vlan.clone()))?;
        let message = LinkVlan::new(&name, parent, id.get()).up().build();
        site.host.make(message).await.map_err(refused())?;
        let made = site.host.link(&name).await.map_err(NetworkError::unseen(&link.name))?;
        return made.map(|made| made.index).ok_or_else(|| gone(link, &vlan));
    };
    if record::is_shared(path, &vlan) {
        site.book.note(Trace::Vlan(vlan))?;
        if !found.is_up {
            // Whoever made it was killed in between.
            site.host.set_up(found.index, true).await.map_err(refused())?;
        }
    }
    Ok(found.index)
}

fn gone(link: &Link, vlan: &HostVlan) -> NetworkError {
    NetworkError::Missing {
        link: link.name.clone(),
        what: "interface",
        name: vlan.name.clone(),
        fix: "it went away as soon as it was made: see what else changes interfaces".into(),
    }
}

/// `DEVICE.VLAN`; of a long name only so much as there is room for.
fn name(device: &LinkName, id: VlanId) -> String {
    let id = format!(".{id}");
    let room = crate::model::name::LINK_NAME_MAX - id.len();
    let begin: String = device.as_str().chars().take(room).collect();
    begin + &id
}

/// Removes a VLAN that was made, if no other guest uses it and it is still there.
pub async fn undo(host: &Rtnl, vlan: &HostVlan, path: &std::path::Path) -> Result<(), NetworkError> {
    if record::is_shared(path, vlan) {
        return Ok(());
    }
    let Some(found) = host.link(&vlan.name).await.map_err(NetworkError::unseen(&vlan.name))? else {
        return Ok(());
    };
    if found.upon != Some(vlan.parent) || found.vlan != Some(vlan.id.get()) {
        return Ok(());
    }
    host.remove(found.index).await.map_err(NetworkError::refused(&vlan.name, Step::Remove))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_what_fits() {
        let id = VlanId::try_from(4094).unwrap();
        for (device, expected) in [("eth0", "eth0.4094"), ("enp0s31f6np0123", "enp0s31f6n.4094")] {
            let named = name(&LinkName::new(device).unwrap(), id);
            assert_eq!(named, expected);
            assert!(LinkName::new(&named).is_ok());
        }
    }
}
