//! Addresses, gateways and routes of an interface.

use core::net::IpAddr;

use ::toml::{Spanned, de::DeValue};
use ipnet::IpNet;

use crate::{
    import::{
        LIST_MAX,
        toml::{Document, Field},
    },
    model::network::{Address, Route, Routing},
};

const ADDRESS: [&str; 3] = ["address", "broadcast", "peer"];
const ROUTE: [&str; 2] = ["to", "via"];

/// The elements of a list, or the one that stands alone; bounded.
fn elements<'v, 't>(
    document: &mut Document<'t>,
    field: &Field<'v, 't>,
    example: &str,
) -> Vec<&'v Spanned<DeValue<'t>>> {
    match field.value.get_ref() {
        DeValue::Array(list) if list.len() <= LIST_MAX => list.iter().collect(),
        DeValue::Array(_) => {
            document.wrong::<()>(field, &format!("a list of at most {LIST_MAX}"), example);
            Vec::new()
        }
        _ => vec![field.value],
    }
}

/// `address`: texts, or tables where a broadcast address or a peer is to be said.
pub(super) fn addresses<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Vec<Address> {
    let mut found: Vec<Address> = Vec::new();
    for element in elements(document, field, "[\"10.0.3.5/24\"]") {
        let element = field.element(element);
        let address = match element.value.get_ref() {
            DeValue::Table(_) => detailed(document, &element),
            _ => net(document, &element).map(|net| plain(net, None, None)),
        };
        let Some(address) = address else { continue };
        let text = address.to_string();
        if found.iter().any(|other| other.to_string() == text) {
            document.error(&element, || format!("{} has {text} twice; remove one", element.name()));
        } else {
            found.push(address);
        }
    }
    found
}

fn plain(net: IpNet, broadcast: Option<IpAddr>, peer: Option<IpAddr>) -> Address {
    match net {
        IpNet::V4(net) => {
            let of = |address| if let Some(IpAddr::V4(address)) = address { Some(address) } else { None };
            Address::V4 { net, broadcast: of(broadcast), peer: of(peer) }
        }
        IpNet::V6(net) => {
            let peer = if let Some(IpAddr::V6(peer)) = peer { Some(peer) } else { None };
            Address::V6 { net, peer }
        }
    }
}

/// One address with its network.
fn net<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<IpNet> {
    let wanted = "an address with the length of its network, such as \"10.0.3.5/24\" or \"fd00::5/64\"";
    let read = |text: &str| text.parse().ok().filter(|net: &IpNet| is_one(net.addr()));
    document.text(field, wanted, "[\"10.0.3.5/24\"]", read).map(|net| net.value)
}

/// Whether this is the address of one machine.
fn is_one(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

fn ip<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<IpAddr> {
    let read = |text: &str| text.parse().ok().filter(|address| is_one(*address));
    document.text(field, "an address such as \"10.0.3.1\"", "\"10.0.3.1\"", read).map(|ip| ip.value)
}

fn detailed<'t>(document: &mut Document<'t>, element: &Field<'_, 't>) -> Option<Address> {
    let (mut address, mut broadcast, mut peer) = (None, None, None);
    document.section(element, |document, field| match field.key {
        "address" => address = net(document, field),
        "broadcast" => broadcast = ip(document, field),
        "peer" => peer = ip(document, field),
        _ => document.unknown(field, &ADDRESS),
    });
    let Some(net) = address else {
        document.error(element, || {
            format!("an element of {} is ignored: it has no address that can be used", element.name())
        });
        return None;
    };
    let is_v4 = net.addr().is_ipv4();
    let alien = |other: &Option<IpAddr>| other.is_some_and(|other| other.is_ipv4() != is_v4);
    if alien(&broadcast) || alien(&peer) || (broadcast.is_some() && !is_v4) {
        document.error(element, || {
            format!(
                "an element of {} mixes IPv4 with IPv6, which has no broadcast; keep to one of them",
                element.name()
            )
        });
        return None;
    }
    Some(plain(net, broadcast, peer))
}

/// `gateway`: at most one of each IP version.
pub(super) fn gateways<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, routing: &mut Routing) {
    for element in elements(document, field, "\"10.0.3.1\"") {
        let element = field.element(element);
        let Some(gateway) = ip(document, &element) else { continue };
        let is_second = match gateway {
            IpAddr::V4(gateway) => routing.gateway4.replace(gateway).is_some(),
            IpAddr::V6(gateway) => routing.gateway6.replace(gateway).is_some(),
        };
        if is_second {
            document.error(&element, || {
                format!("{} has two addresses of one IP version; the last counts, remove one", element.name())
            });
        }
    }
}

/// `routes`: tables with `to` and perhaps `via`.
pub(super) fn routes<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Vec<Route> {
    let mut found = Vec::new();
    for element in elements(document, field, "[{ to = \"10.1.0.0/16\", via = \"10.0.3.1\" }]") {
        let element = field.element(element);
        if !matches!(element.value.get_ref(), DeValue::Table(_)) {
            document.wrong::<()>(
                &element,
                "a list of tables with to and via",
                "[{ to = \"10.1.0.0/16\", via = \"10.0.3.1\" }]",
            );
            continue;
        }
        found.extend(route(document, &element));
    }
    found
}

fn route<'t>(document: &mut Document<'t>, element: &Field<'_, 't>) -> Option<Route> {
    let (mut to, mut via) = (None, Some(None));
    document.section(element, |document, field| match field.key {
        "to" => to = destination(document, field),
        "via" => via = ip(document, field).map(Some),
        _ => document.unknown(field, &ROUTE),
    });
    match (to, via) {
        (Some(IpNet::V4(to)), Some(None)) => Some(Route::V4 { to, via: None }),
        (Some(IpNet::V6(to)), Some(None)) => Some(Route::V6 { to, via: None }),
        (Some(IpNet::V4(to)), Some(Some(IpAddr::V4(via)))) => Some(Route::V4 { to, via: Some(via) }),
        (Some(IpNet::V6(to)), Some(Some(IpAddr::V6(via)))) => Some(Route::V6 { to, via: Some(via) }),
        (Some(_), Some(Some(_))) => {
            document.error(element, || {
                format!(
                    "an element of {} is ignored: it mixes IPv4 with IPv6; keep to one of them",
                    element.name()
                )
            });
            None
        }
        (None, _) | (_, None) => {
            document.error(element, || {
                format!(
                    "an element of {} is ignored: to and via must be usable; write to = \"10.1.0.0/16\"",
                    element.name()
                )
            });
            None
        }
    }
}

fn destination<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<IpNet> {
    let wanted = "a network such as \"10.1.0.0/16\", without bits behind its length (the way to everywhere is the \
                  gateway), or one address";
    let read = |text: &str| match text.parse::<IpNet>() {
        Ok(net) => Some(net).filter(|net| net.prefix_len() > 0 && net.trunc() == *net),
        Err(_) => text.parse::<IpAddr>().ok().filter(|address| is_one(*address)).map(IpNet::from),
    };
    document.text(field, wanted, "\"10.1.0.0/16\"", read).map(|net| net.value)
}
