//! An interface as the kernel shows it.

use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

use super::record::Identity;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It is up.
    pub is_up: bool,
    /// It is the loopback.
    pub is_loopback: bool,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// The number of the bridge or bond that it is part of.
    pub controller: Option<u32>,
    /// The number of the interface that it hangs on, in this namespace.
    pub upon: Option<u32>,
    /// The VLAN that it is.
    pub vlan: Option<u16>,
    /// It is a bridge that keeps VLANs apart.
    pub filters_vlans: bool,
    /// What it was born with.
    pub identity: Identity,
}

impl Seen {
    /// Whether it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.identity.kind.as_deref() == Some(kind)
    }

    fn info(&mut self, info: &LinkInfo) {
        match info {
            LinkInfo::Kind(kind) => self.identity.kind = Some(kind.to_string()),
            LinkInfo::Data(InfoData::Vlan(list)) => {
                self.vlan =
                    list.iter().find_map(|info| if let InfoVlan::Id(id) = info { Some(*id) } else { None });
            }
            LinkInfo::Data(InfoData::Bridge(list)) => {
                self.filters_vlans = list.iter().any(|info| matches!(info, InfoBridge::VlanFiltering(true)));
            }
            _ => {}
        }
    }

    fn attribute(&mut self, attribute: &LinkAttribute) {
        let (bus, place) = self.identity.parent.take().unwrap_or_default();
        let (mut bus, mut place) = (bus, place);
        match attribute {
            LinkAttribute::IfName(name) => self.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => self.mtu = *mtu,
            LinkAttribute::Address(mac) => self.mac.clone_from(mac),
            LinkAttribute::PermAddress(mac) => self.identity.mac = Some(mac.clone()),
            LinkAttribute::Controller(index) => self.controller = Some(*index),
            LinkAttribute::Link(index) => self.upon = Some(*index),
            LinkAttribute::PhysPortName(port) => self.identity.port = Some(port.clone()),
            LinkAttribute::ParentDevBusName(name) => bus.clone_from(name),
            LinkAttribute::ParentDevName(name) => place.clone_from(name),
            LinkAttribute::LinkInfo(infos) => infos.iter().for_each(|info| self.info(info)),
            _ => {}
        }
        self.identity.parent = (!bus.is_empty() || !place.is_empty()).then_some((bus, place));
    }
}

impl From<&LinkMessage> for Seen {
    fn from(message: &LinkMessage) -> Self {
        let flags = message.header.flags;
        let mut seen = Self {
            index: message.header.index,
            is_up: flags.contains(LinkFlags::Up),
            is_loopback: flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        message.attributes.iter().for_each(|attribute| seen.attribute(attribute));
        // A number of another namespace says nothing in this one.
        if message.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_))) {
            seen.upon = None;
        }
        seen
    }
}
