//! The three layouts of cgroups: as this host has them, v1 only, and v2 only.
//!
//! A layout is made by mounting and unmounting in a mount namespace of its own. There the test program is called again
//! for the same test alone; so nothing of it can be seen outside.

use std::process::Command;

/// Set for the inner call.
const INSIDE: &str = "GUESTD_TEST_LAYOUT";

/// Takes every hierarchy away.
const NONE: &str = "set -e
    tac /proc/self/mountinfo | cut -d' ' -f5 | grep '^/sys/fs/cgroup' | xargs -r -n1 umount";
const V2_ONLY: &str = "mount -t cgroup2 cgroup2 /sys/fs/cgroup";
/// The freezer at least is there also where v2 has the other controllers.
const V1_ONLY: &str = "mount -t tmpfs tmpfs /sys/fs/cgroup
    for name in cpu cpuacct cpuset memory devices blkio pids freezer name=systemd; do
        mkdir /sys/fs/cgroup/${name#*=}
        case $name in *=*) options=none,$name ;; *) options=$name ;; esac
        mount -t cgroup -o $options cgroup /sys/fs/cgroup/${name#*=} || rmdir /sys/fs/cgroup/$name
    done
    [ -e /sys/fs/cgroup/freezer/cgroup.procs ]";

/// A layout of cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Without v2.
    V1,
    /// Without v1.
    V2,
}

impl Layout {
    /// Returns true inside the layout. Outside it runs the test `name` of this program inside, and returns false when
    /// that has passed.
    pub fn inside(self, name: &str) -> bool {
        if std::env::var_os(INSIDE).is_some() {
            return true;
        }
        let mounts = match self {
            Self::V1 => V1_ONLY,
            Self::V2 => V2_ONLY,
        };
        let script = format!("{NONE}\n{mounts}\nexec \"$0\" --exact \"$1\" --nocapture --test-threads=1");
        let program = std::env::current_exe().expect("this program");
        let output = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", &script])
            .arg(program)
            .arg(name)
            .env(INSIDE, "yes")
            .output()
            .expect("unshare");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("1 passed"), "{name} with {self:?} alone: {said}");
        false
    }
}
