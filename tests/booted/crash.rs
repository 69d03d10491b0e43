//! guestd is killed in the middle of a boot, again and again.

use super::machine::{Host, Machine, guests, write};

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
