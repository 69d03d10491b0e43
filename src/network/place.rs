//! Puts interfaces into the guest: each type its way, and none with an address before it is there.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use rtnetlink::{
    LinkBridgeVlan, LinkIpVlan, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan,
    packet_route::link::{BridgeVlanInfoFlags, InfoData, InfoVeth, IpVlanMode, LinkMessage, MacVlanMode},
};

use crate::model::{
    Link, LinkKind, LinkName,
    network::{IpvlanMode, Mac, MacvlanMode, Parent, Port, VlanId},
};

use super::{NetworkError, Site, Step, device, dress::patiently, naming, record::Trace, seen::Seen, vlan};

impl Site<'_> {
    /// Puts one interface into the guest, still down. Returns its number there.
    pub(super) async fn place(&mut self, number: usize, link: &Link) -> Result<u32, NetworkError> {
        let unseen = NetworkError::unseen(&link.name);
        if self.inside.link(&link.name).await.map_err(unseen)?.is_some() {
            let (link, name) = (link.name.clone(), link.name.clone());
            return Err(NetworkError::Taken { link, place: "the guest", name, key: "name" });
        }
        match &link.kind {
            LinkKind::Veth { host_name, port, .. } => {
                self.veth(number, link, host_name.as_ref(), port.as_ref()).await?;
                return self.found(link).await;
            }
            LinkKind::Macvlan { parent, mode, .. } => self.macvlan(number, link, parent, *mode).await?,
            LinkKind::Ipvlan { parent, mode } => self.ipvlan(number, link, parent, *mode).await?,
            LinkKind::Physical { device, .. } => return device::take(self, link, device).await,
            LinkKind::Vlan { device, id, .. } => self.vlan(number, link, device, *id).await?,
        }
        self.christen(number, link).await
    }

    /// What an interface hangs on.
    pub(super) async fn needed(
        &self,
        link: &Link,
        what: &'static str,
        name: &LinkName,
    ) -> Result<Seen, NetworkError> {
        let found = self.host.link(name).await.map_err(NetworkError::unseen(&link.name))?;
        found.ok_or_else(|| NetworkError::Missing {
            link: link.name.clone(),
            what,
            name: name.clone(),
            fix: match what {
                "bridge" => format!("create it (ip link add {name} type bridge), or name another"),
                _ => format!("mend {what}, or load its driver"),
            },
        })
    }

    fn mac(&self, link: &Link) -> Option<Mac> {
        link.kind.mac().or_else(|| naming::inside(&self.machine, self.guest, &link.name))
    }

    /// Both ends come to life at once, each where it belongs.
    async fn veth(
        &mut self,
        number: usize,
        link: &Link,
        host_name: Option<&LinkName>,
        port: Option<&Port>,
    ) -> Result<(), NetworkError> {
        let bridge = match port {
            Some(port) => Some(self.bridge(link, port).await?),
            None => None,
        };
        let name = self.host_end(number, link, host_name).await?;
        let mac = naming::outside(&self.machine, self.guest, &name);
        self.book.note(Trace::Veth { name: name.clone(), mac })?;
        let of_bridge = bridge.as_ref().map(|bridge| bridge.mtu);
        let mtu = link.mtu.map(|mtu| mtu.get()).or(of_bridge);
        // A port with smaller packets would make them smaller for all of the bridge.
        let outside = mtu.max(of_bridge);
        let peer = shaped(
            LinkUnspec::new_with_name(link.name.as_str()).setns_by_fd(self.netns.as_raw_fd()),
            mtu,
            self.mac(link),
        );
        let pair = LinkVeth::new(name.as_str(), link.name.as_str())
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        let made = self.host.make(shaped(pair, outside, Some(mac))).await;
        made.map_err(NetworkError::refused(&link.name, Step::Veth))?;
        self.join(link, &name, port.zip(bridge)).await
    }

    async fn bridge(&self, link: &Link, port: &Port) -> Result<Seen, NetworkError> {
        let bridge = self.needed(link, "bridge", &port.bridge).await?;
        let unfit = |why: String, fix: String| {
            Err(NetworkError::Unfit { link: link.name.clone(), name: port.bridge.clone(), why, fix })
        };
        match port.vlan {
            _ if !bridge.is("bridge") => {
                let kind = bridge.identity.kind.as_deref().unwrap_or("device");
                unfit(format!("is no bridge but a {kind}"), "name a bridge".into())
            }
            Some(vlan) if !bridge.filters_vlans => unfit(
                format!("does not keep VLANs apart, so that the guest would not be in VLAN {vlan}"),
                format!("ip link set {} type bridge vlan_filtering 1", port.bridge),
            ),
            _ => Ok(bridge),
        }
    }

    /// A name for the host's end that nobody has.
    async fn host_end(
        &self,
        number: usize,
        link: &Link,
        said: Option<&LinkName>,
    ) -> Result<LinkName, NetworkError> {
        let made = (0..u8::MAX).filter_map(|attempt| naming::host_end(self.guest, number, attempt));
        let mut last = None;
        for name in said.cloned().into_iter().chain(made) {
            if self.host.link(&name).await.map_err(NetworkError::unseen(&link.name))?.is_none() {
                return Ok(name);
            }
            last = Some(name);
            if said.is_some() {
                break;
            }
        }
        let name = last.unwrap_or_else(|| link.name.clone());
        Err(NetworkError::Taken { link: link.name.clone(), place: "the host", name, key: "host-name" })
    }

    async fn join(
        &self,
        link: &Link,
        name: &LinkName,
        port: Option<(&Port, Seen)>,
    ) -> Result<(), NetworkError> {
        let unseen = NetworkError::unseen(&link.name);
        let Some(end) = self.host.link(name).await.map_err(unseen)? else { return Ok(()) };
        let up = LinkUnspec::new_with_index(end.index).up();
        let Some((port, bridge)) = port else {
            return self.host.change(up.build()).await.map_err(NetworkError::refused(&link.name, Step::Up));
        };
        let joined = self.host.change(up.controller(bridge.index).build()).await;
        joined.map_err(NetworkError::refused(&link.name, Step::Join(port.bridge.clone())))?;
        let Some(vlan) = port.vlan else { return Ok(()) };
        /// What a bridge makes each new port part of.
        const USUAL: u16 = 1;
        let own = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
        let set = async {
            self.host.change_port(LinkBridgeVlan::new(end.index).vlan(vlan.get(), own).build()).await?;
            if vlan.get() == USUAL {
                return Ok(());
            }
            let usual = LinkBridgeVlan::new(end.index).vlan(USUAL, BridgeVlanInfoFlags::empty());
            self.host.take_from_port(usual.build()).await
        };
        set.await.map_err(NetworkError::refused(&link.name, Step::PortVlan(vlan)))
    }

    /// The parent's number: of the interface itself, or of its VLAN, which is made if need be.
    async fn parent(&mut self, link: &Link, parent: &Parent) -> Result<u32, NetworkError> {
        let device = self.needed(link, "parent", &parent.device).await?;
        match parent.vlan {
            Some(id) => vlan::on_host(self, link, &parent.device, device.index, id).await,
            None => Ok(device.index),
        }
    }

    async fn macvlan(
        &mut self,
        number: usize,
        link: &Link,
        parent: &Parent,
        mode: MacvlanMode,
    ) -> Result<(), NetworkError> {
        if super::is_wireless(parent.device.as_str()) {
            return Err(NetworkError::Unfit {
                link: link.name.clone(),
                name: parent.device.clone(),
                why: "is wireless, where a second hardware address is not heard".into(),
                fix: "use type = \"ipvlan\"".into(),
            });
        }
        let index = self.parent(link, parent).await?;
        let mode = match mode {
            MacvlanMode::Bridge => MacVlanMode::Bridge,
            MacvlanMode::Private => MacVlanMode::Private,
            MacvlanMode::Vepa => MacVlanMode::Vepa,
            MacvlanMode::Passthru => MacVlanMode::Passthrough,
        };
        let mac = self.mac(link);
        let made = LinkMacVlan::new(&self.temporary(number), index, mode);
        let message = self.upon(made, "macvlan", number, link, mac)?;
        let made = self.host.make(message).await;
        made.map_err(NetworkError::refused(&link.name, Step::Upon("macvlan", parent.device.clone())))
    }

    async fn ipvlan(
        &mut self,
        number: usize,
        link: &Link,
        parent: &Parent,
        mode: IpvlanMode,
    ) -> Result<(), NetworkError> {
        let index = self.parent(link, parent).await?;
        let mode = match mode {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3 => IpVlanMode::L3,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let made = LinkIpVlan::new(&self.temporary(number), index, mode);
        let message = self.upon(made, "ipvlan", number, link, None)?;
        let made = self.host.make(message).await;
        made.map_err(NetworkError::refused(&link.name, Step::Upon("ipvlan", parent.device.clone())))
    }

    /// A VLAN that is an interface of the guest only.
    async fn vlan(
        &mut self,
        number: usize,
        link: &Link,
        device: &LinkName,
        id: VlanId,
    ) -> Result<(), NetworkError> {
        let upon = self.needed(link, "device", device).await?.index;
        if let Some(other) = vlan::existing(&self.host, link, upon, id).await? {
            return Err(NetworkError::Unfit {
                link: link.name.clone(),
                name: device.clone(),
                why: format!("has VLAN {id} on the host already, as {}", other.name),
                fix: "remove that, or choose another".into(),
            });
        }
        let made = LinkVlan::new(&self.temporary(number), upon, id.get());
        let message = self.upon(made, "vlan", number, link, link.kind.mac())?;
        let made = patiently(Errno::EEXIST, || self.host.make(message.clone())).await;
        made.map_err(NetworkError::refused(&link.name, Step::Vlan(id, device.clone())))
    }

    /// What is made upon an interface of the host comes to life in the guest, and ends with the guest's namespace. It has its
    /// name there only afterwards: kernels before 6.14 look on the host whether the name is free.
    fn upon<T>(
        &mut self,
        made: LinkMessageBuilder<T>,
        kind: &str,
        number: usize,
        link: &Link,
        mac: Option<Mac>,
    ) -> Result<LinkMessage, NetworkError> {
        let names = [self.temporary(number), link.name.to_string()];
        self.book.note(Trace::Inside { names, kind: kind.to_owned() })?;
        let made = made.setns_by_fd(self.netns.as_raw_fd());
        Ok(shaped(made, link.mtu.map(|mtu| mtu.get()), mac))
    }

    fn temporary(&self, number: usize) -> String {
        naming::temporary(self.guest, number)
    }

    /// Gives an interface in the guest its name there, which nobody has. Returns its number.
    async fn christen(&self, number: usize, link: &Link) -> Result<u32, NetworkError> {
        let refused = || NetworkError::refused(&link.name, Step::Name);
        let made = self.inside.link(self.temporary(number)).await.map_err(refused())?;
        let Some(made) = made else { return self.found(link).await };
        let named = LinkUnspec::new_with_index(made.index).name(link.name.as_str()).build();
        self.inside.change(named).await.map_err(refused())?;
        Ok(made.index)
    }

    async fn found(&self, link: &Link) -> Result<u32, NetworkError> {
        let found = self.inside.link(&link.name).await.map_err(NetworkError::unseen(&link.name))?;
        found.map(|found| found.index).ok_or_else(|| NetworkError::Missing {
            link: link.name.clone(),
            what: "interface",
            name: link.name.clone(),
            fix: "it is gone from the guest as soon as it was made: see what else changes interfaces".into(),
        })
    }

    /// A number that no interface in the guest has: this one if that is so.
    pub(super) async fn number(&self, link: &Link, wanted: Option<u32>) -> Result<u32, NetworkError> {
        let others = self.inside.links().await.map_err(NetworkError::unseen(&link.name))?;
        let is_free = |index: &u32| others.iter().all(|other| other.index != *index);
        let next = || others.iter().map(|other| other.index).max().unwrap_or(1).saturating_add(1);
        Ok(wanted.filter(is_free).unwrap_or_else(next))
    }
}

/// With these, where they are said.
fn shaped<T>(mut link: LinkMessageBuilder<T>, mtu: Option<u32>, mac: Option<Mac>) -> LinkMessage {
    if let Some(mtu) = mtu {
        link = link.mtu(mtu);
    }
    if let Some(mac) = mac {
        link = link.address(mac.bytes().to_vec());
    }
    link.build()
}
