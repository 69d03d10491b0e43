//! The host reboots, or guestd does: guests get their clean stop in order, or do not notice.

use serde_json::Value;

use super::{
    boot::HOST,
    debian::{reboots_in_order, recording},
    machine::{Host, Machine, guests, write},
};

#[test]
fn a_reboot_of_the_host_stops_all_in_reverse_and_brings_them_back() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        recording(upper);
    });
    reboots_in_order(machine, Machine::reboot);
}

#[test]
fn guestd_comes_and_goes_and_no_guest_notices() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    let inits = machine.inits();
    machine.sh("systemctl restart guestd");
    assert_eq!(machine.inits(), inits);
    machine.sh("systemctl kill -s KILL guestd");
    machine.wait("guestd is back", "guestctl list >/dev/null");
    assert_eq!(machine.inits(), inits);
    machine.sh("systemctl stop guestd; systemctl start guestd");
    assert_eq!(machine.inits(), inits);
    machine.sh("systemctl reload guestd");
    assert_eq!(machine.inits(), inits);
}

#[test]
fn who_was_up_when_the_host_went_down_is_back_after_its_reboot() {
    let mut machine = Machine::boot_with(|upper| {
        let group = "lxc.group = onboot";
        guests(upper, &[&["up", group], &["stopped", group], &["held", group], &["never", group]]);
        for name in ["up", "stopped", "held", "never"] {
            write(upper, &format!("etc/guestd/guests/{name}.toml"), "[start]\nauto = \"last-state\"\n");
        }
    });
    assert_eq!(machine.phases(), "held down, never down, stopped down, up down", "nobody was up before");
    machine.sh("guestctl start up stopped held; guestctl stop stopped");
    machine.sh("guestctl hold held --reason 'a look at its disk' --until 1day");
    machine.reboot();
    assert_eq!(machine.phases(), "held down, never down, stopped down, up up");
    let status = |name: &str| -> Value {
        serde_json::from_str(&machine.ok(&["guestctl", "status", name, "--json"])).expect("JSON")
    };
    let last =
        |name: &str| status(name)["history"].as_array().expect("ends").last().cloned().expect("an end");
    assert_eq!(last("up")["how"], "stopped with the host");
    assert_eq!(last("held")["how"], "stopped with the host");
    assert_eq!(last("stopped")["how"], "stopped by request");
    assert_eq!(status("held")["held"], "a look at its disk");
    // Held, it was still wanted; and who was stopped by hand stays so for as many boots as there are.
    machine.sh("guestctl release held");
    machine.reboot();
    assert_eq!(machine.phases(), "held up, never down, stopped down, up up");
}

#[test]
fn a_guest_that_its_unit_stops_with_the_host_was_up_too() {
    let mut machine = Machine::boot_with(|upper| {
        guests(upper, &[&["ha", "lxc.group = onboot"], &["web", "lxc.group = onboot"]]);
        write(upper, "etc/guestd/guests/web.toml", "[start]\nauto = \"last-state\"\n");
        write(upper, "etc/guestd/guests/ha.toml", "owner = \"cluster\"\n[start]\nauto = true\n");
    });
    assert_eq!(machine.phases(), "ha down, web down");
    // The orderly stop has been: what runs now, PID 1 stops with its units.
    machine.sh("systemctl stop guests-shutdown; guestctl start ha web");
    machine.reboot();
    assert_eq!(machine.phases(), "ha down, web up", "a cluster's guest is the cluster's to start");
}

#[test]
fn a_state_directory_that_is_read_only_keeps_the_service_from_nothing() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    let inits = machine.inits();
    machine.sh("mount -t tmpfs -o ro,mode=755 tmpfs /var/lib/guestd; systemctl restart guestd");
    assert_eq!(machine.inits(), inits);
    machine.sh("guestctl start lab");
    let status = "systemctl status --no-pager guestd | grep -q 'not kept: .*Read-only file system'";
    machine.wait("the reason in the status", status);
    machine.sh("umount /var/lib/guestd; systemctl restart guestd; guestctl hold lab; test -e /var/lib/guestd/guests/lab.json");
}
