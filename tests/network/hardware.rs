//! A device that the kernel itself gives back to the host, which only a machine's own namespace shows.

use guestd::model::LinkKind;

use super::host::{Host, ip, link, link_name, run, seen};

/// Names a device of this machine that nobody needs.
const VARIABLE: &str = "GUESTD_TEST_DEVICE";

#[test]
#[ignore = "it takes a device of the machine: tests/vm runs it on one"]
fn hardware_comes_back_from_a_guest_that_has_ended() {
    let name = std::env::var(VARIABLE).expect(VARIABLE);
    let host = Host::of_the_machine();
    for is_up in [false, true] {
        ip(&format!("link set {name} {}", if is_up { "up" } else { "down" }));
        let shape = || {
            let seen = seen(&name)?;
            Some(["address", "mtu", "flags"].map(|key| seen[key].clone()))
        };
        let before = shape().expect("the device");
        let guest = host.guest("hw");
        let device =
            LinkKind::Physical { device: link_name(&name), mac: Some("02:00:5e:10:00:01".parse().unwrap()) };
        guest.set_up(vec![link("lan0", device, &["10.79.0.5/24"])]);
        assert_eq!(seen(&name), None);
        assert_eq!(guest.link("lan0")["address"], "02:00:5e:10:00:01");
        // A guest may do as it likes with what it has.
        guest.run("ip link set lan0 down");
        guest.run("ip link set lan0 name mine mtu 1300");
        let record = host.record("hw");
        guest.end();
        guestd::network::undo(&record).unwrap();
        assert!(!record.exists());
        assert_eq!(shape(), Some(before), "{}", run("ip", "link"));
    }
}
