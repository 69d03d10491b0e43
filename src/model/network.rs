//! `[[network]]`: which interfaces a guest has, and what is set up on them.

use core::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::LinkName;

mod value;

pub use value::{Address, IpvlanMode, Mac, MacvlanMode, Mtu, Outside, Route, VlanId};

/// A guest's network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A namespace of its own, with nothing but `lo` in it.
    #[default]
    None,
    /// The host's namespace.
    Host,
    /// A namespace of its own with these interfaces.
    Links(Links),
}

/// The most interfaces that a guest has.
pub const LINKS_MAX: usize = 32;

/// The interfaces of one guest: their names differ, and of each IP version at most one has the way to everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Link>", into = "Vec<Link>")]
pub struct Links(Vec<Link>);

/// Why interfaces cannot be those of one guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinksError {
    /// Two have one name, or one has that of the loopback.
    #[error("two interfaces of a guest are named {0}; name one of them otherwise")]
    Named(LinkName),
    /// Two have a gateway.
    #[error("{0} and {1} both have a gateway of the same IP version; keep one, and give the other routes")]
    Gateways(LinkName, LinkName),
    /// There are too many.
    #[error("a guest has at most {LINKS_MAX} interfaces, and here are {0}; remove some")]
    Many(usize),
}

impl Links {
    /// Takes interfaces, in the order in which they are set up.
    ///
    /// # Errors
    /// [`LinksError`] says which of them contradict one another.
    pub fn new(links: Vec<Link>) -> Result<Self, LinksError> {
        if links.len() > LINKS_MAX {
            return Err(LinksError::Many(links.len()));
        }
        for (at, link) in links.iter().enumerate() {
            let before = &links[..at];
            if link.name.as_str() == "lo" || before.iter().any(|other| other.name == link.name) {
                return Err(LinksError::Named(link.name.clone()));
            }
            let collides = |other: &&Link| {
                let both = |gateway: fn(&Link) -> bool| gateway(link) && gateway(other);
                both(|link| link.gateway4().is_some()) || both(|link| link.gateway6().is_some())
            };
            if let Some(other) = before.iter().find(collides) {
                return Err(LinksError::Gateways(other.name.clone(), link.name.clone()));
            }
        }
        Ok(Self(links))
    }

    /// The interfaces.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }
}

impl TryFrom<Vec<Link>> for Links {
    type Error = LinksError;
    fn try_from(links: Vec<Link>) -> Result<Self, LinksError> {
        Self::new(links)
    }
}

impl From<Links> for Vec<Link> {
    fn from(links: Links) -> Self {
        links.0
    }
}

/// One interface of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is, and what of the host it hangs on.
    pub kind: LinkKind,
    /// Its name inside the guest.
    pub name: LinkName,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Its largest packet; none leaves what the kernel chooses.
    pub mtu: Option<Mtu>,
    /// What it is set up with when it is brought up; none leaves it down.
    pub up: Option<Routing>,
}

/// Where an interface that is up leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Routing {
    /// The way to everywhere, for IPv4.
    pub gateway4: Option<Ipv4Addr>,
    /// The way to everywhere, for IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// Further ways.
    pub routes: Vec<Route>,
}

impl Link {
    /// The way to everywhere, for IPv4.
    pub fn gateway4(&self) -> Option<Ipv4Addr> {
        self.up.as_ref()?.gateway4
    }

    /// The way to everywhere, for IPv6.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.up.as_ref()?.gateway6
    }
}

impl Routing {
    /// Whether one of these addresses, or a route, leads to this neighbour. A gateway that nothing leads to is taken to be
    /// on the link.
    pub fn reaches4(&self, addresses: &[Address], neighbour: Ipv4Addr) -> bool {
        addresses.iter().any(|address| match address {
            Address::V4 { net, peer: None, .. } => net.contains(&neighbour),
            Address::V4 { peer: Some(peer), .. } => *peer == neighbour,
            Address::V6 { .. } => false,
        }) || self
            .routes
            .iter()
            .any(|route| matches!(route, Route::V4 { to, via: None } if to.contains(&neighbour)))
    }

