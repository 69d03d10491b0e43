//! The host reboots, or loses its power.

use super::{
    debian::{HOST, Host, guests, reboots_in_order, recording, write},
    machine::Vm,
};

#[test]
fn a_reboot_of_the_host_stops_all_in_reverse_and_brings_them_back() {
    let vm = Vm::boot_with(|upper| {
        guests(upper, &HOST);
        recording(upper);
    });
    reboots_in_order(vm, |vm| vm.reboot());
}

#[test]
fn after_a_power_cut_during_the_boot_all_is_whole() {
    let mut vm = Vm::switch_on_with(|upper| {
        // Its start takes for ever, but not in the second boot: the disk with these files is not there any more.
        let hangs = "lxc.hook.pre-start = sh -c \"[ ! -b /dev/vdb ] || exec sleep infinity\"";
        let auto = "lxc.start.auto = 1";
        guests(
            upper,
            &[
                &["first", auto, "lxc.start.order = 400"],
                &["second", auto, "lxc.start.order = 300"],
                &["third", auto, "lxc.start.order = 200", hangs],
                &["fourth", auto, "lxc.start.order = 100"],
            ],
        );
        write(upper, "etc/guestd/guestd.toml", "order = \"highest-first\"\n");
    });
    vm.wait("the third guest's start", "guestctl list | grep -q '^third *starting'");
    assert_eq!(vm.phases(), "first up, fourth waiting, second up, third starting");
    vm.cut_and_boot();

    let kernel = vm.sh("journalctl -b -k --no-pager -o cat");
    assert!(kernel.contains("recovery complete"), "its file system was in use:\n{kernel}");
    assert_eq!(vm.phases(), "first up, fourth up, second up, third up");
    let journal = vm.sh("journalctl -b --no-pager -o cat");
    for name in ["first", "second", "third", "fourth"] {
        let started = journal.matches(&format!("Started guest-{name}.service")).count();
        assert_eq!(started, 1, "{name} was started {started} times:\n{journal}");
    }
    assert_eq!(vm.sh("journalctl -b -u guestd -u autostart -p warning --no-pager -q -o cat"), "");
    vm.sh("guestctl check && ! systemctl is-failed -q autostart guestd guests-shutdown");
}
