//! The host reboots, or guestd does: guests get their clean stop in order, or do not notice.

use super::{
    boot::HOST,
    debian::{recording, stopped_in_reverse},
    machine::{Host, Machine, guests},
};

#[test]
fn a_reboot_of_the_host_stops_all_in_reverse_and_brings_them_back() {
    let mut machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        recording(upper);
    });
    machine.sh("guestctl start lab");
    assert_eq!(machine.phases(), "db up, lab up, mail up, web up");
    machine.reboot();
    assert_eq!(machine.phases(), "db up, lab down, mail up, web up");

    let recorded = machine.read("/var/lib/lxc/.root/stopped");
    stopped_in_reverse(&recorded, &machine.sh("journalctl -b -1 --no-pager -o cat"));
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
