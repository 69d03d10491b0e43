//! Native guests in units of PID 1.

use std::path::Path;

use super::{
    debian::{Host, NATIVE_ROOT, natives, write},
    journal::FILL,
    machine::Machine,
    serving::SAY,
};

/// What a guest without users of its own says at the top of its file.
const PLAIN: &str = "user-namespace = false\n";
/// The same of one that belongs to the boot.
const AUTO: &str = "user-namespace = false\n[start]\nauto = true\n";

/// Runs a line of shell in a guest.
fn inside(name: &str, line: &str) -> String {
    format!("/usr/lib/guestd/guest-run attach /run/guestd/native/{name} -- /bin/sh -c '{line}'")
}

/// Waits until a guest has another init than this one.
#[track_caller]
fn renewed(machine: &Machine, name: &str, before: i64) {
    let status = format!("guestctl status --json {name} | grep '\"init_pid\":[0-9]' | grep -v ':{before},'");
    machine.wait("a new init", &status);
    machine.wait("its return", &format!("guestctl list | grep -q '^{name} *up'"));
}

#[test]
fn a_native_guest_is_a_unit_from_its_start_to_its_end() {
    let machine = Machine::boot_with(|upper| natives(upper, &[("web", AUTO)]));
    assert!(machine.sh("guestctl status").contains("Launcher: systemd"));
    let cgroup = |pid: &str| machine.sh(&format!("grep ^0:: /proc/{pid}/cgroup"));
    let (init, monitor) = (machine.init("web"), machine.sh("systemctl show guest-web --value -p MainPID"));
    assert_eq!(cgroup(&init.to_string()), "0::/machine.slice/guest-web.service/payload\n");
    assert_eq!(cgroup(monitor.trim()), "0::/machine.slice/guest-web.service/monitor\n");
    let shown = machine.sh("systemctl show guest-web -p Description -p Slice -p Delegate -p ActiveState");
    for line in ["Description=native guest web", "Slice=machine.slice", "Delegate=yes", "ActiveState=active"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line} is missing:\n{shown}");
    }
    assert!(machine.sh("systemctl status --no-pager guest-web").contains("init"));
    machine.has_machine("web");
    // Its console, and what guestd did.
    assert_eq!(machine.sh("journalctl -b -u guest-web -t guest-web -o cat"), "up\n");
    assert_eq!(machine.sh("journalctl -b GUEST_CONSOLE=1 GUEST=web -o cat"), "up\n");
    assert!(machine.sh("journalctl -b -u guest-web -t guestd -o cat").contains("web is up"));
    assert_eq!(machine.sh("journalctl -b -u guest-web -p warning -q -o cat"), "");

    reboots(&machine, init);

    machine.sh(&inside("web", "poweroff -f"));
    machine.wait("its end", "guestctl list | grep -q '^web *down.*halted by the guest'");
    machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
    for _ in 0..5 {
        machine.sh("guestctl start web; guestctl restart web; guestctl kill web");
    }
    machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
    assert_eq!(machine.sh("systemctl is-system-running"), "running\n");
}

/// A reboot from inside, and whatever becomes of guestd, leave the unit as it is.
fn reboots(machine: &Machine, init: i64) {
    let unit = || machine.sh("systemctl show guest-web -p InvocationID -p NRestarts -p MainPID");
    let before = unit();
    machine.sh(&inside("web", "reboot -f"));
    renewed(machine, "web", init);
    assert_eq!(unit(), before);
    assert!(machine.sh("guestctl status web").contains("asked reboot, answered restart"));
    machine.has_machine("web");

    let init = machine.inits();
    for comes in [
        "systemctl restart guestd",
        "systemctl kill -s KILL guestd",
        "systemctl stop guestd; systemctl start guestd",
        "systemctl reload guestd",
    ] {
        machine.sh(comes);
        machine.wait("guestd is back", "guestctl list >/dev/null");
        assert_eq!(machine.inits(), init, "{comes}");
    }
    machine.sh("guestctl freeze web; guestctl list | grep '^web *frozen'; guestctl thaw web");
    machine.sh(&inside("web", "true"));
    assert_eq!(unit(), before);
}

