//! The keys of LXC's configuration, of every generation: which ones guestd acts on, which ones LXC itself knows, and
//! what replaced the old ones.

use std::borrow::Cow;

use crate::import::findings;

/// A key that guestd acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `lxc.include`.
    Include,
    /// `lxc.start.auto`.
    Auto,
    /// `lxc.start.order`.
    Order,
    /// `lxc.start.delay`.
    Delay,
    /// `lxc.group`.
    Group,
    /// `lxc.signal.halt`.
    Halt,
    /// `lxc.signal.reboot`.
    Reboot,
    /// `lxc.signal.stop`.
    Stop,
    /// `lxc.hook.version`.
    HookVersion,
    /// `lxc.ephemeral`.
    Ephemeral,
    /// `lxc.rootfs.path`.
    Rootfs,
    /// `lxc.log.file`.
    LogFile,
    /// Any `lxc.console.*`.
    Console,
}

impl Key {
    /// The key that has this name today.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "lxc.include" => Self::Include,
            "lxc.start.auto" => Self::Auto,
            "lxc.start.order" => Self::Order,
            "lxc.start.delay" => Self::Delay,
            "lxc.group" => Self::Group,
            "lxc.signal.halt" => Self::Halt,
            "lxc.signal.reboot" => Self::Reboot,
            "lxc.signal.stop" => Self::Stop,
            "lxc.hook.version" => Self::HookVersion,
            "lxc.ephemeral" => Self::Ephemeral,
            "lxc.rootfs.path" => Self::Rootfs,
            "lxc.log.file" => Self::LogFile,
            _ if name.starts_with("lxc.console.") => Self::Console,
            _ => return None,
        })
    }
}

/// What LXC makes of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// LXC 5, 6 and 7 know it.
    Current,
    /// `lxc.cgroup.*`: known up to LXC 6.
    CgroupV1,
    /// Known up to LXC 2.1, under the same meaning as this newer key.
    Renamed(Cow<'static, str>),
    /// Known up to LXC 2.1, and gone.
    Dropped,
    /// Never heard of.
    Unknown,
}

/// Finds out what LXC makes of a key.
pub fn standing(name: &str) -> Standing {
    if CURRENT.binary_search(&name).is_ok() || is_in_family(name) {
        return Standing::Current;
    }
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Standing::Renamed(Cow::Borrowed(*new));
    }
    if let Some(limit) = name.strip_prefix("lxc.limit.") {
        return Standing::Renamed(Cow::Owned(format!("lxc.prlimit.{limit}")));
    }
    if let Some(rest) = name.strip_prefix("lxc.network.") {
        return network(rest);
    }
    match name {
        "lxc.kmsg" | "lxc.pivotdir" | "lxc.rootfs.backend" => Standing::Dropped,
        _ if name == "lxc.cgroup" || name.starts_with("lxc.cgroup.") => Standing::CgroupV1,
        _ => Standing::Unknown,
    }
}

/// The known key nearest to an unknown one.
pub fn nearest(name: &str) -> Option<&'static str> {
    findings::nearest(name, CURRENT.iter().copied())
}

/// Keys that go on with a name of the writer's choice.
fn is_in_family(name: &str) -> bool {
    const FAMILIES: [&str; 5] =
        ["lxc.cgroup2.", "lxc.namespace.share.", "lxc.prlimit.", "lxc.proc.", "lxc.sysctl."];
    if let Some(rest) = name.strip_prefix("lxc.net.") {
        let (index, key) = rest.split_once('.').unwrap_or((rest, ""));
        let numbered = !index.is_empty() && index.bytes().all(|b| b.is_ascii_digit());
        return numbered && (key.is_empty() || NETWORK.contains(&key));
    }
    FAMILIES.iter().any(|family| name.len() > family.len() && name.starts_with(family))
}

/// The old network keys: the network was the one opened by the last `lxc.network.type`, or had a number.
fn network(rest: &str) -> Standing {
    let (index, key) = match rest.split_once('.') {
        Some((index, key)) if index.bytes().all(|b| b.is_ascii_digit()) => (index, key),
        _ => ("N", rest),
    };
    let key = match key {
        "ipv4" => "ipv4.address",
        "ipv6" => "ipv6.address",
        key if NETWORK.contains(&key) => key,
        _ => return Standing::Unknown,
    };
    Standing::Renamed(Cow::Owned(format!("lxc.net.{index}.{key}")))
}

