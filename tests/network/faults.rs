//! Every step of setting up and of undoing fails once, and the process is killed once before each; then the host is as it
//! was.

use guestd::model::{
    LinkKind, Network,
    network::{MacvlanMode, Parent, VlanId},
};

use crate::{
    host::{
        Guest, Host, everything, ip, knows, link, link_name, mac, mtu, network_of, routing, veth, wait_for,
    },
    played::{End, apply, undo},
};

/// More steps than any network here has.
const MOST: u32 = 200;

struct Stage {
    host: Host,
    network: Network,
    before: serde_json::Value,
    /// The fewest steps that setting up has.
    least: u32,
}

/// A bridge, a pair in it, a macvlan, two devices, and a VLAN of each kind where the kernel has them.
fn stage() -> Stage {
    let host = Host::new();
    host.bridge("br0");
    for device in ["eth9", "eth8", "eth0"] {
        host.device(device);
    }
    let mut first = link("eth0", veth("br0"), &["10.9.0.2/24", "fd00:9::2/64"]);
    first.up = routing(Some("10.9.0.1"), Some("fd00:9::1"), &[("10.20.0.0/16", Some("10.9.0.9"))]);
    let on = |vlan| LinkKind::Macvlan {
        parent: Parent { device: link_name("eth0"), vlan },
        mode: MacvlanMode::Bridge,
        mac: None,
    };
    let physical = |device: &str, mac| LinkKind::Physical { device: link_name(device), mac };
    let mut third = link("eth2", physical("eth9", mac("02:00:5e:10:00:09")), &["10.7.0.2/24"]);
    third.mtu = mtu(1400);
    let mut links = vec![
        first,
        link("eth1", on(None), &["10.8.0.2/24"]),
        third,
        link("eth9", physical("eth8", None), &[]),
    ];
    let id = |id| VlanId::try_from(id).unwrap();
    if knows("vlan") {
        links.push(link("vlan5", on(Some(id(5))), &[]));
        links.push(link("vlan6", LinkKind::Vlan { device: link_name("eth0"), id: id(6), mac: None }, &[]));
    }
    if knows("dummy") {
        ip("link add dum9 type dummy");
        ip("link set dum9 mtu 1280 address 02:00:00:00:00:99 up");
        links.push(link("dummy", physical("dum9", mac("02:00:5e:10:00:0b")), &["10.6.0.2/24"]));
    }
    // Each interface is made or moved, and brought up; three or more are written down first.
    let least = 4 * u32::try_from(links.len()).unwrap();
    let before = everything();
    Stage { host, network: network_of(links), before, least }
}

impl Stage {
    fn guest(&self) -> Guest {
        self.host.guest("web")
    }

    fn check(&self, what: &str) {
        assert!(!self.host.record("web").exists(), "{what}: the record is left");
        wait_for(&self.before, what);
    }
}

#[test]
fn every_step_that_fails_undoes_all_before() {
    let stage = stage();
    let record = stage.host.record("web");
    for step in 1..MOST {
        let guest = stage.guest();
        match apply(&stage.network, &guest, &record, &format!("fail:{step}")) {
            End::Failed(error) => {
                assert!(error.contains("Exchange full"), "{step}: {error}");
                assert!(!error.contains("could not be undone either"), "{step}: {error}");
                stage.check(&format!("step {step}: {error}"));
            }
            End::Done => {
                println!("{} steps", step - 1);
                assert!(step > stage.least, "{step} steps");
                guest.undo();
                return stage.check("after all steps");
            }
            End::Killed => panic!("{step}"),
        }
    }
    panic!("more than {MOST} steps");
}

#[test]
fn whoever_is_killed_between_two_steps_leaves_what_undoing_needs() {
    let stage = stage();
    let record = stage.host.record("web");
    for step in 1..MOST {
        let guest = stage.guest();
        match apply(&stage.network, &guest, &record, &format!("kill:{step}")) {
            End::Killed => {
                assert_eq!(undo(&record, ""), End::Done, "{step}");
                stage.check(&format!("killed before step {step}"));
                assert_eq!(undo(&record, ""), End::Done, "{step}: twice is as good as once");
            }
            End::Done => {
                assert!(step > stage.least, "{step} steps");
                guest.undo();
                return stage.check("after all steps");
            }
            End::Failed(error) => panic!("{step}: {error}"),
        }
    }
    panic!("more than {MOST} steps");
}

#[test]
fn undoing_goes_on_where_it_failed_or_was_killed() {
    let stage = stage();
    let record = stage.host.record("web");
    for what in ["fail", "kill"] {
        for step in 1..MOST {
            let guest = stage.guest();
            assert_eq!(apply(&stage.network, &guest, &record, ""), End::Done);
            let end = undo(&record, &format!("{what}:{step}"));
            if end == End::Done {
                assert!(step > 5, "{step} steps");
                stage.check("after all steps");
                break;
            }
            assert!(record.exists(), "{what}:{step}: the record tells what is left");
            assert_eq!(undo(&record, ""), End::Done, "{what}:{step}");
            stage.check(&format!("{what}:{step}"));
        }
    }
}
