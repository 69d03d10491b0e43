//! The host reboots, or guestd does: guests get their clean stop in order, or do not notice.

use super::{
    boot::HOST,
    debian::{reboots_in_order, recording},
    machine::{Host, Machine, guests},
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