#[test]
fn stopping_the_unit_of_a_native_guest_is_an_operators_wish() {
    let machine = Machine::boot_with(|upper| natives(upper, &[("web", AUTO), ("mail", AUTO)]));
    machine.sh("systemctl daemon-reload; systemctl stop guest-web.service");
    machine.sh("guestctl list | grep '^web *down.*stopped by request'");
    assert_eq!(machine.phases(), "mail up, web down");
    // Without guestd the monitor stops it.
    machine.sh("systemctl stop guestd");
    let began = std::time::Instant::now();
    machine.sh("systemctl stop guest-mail.service");
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    let told = machine.sh("journalctl -b -u guest-mail -o cat");
    assert!(told.contains("guestd does not run; guest-run stops it"), "{told}");
    assert!(!told.contains("Killing") && !told.contains("Failed with result"), "{told}");
    // What its monitor left tells how it ended.
    machine.sh("systemctl start guestd; guestctl list | grep '^mail *down.*halted by the guest'");
}

#[test]
fn a_native_guest_that_fails_leaves_nothing_and_says_why() {
    let machine = Machine::boot_with(|upper| {
        natives(
            upper,
            &[
                ("bad", &format!("{PLAIN}init = [\"/nowhere\"]\n")),
                ("users", ""),
                ("web", &format!("{PLAIN}[restart]\npolicy = \"on-failure\"\ndelay = \"10ms\"\n")),
            ],
        );
    });
    // The root of a host in a container cannot be shown by other ids: it is made of layers.
    for (name, reason) in [("bad", "/nowhere"), ("users", "user-namespace = false")] {
        let started = machine.run(&["guestctl", "start", name]);
        assert_eq!(started.status.code(), Some(1));
        let told = String::from_utf8_lossy(&started.stderr).into_owned();
        assert!(told.contains(reason), "{name}: {told}");
    }
    assert_eq!(machine.sh("systemctl list-units --all --no-legend 'guest-*'"), "");
    assert_eq!(machine.sh("ls -d /sys/fs/cgroup/machine.slice/guest-* || true"), "");
    // Its monitor's end is its own, and nobody else's.
    machine.sh("guestctl start web");
    let init = machine.init("web");
    machine.sh("systemctl kill -s KILL --kill-who=main guest-web");
    renewed(&machine, "web", init);
    machine.sh(&format!("! kill -0 {init}"));
}

#[test]
fn a_start_of_a_native_guest_that_is_interrupted_leaves_nothing() {
    let machine = Machine::boot_with(|upper| natives(upper, &[("web", PLAIN)]));
    for millis in (0..30).step_by(3) {
        machine.sh(&format!("guestctl start --no-block web; sleep 0.0{millis:02}; guestctl kill web"));
        machine.wait("the end of its unit", "! systemctl is-active -q guest-web");
        machine.sh("guestctl list | grep '^web *down.*killed by request'");
    }
    assert!(!machine.journal().contains("would not die"));
    machine.sh("guestctl start web");
    assert_eq!(machine.phases(), "web up");
}

