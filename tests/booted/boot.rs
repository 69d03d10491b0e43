//! Power-on: the boot groups come up by themselves, in order.

pub use super::debian::HOST;
use super::machine::{Host, Machine, guests};

#[test]
fn power_on_brings_up_the_boot_groups_in_order() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    assert_eq!(machine.phases(), "db up, lab down, mail up, web up");
    let since = |name: &str| machine.since(name);
    for later in ["mail", "web"] {
        let gap = since(later) - since("db");
        assert!((1.0..10.0).contains(&gap), "{later} came {gap} s after db");
    }
    // It tells the story.
    let line = "Status: \"4 guests: 3 up, 0 failed\"";
    machine.wait("status", &format!("systemctl status --no-pager guestd | grep -q '{line}'"));
    let autostart = machine.sh("systemctl status --no-pager autostart");
    assert!(autostart.contains("3 started") && autostart.contains("active (exited)"), "{autostart}");
    // Once a boot: not because the bus wakes the daemon, and not when it is started again.
    machine
        .sh("guestctl kill web; systemctl restart guestd; systemctl stop guestd; guestctl list >/dev/null");
    assert_eq!(machine.phases(), "db up, lab down, mail up, web down");
    machine.sh("systemctl restart autostart");
    assert_eq!(machine.phases(), "db up, lab down, mail up, web down");
}

#[test]
fn a_boot_in_which_a_guest_fails_shows_it() {
    let machine = Machine::boot_with(|upper| {
        guests(
            upper,
            &[
                &["good", "lxc.start.auto = 1"],
                &["bad", "lxc.start.auto = 1", "lxc.hook.pre-start = /bin/false"],
            ],
        );
    });
    assert_eq!(machine.phases(), "bad failed, good up");
    let shown = machine.sh("systemctl show autostart -p Result -p ExecMainStatus -p ActiveState");
    assert_eq!(shown, "Result=exit-code\nExecMainStatus=2\nActiveState=failed\n");
    let status = machine.run(&["systemctl", "status", "--no-pager", "autostart"]);
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let told = status.contains("bad: gave up after 5 restarts");
    assert!(told && status.contains("last: could not start it with lxc-start"), "{status}");
    // The way down is a unit of its own, and is there all the same.
    assert_eq!(machine.sh("systemctl is-active guests-shutdown"), "active\n");
}

#[test]
fn groups_and_guests_have_units_for_administrators() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        let needs = "[Unit]\nRequires=guest@lab.service\nAfter=guest@lab.service\n[Service]\nType=oneshot\n\
            RemainAfterExit=yes\nExecStart=/usr/bin/guestctl status lab\n";
        super::machine::write(upper, "etc/systemd/system/needs-lab.service", needs);
    });
    machine.sh("systemctl start needs-lab");
    assert_eq!(machine.phases(), "db up, lab up, mail up, web up");
    machine.sh("systemctl stop guest@lab");
    assert_eq!(machine.phases(), "db up, lab down, mail up, web up");
    machine.sh("guestctl kill db mail web; systemctl start autostart@onboot");
    assert_eq!(machine.phases(), "db up, lab down, mail up, web up");
}
