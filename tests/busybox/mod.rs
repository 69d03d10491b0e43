//! The smallest root of a guest: a statically linked busybox and nothing else.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

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
