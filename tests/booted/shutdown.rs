//! The host reboots, or guestd does: guests get their clean stop in order, or do not notice.

use super::{
    boot::HOST,
    machine::{Machine, guests, write},
};

/// Each guest records its clean stop.
fn recording(upper: &std::path::Path) {
    guests(upper, &HOST);
    write(upper, "var/lib/lxc/.root/sbin/record", "#!/bin/sh\necho \"$(busybox hostname)\" >>/stopped\n");
    let inittab = "::sysinit:/bin/true\n::respawn:/bin/sleep 1000000\n::shutdown:/bin/sh /sbin/record\n";
    write(upper, "var/lib/lxc/.root/etc/inittab", inittab);
}

#[test]
fn a_reboot_of_the_host_stops_all_in_reverse_and_brings_them_back() {
    let mut machine = Machine::boot_with(recording);
    machine.sh("guestctl start lab");
    assert_eq!(machine.phases(), "db up, lab up, mail up, web up");
    machine.reboot();
    assert_eq!(machine.phases(), "db up, lab down, mail up, web up");

    let stopped = machine.read("/var/lib/lxc/.root/stopped");
    let stopped: Vec<_> = stopped.lines().collect();
    assert_eq!((stopped[0], stopped[3]), ("lab", "db"), "{stopped:?}");
    assert_eq!(stopped.len(), 4, "{stopped:?}");

    let journal = machine.sh("journalctl -b -1 --no-pager -o cat");
    let at = |words: &str| journal.find(words).unwrap_or_else(|| panic!("no {words:?} in\n{journal}"));
    for name in ["db", "lab", "mail", "web"] {
        // Its own clean stop came before its unit was touched.
        assert!(at(&format!("{name} is down: stopped by request")) < at("Stopped guests-shutdown.service"));
        assert!(!journal.contains(&format!("guest-{name}.service: Killing")), "{journal}");
    }
    assert!(at("Stopped guests-shutdown.service") < at("Stopped guestd.service"));
    assert!(journal.contains("4 stopped"), "{journal}");
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
