//! Each guest is a proper citizen of PID 1: a unit, a cgroup, a clean stop.

use super::{
    boot::HOST,
    machine::{Host, Machine, guests, write},
};

#[test]
fn a_guest_has_a_unit_of_its_own() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    let status = machine.sh("guestctl status");
    assert!(status.contains("Launcher: systemd"), "{status}");
    let init = machine.init("web");
    let cgroup = machine.sh(&format!("grep ^0:: /proc/{init}/cgroup"));
    assert_eq!(cgroup, "0::/machine.slice/guest-web.service/lxc.payload.web\n");
    let shown = machine.sh("systemctl show guest-web -p Description -p Slice -p Delegate -p ActiveState");
    for line in ["Description=LXC container web", "Slice=machine.slice", "Delegate=yes", "ActiveState=active"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
    }

    // A reboot from inside leaves the unit as it is.
    let unit = machine.sh("systemctl show guest-web -p InvocationID");
    machine.sh("lxc-attach -n web -- reboot -f");
    machine.wait(
        "a new init",
        &format!(
            "guestctl status web --json | grep -q '\"init_pid\":' && \
        test \"$(lxc-info -n web -pH)\" != {init} && guestctl list | grep -q '^web *up'"
        ),
    );
    assert_eq!(machine.sh("systemctl show guest-web -p InvocationID"), unit);
    assert_ne!(machine.init("web"), init);
    let helper = machine.sh("guestctl status web");
    assert!(helper.contains("asked reboot, answered restart"), "{helper}");

    // Its end is the unit's, and its next start is not in the way of it.
    machine.sh("lxc-attach -n web -- poweroff -f");
    machine.wait("its end", "guestctl list | grep -q '^web *down.*halted by the guest'");
    machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
    for _ in 0..5 {
        machine.sh("guestctl start web; guestctl restart web; guestctl kill web");
    }
    machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
}

#[test]
fn a_guest_needs_the_mounts_that_its_files_lie_on() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        let unit = "[Mount]\nWhat=/var/lib/lxc/lab\nWhere=/var/lib/lxc/lab\nType=none\nOptions=bind\n";
        write(upper, "etc/systemd/system/var-lib-lxc-lab.mount", unit);
    });
    let needed = |guest: &str| {
        let show = format!("systemctl show guest-{guest} --value -p RequiresMountsFor");
        machine.sh(&show).trim().to_owned()
    };
    // On the root's file system, as all of it.
    assert_eq!(needed("web"), "");
    // Nobody else wants this one.
    machine.sh("! systemctl is-active -q var-lib-lxc-lab.mount; guestctl start lab");
    assert_eq!(needed("lab"), "/var/lib/lxc/lab");
    machine.sh("systemctl is-active -q var-lib-lxc-lab.mount");
    // One that has no file, made while guestd runs.
    machine.sh("guestctl stop mail; mount --bind /var/lib/lxc/mail /var/lib/lxc/mail; guestctl start mail");
    assert_eq!(needed("mail"), "/var/lib/lxc/mail");
    let after = machine.sh("systemctl show guest-mail --value -p After");
    assert!(after.contains("var-lib-lxc-mail.mount"), "{after}");
}

#[test]
fn stopping_the_unit_is_an_operators_wish() {
    let machine = Machine::boot_with(|upper| guests(upper, &HOST));
    // A reload reads transient units again, as systemd has written them.
    machine.sh("systemctl daemon-reload; systemctl stop guest-web.service");
    let list = machine.sh("guestctl list");
    assert!(
        list.lines().any(|line| line.starts_with("web") && line.ends_with("stopped by request")),
        "{list}"
    );
    assert_eq!(machine.phases(), "db up, lab down, mail up, web down");
    // Without guestd LXC stops it, and nobody waits for a guestd that waits for this stop.
    machine.sh("systemctl stop guestd");
    let began = std::time::Instant::now();
    machine.sh("systemctl stop guest-mail.service");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    machine.sh("systemctl start guestd");
    let list = machine.sh("guestctl list");
    assert!(list.lines().any(|line| line.starts_with("mail") && line.contains("ended unobserved")), "{list}");
}

#[test]
fn a_failed_start_leaves_no_unit_behind() {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &[&["bad", "lxc.hook.pre-start = /bin/false"]]);
    });
    let started = machine.run(&["guestctl", "start", "bad"]);
    assert_eq!(started.status.code(), Some(1));
    let told = String::from_utf8_lossy(&started.stderr).into_owned();
    assert!(told.contains("pre-start"), "LXC's own words: {told}");
    let units = machine.sh("systemctl list-units --all --no-legend 'guest-*'");
    assert_eq!(units, "");
    machine.sh("sed -i '/pre-start/d' /var/lib/lxc/bad/config; guestctl start bad");
}

#[test]
fn a_start_that_is_interrupted_leaves_nothing_at_whatever_moment() {
    let machine = Machine::boot_with(|upper| guests(upper, &[&["web"]]));
    for millis in 0..20 {
        machine.sh(&format!("guestctl start --no-block web; sleep 0.0{millis:02}; guestctl kill web"));
        machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
        let list = machine.sh("guestctl list; lxc-info -n web -sH");
        assert!(list.contains("killed by request") && list.ends_with("\nSTOPPED\n"), "{millis} ms: {list}");
    }
    assert!(!machine.journal().contains("would not die"));
    machine.sh("guestctl start web");
    assert_eq!(machine.phases(), "web up");
}

#[test]
fn hundreds_of_guests_find_room() {
    let machine = Machine::boot();
    let limits = machine.sh("cat /proc/$(systemctl show -P MainPID guestd)/limits");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    // As many as the host's own limit lets it have: three for each guest.
    let soft: u32 = files.split_whitespace().nth(3).expect("a number").parse().expect("a number");
    assert!(soft >= 16 * 1024, "{limits}");
}
