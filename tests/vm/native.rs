//! Native guests on Debian's own kernel: users of their own on a real disk, and cgroups with every controller.

use super::{
    busybox::FORBIDDEN,
    debian::{Host, NATIVE_ROOT, natives, write},
    machine::Vm,
};

/// Where the cgroups of the guests' units are.
const UNITS: &str = "/sys/fs/cgroup/machine.slice";
const WEB: &str = "processors = \"0\"\n[start]\nauto = true\n[resources]\nTasksMax = 40\n";
/// A guest whose init wants more memory than it may have, as soon as somebody says so.
const GREEDY: &str = "init = [\"/bin/sh\", \"-c\", \"until [ -e /go ]; do sleep 1; done; \
                      exec dd if=/dev/zero of=/dev/null bs=256M count=1\"]\n\
                      [resources]\nMemoryMax = \"48M\"\n[restart]\npolicy = \"never\"\n";
/// Debian in itself: the host's programs, with settings and a state of its own.
const DEBIAN: &str = "engine = \"native\"\nroot = \"/srv/debian\"\n[ready]\nwhen = \"notify\"\n\
                      [start]\ntimeout = \"2m\"\n[stop]\ntimeout = \"1m\"\n[resources]\nMemoryMax = \"256M\"\n";
/// Lines of shell that make its root.
const MAKE_DEBIAN: &str = "mkdir /srv/debian && cd /srv/debian && mkdir dev proc sys run tmp root var var/lib
    for link in bin sbin lib lib64; do ln -s usr/$link $link; done
    mkdir -p usr/share && cp -al /usr/bin /usr/sbin /usr/lib64 usr && cp -al /usr/share/dbus-1 usr/share
    cd /usr/lib && mkdir /srv/debian/usr/lib && cp -al $(ls | grep -vx modules) /srv/debian/usr/lib
    cd /srv/debian && cp -a /etc . && cp -a /var/lib/dpkg /var/lib/systemd var/lib/
    mkdir -p var/log var/tmp var/cache && ln -s /run var/run && : >etc/machine-id
    for unit in agent guestd autostart guests-shutdown lxc lxc-net lxc-monitord; do
        ln -sf /dev/null etc/systemd/system/$unit.service
    done";

/// Runs a line of shell in a guest.
fn inside(name: &str, line: &str) -> String {
    format!("/usr/lib/guestd/guest-run attach /run/guestd/native/{name} -- /bin/sh -c '{line}'")
}

/// Waits until a guest has another init than this one.
#[track_caller]
fn renewed(vm: &Vm, name: &str, before: i64) {
    let status = format!("guestctl status --json {name} | grep '\"init_pid\":[0-9]' | grep -v ':{before},'");
    vm.wait("a new init", &status);
}

#[test]
fn native_guests_have_users_and_limits_of_their_own_and_may_be_debian() {
    let vm = Vm::boot_with(|upper| {
        natives(upper, &[("web", WEB), ("greedy", GREEDY)]);
        write(upper, "etc/guestd/guests/debian.toml", DEBIAN);
    });
    assert_eq!(vm.phases(), "debian down, greedy down, web up");
    users(&vm);
    limits(&vm);
    debian(&vm);
}

/// Its root is nobody outside, and reaches nothing of the host's; its files are root's all the same.
fn users(vm: &Vm) {
    let init = vm.init("web");
    let owner = vm.sh(&format!("stat -c %u /proc/{init}"));
    assert!(owner.trim().parse::<u32>().expect("a number") >= 524_288, "{owner}");
    vm.sh(&inside("web", "echo mine >/root/mine"));
    assert_eq!(vm.sh(&format!("stat -c %u {NATIVE_ROOT}/root/mine")), "0\n");
    let lines: Vec<_> = FORBIDDEN
        .iter()
        .map(|(what, line)| format!("({line}) >/dev/null 2>&1 && echo \"it can {}\"", what.replace('\'', "")))
        .collect();
    write_inside(vm, "forbidden", &lines.join("\n"));
    assert_eq!(vm.sh(&inside("web", "/bin/sh /forbidden; true")), "");
    // Nor does it change what its mounts forbid.
    let change = inside("web", "mount -o remount,bind,dev / 2>&1");
    assert!(vm.sh(&format!("{change} || echo refused")).ends_with("refused\n"));
    let unit = vm.sh("systemctl show guest-web -p InvocationID");
    vm.sh(&inside("web", "reboot -f"));
    renewed(vm, "web", init);
    assert_eq!(vm.sh("systemctl show guest-web -p InvocationID"), unit);
    assert_eq!(vm.run(&["sh", "-c", &inside("web", "exit 7")]).status.code(), Some(7));
}

/// Writes a file into the root that guests share.
fn write_inside(vm: &Vm, name: &str, text: &str) {
    vm.sh(&format!("cat >{NATIVE_ROOT}/{name} <<'END'\n{text}\nEND"));
}

/// Who wants more than it may have does not get it, and its end is told for what it was.
fn limits(vm: &Vm) {
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-web.service/pids.max")), "40\n");
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-web.service/payload/cpuset.cpus")), "0\n");
    let bomb = vm.run(&["sh", "-c", &inside("web", "while :; do sleep 1000 & done")]);
    assert!(!bomb.status.success(), "{bomb:?}");
    vm.sh("guestctl kill web");
    assert!(!vm.run(&["test", "-e", &format!("{UNITS}/guest-web.service")]).status.success());
    vm.sh("guestctl start greedy");
    assert_eq!(vm.sh(&format!("cat {UNITS}/guest-greedy.service/memory.max")), "50331648\n");
    // Its monitor, whose memory counts too, is not who is killed for that.
    let score = |pid: &str| vm.sh(&format!("cat /proc/{pid}/oom_score_adj"));
    let monitor = vm.sh("systemctl show guest-greedy --value -p MainPID");
    assert_eq!((&*score(monitor.trim()), &*score(&vm.init("greedy").to_string())), ("-900\n", "0\n"));
    vm.sh(&format!("touch {NATIVE_ROOT}/go"));
    vm.wait("its end", "guestctl list | grep -q '^greedy *failed.*killed for want of memory'");
}

/// A whole Debian with systemd, which manages its part of the cgroups.
fn debian(vm: &Vm) {
    vm.sh(MAKE_DEBIAN);
    vm.sh("guestctl start debian");
    let status = vm.sh("guestctl list | grep ^debian");
    assert!(status.contains("up") && !status.contains("not ready"), "{status}");
    let runs = inside("debian", "systemctl is-system-running --wait; systemctl --failed --no-legend");
    assert_eq!(vm.sh(&runs), "running\n");
    // Nobody without a number is in its cgroups, as somebody outside its PID namespace would be.
    let listed =
        vm.sh(&inside("debian", "systemd-cgls --no-pager 2>&1; cat /sys/fs/cgroup/cgroup.controllers"));
    assert!(!listed.contains("Input/output error") && listed.contains("memory"), "{listed}");
    let init = vm.init("debian");
    vm.sh(&inside("debian", "systemctl reboot"));
    renewed(vm, "debian", init);
    // Whoever asks takes time from who boots.
    vm.sh("until guestctl list | grep '^debian *up' | grep -v 'not ready'; do sleep 1; done");
    assert_eq!(vm.sh(&runs), "running\n");
    vm.sh("guestctl stop debian; guestctl list | grep '^debian *down.*stopped by request'");
    assert!(!vm.sh("journalctl -b -u guest-debian -o cat").contains("Killing"));
}
