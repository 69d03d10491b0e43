//! Devices of the host that a guest has alone while it runs: taken, and given back as they were.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
    time::Duration,
};

use futures_util::StreamExt;
use nix::errno::Errno;
use rtnetlink::{
    LinkUnspec,
    packet_route::{
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
        link::LinkAttribute,
    },
};
use tokio::time::{Instant, timeout_at};

use crate::model::{Link, LinkName};

use super::{
    NetworkError, Site, Step, Word, here,
    record::{Device, Trace},
    rtnl::{self, Rtnl},
    seen::Seen,
};

/// How long a device may take to come back from a namespace that has ended. The kernel works them off one batch after the
/// other; with thousands at once that takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Moves a device into the guest under its name there. Returns its number there.
pub async fn take(site: &mut Site<'_>, link: &Link, name: &LinkName) -> Result<u32, NetworkError> {
    let seen = site.needed(link, "device", name).await?;
    fits(site, link, name, &seen).await?;
    let inside = site.number(link, Some(seen.index)).await?;
    let device = Device {
        name: LinkName::new(&seen.name).unwrap_or_else(|_| name.clone()),
        index: seen.index,
        inside,
        identity: seen.identity.clone(),
        mtu: seen.mtu,
        mac: seen.mac.clone(),
        up: seen.is_up,
    };
    site.book.note(Trace::Device(device))?;
    let message = LinkUnspec::new_with_index(seen.index)
        .name(link.name.as_str())
        .setns_by_fd(site.netns.as_raw_fd())
        .append_extra_attribute(new_index(inside))
        .build();
    let moved = site.host.change(message).await;
    moved.map_err(NetworkError::refused(&link.name, Step::Take(name.clone())))?;
    shape(site, link, &seen, inside).await?;
    Ok(inside)
}

fn new_index(index: u32) -> LinkAttribute {
    LinkAttribute::NewIfIndex(index.cast_signed())
}

async fn shape(site: &Site<'_>, link: &Link, seen: &Seen, inside: u32) -> Result<(), NetworkError> {
    let mut message = LinkUnspec::new_with_index(inside);
    let mtu = link.mtu.map(|mtu| mtu.get()).filter(|mtu| *mtu != seen.mtu);
    let mac = link.kind.mac().map(|mac| mac.bytes().to_vec()).filter(|mac| *mac != seen.mac);
    if mtu.is_none() && mac.is_none() {
        return Ok(());
    }
    if let Some(mtu) = mtu {
        message = message.mtu(mtu);
    }
    if let Some(mac) = mac {
        message = message.address(mac);
    }
    site.inside.change(message.build()).await.map_err(NetworkError::refused(&link.name, Step::Shape))
}

/// Refuses a device that the host needs, or that would not come back as it was.
async fn fits(site: &Site<'_>, link: &Link, name: &LinkName, seen: &Seen) -> Result<(), NetworkError> {
    let links = site.host.links().await.map_err(NetworkError::unseen(&link.name))?;
    let addresses = site.host.addresses(seen.index).await.map_err(NetworkError::unseen(&link.name))?;
    let own = addresses.iter().find_map(kept_address);
    let needed = own.map(|own| {
        let why = format!("has the address {own} on the host, which would lose it");
        (why, format!("take it away first: ip address flush dev {name}"))
    });
    match hindrance(name, seen, &links).or(needed) {
        Some((why, fix)) => {
            Err(NetworkError::Unfit { link: link.name.clone(), name: name.clone(), why, fix })
        }
        None => Ok(()),
    }
}

/// What keeps a device among these where it is, and what to do about it.
fn hindrance(name: &LinkName, seen: &Seen, links: &[Seen]) -> Option<(String, String)> {
    if seen.is_loopback {
        return Some(("is the host's loopback".into(), "name another device".into()));
    }
    if super::is_wireless(&seen.name) {
        let why = "is wireless, and only goes into another namespace with its whole radio";
        return Some((why.into(), "use type = \"ipvlan\"".into()));
    }
    if let Some(controller) = seen.controller {
        let of = links.iter().find(|other| other.index == controller).map_or("another", |other| &other.name);
        return Some((format!("is part of {of}"), format!("take it out first: ip link set {name} nomaster")));
    }
    // The two ends of a pair say that each hangs on the other.
    let carried = links.iter().find(|other| {
        let is_peer = other.is("veth") && seen.upon == Some(other.index);
        other.upon == Some(seen.index) && other.index != seen.index && !is_peer
    })?;
    let carried = &carried.name;
    Some((format!("carries {carried}, which would end"), format!("remove it first: ip link del {carried}")))
}

/// An address that would not come back by itself, as those do that the kernel makes, or makes of what a router says.
fn kept_address(message: &AddressMessage) -> Option<IpAddr> {
    let is_permanent = message.header.flags.contains(AddressHeaderFlags::Permanent);
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) if !address.is_link_local() => Some((*address).into()),
        AddressAttribute::Address(IpAddr::V6(address))
            if is_permanent && !address.is_unicast_link_local() =>
        {
            Some((*address).into())
        }
        _ => None,
    })
}

