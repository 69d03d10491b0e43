//! LXC's own units beside guestd.

use super::machine::{Host, Machine, guests, write};

#[test]
fn units_that_start_the_same_guests_are_told() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &[&["web", "lxc.start.auto = 1"], &["lab"]]);
        write(upper, "etc/guestd/guestd.toml", "order = \"highest-first\"\n");
    });
    // The package has seen to the unit that LXC's own enables.
    assert_eq!(
        machine.sh("systemctl is-enabled lxc; guestctl check"),
        "enabled\n0 errors, 0 warnings in 2 guests\n"
    );

    machine.sh("systemctl enable lxc@web lxc@lab; rm /lib/systemd/system/lxc.service.d/guestd.conf");
    let found = machine.sh("guestctl check");
    let wants = "/etc/systemd/system/multi-user.target.wants";
    for line in [
        format!("{wants}/lxc.service: warning: lxc.service starts and stops lab, web beside guestd"),
        format!("{wants}/lxc@web.service: warning: lxc@web.service starts web at boot beside guestd"),
        "0 errors, 2 warnings in 2 guests".to_owned(),
    ] {
        assert!(found.contains(&line), "{line} is missing:\n{found}");
    }
    machine
        .sh("guestctl reload || true; journalctl -u guestd | grep 'lxc.service starts and stops lab, web'");
    // What the messages say mends it.
    machine.sh("systemctl disable lxc lxc@web");
    assert_eq!(machine.sh("guestctl check"), "0 errors, 0 warnings in 2 guests\n");
}
