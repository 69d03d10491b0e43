//! The smallest root of a guest: a statically linked busybox and nothing else.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

/// What the root of a guest must not be able to do, and lines of shell that fail in it therefore.
pub const FORBIDDEN: [(&str, &str); 15] = [
    ("see the host's processes", "ps | grep -v grep | grep guest-run"),
    ("open the host's disk", "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk"),
    ("open the kernel's memory", "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem"),
    ("open the kernel's log", "mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg"),
    ("mount the host's disk", "mkdir -p /mnt && mknod /tmp/disk2 b 254 0 && mount -t ext4 /tmp/disk2 /mnt"),
    ("change the kernel's settings", "echo 1 > /proc/sys/kernel/sysrq"),
    ("have the host reboot", "echo b > /proc/sysrq-trigger"),
    ("choose the host's core handler", "echo '|/bin/sh' > /proc/sys/kernel/core_pattern"),
    ("load a module", "insmod /dev/null"),
    ("set the host's clock", "date -s 2001-01-01; date +%Y | grep 2001"),
    ("read the host's memory", "head -c 1 /proc/kcore | grep ."),
    ("write to /sys", "echo x > /sys/kernel/uevent_helper"),
    ("see guestd's socket", "ls /run/guestd"),
    ("see another guest's files", "ls /proc/1/root/../../run/native"),
    ("leave by its root", "ls /../../../proc/1/root/work"),
];

/// Makes one.
pub fn make_root(root: &Path) {
    for folder in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "run", "root"] {
        fs::create_dir_all(root.join(folder)).expect("a folder");
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    let list = Command::new("/bin/busybox").arg("--list").output().expect("busybox").stdout;
    let list = String::from_utf8(list).expect("names");
    for name in list.lines().filter(|name| !matches!(*name, "busybox" | "init")) {
        symlink("busybox", root.join("bin").join(name)).expect("a link");
    }
    symlink("../bin/busybox", root.join("sbin/init")).expect("a link");
    fs::write(root.join("etc/inittab"), "::sysinit:/bin/echo up\n::respawn:/bin/sleep 1000\n")
        .expect("a file");
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("a file");
}