#[test]
fn a_stuck_journal_holds_up_no_native_guest() {
    let machine = Machine::boot_with(|upper| {
        let script = "[ ! -e /again ] || touch /done\n\
                      n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo a line of some length, number $n; done\n\
                      touch /written; while :; do sleep 1000; done\n";
        let init = format!("{PLAIN}init = [\"/bin/sh\", \"/script\"]\n");
        natives(upper, &[("talks", &init)]);
        write(&upper.join(NATIVE_ROOT.trim_start_matches('/')), "script", script);
    });
    let root = NATIVE_ROOT;
    machine.sh(&format!("kill -STOP $(systemctl show -P MainPID systemd-journald); {FILL}"));
    machine.sh("timeout 10 guestctl start talks");
    machine.wait("everything it wanted to say", &format!("test -e {root}/written"));
    machine.sh(&format!("touch {root}/again; timeout 10 {}", inside("talks", "reboot -f")));
    machine.wait("its reboot", &format!("test -e {root}/done"));
    machine.sh("timeout 10 guestctl kill talks; kill -CONT $(systemctl show -P MainPID systemd-journald)");
    machine.wait("late line", "journalctl -b -o cat GUEST=talks | grep -q '(kill) is over: done'");
}

#[test]
fn users_of_their_own_are_possible_in_a_container_too() {
    let machine = Machine::boot_with(|upper| {
        let unit = format!("[Mount]\nWhat=tmpfs\nWhere={NATIVE_ROOT}\nType=tmpfs\n");
        write(upper, "etc/systemd/system/srv-native.mount", &unit);
        natives(upper, &[("web", "")]);
    });
    // A file system that can be shown by other ids.
    machine.sh(&format!(
        "cp -a {NATIVE_ROOT} /srv/copy; systemctl start srv-native.mount; cp -a /srv/copy/. {NATIVE_ROOT}; \
         guestctl start web"
    ));
    let owner = machine.sh(&format!("stat -c %u /proc/{}", machine.init("web")));
    assert!(owner.trim().parse::<u32>().expect("a number") >= 524_288, "{owner}");
    for line in [
        "test -e /proc/1/stat && ls /sys/class/net/lo",
        "mkdir /sys/fs/cgroup/own && echo 0 >/sys/fs/cgroup/own/cgroup.procs",
        "! echo 1 >/proc/sys/kernel/sysrq && ! echo b >/proc/sysrq-trigger",
        // Its own mounts are its own, and still the settings are the host's.
        "umount /proc/sys/net /proc/sys; mount -o remount,rw /sys; ! echo 1 >/proc/sys/kernel/sysrq",
        "! echo x >/sys/kernel/uevent_helper && test $(ls -d /proc/[0-9]* | wc -l) -lt 10",
    ] {
        machine.sh(&inside("web", line));
    }
    assert_eq!(machine.sh(&format!("stat -c %u {NATIVE_ROOT}/etc")), "0\n");
    let init = machine.init("web");
    machine.sh(&inside("web", "reboot -f"));
    renewed(&machine, "web", init);
}

/// Tells guestd from inside that it is ready, once the file is there, by the host's own perl.
const SAYS: &str = "init = [\"/bin/sh\", \"/saying\"]\n[ready]\nwhen = \"notify\"\n\
                    [[mount]]\nsource = \"/usr\"\ntarget = \"/usr\"\noptions = [\"ro\"]\n";
const SAYING: &str = "until [ -e /served ]; do sleep 0.1; done\n\
                      /usr/bin/perl /say.pl \
                      STATUS=serving READY=1\nwhile :; do sleep 1000; done\n";

