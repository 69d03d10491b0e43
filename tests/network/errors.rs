//! What cannot be set up is told with interface, step, the kernel's word and the way out, and leaves nothing.

use guestd::{
    model::{
        Link, LinkKind,
        network::{IpvlanMode, MacvlanMode, Parent, Port, VlanId},
    },
    network,
};

use crate::host::{Host, everything, ip, link, link_name, mac, mtu, routing, veth, wait_for};

/// What is said where the kernel lacks a type, and that nothing is left.
pub fn is_unknown(kind: &str) {
    let host = Host::new();
    host.device("eth9");
    let before = everything();
    let guest = host.guest("web");
    let vlan = (kind == "vlan").then(|| VlanId::try_from(5).unwrap());
    let parent = Parent { device: link_name("eth9"), vlan };
    let made = match kind {
        "ipvlan" => LinkKind::Ipvlan { parent, mode: IpvlanMode::L2 },
        _ => LinkKind::Macvlan { parent, mode: MacvlanMode::Bridge, mac: None },
    };
    let error = guest.refused(vec![link("eth0", made, &[])]);
    let module = if kind == "vlan" { "8021q" } else { kind };
    assert!(error.starts_with("eth0: could not make ") && error.contains("Unknown device type"), "{error}");
    assert!(error.contains(&format!("load the module {module}, or choose another type")), "{error}");
    if let Some(id) = vlan {
        let made = LinkKind::Vlan { device: link_name("eth9"), id, mac: None };
        let error = guest.refused(vec![link("eth0", made, &[])]);
        assert!(error.contains("make VLAN 5 of eth9") && error.contains("load the module 8021q"), "{error}");
    }
    wait_for(&before, "after a refusal");
}

/// A host with devices that are in use in one way or another.
fn busy_host() -> Host {
    let host = Host::new();
    host.bridge("br0");
    for device in ["eth9", "eth8", "eth7", "eth6"] {
        host.device(device);
    }
    ip("addr add 10.6.0.1/24 dev eth8");
    ip("link set eth7 master br0");
    ip("link add mv0 link eth6 type macvlan");
    host
}

fn with(kind: LinkKind, addresses: &[&str]) -> Link {
    link("eth0", kind, addresses)
}

fn physical(device: &str) -> Link {
    with(LinkKind::Physical { device: link_name(device), mac: None }, &[])
}

fn macvlan(device: &str, bytes: Option<i64>) -> Link {
    let parent = Parent { device: link_name(device), vlan: None };
    let mut link = with(LinkKind::Macvlan { parent, mode: MacvlanMode::Bridge, mac: None }, &[]);
    link.mtu = bytes.and_then(mtu);
    link
}

/// An interface in the bridge, with a name for the host's end, or a VLAN.
fn port(name: Option<&str>, vlan: Option<i64>) -> Link {
    let vlan = vlan.and_then(|id| VlanId::try_from(id).ok());
    let port = Some(Port { bridge: link_name("br0"), vlan });
    with(LinkKind::Veth { host_name: name.map(link_name), port, mac: None }, &[])
}

