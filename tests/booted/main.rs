//! guestd at home: installed from its package on a Debian host that systemd boots, with real containers.

#[path = "../bus/mod.rs"]
mod bus;
mod machine;

use machine::Machine;

#[test]
fn a_boot_brings_up_the_boot_groups_in_order() {
    let machine = Machine::boot();
    println!("{}", machine.sh("systemctl status guestd autostart guests-shutdown --no-pager; guestctl list; guestctl check || true"));
}
