//! Readiness of guests in units, asked by a guestd in its sandbox.

use super::{
    debian::{Host, guests, write},
    machine::Machine,
};

/// Says what it is told to at the place that guestd gives a guest.
pub const SAY: &str = r#"use Socket;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
send($socket, $_, 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die $! for @ARGV;
"#;
/// An init that says so when the file is there.
const SAYING: &str = "until [ -e /served ]; do sleep 0.1; done\n\
                      /usr/bin/perl /say.pl STATUS=serving READY=1\nwhile :; do sleep 1000; done\n";

/// How many guests are up, and how many of them are ready.
fn ready(machine: &Machine) -> (usize, usize) {
    let list = machine.list();
    let up = list.iter().filter(|guest| guest["phase"] == "up");
    (up.clone().count(), up.filter(|guest| guest["ready"] == true).count())
}

#[test]
fn guests_are_asked_by_every_means_and_the_next_guestd_knows_the_answers() {
    let machine = Machine::boot_with(|upper| {
        let usr = "lxc.mount.entry = /usr usr none bind,ro,create=dir 0 0";
        let says = ["says", usr, "lxc.init.cmd = /bin/sh /saying"];
        guests(upper, &[&["filed"], &["run"], &["dialled"], &says]);
        for (name, condition) in [
            ("filed", "file = \"/served\""),
            ("run", "exec = [\"/bin/sh\", \"-c\", \"[ -e /served ]\"]"),
            ("dialled", "tcp = \"127.0.0.1:7777\""),
            ("says", "when = \"notify\""),
        ] {
            let overlay = format!("[ready]\n{condition}\ninterval = \"100ms\"\n");
            write(upper, &format!("etc/guestd/guests/{name}.toml"), &overlay);
        }
        write(upper, "var/lib/lxc/.root/say.pl", SAY);
        write(upper, "var/lib/lxc/.root/saying", SAYING);
    });
    // Libraries are where programs of /usr look for them.
    machine.sh("cd /var/lib/lxc/.root && mkdir -p usr && ln -sfn usr/lib lib && ln -sfn usr/lib64 lib64");
    machine.sh("guestctl start --no-block filed run dialled says");
    machine.wait("all of them to be up", "test $(guestctl list --no-legend | grep -c 'up, not ready') = 4");
    assert_eq!(ready(&machine), (4, 0));
    machine.sh("touch /var/lib/lxc/.root/served");
    machine.sh("systemd-run -q --unit listener systemd-socket-activate -l 127.0.0.1:7777 sleep 1000");
    machine.wait("all of them to be ready", "! guestctl list --no-legend | grep -q 'not ready'");
    assert_eq!(ready(&machine), (4, 4));
    assert!(machine.sh("guestctl status says").contains("serving"));
    // Probes leave nothing behind, also not in the journal.
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'guestd-hook-*'"), "");
    assert_eq!(machine.sh("journalctl -b --no-pager | grep 'guestd-hook-run-[0-9]' || true"), "");

    machine.sh("rm /var/lib/lxc/.root/served; systemctl stop listener; systemctl restart guestd");
    assert_eq!(ready(&machine), (4, 4), "they were, and are the same");
}