#[test]
fn native_guests_are_asked_whether_they_are_ready_and_let_people_in() {
    let machine = Machine::boot_with(|upper| {
        let root = upper.join(NATIVE_ROOT.trim_start_matches('/'));
        let ready = |condition: &str| format!("{PLAIN}[ready]\n{condition}\ninterval = \"100ms\"\n");
        natives(
            upper,
            &[
                ("filed", &ready("file = \"/served\"")),
                ("run", &ready("exec = [\"/bin/sh\", \"-c\", \"[ -e /served ]\"]")),
                ("says", &format!("{PLAIN}{SAYS}")),
            ],
        );
        write(&root, "say.pl", SAY);
        write(&root, "saying", SAYING);
    });
    // Libraries are where programs of /usr look for them.
    machine.sh(&format!("cd {NATIVE_ROOT} && ln -s usr/lib lib && ln -s usr/lib64 lib64"));
    machine.sh("guestctl start --no-block filed run says");
    let waiting = "test $(guestctl list --no-legend | grep -c 'up, not ready') = 3";
    machine.wait("all of them to be up", waiting);
    machine.sh(&format!("touch {NATIVE_ROOT}/served"));
    let all = "test $(guestctl list --no-legend | grep ' up ' | grep -vc 'not ready') = 3";
    machine.wait("all of them to be ready", all);
    assert!(machine.sh("guestctl status says").contains("serving"));
    machine.sh(&format!("rm {NATIVE_ROOT}/served; systemctl restart guestd; {all}"));

    assert_eq!(machine.sh("guestctl attach run -- hostname"), "run\n");
    let ended = machine.run(&["guestctl", "attach", "run", "--", "/bin/sh", "-c", "exit 7"]);
    assert_eq!(ended.status.code(), Some(7));
    machine.sh("guestctl exec --all -- /bin/true");
    // Who leaves takes what he ran along.
    machine.sh("(guestctl attach run -- /bin/sleep 98765 & echo $! >/run/client; wait) & \
        until pgrep -fx '/bin/sleep 98765'; do sleep 0.05; done; pkill -KILL -F /run/client");
    machine.wait("the end of what ran there", "! pgrep -fx '/bin/sleep 98765'");
}

#[test]
fn an_archive_is_unpacked_with_all_its_owners() {
    let machine = Machine::boot_with(|upper| {
        natives(upper, &[]);
        let text = format!("engine = \"native\"\narchive = \"/srv/root.tar\"\n{PLAIN}");
        write(upper, "etc/guestd/guests/web.toml", &text);
    });
    machine.sh(&format!(
        "mkdir -p {NATIVE_ROOT}/home/mine && chown 1000:1001 {NATIVE_ROOT}/home/mine && chmod 2750 {NATIVE_ROOT}/home/mine && \
         cd {NATIVE_ROOT} && tar -cf /srv/root.tar * && guestctl start web"
    ));
    assert_eq!(machine.sh(&inside("web", "stat -c \"%u %g %a\" /home/mine /")), "1000 1001 2750\n0 0 755\n");
    machine
        .sh(&format!("guestctl stop web; rm /srv/root.tar; guestctl start web; {}", inside("web", "true")));
}

#[test]
fn native_guests_stop_in_order_with_their_host_and_are_back_after_its_reboot() {
    let mut machine = Machine::boot_with(|upper| {
        let order = |number: u32| format!("{AUTO}order = {number}\n");
        natives(upper, &[("db", &order(30)), ("mail", &order(20)), ("web", &order(10))]);
        write(upper, "etc/guestd/guestd.toml", "order = \"highest-first\"\n");
        recording(upper);
    });
    assert_eq!(machine.phases(), "db up, mail up, web up");
    machine.reboot();
    assert_eq!(machine.phases(), "db up, mail up, web up");
    assert_eq!(machine.sh(&format!("cat {NATIVE_ROOT}/stopped")), "web\nmail\ndb\n");
    let journal = machine.sh("journalctl -b -1 --no-pager -o cat");
    let at = |words: &str| journal.find(words).unwrap_or_else(|| panic!("no {words:?} in\n{journal}"));
    for name in ["db", "mail", "web"] {
        assert!(
            at(&format!("{name} is down: stopped with the host")) < at("Stopped guests-shutdown.service")
        );
        assert!(!journal.contains(&format!("guest-{name}.service: Killing")), "{journal}");
    }
}

/// Lets each guest record its clean stop, in the root that they share.
fn recording(upper: &Path) {
    let root = upper.join(NATIVE_ROOT.trim_start_matches('/'));
    let inittab = "::sysinit:/bin/true\n::respawn:/bin/sleep 1000\n\
                   ::shutdown:/bin/sh -c \"hostname >>/stopped\"\n";
    write(&root, "etc/inittab", inittab);
}
