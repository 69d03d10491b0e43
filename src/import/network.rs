//! `network = "none"`, `network = "host"`, or `[[network]]`: one table for each interface of a guest.

use std::fmt;

use ::toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::model::{
    Link, LinkKind, LinkName, Links, Network,
    network::{Address, IpvlanMode, LINKS_MAX, Mac, MacvlanMode, Mtu, Parent, Port, Routing, VlanId},
};

use super::{
    Sourced,
    toml::{Document, Field},
};

mod address;
mod shown;

pub(super) use shown::rows;

/// The key.
pub(super) const KEY: &str = "network";

/// What stands in a table of any type.
const COMMON: [&str; 7] = ["type", "name", "address", "gateway", "routes", "mtu", "up"];

/// What `type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Veth,
    Macvlan,
    Ipvlan,
    Physical,
}

/// Every key of an interface, whatever its type.
pub(super) const KEYS: [&str; 14] = [
    "type",
    "name",
    "address",
    "gateway",
    "routes",
    "mtu",
    "up",
    "bridge",
    "vlan",
    "host-name",
    "mac",
    "parent",
    "mode",
    "device",
];

impl Kind {
    const ALL: [Self; 4] = [Self::Veth, Self::Macvlan, Self::Ipvlan, Self::Physical];

    /// What stands in a table of this type besides what is [`COMMON`].
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Veth => &["bridge", "vlan", "host-name", "mac"],
            Self::Macvlan => &["parent", "mode", "vlan", "mac"],
            Self::Ipvlan => &["parent", "mode", "vlan"],
            Self::Physical => &["device", "vlan", "mac"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Veth => "veth",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Physical => "physical",
        })
    }
}

/// Reads the key `network` from the top of a guest's file. An interface that cannot be used is reported and left out;
/// where none is left, nothing is said.
pub fn read<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Network>> {
    match field.value.get_ref() {
        DeValue::Array(tables) => list(document, field, tables),
        DeValue::Table(_) => {
            document.error(field, || {
                "network is a list, one table for each interface; write [[network]] with two brackets".into()
            });
            None
        }
        _ => document.text(
            field,
            "\"none\", \"host\", or a table [[network]] for each interface",
            "\"none\"",
            |text| match text {
                "none" => Some(Network::None),
                "host" => Some(Network::Host),
                _ => None,
            },
        ),
    }
}

fn list<'v, 't>(
    document: &mut Document<'t>,
    field: &Field<'v, 't>,
    tables: &'v [Spanned<DeValue<'t>>],
) -> Option<Sourced<Network>> {
    if tables.len() > LINKS_MAX {
        document.error(field, || {
            format!("a guest has at most {LINKS_MAX} interfaces; those after them are ignored, remove some")
        });
    }
    let mut drafts = Vec::new();
    for table in tables.iter().take(LINKS_MAX) {
        let element = field.element(table);
        if let Some(draft) = document.table(&element).and_then(|table| draft(document, &element, table)) {
            drafts.push((element, draft));
        }
    }
    let mut taken: Vec<_> = drafts.iter().filter_map(|(_, draft)| draft.name.clone()).collect();
    let mut links = Vec::new();
    for (element, draft) in drafts {
        let link = draft.named(&mut taken)?;
        let mut more = links.clone();
        more.push(link);
        match Links::new(more.clone()) {
            Ok(_) => links = more,
            Err(error) => document.error(&element, || format!("this interface is ignored: {error}")),
        }
    }
    if links.is_empty() && !tables.is_empty() {
        document.nothing_left(field);
        return None;
    }
    let links = Links::new(links).ok()?;
    Some(document.sourced(field, Network::Links(links)))
}

/// An interface that may have no name yet.
#[derive(Debug)]
struct Draft {
    kind: LinkKind,
    name: Option<LinkName>,
    said: Said,
}

/// What is said of an interface, as far as it can be used.
#[derive(Debug, Default)]
struct Said {
    name: Option<LinkName>,
    /// Its bridge, its parent or its device.
    on: Option<LinkName>,
    vlan: Option<VlanId>,
    host_name: Option<LinkName>,
    mac: Option<Mac>,
    macvlan: MacvlanMode,
    ipvlan: IpvlanMode,
    addresses: Vec<Address>,
    routing: Routing,
    mtu: Option<Mtu>,
    is_down: bool,
}

impl Draft {
    /// The interface. One without a name gets the first of `eth0`, `eth1` and so on that is not taken.
    fn named(self, taken: &mut Vec<LinkName>) -> Option<Link> {
        let name = match self.name {
            Some(name) => name,
            None => {
                let names = (0..=LINKS_MAX).filter_map(|at| LinkName::new(&format!("eth{at}")).ok());
                let name = { names }.find(|name| !taken.contains(name))?;
                taken.push(name.clone());
                name
            }
        };
        let Said { addresses, routing, mtu, is_down, .. } = self.said;
        Some(Link { kind: self.kind, name, addresses, mtu, up: (!is_down).then_some(routing) })
    }
}

fn draft<'v, 't>(
    document: &mut Document<'t>,
    element: &Field<'v, 't>,
    table: &'v DeTable<'t>,
) -> Option<Draft> {
    let fields: Vec<_> = Document::fields("network.", table).collect();
    let Some(kind) = fields.iter().find(|field| field.key == "type") else {
        document.error(element, || {
            "this interface is ignored, since it has no type; write type = \"veth\", \"macvlan\", \"ipvlan\" or \
             \"physical\""
                .into()
        });
        return None;
    };
    let kind = document.one_of(kind, &Kind::ALL)?.value;
    let mut said = Said::default();
    for field in &fields {
        match field.key {
            "type" => {}
            key if kind.keys().contains(&key) => own(document, field, kind, &mut said),
            key if COMMON.contains(&key) => common(document, field, &mut said),
            _ => stranger(document, field, kind),
        }
    }
    settle(document, &fields, &mut said);
    let name = said.name.take();
    let kind = finish(document, element, kind, &mut said)?;
    Some(Draft { kind, name, said })
}

