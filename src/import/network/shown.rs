//! A network as `guestctl cat` shows it: in the writing in which it can be read again.

use crate::{
    import::{
        Effective, Sourced,
        layer::{quoted, row},
    },
    model::{
        Link, LinkKind, Network,
        network::{Address, IpvlanMode, MacvlanMode, Parent, Port, Route, Routing, VlanId},
    },
};

use super::KEY;

/// Every value in force: one for each interface.
pub(in crate::import) fn rows(network: &Option<Sourced<Network>>) -> Vec<Effective> {
    let one = |text: &str| vec![row(KEY, text.to_owned(), network)];
    match network.as_ref().map(|said| &said.value) {
        None | Some(Network::None) => one("\"none\""),
        Some(Network::Host) => one("\"host\""),
        Some(Network::Links(links)) => links.iter().map(|link| row(KEY, shown(link), network)).collect(),
    }
}

/// A table in one line.
struct Table(Vec<String>);

impl Table {
    fn say(&mut self, key: &str, value: Option<String>) {
        self.0.extend(value.map(|value| format!("{key} = {value}")));
    }

    fn text(&mut self, key: &str, value: Option<impl ToString>) {
        self.say(key, value.map(quoted));
    }

    /// A list, or its only element by itself.
    fn several(&mut self, key: &str, values: &[String]) {
        self.say(
            key,
            match values {
                [] => None,
                [only] => Some(only.clone()),
                values => Some(format!("[{}]", values.join(", "))),
            },
        );
    }

    fn finish(self) -> String {
        format!("{{ {} }}", self.0.join(", "))
    }
}

fn shown(link: &Link) -> String {
    let mut table = Table(Vec::new());
    kind(&mut table, &link.kind);
    table.text("name", Some(&link.name));
    table.text("mac", link.kind.mac());
    table.several("address", &link.addresses.iter().map(address).collect::<Vec<_>>());
    match &link.up {
        None => table.say("up", Some("false".into())),
        Some(Routing { gateway4, gateway6, routes }) => {
            let gateways = gateway4.iter().map(quoted).chain(gateway6.iter().map(quoted));
            table.several("gateway", &gateways.collect::<Vec<_>>());
            let routes: Vec<_> = routes.iter().map(route).collect();
            table.say("routes", (!routes.is_empty()).then(|| format!("[{}]", routes.join(", "))));
        }
    }
    table.say("mtu", link.mtu.map(|mtu| mtu.to_string()));
    table.finish()
}

fn kind(table: &mut Table, kind: &LinkKind) {
    let upon = |table: &mut Table, parent: &Parent| {
        table.text("parent", Some(&parent.device));
        vlan(table, parent.vlan);
    };
    match kind {
        LinkKind::Veth { host_name, port, .. } => {
            table.text("type", Some("veth"));
            if let Some(Port { bridge, vlan: id }) = port {
                table.text("bridge", Some(bridge));
                vlan(table, *id);
            }
            table.text("host-name", host_name.as_ref());
        }
        LinkKind::Macvlan { parent, mode, .. } => {
            table.text("type", Some("macvlan"));
            upon(table, parent);
            table.text("mode", Some(mode).filter(|mode| **mode != MacvlanMode::default()));
        }
        LinkKind::Ipvlan { parent, mode } => {
            table.text("type", Some("ipvlan"));
            upon(table, parent);
            table.text("mode", Some(mode).filter(|mode| **mode != IpvlanMode::default()));
        }
        LinkKind::Physical { device, .. } => {
            table.text("type", Some("physical"));
            table.text("device", Some(device));
        }
        LinkKind::Vlan { device, id, .. } => {
            table.text("type", Some("physical"));
            table.text("device", Some(device));
            vlan(table, Some(*id));
        }
    }
}

fn vlan(table: &mut Table, id: Option<VlanId>) {
    table.say("vlan", id.map(|id| id.to_string()));
}

fn address(address: &Address) -> String {
    let (broadcast, peer) = match address {
        Address::V4 { broadcast, peer, .. } => (broadcast.map(quoted), peer.map(quoted)),
        Address::V6 { peer, .. } => (None, peer.map(quoted)),
    };
    if broadcast.is_none() && peer.is_none() {
        return quoted(address);
    }
    let mut table = Table(vec![format!("address = {}", quoted(address))]);
    table.say("broadcast", broadcast);
    table.say("peer", peer);
    table.finish()
}

fn route(route: &Route) -> String {
    let (to, via) = match route {
        Route::V4 { to, via } => (quoted(to), via.map(quoted)),
        Route::V6 { to, via } => (quoted(to), via.map(quoted)),
    };
    let mut table = Table(vec![format!("to = {to}")]);
    table.say("via", via);
    table.finish()
}