    /// The same for IPv6, where link-local addresses are always near.
    pub fn reaches6(&self, addresses: &[Address], neighbour: Ipv6Addr) -> bool {
        let is_near = neighbour.is_unicast_link_local();
        is_near
            || addresses.iter().any(|address| match address {
                Address::V6 { net, peer: None } => net.contains(&neighbour),
                Address::V6 { peer: Some(peer), .. } => *peer == neighbour,
                Address::V4 { .. } => false,
            })
            || self
                .routes
                .iter()
                .any(|route| matches!(route, Route::V6 { to, via: None } if to.contains(&neighbour)))
    }
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// One end of a pair, whose other end is on the host.
    Veth {
        /// The name of the host's end; none has one made from the guest's name.
        host_name: Option<LinkName>,
        /// What the host's end is plugged into.
        port: Option<Port>,
        /// Its hardware address; none has one made from the names of host, guest and interface.
        mac: Option<Mac>,
    },
    /// A second hardware address on an interface of the host.
    Macvlan {
        /// That interface.
        parent: Parent,
        /// Who may speak with whom.
        mode: MacvlanMode,
        /// Its hardware address; none has one made from the names of host, guest and interface.
        mac: Option<Mac>,
    },
    /// More IP addresses on an interface of the host, which keeps the one hardware address.
    Ipvlan {
        /// That interface.
        parent: Parent,
        /// What is shared.
        mode: IpvlanMode,
    },
    /// An interface of the host, which the guest has alone while it runs.
    Physical {
        /// Its name on the host.
        device: LinkName,
        /// Another hardware address than its own.
        mac: Option<Mac>,
    },
    /// One VLAN of an interface that stays on the host.
    Vlan {
        /// That interface.
        device: LinkName,
        /// The VLAN.
        id: VlanId,
        /// Another hardware address than the interface's.
        mac: Option<Mac>,
    },
}

impl LinkKind {
    /// Its hardware address, where it is said.
    pub fn mac(&self) -> Option<Mac> {
        match self {
            Self::Veth { mac, .. }
            | Self::Macvlan { mac, .. }
            | Self::Physical { mac, .. }
            | Self::Vlan { mac, .. } => *mac,
            Self::Ipvlan { .. } => None,
        }
    }
}

/// A place in a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The bridge, which must be there.
    pub bridge: LinkName,
    /// The VLAN that all untagged packets of this port belong to; needs a bridge that filters VLANs.
    pub vlan: Option<VlanId>,
}

/// An interface of the host that carries interfaces of guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name, which must be there.
    pub device: LinkName,
    /// Only this VLAN of it: an interface `DEVICE.VLAN` is made unless it is there.
    pub vlan: Option<VlanId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, gateway4: Option<Ipv4Addr>) -> Link {
        Link {
            kind: LinkKind::Veth { host_name: None, port: None, mac: None },
            name: LinkName::new(name).unwrap(),
            addresses: vec![Address::V4 { net: "10.0.3.5/24".parse().unwrap(), broadcast: None, peer: None }],
            mtu: None,
            up: Some(Routing { gateway4, ..Routing::default() }),
        }
    }

    #[test]
    fn interfaces_of_a_guest_do_not_contradict_one_another() {
        let gateway = "10.0.3.1".parse().ok();
        assert!(Links::new(vec![link("eth0", gateway), link("eth1", None)]).is_ok());
        let twice = Links::new(vec![link("eth0", None), link("eth0", None)]);
        assert!(matches!(twice, Err(LinksError::Named(name)) if name.as_str() == "eth0"));
        assert!(matches!(Links::new(vec![link("lo", None)]), Err(LinksError::Named(_))));
        let both = Links::new(vec![link("eth0", gateway), link("eth1", gateway)]);
        assert!(matches!(both, Err(LinksError::Gateways(..))));
        let many = (0..=LINKS_MAX).map(|at| link(&format!("eth{at}"), None)).collect();
        assert_eq!(Links::new(many), Err(LinksError::Many(LINKS_MAX + 1)));
    }

    #[test]
    fn a_network_travels_as_json_and_is_checked_on_arrival() {
        let links = Links::new(vec![link("eth0", "10.0.3.1".parse().ok())]).unwrap();
        for network in [Network::None, Network::Host, Network::Links(links)] {
            let text = serde_json::to_string(&network).unwrap();
            assert_eq!(serde_json::from_str::<Network>(&text).unwrap(), network, "{text}");
            for (good, bad) in [("eth0", "a/b"), ("\"eth0\"", "\"lo\""), ("10.0.3.5/24", "10.0.3.5/33")] {
                let changed = text.replace(good, bad);
                let is_same = changed == text;
                assert_eq!(serde_json::from_str::<Network>(&changed).is_ok(), is_same, "{changed}");
            }
        }
    }

    #[test]
    fn neighbours_are_those_that_an_address_or_a_route_leads_to() {
        let mut addresses = link("eth0", None).addresses;
        let mut routing = Routing::default();
        let leads = |routing: &Routing, addresses: &[Address], to: &str| {
            routing.reaches4(addresses, to.parse().unwrap())
        };
        assert!(leads(&routing, &addresses, "10.0.3.1"));
        assert!(!leads(&routing, &addresses, "10.0.4.1"));
        routing.routes = vec![Route::V4 { to: "10.0.4.1/32".parse().unwrap(), via: None }];
        assert!(leads(&routing, &addresses, "10.0.4.1"));
        let peer = "10.9.0.1".parse().ok();
        addresses = vec![Address::V4 { net: "10.0.3.5/32".parse().unwrap(), broadcast: None, peer }];
        assert!(leads(&routing, &addresses, "10.9.0.1") && !leads(&routing, &addresses, "10.0.3.5"));
        assert!(routing.reaches6(&addresses, "fe80::1".parse().unwrap()));
        assert!(!routing.reaches6(&addresses, "fd00::1".parse().unwrap()));
    }
}
