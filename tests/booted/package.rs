//! The package: it comes, is upgraded and goes without a guest noticing.

use super::{
    boot::HOST,
    machine::{Host, Machine, guests},
};

#[test]
fn upgrades_leave_guests_alone_and_so_does_removal() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    let inits = machine.inits();
    let pid = || machine.sh("systemctl show guestd -p MainPID --value");
    for _ in 0..2 {
        let before = pid();
        machine.sh("dpkg -i /root/guestd_*.deb");
        assert_ne!(pid(), before, "the new daemon runs");
        assert_eq!(machine.inits(), inits, "{}", machine.journal());
        assert_eq!(machine.phases(), "db up, lab down, mail up, web up");
    }
    machine.sh("dpkg -r guestd");
    let alive = || machine.sh("lxc-ls --running").split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(alive(), "db mail web");
    machine.sh("dpkg -P guestd");
    assert_eq!(alive(), "db mail web");
    machine.sh("test -d /var/lib/lxc/db && test ! -e /var/lib/guestd && test ! -e /etc/guestd/guestd.toml");
    machine.sh("dpkg -i /root/guestd_*.deb");
    assert_eq!(machine.inits(), inits, "they are adopted");
}

#[test]
fn the_units_are_in_order() {
    let machine = Machine::boot();
    machine.sh(
        "systemd-analyze verify guestd.service autostart.service autostart@x.service guests-shutdown.service \
         guests.target guest@x.service 2>&1 | { ! grep -v 'man .* command failed\\|Command .man '; }",
    );
    machine.sh("systemd-analyze security --threshold=25 --no-pager guestd.service >/dev/null");
    // LXC's own unit stays, and leaves the containers to guestd.
    let lxc = machine.sh("systemctl show lxc -p ExecStart -p ExecStop");
    assert!(!lxc.contains("lxc-containers") && lxc.contains("/bin/true"), "{lxc}");
}
