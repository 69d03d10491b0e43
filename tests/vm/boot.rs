//! Power-on with Debian's own kernel: guests are there, in cgroups with controllers of their own.

use super::{
    debian::{HOST, Host, gate, guests, while_away, write},
    machine::Vm,
};

/// Where the cgroups of the guests' units are.
const UNITS: &str = "/sys/fs/cgroup/machine.slice";

/// An init that wants more memory than it may have, as soon as somebody says so.
const GREEDY: &str = "until [ -e /go ]; do sleep 1; done\n\
                      exec busybox dd if=/dev/zero of=/dev/null bs=256M count=1\n";

#[test]
fn guests_come_up_in_units_that_hold_them_and_outlive_what_happens_inside() {
    let vm = Vm::boot_with(|upper| {
        guests(upper, &HOST);
        guests(
            upper,
            &[
                &["small", "lxc.cgroup2.memory.max = 33554432"],
                &["greedy", "lxc.init.cmd = /bin/sh /greedy"],
                &["bomb"],
                &["late"],
            ],
        );
        gate(upper);
        write(upper, "var/lib/lxc/.root/greedy", GREEDY);
        let greedy = "[resources]\nMemoryMax = \"48M\"\n[restart]\npolicy = \"never\"\n";
        write(upper, "etc/guestd/guests/greedy.toml", greedy);
        write(upper, "etc/guestd/guests/bomb.toml", "[resources]\nTasksMax = 40\n[stop]\ntimeout = \"5s\"\n");
        write(upper, "etc/guestd/guests/late.toml", "[restart]\ndelay = \"5s\"\n");
    });
    assert_eq!(
        vm.phases(),
        "bomb down, db up, greedy down, lab down, late down, mail up, small down, web up"
    );
    for later in ["mail", "web"] {
        let gap = vm.since(later) - vm.since("db");
        assert!(gap >= 1.0, "{later} came {gap} s after db");
    }
    let status = vm.sh("guestctl status");
    assert!(status.contains("Launcher: systemd"), "{status}");
    cgroups(&vm);
    limits(&vm);
    bomb(&vm);
    clock(&vm);
    ends(&vm);
}

/// Each guest is in its unit, and LXC has there all that the kernel offers.
fn cgroups(vm: &Vm) {
    assert_eq!(vm.sh("stat -fc %T /sys/fs/cgroup"), "cgroup2fs\n");
    let controllers = vm.sh("cat /sys/fs/cgroup/cgroup.controllers");
    for controller in ["cpu", "io", "memory", "pids"] {
        assert!(controllers.split_whitespace().any(|known| known == controller), "{controllers}");
    }
    let cgroup = vm.sh(&format!("grep ^0:: /proc/{}/cgroup", vm.init("web")));
    assert_eq!(cgroup, "0::/machine.slice/guest-web.service/lxc.payload.web\n");
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-web.service/lxc.payload.web/memory.max")), "max\n");
    // A limit of the container's own configuration.
    vm.sh("guestctl start small");
    let small = vm.sh(&format!("cat {UNITS}/guest-small.service/lxc.payload.small/memory.max"));
    assert_eq!(small, "33554432\n");
}