/// A key that does not belong to an interface of this type; perhaps to another.
fn stranger<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, kind: Kind) {
    let others = Kind::ALL.into_iter().filter(|other| other.keys().contains(&field.key));
    let others: Vec<_> = others.map(|other| format!("\"{other}\"")).collect();
    if others.is_empty() {
        let known: Vec<_> = COMMON.into_iter().chain(kind.keys().iter().copied()).collect();
        document.unknown(field, &known);
    } else {
        document.error(field, || {
            format!(
                "{} does not belong to type = \"{kind}\", but to {}; remove it, or change the type",
                field.name(),
                super::toml::either(&others)
            )
        });
    }
}

fn name<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, example: &str) -> Option<LinkName> {
    let wanted = "the name of an interface: at most 15 printable characters other than blanks, /, : and %";
    document.text(field, wanted, example, |text| LinkName::new(text).ok()).map(|name| name.value)
}

/// A key that only some types have.
fn own<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, kind: Kind, said: &mut Said) {
    match field.key {
        "bridge" => said.on = name(document, field, "\"guestbr0\""),
        "parent" | "device" => said.on = name(document, field, "\"eth0\""),
        "host-name" => said.host_name = name(document, field, "\"web-eth0\""),
        "vlan" => {
            said.vlan = document.integer(field, "a VLAN from 1 to 4094", "100").map(|vlan| vlan.value);
        }
        "mac" => {
            let wanted = "the hardware address of one interface, six bytes such as \"02:00:5e:10:00:01\"";
            let mac = document.text(field, wanted, "\"02:00:5e:10:00:01\"", |text| text.parse().ok());
            said.mac = mac.map(|mac| mac.value);
        }
        "mode" if kind == Kind::Ipvlan => {
            said.ipvlan = document.one_of(field, IpvlanMode::ALL).map(|mode| mode.value).unwrap_or_default();
        }
        "mode" => {
            said.macvlan =
                document.one_of(field, MacvlanMode::ALL).map(|mode| mode.value).unwrap_or_default();
        }
        _ => stranger(document, field, kind),
    }
}

/// A key that every type has.
fn common<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, said: &mut Said) {
    match field.key {
        "name" => said.name = name(document, field, "\"eth0\""),
        "address" => said.addresses = address::addresses(document, field),
        "gateway" => address::gateways(document, field, &mut said.routing),
        "routes" => said.routing.routes = address::routes(document, field),
        "mtu" => {
            said.mtu = document.integer(field, "bytes from 68 to 65535", "1500").map(|mtu| mtu.value);
        }
        "up" => said.is_down = document.boolean(field).is_some_and(|up| !up.value),
        _ => {}
    }
}

/// What only shows in all keys of an interface together.
fn settle<'t>(document: &mut Document<'t>, fields: &[Field<'_, 't>], said: &mut Said) {
    if said.is_down {
        for field in fields.iter().filter(|field| ["gateway", "routes"].contains(&field.key)) {
            document.error(field, || {
                format!(
                    "{} has no effect on an interface that stays down; remove it, or up = false",
                    field.name()
                )
            });
        }
        return;
    }
    let Some(field) = fields.iter().find(|field| field.key == "gateway") else { return };
    let (routing, addresses) = (&said.routing, &said.addresses);
    let far4 = routing.gateway4.filter(|gateway| !routing.reaches4(addresses, *gateway));
    let far6 = routing.gateway6.filter(|gateway| !routing.reaches6(addresses, *gateway));
    let far4 = far4.map(|gateway| gateway.to_string());
    let far6 = far6.map(|gateway| gateway.to_string());
    for far in far4.into_iter().chain(far6) {
        document.warning(field, || {
            format!(
                "the gateway {far} is in none of the networks of network.address, and is taken to be on the link; \
                 mend one of them, or say so with routes = [{{ to = \"{far}\" }}]"
            )
        });
    }
}

/// What an interface hangs on, where it must.
fn finish<'t>(
    document: &mut Document<'t>,
    element: &Field<'_, 't>,
    kind: Kind,
    said: &mut Said,
) -> Option<LinkKind> {
    let (on, vlan, mac) = (said.on.take(), said.vlan, said.mac);
    let mut needed = |key: &str| {
        if on.is_none() {
            document.error(element, || {
                format!(
                    "this interface is ignored, since type = \"{kind}\" needs a {key}; write {key} = \"eth0\""
                )
            });
        }
        on.clone()
    };
    Some(match kind {
        Kind::Veth => {
            if vlan.is_some() && on.is_none() {
                document.error(element, || {
                    "network.vlan has no effect without a bridge; write bridge = \"guestbr0\", or remove it".into()
                });
            }
            let port = on.map(|bridge| Port { bridge, vlan });
            LinkKind::Veth { host_name: said.host_name.take(), port, mac }
        }
        Kind::Macvlan => {
            LinkKind::Macvlan { parent: Parent { device: needed("parent")?, vlan }, mode: said.macvlan, mac }
        }
        Kind::Ipvlan => {
            LinkKind::Ipvlan { parent: Parent { device: needed("parent")?, vlan }, mode: said.ipvlan }
        }
        Kind::Physical => match vlan {
            Some(id) => LinkKind::Vlan { device: needed("device")?, id, mac },
            None => LinkKind::Physical { device: needed("device")?, mac },
        },
    })
}

#[cfg(test)]
mod tests;
