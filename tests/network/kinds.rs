//! Each type of interface, and what is set up on it.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use guestd::model::{
    LinkKind, Network,
    network::{Address, IpvlanMode, MacvlanMode, Parent, Port, VlanId},
};

use crate::host::{
    Host, eventually, everything, ip, knows, link, link_name, mac, mtu, routing, run, seen, serves, veth,
    wait_for,
};

fn parent(device: &str, vlan: Option<i64>) -> Parent {
    Parent { device: link_name(device), vlan: vlan.map(|id| VlanId::try_from(id).unwrap()) }
}

fn has(addresses: &serde_json::Value, local: &str) -> bool {
    addresses["addr_info"].as_array().unwrap().iter().any(|info| info["local"] == local)
}

#[test]
fn guests_on_a_bridge_reach_one_another_and_the_host() {
    let host = Host::new();
    host.bridge("br0");
    ip("addr add 10.9.0.1/24 dev br0");
    let before = everything();
    let (web, db) = (host.guest("web"), host.guest("a-database-with-a-long-name"));
    web.set_up(vec![link("eth0", veth("br0"), &["10.9.0.2/24", "fd00:9::2/64"])]);
    db.set_up(vec![link("eth0", veth("br0"), &["10.9.0.3/24", "fd00:9::3/64"])]);
    web.reaches("10.9.0.3");
    web.reaches("fd00:9::3");
    db.reaches("127.0.0.1");
    assert_eq!(seen("gv-web-0").unwrap()["master"], "br0");
    assert!(seen("gv-web-0").unwrap()["address"].as_str().unwrap().starts_with("fe:"));

    let listener = TcpListener::bind("10.9.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let netns = web.netns();
    let client = std::thread::spawn(move || {
        nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        TcpStream::connect(("10.9.0.1", port)).unwrap().write_all(b"hello").unwrap();
    });
    let (mut stream, from) = listener.accept().unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    client.join().unwrap();
    assert_eq!((said.as_str(), from.ip().to_string().as_str()), ("hello", "10.9.0.2"));

    web.undo();
    db.undo();
    wait_for(&before, "after undoing");
    web.undo();
}

#[test]
fn a_port_of_a_bridge_that_filters_vlans_is_part_of_one() {
    let host = Host::new();
    host.bridge("br0");
    let on = |id: i64| {
        let port = Some(Port { bridge: link_name("br0"), vlan: VlanId::try_from(id).ok() });
        link("eth0", LinkKind::Veth { host_name: None, port, mac: None }, &[])
    };
    if !knows("bridge vlan_filtering 1") {
        let error = host.guest("web").refused(vec![on(5)]);
        return assert!(error.contains("br0 does not keep VLANs apart"), "{error}");
    }
    ip("link set br0 type bridge vlan_filtering 1");
    let guests = [("web", 5), ("db", 5), ("other", 6), ("usual", 1)].map(|(name, id)| {
        let guest = host.guest(name);
        guest.set_up(vec![on(id)]);
        let shown: serde_json::Value =
            serde_json::from_str(&run("bridge", &format!("-j vlan show dev gv-{name}-0"))).unwrap();
        let expected = serde_json::json!([{ "vlan": id, "flags": ["PVID", "Egress Untagged"] }]);
        assert_eq!(shown[0]["vlans"], expected, "{name}");
        guest
    });
    for (at, guest) in guests.iter().enumerate() {
        guest.run(&format!("ip addr add 10.9.0.{}/24 dev eth0", at + 1));
    }
    guests[0].reaches("10.9.0.2");
}

#[test]
fn a_pair_has_the_names_mtu_and_mac_that_are_said() {
    let host = Host::new();
    host.bridge("br0");
    let guest = host.guest("web");
    let mut first = link(
        "lan",
        LinkKind::Veth {
            host_name: Some(link_name("web-lan")),
            port: Some(Port { bridge: link_name("br0"), vlan: None }),
            mac: mac("02:00:5e:10:00:07"),
        },
        &[],
    );
    first.mtu = mtu(1400);
    let mut second =
        link("wan", LinkKind::Veth { host_name: None, port: None, mac: None }, &["192.0.2.1/32"]);
    second.mtu = mtu(9000);
    second.up = None;
    guest.set_up(vec![first, second]);
    let (lan, wan) = (guest.link("lan"), guest.link("wan"));
    assert_eq!((&lan["mtu"], &lan["address"]), (&1400.into(), &"02:00:5e:10:00:07".into()));
    assert_eq!(seen("web-lan").unwrap()["mtu"], 1500, "the bridge's other ports keep their packets");
    assert_eq!(seen("br0").unwrap()["mtu"], 1500);
    assert_eq!((&wan["mtu"], &seen("gv-web-1").unwrap()["mtu"]), (&9000.into(), &9000.into()));
    assert!(wan["flags"].as_array().unwrap().iter().all(|flag| flag != "UP") && has(&wan, "192.0.2.1"));
    assert_eq!(wan["addr_info"][0]["prefixlen"], 32);
    let made = wan["address"].clone();
    guest.undo();
    assert_eq!(guest.ip("link").as_array().unwrap().len(), 1, "both ends of a pair end together");

    let again = host.guest("web");
    again.set_up(vec![link("wan", LinkKind::Veth { host_name: None, port: None, mac: None }, &[])]);
    assert_eq!(again.link("wan")["address"], made, "a made address stays from start to start");
}

#[test]
fn routes_lead_over_gateways_of_both_versions() {
    let host = Host::new();
    host.bridge("br0");
    let guest = host.guest("web");
    let mut first = link("eth0", veth("br0"), &["10.9.0.2/24", "fd00:9::2/64"]);
    first.up = routing(
        Some("10.9.0.1"),
        Some("fe80::1"),
        &[("10.20.0.0/16", Some("10.9.0.9")), ("10.21.0.0/16", None), ("fd00:20::/32", Some("fd00:9::9"))],
    );
    guest.set_up(vec![first]);
    let routes = guest.ip("route");
    let route =
        |to: &str| routes.as_array().unwrap().iter().find(|route| route["dst"] == to).cloned().unwrap();
    assert_eq!(
        (&route("default")["gateway"], &route("default")["dev"]),
        (&"10.9.0.1".into(), &"eth0".into())
    );
    assert_eq!(route("10.20.0.0/16")["gateway"], "10.9.0.9");
    assert_eq!(route("10.21.0.0/16")["scope"], "link");
    let six = guest.ip("-6 route");
    let six = |to: &str| six.as_array().unwrap().iter().find(|route| route["dst"] == to).cloned().unwrap();
    assert_eq!(six("default")["gateway"], "fe80::1");
    assert_eq!(six("fd00:20::/32")["gateway"], "fd00:9::9");
}

#[test]
fn addresses_have_peers_and_broadcast_addresses_and_routes_lead_over_them() {
    let host = Host::new();
    host.bridge("br0");
    let guest = host.guest("web");
    let mut only = link("eth1", veth("br0"), &[]);
    only.addresses = vec![
        Address::V4 {
            net: "10.30.0.2/32".parse().unwrap(),
            broadcast: None,
            peer: Some("10.30.0.1".parse().unwrap()),
        },
        Address::V4 {
            net: "10.31.0.2/24".parse().unwrap(),
            broadcast: Some("10.31.0.254".parse().unwrap()),
            peer: None,
        },
    ];
    only.up = routing(None, None, &[("10.40.0.0/16", Some("10.30.0.1"))]);
    guest.set_up(vec![only]);
    assert_eq!(guest.ip("route show 10.40.0.0/16")[0]["gateway"], "10.30.0.1");
    let eth1 = guest.link("eth1");
    let info = |local: &str| {
        eth1["addr_info"].as_array().unwrap().iter().find(|info| info["local"] == local).cloned().unwrap()
    };
    assert_eq!(info("10.30.0.2")["address"], "10.30.0.1");
    assert_eq!(info("10.31.0.2")["broadcast"], "10.31.0.254");
}

#[test]
fn a_gateway_in_no_network_is_on_the_link() {
    let host = Host::new();
    host.bridge("br0");
    ip("addr add 172.31.1.1/32 dev br0");
    ip("route add 192.0.2.7/32 dev br0");
    let guest = host.guest("web");
    let mut only = link("eth0", veth("br0"), &["192.0.2.7/32"]);
    only.up = routing(Some("172.31.1.1"), Some("fd00:31::1"), &[]);
    guest.set_up(vec![only]);
    guest.reaches("172.31.1.1");
    assert_eq!(guest.ip("-6 route show default")[0]["gateway"], "fd00:31::1");
}

#[test]
fn macvlans_of_one_parent_reach_one_another_and_leave_nothing_on_the_host() {
    if !knows("macvlan") {
        return crate::errors::is_unknown("macvlan");
    }
    let host = Host::new();
    host.device("eth0");
    let before = everything();
    let (web, db) = (host.guest("web"), host.guest("db"));
    let on = |mode, mac| LinkKind::Macvlan { parent: parent("eth0", None), mode, mac };
    let mut first = link("eth0", on(MacvlanMode::Bridge, mac("02:00:5e:10:00:08")), &["10.8.0.2/24"]);
    first.mtu = mtu(1300);
    web.set_up(vec![first]);
    db.set_up(vec![link("lan", on(MacvlanMode::Bridge, None), &["10.8.0.3/24"])]);
    web.reaches("10.8.0.3");
    let eth0 = web.link("eth0");
    assert_eq!((&eth0["mtu"], &eth0["address"]), (&1300.into(), &"02:00:5e:10:00:08".into()));
    assert_eq!(eth0["linkinfo"]["info_data"]["mode"], "bridge");
    db.undo();
    web.undo();
    wait_for(&before, "after undoing, while the guests still run");

    // As a guest that starts again: the namespace of the run before may not be worked off yet.
    let fixed = mac("02:00:5e:10:00:08");
    web.set_up(vec![link("eth0", on(MacvlanMode::Bridge, fixed), &["10.8.0.2/24"])]);
    db.set_up(vec![link("lan", on(MacvlanMode::Bridge, None), &["10.8.0.3/24"])]);
    web.end();
    guestd::network::undo(&host.record("web")).unwrap();
    let again = host.guest("web");
    again.set_up(vec![link("eth0", on(MacvlanMode::Bridge, mac("02:00:5e:10:00:08")), &["10.8.0.2/24"])]);
    again.reaches("10.8.0.3");
    let private = host.guest("private");
    private.set_up(vec![link("eth0", on(MacvlanMode::Private, None), &[])]);
    assert_eq!(private.link("eth0")["linkinfo"]["info_data"]["mode"], "private");
}

#[test]
fn ipvlans_share_the_hardware_address_of_their_parent() {
    if !knows("ipvlan") {
        return crate::errors::is_unknown("ipvlan");
    }
    let host = Host::new();
    host.device("eth0");
    let (web, db) = (host.guest("web"), host.guest("db"));
    let on = || LinkKind::Ipvlan { parent: parent("eth0", None), mode: IpvlanMode::L2 };
    web.set_up(vec![link("eth0", on(), &["10.8.0.2/24"])]);
    db.set_up(vec![link("eth0", on(), &["10.8.0.3/24"])]);
    web.reaches("10.8.0.3");
    assert_eq!(web.link("eth0")["address"], seen("eth0").unwrap()["address"]);
}

#[test]
fn a_device_goes_into_the_guest_and_comes_back_as_it_was() {
    let host = Host::new();
    host.device("eth9");
    host.device("eth8");
    ip("addr add 10.7.0.1/24 dev eth9peer");
    let before = everything();
    let guest = host.guest("web");
    let physical = |device: &str, mac| LinkKind::Physical { device: link_name(device), mac };
    let mut first = link("eth0", physical("eth9", mac("02:00:5e:10:00:09")), &["10.7.0.2/24"]);
    first.mtu = mtu(1450);
    guest.set_up(vec![first, link("eth1", physical("eth8", None), &[])]);
    assert_eq!((seen("eth9"), seen("eth8")), (None, None));
    let eth0 = guest.link("eth0");
    assert_eq!((&eth0["mtu"], &eth0["address"]), (&1450.into(), &"02:00:5e:10:00:09".into()));
    guest.reaches("10.7.0.1");

    // A guest may rename what it has, and give it another address; and somebody on the host may take its name there.
    guest.run("ip link set eth0 down");
    guest.run("ip link set eth0 address 02:00:5e:10:00:0a name stolen");
    guest.run("ip link property add dev stolen altname eth9");
    guest.undo();
    wait_for(&before, "after undoing");
}

#[test]
fn a_device_comes_back_though_its_name_is_taken_and_gets_it_later() {
    let host = Host::new();
    host.device("eth9");
    let before = everything();
    let guest = host.guest("web");
    guest.set_up(vec![link("eth9", LinkKind::Physical { device: link_name("eth9"), mac: None }, &[])]);
    ip("link add eth9 type bridge");
    let error = guestd::network::undo(&host.record("web")).unwrap_err().to_string();
    assert!(
        error.contains("eth9: could not give it back its name") && error.contains("rename that"),
        "{error}"
    );
    assert!(host.record("web").exists());
    assert_eq!(guest.ip("link").as_array().unwrap().len(), 1, "it is home already");
    ip("link del eth9");
    guest.undo();
    wait_for(&before, "after undoing");
}

#[test]
fn devices_that_have_swapped_their_names_swap_them_back() {
    let host = Host::new();
    host.device("eth9");
    host.device("eth8");
    let before = everything();
    let guest = host.guest("web");
    let physical = |device: &str| LinkKind::Physical { device: link_name(device), mac: None };
    guest.set_up(vec![link("eth8", physical("eth9"), &[]), link("eth9", physical("eth8"), &[])]);
    guest.undo();
    wait_for(&before, "after undoing");

    // As if the kernel had brought them home when the namespace ended. This thread, not the process, is on the host.
    guest.set_up(vec![link("eth8", physical("eth9"), &[]), link("eth9", physical("eth8"), &[])]);
    for device in ["eth8", "eth9"] {
        guest.run(&format!("ip link set {device} netns {}", nix::unistd::gettid()));
    }
    guest.undo();
    wait_for(&before, "after undoing");
}

#[test]
fn a_virtual_device_may_end_with_its_guest() {
    let host = Host::new();
    host.device("eth9");
    let guest = host.guest("web");
    guest.set_up(vec![link("eth0", LinkKind::Physical { device: link_name("eth9"), mac: None }, &[])]);
    let record = host.record("web");
    guest.end();
    guestd::network::undo(&record).unwrap();
    assert!(!record.exists());
    eventually(|| seen("eth9peer").is_none(), || "the kernel works the namespace off".into());
}

#[test]
fn vlans_are_made_shared_and_removed_with_the_last() {
    if !knows("vlan") {
        return crate::errors::is_unknown("vlan");
    }
    let host = Host::new();
    host.device("eth0");
    let before = everything();
    let on = || LinkKind::Macvlan { parent: parent("eth0", Some(5)), mode: MacvlanMode::Bridge, mac: None };
    let (web, db) = (host.guest("web"), host.guest("db"));
    web.set_up(vec![link("eth0", on(), &["10.8.0.2/24"])]);
    db.set_up(vec![link("eth0", on(), &["10.8.0.3/24"])]);
    assert_eq!(seen("eth0.5").unwrap()["linkinfo"]["info_data"]["id"], 5);
    web.reaches("10.8.0.3");
    web.undo();
    assert!(seen("eth0.5").is_some(), "another guest uses it");
    db.undo();
    wait_for(&before, "after undoing");

    ip("link add eth0.5 link eth0 type vlan id 5");
    ip("link set eth0.5 up");
    serves("eth0.5");
    let before = everything();
    let other = host.guest("other");
    other.set_up(vec![link("eth0", on(), &[])]);
    other.undo();
    wait_for(&before, "what was there stays");
}

#[test]
fn a_vlan_of_a_device_is_in_the_guest_only() {
    if !knows("vlan") {
        return crate::errors::is_unknown("vlan");
    }
    let host = Host::new();
    host.device("eth0");
    let before = everything();
    let guest = host.guest("web");
    let id = VlanId::try_from(7).unwrap();
    guest.set_up(vec![link(
        "eth0",
        LinkKind::Vlan { device: link_name("eth0"), id, mac: None },
        &["10.8.0.2/24"],
    )]);
    assert_eq!(guest.link("eth0")["linkinfo"]["info_data"]["id"], 7);
    wait_for(&before, "nothing is on the host");
    guest.undo();
    wait_for(&before, "after undoing");
}

#[test]
fn no_network_is_a_loopback_and_the_hosts_is_left_alone() {
    let host = Host::new();
    let before = everything();
    let guest = host.guest("web");
    guest.apply(&Network::Host).unwrap();
    assert!(guest.link("lo")["flags"].as_array().unwrap().iter().all(|flag| flag != "UP"));
    guest.apply(&Network::None).unwrap();
    guest.reaches("127.0.0.1");
    assert_eq!(guest.ip("link").as_array().unwrap().len(), 1);
    assert!(!host.record("web").exists());
    wait_for(&before, "the host");
}