/// Sorted, for the binary search.
#[rustfmt::skip]
const CURRENT: [&str; 81] = [
    "lxc.apparmor.allow_incomplete", "lxc.apparmor.allow_nesting", "lxc.apparmor.profile", "lxc.apparmor.raw",
    "lxc.arch", "lxc.autodev", "lxc.autodev.tmpfs.size", "lxc.cap.drop", "lxc.cap.keep", "lxc.cgroup.dir",
    "lxc.cgroup.dir.container", "lxc.cgroup.dir.container.inner", "lxc.cgroup.dir.monitor",
    "lxc.cgroup.dir.monitor.pivot", "lxc.cgroup.relative", "lxc.console.buffer.size", "lxc.console.logfile",
    "lxc.console.path", "lxc.console.rotate", "lxc.console.size", "lxc.environment", "lxc.environment.hooks",
    "lxc.environment.runtime", "lxc.ephemeral", "lxc.execute.cmd", "lxc.group", "lxc.hook", "lxc.hook.autodev",
    "lxc.hook.clone", "lxc.hook.destroy", "lxc.hook.mount", "lxc.hook.post-stop", "lxc.hook.pre-mount",
    "lxc.hook.pre-start", "lxc.hook.start", "lxc.hook.start-host", "lxc.hook.stop", "lxc.hook.version",
    "lxc.idmap", "lxc.include", "lxc.init.cmd", "lxc.init.cwd", "lxc.init.gid", "lxc.init.groups", "lxc.init.uid",
    "lxc.keyring.session", "lxc.log.file", "lxc.log.level", "lxc.log.syslog", "lxc.monitor.signal.pdeath",
    "lxc.monitor.unshare", "lxc.mount.auto", "lxc.mount.entry", "lxc.mount.fstab", "lxc.namespace.clone",
    "lxc.namespace.keep", "lxc.net", "lxc.no_new_privs", "lxc.pty.max", "lxc.rootfs.managed", "lxc.rootfs.mount",
    "lxc.rootfs.options", "lxc.rootfs.path", "lxc.sched.core", "lxc.seccomp.allow_nesting",
    "lxc.seccomp.notify.cookie", "lxc.seccomp.notify.proxy", "lxc.seccomp.profile", "lxc.selinux.context",
    "lxc.selinux.context.keyring", "lxc.signal.halt", "lxc.signal.reboot", "lxc.signal.stop", "lxc.start.auto",
    "lxc.start.delay", "lxc.start.order", "lxc.time.offset.boot", "lxc.time.offset.monotonic", "lxc.tty.dir",
    "lxc.tty.max", "lxc.uts.name",
];

/// What follows `lxc.net.N.`.
#[rustfmt::skip]
const NETWORK: [&str; 25] = [
    "flags", "hwaddr", "ipv4.address", "ipv4.gateway", "ipv6.address", "ipv6.gateway", "ipvlan.isolation",
    "ipvlan.mode", "l2proxy", "link", "macvlan.mode", "mtu", "name", "script.down", "script.up", "type",
    "veth.ipv4.route", "veth.ipv6.route", "veth.mode", "veth.n_rxqueues", "veth.n_txqueues", "veth.pair",
    "veth.vlan.id", "veth.vlan.tagged.id", "vlan.id",
];

/// The names that LXC 1 and 2 knew and LXC 3.0 refused, with the new ones (lxc-update-config has the same list).
const RENAMED: [(&str, &str); 23] = [
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.console", "lxc.console.path"),
    ("lxc.devttydir", "lxc.tty.dir"),
    ("lxc.haltsignal", "lxc.signal.halt"),
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.init_gid", "lxc.init.gid"),
    ("lxc.init_uid", "lxc.init.uid"),
    ("lxc.limit", "lxc.prlimit"),
    ("lxc.logfile", "lxc.log.file"),
    ("lxc.loglevel", "lxc.log.level"),
    ("lxc.mount", "lxc.mount.fstab"),
    ("lxc.network", "lxc.net"),
    ("lxc.pts", "lxc.pty.max"),
    ("lxc.rebootsignal", "lxc.signal.reboot"),
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.se_context", "lxc.selinux.context"),
    ("lxc.seccomp", "lxc.seccomp.profile"),
    ("lxc.stopsignal", "lxc.signal.stop"),
    ("lxc.syslog", "lxc.log.syslog"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.utsname", "lxc.uts.name"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_and_covers_what_guestd_reads() {
        assert!(CURRENT.is_sorted());
        for (old, new) in RENAMED {
            assert!(CURRENT.binary_search(&old).is_err(), "{old}");
            assert!(new == "lxc.prlimit" || standing(new) == Standing::Current, "{new}");
        }
    }

    #[test]
    fn keys_of_every_generation_are_placed() {
        let renamed = |new: &'static str| Standing::Renamed(new.into());
        for (name, expected) in [
            ("lxc.start.auto", Standing::Current),
            ("lxc.net.0.veth.pair", Standing::Current),
            ("lxc.net.0", Standing::Current),
            ("lxc.net.x.type", Standing::Unknown),
            ("lxc.net.0.frobnicate", Standing::Unknown),
            ("lxc.cgroup2.memory.max", Standing::Current),
            ("lxc.cgroup2.", Standing::Unknown),
            ("lxc.cgroup.dir", Standing::Current),
            ("lxc.cgroup.devices.deny", Standing::CgroupV1),
            ("lxc.prlimit.nofile", Standing::Current),
            ("lxc.limit.nofile", renamed("lxc.prlimit.nofile")),
            ("lxc.network.ipv4", renamed("lxc.net.N.ipv4.address")),
            ("lxc.network.1.type", renamed("lxc.net.1.type")),
            ("lxc.network.frob", Standing::Unknown),
            ("lxc.utsname", renamed("lxc.uts.name")),
            ("lxc.kmsg", Standing::Dropped),
            ("lxc.start.Auto", Standing::Unknown),
            ("lxc.hook.reboot", Standing::Unknown),
        ] {
            assert_eq!(standing(name), expected, "{name}");
        }
        assert_eq!(nearest("lxc.start.ordr"), Some("lxc.start.order"));
    }
}