fn routed(routes: &[(&str, Option<&str>)]) -> Link {
    let mut link = with(veth("br0"), &["10.9.0.2/24"]);
    link.up = routing(None, None, routes);
    link
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn each_mistake_is_told_with_its_fix_and_leaves_nothing() {
    let host = busy_host();
    let before = everything();
    let guest = host.guest("web");
    let cases = [
        (
            with(veth("guestbr0"), &[]),
            "eth0: the host has no bridge named guestbr0; create it (ip link add guestbr0 type bridge), or name another",
        ),
        (with(veth("eth9"), &[]), "eth0: eth9 is no bridge but a veth; name a bridge"),
        (
            port(None, Some(5)),
            "eth0: br0 does not keep VLANs apart, so that the guest would not be in VLAN 5; ip link set br0 type bridge \
             vlan_filtering 1",
        ),
        (
            port(Some("eth9"), None),
            "eth0: the host has an interface named eth9 already; remove that, or choose another host-name",
        ),
        (macvlan("eth5", None), "eth0: the host has no parent named eth5; mend parent"),
        (
            macvlan("eth7", None),
            "eth0: could not make a macvlan upon eth7: Device or resource busy; eth7 is part of a bridge",
        ),
        (macvlan("eth9", Some(9000)), "eth0: could not make a macvlan upon eth9"),
        (physical("eth5"), "eth0: the host has no device named eth5"),
        (physical("lo"), "eth0: lo is the host's loopback"),
        (
            physical("eth8"),
            "eth0: eth8 has the address 10.6.0.1 on the host, which would lose it; take it away first",
        ),
        (physical("eth7"), "eth0: eth7 is part of br0; take it out first: ip link set eth7 nomaster"),
        (physical("eth6"), "eth0: eth6 carries mv0, which would end; remove it first: ip link del mv0"),
        (
            with(veth("br0"), &["10.9.0.2/24", "10.9.0.2/24"]),
            "eth0: could not add the address 10.9.0.2/24: File exists",
        ),
        (
            routed(&[("10.20.0.0/16", Some("10.77.0.1"))]),
            "eth0: could not add the route to 10.20.0.0/16 via 10.77.0.1: Network is unreachable (Nexthop has invalid \
             gateway); no address and no route leads to its gateway",
        ),
        (
            routed(&[("10.20.0.0/16", Some("10.9.0.1")), ("10.20.0.0/16", Some("10.9.0.1"))]),
            "File exists; the guest has a route to there already",
        ),
    ];
    for (link, expected) in cases {
        let error = guest.refused(vec![link]);
        assert!(error.contains(expected), "{error}\nnot: {expected}");
        wait_for(&before, expected);
        assert_eq!(guest.ip("link").as_array().unwrap().len(), 1, "{expected}: the guest has nothing either");
    }
}

#[test]
fn addresses_that_others_have_are_refused() {
    let host = Host::new();
    host.bridge("br0");
    host.device("eth9");
    let (web, db) = (host.guest("web"), host.guest("db"));
    let on = || {
        let parent = Parent { device: link_name("eth9"), vlan: None };
        LinkKind::Macvlan { parent, mode: MacvlanMode::Bridge, mac: mac("02:00:5e:10:00:08") }
    };
    web.set_up(vec![link("eth0", on(), &[])]);
    let error = db.refused(vec![link("eth0", on(), &[])]);
    assert!(error.contains("Address already in use") && error.contains("choose another"), "{error}");
    db.run("ip link add eth0 type veth peer name other");
    let error = db.refused(vec![link("eth0", veth("br0"), &[])]);
    assert!(error.contains("eth0: the guest has an interface named eth0 already"), "{error}");
}

#[test]
fn a_network_that_was_not_undone_is_not_set_up_again() {
    let host = Host::new();
    host.bridge("br0");
    let guest = host.guest("web");
    guest.set_up(vec![link("eth0", veth("br0"), &[])]);
    let error = guest.apply(&crate::host::network_of(vec![link("eth1", veth("br0"), &[])])).unwrap_err();
    assert!(error.to_string().contains("tells of a network that was not undone; undo it first"), "{error}");
    assert!(guest.link("eth0")["ifname"] == "eth0", "what runs is left alone");
    guest.undo();

    let record = host.record("web");
    std::fs::write(&record, "{").unwrap();
    let error = network::undo(&record).unwrap_err().to_string();
    assert!(error.contains("web.json does not hold what it should"), "{error}");
}

#[test]
fn what_others_have_made_meanwhile_is_left_alone() {
    let host = Host::new();
    host.bridge("br0");
    let guest = host.guest("web");
    guest.set_up(vec![link("eth0", veth("br0"), &[])]);
    ip("link del gv-web-0");
    ip("link add gv-web-0 type veth peer name other");
    let before = everything();
    guest.undo();
    wait_for(&before, "a pair of another");

    let again = host.guest("web");
    again.set_up(vec![link("eth0", veth("br0"), &[])]);
    assert_eq!(again.link("eth0")["ifname"], "eth0", "a taken name is no hindrance where none was said");
    again.undo();
    wait_for(&before, "a pair of another");
}
