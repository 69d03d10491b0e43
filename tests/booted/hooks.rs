//! What runs for guests beside them: in units of PID 1, which may do what guestd's own sandbox forbids.

use super::{
    executable,
    machine::{Host, Machine, guests, write},
};

/// Where the script is that decides about reboots.
const SCRIPT: &str = "/etc/guestd/decide";
const NONE_LEFT: &str = "test -z \"$(systemctl list-units --all --no-legend 'guestd-hook-*')\"";

/// A host whose guest `web` runs and has a script of these lines decide about its reboots.
fn host(script: &str, settings: &str) -> Machine {
    Machine::boot_with(|upper| {
        guests(upper, &[&["web", "lxc.start.auto = 1"]]);
        let text = format!("[reboot]\naction = \"{SCRIPT}\"\n{settings}");
        write(upper, "etc/guestd/guests/web.toml", &text);
        executable::script(&upper.join(SCRIPT.trim_start_matches('/')), script);
    })
}

/// Lets the guest reboot, and waits until it is down for this reason.
#[track_caller]
fn declined(machine: &Machine, reason: &str) {
    machine.sh("guestctl start web; lxc-attach -n web -- reboot -f");
    machine.wait(reason, &format!("guestctl list | grep -q '^web *down.*{reason}'"));
    machine.wait("end of the hook's unit", NONE_LEFT);
}

#[test]
fn a_script_that_decides_may_do_what_guestd_itself_may_not() {
    let machine = host(
        "set -e\n\
         echo \"$* $GUESTD_EVENT $GUESTD_GUEST [$HOME]\" >>/srv/asked\n\
         date >/var/log/decided\n\
         mount -t tmpfs tmpfs /mnt\n\
         umount /mnt\n\
         grep -q 'NoNewPrivs:.0' /proc/self/status\n\
         sleep 1234 & echo $! >/srv/left\n\
         echo \"the answer is $(cat /srv/answer)\"\n\
         exit \"$(cat /srv/answer)\"",
        "",
    );
    // One of a guestd before this one, so to speak.
    machine.sh("systemd-run -q --unit guestd-hook-web-0 sleep 1000; echo 0 >/srv/answer");
    let init = machine.init("web");
    machine.sh("lxc-attach -n web -- reboot -f");
    machine.wait(
        "a new init",
        &format!("guestctl list | grep -q '^web *up' && test \"$(lxc-info -n web -pH)\" != {init}"),
    );
    machine.sh("systemctl stop guestd-hook-web-0");
    machine.wait("end of the hook's unit", NONE_LEFT);

    machine.sh("echo 7 >/srv/answer; guestctl kill web");
    declined(&machine, "its reboot script exited with status 7");
    assert_eq!(machine.sh("cat /srv/asked"), "reboot web reboot web []\n".repeat(2));
    let said = machine.sh("journalctl -b -o cat -u guest-web SYSLOG_IDENTIFIER=decide");
    assert_eq!(said, "the answer is 0\nthe answer is 7\n");
    assert_eq!(machine.sh("journalctl -b -o cat GUEST=web SYSLOG_IDENTIFIER=decide"), said);
    // To say no is no failure, and what it left running does not outlive it.
    let told = machine.sh("journalctl -b -o cat _PID=1 UNIT=guestd-hook-web-2.service");
    assert!(told.contains("Finished guestd-hook-web-2.service") && !told.contains("Failed"), "{told}");
    machine.sh("! kill -0 $(cat /srv/left)");
}

#[test]
fn a_script_that_cannot_be_run_says_so_and_one_of_an_odd_name_can() {
    let machine = host("exit 1", "");
    for (spoilt, told) in [
        (format!("printf '#!/nowhere' >{SCRIPT}"), "systemd cannot execute it (status 203/EXEC)"),
        (format!("chmod -x {SCRIPT}"), "Permission denied"),
        (format!("rm {SCRIPT}"), "No such file or directory"),
    ] {
        machine.sh(&spoilt);
        declined(&machine, "its reboot script could not be run, or took too long");
        let journal = machine.sh("journalctl -b -o cat -u guest-web");
        assert!(journal.contains(&format!("cannot run {SCRIPT}: {told}")), "{told}: {journal}");
    }
    let odd = "/etc/guestd/a $HOME of %n";
    machine.sh(&format!(
        "printf '#!/bin/sh\\nexit 9\\n' >'{odd}'; chmod +x '{odd}'\n\
         sed -i 's|{SCRIPT}|{odd}|' /etc/guestd/guests/web.toml; guestctl reload"
    ));
    declined(&machine, "its reboot script exited with status 9");
    assert_eq!(machine.sh("systemctl is-system-running"), "running\n");
}

#[test]
fn a_script_that_hangs_is_killed_with_its_children_whether_or_not_guestd_is_there() {
    let hangs = "trap '' TERM; echo $$ >>/srv/pids; sleep 1234 & echo $! >>/srv/pids; wait; wait";
    let machine = host(hangs, "[stop]\ntimeout = 3\n");
    let dead = "for pid in $(cat /srv/pids); do ! kill -0 $pid || exit 1; done";
    declined(&machine, "its reboot script could not be run, or took too long");
    machine.sh(&format!("{dead}; rm /srv/pids"));
    machine.sh(&format!("journalctl -b -u guest-web | grep -q '{SCRIPT} took longer than 3s: killed'"));

    for ends in ["systemctl kill -s KILL guestd", "systemctl stop guestd"] {
        machine.sh("guestctl kill web; guestctl start web; lxc-attach -n web -- reboot -f");
        machine.wait("running script", "systemctl list-units 'guestd-hook-*' | grep -q activating");
        machine.sh(&format!("{ends}; systemctl list-units 'guestd-hook-*' | grep -q activating"));
        machine.wait("end of the hook's unit", NONE_LEFT);
        machine.sh(&format!("{dead}; rm /srv/pids"));
        // Without guestd, LXC's hook has run it as well, and has waited less long.
        machine.wait("guest that is up", "guestctl list | grep -q '^web *up'");
    }
}
