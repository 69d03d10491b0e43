//! guestd is killed in the middle of a boot, again and again.

use super::{
    debian::{gate, while_away},
    machine::{Host, Machine, guests, write},
};

const GUESTS: usize = 8;
const KILLS: usize = 10;

#[test]
fn killed_ten_times_during_the_boot_every_guest_is_started_once() {
    let names: Vec<String> = (0..GUESTS).map(|number| format!("g{number}")).collect();
    let machine = Machine::boot_with(|upper| {
        // Slow enough that the kills fall into the boot; each tier is one guest.
        let orders: Vec<String> =
            (0..GUESTS).map(|number| format!("lxc.start.order = {}", GUESTS - number)).collect();
        for (name, order) in names.iter().zip(&orders) {
            let slow = "lxc.hook.pre-start = sh -c \"sleep 0.2\"";
            guests(upper, &[&[name, "lxc.start.auto = 1", order, slow]]);
        }
        let killer = format!(
            "#!/bin/bash\nfor kill in $(seq {KILLS}); do\n\
             until systemctl kill -s KILL guestd 2>/dev/null; do sleep 0.02; done\n\
             sleep 0.$((RANDOM % 4 + 1))\ndone\ntouch /killed\n"
        );
        write(upper, "usr/local/bin/killer", &killer);
        let unit = "[Unit]\nAfter=guestd.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /usr/local/bin/killer\n";
        write(upper, "etc/systemd/system/killer.service", unit);
        let wants = upper.join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants).expect("a folder");
        std::os::unix::fs::symlink("/etc/systemd/system/killer.service", wants.join("killer.service"))
            .expect("a link");
    });
    assert!(machine.ok(&["ls", "/killed"]).contains("killed"));
    let up: Vec<_> = names.iter().map(|name| format!("{name} up")).collect();
    assert_eq!(machine.phases(), up.join(", "), "{}", machine.journal());
    let journal = machine.sh("journalctl -b --no-pager -o cat");
    for name in &names {
        let started = journal.matches(&format!("Started guest-{name}.service")).count();
        assert_eq!(started, 1, "{name} was started {started} times:\n{journal}");
    }
    assert_eq!(machine.sh("systemctl is-failed autostart || true"), "active\n");
}

#[test]
fn how_guests_ended_while_guestd_was_started_again_is_known() {
    let machine = Machine::boot_with(|upper| {
        let guest = |name| [name, "lxc.start.auto = 1"];
        guests(upper, &[&guest("halts"), &guest("killed"), &guest("reboots"), &guest("stays")]);
        gate(upper);
    });
    let before = machine.inits();
    assert_eq!(before.len(), 4, "{before:?}");

    while_away(
        &machine,
        "lxc-attach -n halts -- poweroff -f; kill -KILL $(lxc-info -n killed -pH); lxc-attach -n reboots -- reboot -f
        until [ $(systemctl list-units --no-legend 'guest-*' | wc -l) = 2 ]; do sleep 0.02; done",
    );
    // A crash is known for one, and followed by a start.
    machine.wait("its return", "guestctl list | grep -q '^killed *up'");
    let list = machine.list();
    let shown =
        |guest: &serde_json::Value| format!("{} {} {}", guest["name"], guest["phase"], guest["reason"]);
    let shown: Vec<_> = list.iter().map(|guest| shown(guest).replace('"', "")).collect();
    assert_eq!(shown, ["halts down halted by the guest", "killed up ", "reboots up ", "stays up "]);
    assert_eq!(machine.init("stays"), before[3].1);
    assert_ne!(machine.init("killed"), before[1].1);
    assert_ne!(machine.init("reboots"), before[2].1);

    // A guestd that was stopped gives up what was kept for it.
    machine.sh("systemctl stop guestd; lxc-attach -n stays -- poweroff -f");
    machine.wait("its end", "! systemctl is-active -q guest-stays");
    machine.sh("systemctl start guestd");
    let stays = machine.list().pop().expect("a guest");
    assert_eq!(stays["reason"], "ended unobserved");
}
