//! Capabilities of a guest's processes (capabilities(7)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The names by number, without `CAP_`, in lower case (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// A capability of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// By its name: in any case, with or without `CAP_`.
    pub fn named(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let plain = lower.strip_prefix("cap_").unwrap_or(&lower);
        let at = NAMES.iter().position(|known| *known == plain)?;
        u8::try_from(at).ok().map(Self)
    }

    /// By its number.
    pub fn numbered(number: u8) -> Option<Self> {
        (usize::from(number) < NAMES.len()).then_some(Self(number))
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::numbered)
    }
}

impl fmt::Display for Capability {
    /// As `CAP_SYS_BOOT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CAP_{}", NAMES[usize::from(self.0)].to_ascii_uppercase())
    }
}

/// A set of capabilities, as the kernel's bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// What a guest with users of its own has where nothing is said: what systemd and other inits need inside a container. Without
    /// what changes the host: modules, raw I/O, the clock, the kernel's log, BPF, MAC policies and the audit's rules.
    pub const GUEST: Self = Self::of(&[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 18, 19, 21, 22, 23, 24, 26, 27, 28, 29, 31,
    ]);

    /// What a guest has whose root is the host's root: the set that Linux-VServer left its guests, but for `CAP_SYS_PTRACE`. No
    /// mounts, no devices and no network settings: whoever has these is root of the host; and who may trace any process gets at the
    /// files of the host's, through the sockets that lead to them (SO_PEERPIDFD, pidfd_getfd(2)).
    pub const PLAIN: Self = Self::of(&[0, 1, 2, 3, 4, 5, 6, 7, 10, 18, 22, 26, 28, 29, 31]);

    /// What a guest has where nothing is said. Both have `CAP_SYS_BOOT`: a guest's own reboot is asked for by reboot(2).
    pub const fn usual(user_namespace: bool) -> Self {
        if user_namespace { Self::GUEST } else { Self::PLAIN }
    }

    const fn of(numbers: &[u8]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < numbers.len() {
            bits |= 1 << numbers[at];
            at += 1;
        }
        Self(bits)
    }

    /// Whether it is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// The set with this one too.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// The set without this one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// Its members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::all().filter(move |capability| self.contains(*capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        for (name, number) in [("CAP_CHOWN", 0), ("sys_boot", 22), ("Cap_Checkpoint_Restore", 40)] {
            assert_eq!(Capability::named(name).map(Capability::number), Some(number), "{name}");
        }
        assert_eq!(Capability::named("sys_everything"), None);
        assert_eq!(Capability::numbered(22).unwrap().to_string(), "CAP_SYS_BOOT");
    }

    #[test]
    fn guests_can_reboot_and_cannot_harm_the_host() {
        assert_eq!(Capabilities::PLAIN.0 & !Capabilities::GUEST.0, 0);
        assert!(Capabilities::PLAIN.contains(Capability::named("sys_boot").unwrap()));
        assert!(!Capabilities::PLAIN.contains(Capability::named("sys_admin").unwrap()));
        let has = |name| Capabilities::GUEST.contains(Capability::named(name).unwrap());
        for name in ["sys_boot", "sys_admin", "setpcap", "audit_write", "mknod"] {
            assert!(has(name), "{name}");
        }
        for name in ["sys_module", "sys_rawio", "sys_time", "syslog", "bpf", "mac_admin", "audit_control"] {
            assert!(!has(name), "{name}");
        }
    }
}
