//! Addresses as interfaces of a stack of the guest's own.

use super::*;
use crate::model::{LinkKind, Network};

fn links(files: &[(&'static str, &str)]) -> Vec<String> {
    let Network::Links(links) = spec(&of(files)).network else { return Vec::new() };
    let told = links.iter().map(|link| {
        let kind = match &link.kind {
            LinkKind::Macvlan { parent, .. } => match parent.vlan {
                Some(vlan) => format!("macvlan {} {vlan}", parent.device),
                None => format!("macvlan {}", parent.device),
            },
            LinkKind::Veth { host_name, .. } => format!("veth {}", host_name.as_ref().unwrap()),
            other => panic!("{other:?}"),
        };
        let addresses: Vec<_> = link.addresses.iter().map(ToString::to_string).collect();
        let up = match &link.up {
            None => " down".to_owned(),
            Some(routing) => routing.gateway4.map(|gateway| format!(" via {gateway}")).unwrap_or_default(),
        };
        format!("{} {kind} {}{up}", link.name, addresses.join(","))
    });
    told.collect()
}

#[test]
fn addresses_of_one_device_are_on_one_interface() {
    let (ip0, ip1) = (("interfaces/0/ip", "192.0.2.1/24"), ("interfaces/1/ip", "2001:db8::1"));
    let dev = ("interfaces/dev", "eth0");
    let prefix1 = ("interfaces/1/prefix", "64");
    for (files, expected) in [
        (&[][..], &[][..]),
        (&[ip0, dev], &["eth0 macvlan eth0 192.0.2.1/24"]),
        (
            &[ip0, ip1, prefix1, dev, ("interfaces/0/gw", "192.0.2.9")],
            &["eth0 macvlan eth0 192.0.2.1/24,2001:db8::1/64 via 192.0.2.9"],
        ),
        (
            &[ip0, ip1, prefix1, dev, ("interfaces/1/dev", "eth1"), ("interfaces/1/down", "")],
            &["eth0 macvlan eth0 192.0.2.1/24", "eth1 macvlan eth1 2001:db8::1/64 down"],
        ),
        (&[ip0, ("interfaces/0/dev", "eth0.5")], &["eth0.5 macvlan eth0.5 192.0.2.1/24"]),
        (
            &[ip0, ("interfaces/0/dev", "eth0.5"), ("interfaces/vlandev", "")],
            &["eth0.5 macvlan eth0 5 192.0.2.1/24"],
        ),
        (
            &[
                ip0,
                ("interfaces/0/dev", "eth0.5"),
                ("interfaces/vlandev", ""),
                ("interfaces/0/novlandev", ""),
            ],
            &["eth0.5 macvlan eth0.5 192.0.2.1/24"],
        ),
    ] {
        assert_eq!(links(files), expected, "{files:?}");
    }
}

#[test]
fn masks_are_prefixes_and_pairs_have_names() {
    let mask =
        [("interfaces/0/ip", "192.0.2.1"), ("interfaces/mask", "255.255.255.0"), ("interfaces/dev", "eth0")];
    assert_eq!(links(&mask), ["eth0 macvlan eth0 192.0.2.1/24"]);
    let pair = [
        ("netns/interfaces/0/type", "veth"),
        ("netns/interfaces/0/host", "v-web"),
        ("netns/interfaces/0/guest", "eth7"),
    ];
    assert_eq!(links(&pair), ["eth7 veth v-web "]);
}

#[test]
fn a_guest_has_one_way_to_everywhere() {
    let files = [
        ("interfaces/0/ip", "192.0.2.1/24"),
        ("interfaces/0/dev", "eth0"),
        ("interfaces/0/gw", "192.0.2.9"),
        ("interfaces/1/ip", "198.51.100.1/24"),
        ("interfaces/1/dev", "eth1"),
        ("interfaces/1/gw", "198.51.100.9"),
        ("interfaces/2/ip", "198.51.100.1/24"),
        ("interfaces/2/dev", "all"),
    ];
    assert_eq!(
        links(&files),
        ["eth0 macvlan eth0 192.0.2.1/24 via 192.0.2.9", "eth1 macvlan eth1 198.51.100.1/24",]
    );
    let said = said(&of(&files));
    assert!(said[0].starts_with("interfaces/1/ip:1: error: the gateway is ignored: "), "{said:?}");
    assert!(
        said[1].starts_with("interfaces/2/ip:1: error: the interface is ignored: the name \"all\""),
        "{said:?}"
    );
    assert_eq!(said.len(), 2);
}
