//! The interfaces of a folder as those of a native guest.

use core::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::model::{
    Link, LinkKind, LinkName, Links, NameError, Network,
    network::{self, LinksError, MacvlanMode, Parent, Routing, VlanId},
};

use super::{
    interface::{Address, Interface, Kind},
    reading::Reading,
};

/// All that can be one guest's; of the others is told why not.
pub(super) fn of(reading: &mut Reading<'_>, interfaces: &[Interface]) -> Network {
    let mut links = Vec::new();
    for interface in interfaces {
        match link(interface) {
            Ok(link) => add(reading, &mut links, link, interface),
            Err(error) => reading.error(&interface.origin, || format!("the interface is ignored: {error}")),
        }
    }
    match Links::new(links) {
        Ok(links) if links.iter().next().is_some() => Network::Links(links),
        _ => Network::None,
    }
}

/// Takes one more, if it can be beside the others; without its gateway, if that is all.
fn add(reading: &mut Reading<'_>, links: &mut Vec<Link>, mut link: Link, interface: &Interface) {
    let with = |link: &Link| Links::new(links.iter().chain([link]).cloned().collect());
    let error = match with(&link) {
        Ok(_) => return links.push(link),
        Err(error) => error,
    };
    link.up = link.up.map(|_| Routing::default());
    if matches!(error, LinksError::Gateways(..)) && with(&link).is_ok() {
        reading.error(&interface.origin, || format!("the gateway is ignored: {error}"));
        return links.push(link);
    }
    reading.error(&interface.origin, || format!("the interface is ignored: {error}"));
}

fn link(interface: &Interface) -> Result<Link, NameError> {
    let kind = match &interface.kind {
        Kind::Macvlan(device, vlan) => LinkKind::Macvlan {
            parent: Parent {
                device: LinkName::new(device)?,
                vlan: vlan.and_then(|vlan| VlanId::try_from(i64::from(vlan)).ok()),
            },
            mode: MacvlanMode::Bridge,
            mac: None,
        },
        Kind::Veth(host) => LinkKind::Veth {
            host_name: host.as_deref().map(LinkName::new).transpose()?,
            port: None,
            mac: None,
        },
    };
    let Interface { gateway4, gateway6, .. } = *interface;
    let routing = Routing { gateway4, gateway6, routes: Vec::new() };
    Ok(Link {
        kind,
        name: LinkName::new(&interface.name)?,
        addresses: interface.addresses.iter().filter_map(address).collect(),
        mtu: None,
        up: (!interface.is_down).then_some(routing),
    })
}

/// An address; its prefix was looked at when it was read.
fn address(address: &Address) -> Option<network::Address> {
    let Address { ip, prefix, broadcast, peer } = *address;
    Some(match (ip, peer) {
        (IpAddr::V4(ip), peer) => network::Address::V4 {
            net: Ipv4Net::new(ip, prefix).ok()?,
            broadcast,
            peer: peer.and_then(|peer| if let IpAddr::V4(peer) = peer { Some(peer) } else { None }),
        },
        (IpAddr::V6(ip), peer) => network::Address::V6 {
            net: Ipv6Net::new(ip, prefix).ok()?,
            peer: peer.and_then(|peer| if let IpAddr::V6(peer) = peer { Some(peer) } else { None }),
        },
    })
}
