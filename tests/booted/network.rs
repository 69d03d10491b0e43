//! Only who asks waits for the network, and makes others bring it up.

use super::machine::{Host, Machine, guests, write};

/// A network that is online once `/online` is there.
const SLOW: &str = "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
                    ExecStart=sh -c 'until [ -e /online ]; do sleep 0.05; done'\nTimeoutStartSec=infinity\n\
                    [Install]\nWantedBy=network-online.target\n";

#[test]
fn the_network_is_waited_for_by_those_who_ask() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &[&["db", "lxc.start.auto = 1"], &["web"]]);
        write(upper, "etc/guestd/guests/web.toml", "[start]\nnetwork-online = true\ntimeout = \"1s\"\n");
        write(upper, "etc/systemd/system/slow.service", SLOW);
    });
    // Nobody asked for it yet.
    assert_eq!(machine.phases(), "db up, web down");
    assert_eq!(
        machine.sh("systemctl enable slow 2>/dev/null; systemctl is-active network-online.target || true"),
        "inactive\n"
    );

    // Who was given up is not started later on.
    let failed = machine.run(&["guestctl", "start", "web"]);
    let told = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && told.contains("the network was not online within 1s"), "{told}");
    machine.wait("the end of the start", "! systemctl list-jobs | grep -q guest-web");

    machine.sh("sed -i s/1s/1m/ /etc/guestd/guests/web.toml; guestctl reload; guestctl start --no-block web");
    machine.wait("the start", "systemctl list-jobs | grep -q 'guest-web.service *start *waiting'");
    machine.sh("guestctl stop web");
    machine.wait("the end of the start", "! systemctl list-jobs | grep -q guest-web");

    machine.sh("guestctl start --no-block web");
    machine.wait("the start", "systemctl list-jobs | grep -q 'guest-web.service *start *waiting'");
    machine.sh("touch /online");
    machine.wait("the guest", "guestctl list | grep -q '^web *up'");
    assert_eq!(machine.sh("systemctl is-active network-online.target"), "active\n");
}