/// Brings a device home to the host: from the guest's namespace, if that can be reached, or from where the kernel puts it
/// when that has ended. One that is not called as it was gets a name that nobody wants: it may have that of another that
/// comes home.
pub async fn bring_home(
    host: &Rtnl,
    netns: Option<BorrowedFd<'_>>,
    device: &Device,
) -> Result<(), NetworkError> {
    let mut news = rtnl::news().map_err(|source| NetworkError::Unreachable { whose: "the host", source })?;
    if let Some(netns) = netns {
        fetch(host, netns, device).await?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        match at_home(host, device).await? {
            Some(seen) if seen.name == device.name.as_str() || seen.name.starts_with(UNWANTED) => {
                return Ok(());
            }
            Some(seen) => {
                return rename(host, &seen, &format!("{UNWANTED}%d"))
                    .await
                    .map_err(NetworkError::refused(&device.name, Step::Restore));
            }
            // It has ended with the guest's namespace, or the guest has removed it.
            None if !device.identity.is_hardware() => return Ok(()),
            None => {}
        }
        if !matches!(timeout_at(deadline, news.next()).await, Ok(Some(()))) {
            return Err(NetworkError::Away { name: device.name.clone(), waited: PATIENCE });
        }
    }
}

/// How names begin that devices have while they come home.
const UNWANTED: &str = "gdev";

async fn at_home(host: &Rtnl, device: &Device) -> Result<Option<Seen>, NetworkError> {
    let links = host.links().await.map_err(NetworkError::unseen(&device.name))?;
    Ok(links.into_iter().find(|seen| is_it(seen, device)))
}

/// Names change while an interface is down only.
async fn rename(host: &Rtnl, seen: &Seen, name: &str) -> Result<(), Word> {
    if seen.is_up {
        host.set_up(seen.index, false).await?;
    }
    host.change(LinkUnspec::new_with_index(seen.index).name(name).build()).await
}

/// Whether this interface of the host is the device. Hardware is known by what it was born with; what is virtual, by its
/// number, which the kernel gives to no other for as long as it has others.
fn is_it(seen: &Seen, device: &Device) -> bool {
    seen.identity == device.identity && (device.identity.is_hardware() || seen.index == device.index)
}

/// Moves it from the guest to the host.
async fn fetch(host: &Rtnl, netns: BorrowedFd<'_>, device: &Device) -> Result<(), NetworkError> {
    let unreachable = |source| NetworkError::Unreachable { whose: "the guest", source };
    let inside = Rtnl::within(netns).map_err(unreachable)?;
    let unseen = || NetworkError::unseen(&device.name);
    let Some(seen) = inside.at(device.inside).await.map_err(unseen())? else { return Ok(()) };
    if seen.identity != device.identity {
        return Ok(());
    }
    let is_free = host.at(device.index).await.map_err(unseen())?.is_none();
    let home = here()?;
    let message = |name: &str| {
        let mut message = LinkUnspec::new_with_index(seen.index).name(name).setns_by_fd(home.as_raw_fd());
        if is_free {
            message = message.append_extra_attribute(new_index(device.index));
        }
        message.build()
    };
    let mut moved = inside.change(message(device.name.as_str())).await;
    if moved.as_ref().is_err_and(|word| word.is(Errno::EEXIST)) {
        // Another has its name. What counts first is that it comes home.
        moved = match inside.at(device.inside).await.map_err(unseen())? {
            Some(_) => inside.change(message(&format!("{UNWANTED}%d"))).await,
            None => Ok(()),
        };
    }
    moved.map_err(NetworkError::refused(&device.name, Step::Return))
}

/// Gives a device that is home what it had. One that has ended needs nothing.
pub async fn restore(host: &Rtnl, device: &Device) -> Result<(), NetworkError> {
    match at_home(host, device).await? {
        Some(seen) => shape_as_before(host, device, &seen)
            .await
            .map_err(NetworkError::refused(&device.name, Step::Restore)),
        None => Ok(()),
    }
}

async fn shape_as_before(host: &Rtnl, device: &Device, seen: &Seen) -> Result<(), Word> {
    let mut message = LinkUnspec::new_with_index(seen.index);
    if seen.name != device.name.as_str() {
        message = message.name(device.name.as_str());
    }
    if seen.mac != device.mac && !device.mac.is_empty() {
        message = message.address(device.mac.clone());
    }
    if seen.mtu != device.mtu {
        message = message.mtu(device.mtu);
    }
    let message = message.build();
    let mut is_up = seen.is_up;
    if !message.attributes.is_empty() {
        if is_up {
            host.set_up(seen.index, false).await?;
            is_up = false;
        }
        let changed = host.change(message.clone()).await;
        match changed {
            // udev may have seen it under the name of then, and have given it its own as a further one.
            Err(word) if word.is(Errno::EEXIST) => {
                host.take_name(seen.index, device.name.as_str()).await.map_err(|_| word)?;
                host.change(message).await?;
            }
            changed => changed?,
        }
    }
    if is_up != device.up {
        host.set_up(seen.index, device.up).await?;
    }
    Ok(())
}