/// A limit of the unit holds: who wants more is killed, and nothing else happens; unless that is the init.
fn limits(vm: &Vm) {
    let (init, before) = (vm.init("web"), unit(vm));
    assert!(before.contains("ActiveState=active"), "{before}");
    vm.sh("systemctl set-property --runtime guest-web.service MemoryMax=64M");
    let greedy = ["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=256M", "count=1"];
    let greedy = vm.run(&[&["lxc-attach", "-n", "web", "--"][..], &greedy].concat());
    assert!(!greedy.status.success(), "{greedy:?}");
    let events = vm.sh(&format!("cat {UNITS}/guest-web.service/memory.events"));
    assert!(events.lines().any(|line| line == "oom_kill 1"), "{events}");
    assert_eq!((vm.init("web"), unit(vm)), (init, before.clone()));

    vm.sh("lxc-attach -n web -- reboot -f");
    let lives = format!("test \"$(lxc-info -n web -pH)\" != {init} && guestctl list | grep -q '^web *up'");
    vm.wait("a new init", &lives);
    assert_ne!(vm.init("web"), init);
    assert_eq!(unit(vm), before);
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-web.service/memory.max")), "67108864\n");
    vm.sh("guestctl start greedy");
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-greedy.service/memory.max")), "50331648\n");
    vm.sh("touch /var/lib/lxc/.root/go");
    vm.wait("its end", "guestctl list | grep -q '^greedy *failed.*killed for want of memory'");
    let status = vm.sh("guestctl status web");
    assert!(status.contains("asked reboot, answered restart"), "{status}");
}

/// Who multiplies without end does so within its limit, and can be stopped.
fn bomb(vm: &Vm) {
    vm.sh("guestctl start bomb");
    let init = vm.init("bomb");
    let bomb = "while :; do sleep 1000 & done";
    let ended = vm.run(&["lxc-attach", "-n", "bomb", "--", "/bin/sh", "-c", bomb]);
    assert!(!ended.status.success(), "{ended:?}");
    // This kernel counts where somebody wanted to fork, not where the limit is.
    let events = vm.sh(&format!("cat {UNITS}/guest-bomb.service/lxc.payload.bomb/pids.events"));
    assert!(!events.lines().any(|line| line == "max 0"), "{events}");
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-bomb.service/pids.max")), "40\n");
    // Others do not mind, and nor does guestd.
    assert_eq!(vm.init("bomb"), init);
    vm.sh("lxc-attach -n db -- /bin/busybox true && guestctl stop bomb");
    assert_eq!(vm.sh("guestctl list | grep -c '^bomb *down'"), "1\n");
    assert!(!vm.run(&["test", "-e", &format!("{UNITS}/guest-bomb.service")]).status.success());
}

/// A clock that is set neither hurries nor hinders: pauses are counted by another one.
fn clock(vm: &Vm) {
    vm.sh("guestctl start late");
    for step in ["+1 day", "-2 days"] {
        let init = vm.init("late");
        vm.sh(&format!("kill -KILL {init}"));
        vm.wait("its pause", "guestctl list | grep -q '^late *backing-off'");
        vm.sh(&format!("date -s '{step}'"));
        let up = format!("guestctl list | grep -q '^late *up' && test \"$(lxc-info -n late -pH)\" != {init}");
        vm.wait("its return", &up);
    }
    vm.sh("date -s '+1 day' && guestctl stop late");
}

/// This kernel's pidfds do not tell how a process ended: LXC's monitor does, also to a guestd that comes later.
fn ends(vm: &Vm) {
    vm.sh("lxc-attach -n web -- poweroff -f");
    vm.wait("its end", "guestctl list | grep -q '^web *down.*halted by the guest'");
    vm.wait("the end of its unit", "! systemctl is-active -q guest-web");
    let mail = vm.init("mail");
    vm.sh(&format!("kill -KILL {mail}"));
    let again = format!("guestctl list | grep -q '^mail *up' && test \"$(lxc-info -n mail -pH)\" != {mail}");
    vm.wait("another init", &again);
    vm.wait(
        "the word on it",
        "journalctl -u guest-mail -o cat --no-pager | grep -q 'killed by SIGKILL; it is started again'",
    );
    while_away(
        vm,
        "lxc-attach -n db -- poweroff -f; while systemctl is-active -q guest-db; do sleep 0.1; done",
    );
    vm.wait("its end", "guestctl list | grep -q '^db *down.*halted by the guest'");
}

fn unit(vm: &Vm) -> String {
    vm.sh("systemctl show guest-web -p InvocationID -p ActiveState")
}
