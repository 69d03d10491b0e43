//! `bcapabilities`, `ccapabilities` and `cflags`: lists whose items add or, behind `!` or `~`, take away.

use crate::{
    import::findings::{nearest, source},
    model::{Capabilities, Capability, Origin},
};

use super::{number, reading::Reading, tree::Line};

/// What an item of a list means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item<'i> {
    All,
    Nothing,
    /// A bit, or several.
    Bits(u64),
    /// A name without the prefix of its kind, in lower case or not.
    Named(&'i str),
}

/// One item, and whether it is taken away.
fn item<'i>(text: &'i str, prefixes: &[&str]) -> (bool, Option<Item<'i>>) {
    let plain = text.trim_start_matches(['!', '~']);
    let item = if plain.eq_ignore_ascii_case("all") {
        Some(Item::All)
    } else if plain.eq_ignore_ascii_case("none") {
        Some(Item::Nothing)
    } else if let Some(bit) = plain.strip_prefix('^') {
        let bit = number::unsigned(bit).and_then(|bit| u32::try_from(bit).ok());
        bit.and_then(|bit| 1_u64.checked_shl(bit)).map(Item::Bits)
    } else if plain.starts_with(|c: char| c.is_ascii_digit()) {
        number::bits(plain).map(Item::Bits)
    } else {
        let prefix = prefixes
            .iter()
            .find(|prefix| plain.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
        Some(Item::Named(&plain[prefix.map_or(0, |prefix| prefix.len())..]))
            .filter(|item| *item != Item::Named(""))
    };
    ((text.len() - plain.len()) % 2 == 1, item)
}

/// The items of a file's lines, each of which may hold several between commas.
fn items(lines: &[Line]) -> impl Iterator<Item = (&str, &Origin)> {
    let split = |line: &str| line.split(',').count();
    lines.iter().filter(move |line| split(&line.text) < 256).flat_map(|line| {
        line.text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(|text| (text, &line.origin))
    })
}

/// Capabilities by which a guest whose root is the host's root is no better than a process of the host.
const HOST: [&str; 9] =
    ["sys_module", "sys_rawio", "sys_admin", "mknod", "sys_time", "syslog", "bpf", "mac_admin", "sys_ptrace"];

/// What the guest's processes can have: those of every vserver, with what its lists give and take.
pub(super) fn read(reading: &mut Reading<'_>) -> Capabilities {
    let mut set = Capabilities::PLAIN;
    let lines = reading.lines("bcapabilities");
    for (text, origin) in items(&lines) {
        let (is_removed, item) = item(text, &["CAP_"]);
        let bits = match item {
            Some(Item::All) => Some(all()),
            Some(Item::Nothing) => {
                set = if is_removed { all() } else { Capabilities::NONE };
                continue;
            }
            Some(Item::Bits(bits)) => Some(Capabilities(bits & all().0)),
            Some(Item::Named(name)) => named(name).map(|capability| Capabilities::NONE.with(capability)),
            None => None,
        };
        match bits {
            Some(bits) if is_removed => set = Capabilities(set.0 & !bits.0),
            Some(bits) => set = Capabilities(set.0 | bits.0),
            None => unknown(reading, text, origin),
        }
    }
    if let Some(first) = lines.first() {
        told(reading, set, &first.origin);
    }
    of_contexts(reading, set)
}

fn all() -> Capabilities {
    Capability::all().fold(Capabilities::NONE, Capabilities::with)
}

/// The kernel's names, and those that util-vserver has for the same.
fn named(name: &str) -> Option<Capability> {
    match name.to_ascii_lowercase().as_str() {
        "contextadmin" | "context" => Capability::named("audit_control"),
        name => Capability::named(name),
    }
}

fn unknown(reading: &mut Reading<'_>, text: &str, origin: &Origin) {
    let known: Vec<String> = Capability::all().map(|capability| capability.to_string()).collect();
    let plain = text.trim_start_matches(['!', '~']).to_ascii_uppercase();
    let full = if plain.starts_with("CAP_") { plain } else { format!("CAP_{plain}") };
    let near = nearest(&full, known.iter().map(String::as_str));
    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    reading.error(origin, || format!("\"{}\" is not a capability{hint}; it is ignored", source(text)));
}

fn told(reading: &mut Reading<'_>, set: Capabilities, origin: &Origin) {
    let more: Vec<String> = set
        .iter()
        .filter(|capability| !Capabilities::PLAIN.contains(*capability))
        .filter(|capability| HOST.iter().any(|name| Capability::named(name) == Some(*capability)))
        .map(|capability| capability.to_string())
        .collect();
    if !more.is_empty() {
        reading.warning(origin, || {
            format!(
                "with {} the guest's root can take over the host, since it is the host's root; a guest of engine \
                 native with users of its own can have them safely",
                more.join(", ")
            )
        });
    }
    if Capability::named("sys_boot").is_some_and(|boot| !set.contains(boot)) {
        reading.warning(origin, || "without CAP_SYS_BOOT the guest cannot reboot or halt itself".into());
    }
}

/// What the context capabilities of VServer's kernels become.
const CONTEXT: [(&str, &str); 17] = [
    ("raw_icmp", "net_raw"),
    ("set_rlimit", "sys_resource"),
    ("set_utsname", "the host name is set by uts/nodename, and not from inside"),
    ("fs_security", "attributes security.* need a guest of engine native with users of its own"),
    ("fs_trusted", "attributes trusted.* need a guest of engine native with users of its own"),
    ("tiocsti", "terminals take no input by ioctl(2) from today's kernels"),
    ("syslog", "the kernel's log is the host's"),
    ("oom_adjust", "write badness"),
    ("audit_control", "the audit's rules are the host's"),
    ("secure_mount", MOUNT),
    ("secure_remount", MOUNT),
    ("binary_mount", MOUNT),
    ("dev_mapper", "block devices are mapped on the host"),
    ("quota_ctl", "quotas are set on the host"),
    ("admin_mapper", "block devices are mapped on the host"),
    ("admin_cloop", "loop devices are made on the host"),
    ("kthread", "no kernel thread belongs to a guest"),
];

const MOUNT: &str =
    "mounts from inside need a guest of engine native with users of its own; or mount by fstab";

fn of_contexts(reading: &mut Reading<'_>, mut set: Capabilities) -> Capabilities {
    let lines = reading.lines("ccapabilities");
    for (text, origin) in items(&lines) {
        match item(text, &["VXC_"]) {
            (true, _) | (_, Some(Item::Nothing)) => {}
            (false, Some(Item::Named(name))) => {
                let lower = name.to_ascii_lowercase();
                match CONTEXT.iter().find(|(known, _)| *known == lower).map(|(_, becomes)| *becomes) {
                    Some(becomes) => match Capability::named(becomes) {
                        Some(capability) => set = set.with(capability),
                        None => reading.warning(origin, || format!("{lower} has no effect: {becomes}")),
                    },
                    None => {
                        let near = nearest(&lower, CONTEXT.iter().map(|(known, _)| *known));
                        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                        reading.error(origin, || {
                            format!(
                                "\"{}\" is not a capability of contexts{hint}; it is ignored",
                                source(text)
                            )
                        });
                    }
                }
            }
            _ => reading.error(origin, || {
                format!("\"{}\" is ignored: name the capabilities of the context one by one", source(text))
            }),
        }
    }
    set
}

/// Flags of contexts, and what became of them.
const FLAGS: [(&str, &str); 32] = [
    ("lock", ALWAYS),
    ("sched", "the kernel's scheduler shares out by cgroups"),
    ("nproc", "write rlimits/nproc"),
    ("private", "root of the host can always look into a guest"),
    ("fakeinit", "the first process of a guest is its process 1 anyway"),
    ("info_init", ALWAYS),
    ("hideinfo", ALWAYS),
    ("info_hide", ALWAYS),
    ("ulimit", "write rlimits or ulimits"),
    ("info_ulimit", "write rlimits or ulimits"),
    ("namespace", ALWAYS),
    ("info_nspace", ALWAYS),
    ("sched_hard", "sched/fill-rate is always kept"),
    ("sched_prio", "sched/prio-bias always counts"),
    ("sched_pause", "guestctl freeze does it"),
    ("virt_mem", "lxcfs shows a guest its memory alone"),
    ("virt_uptime", "lxcfs shows a guest its own uptime"),
    ("virt_cpu", "lxcfs shows a guest its processors alone"),
    ("virt_load", "lxcfs shows a guest its own load"),
    ("virt_time", "the clock is the host's"),
    ("hide_mount", ALWAYS),
    ("hide_netif", ALWAYS),
    ("hide_vinfo", ALWAYS),
    ("state_setup", ALWAYS),
    ("state_init", ALWAYS),
    ("state_admin", ALWAYS),
    ("sc_helper", "the helper is always told"),
    ("reboot_kill", "a guest that reboots is ended by the kernel anyway"),
    ("persistent", "a guest is known while it does not run"),
    ("fork_rss", "write rlimits/rss"),
    ("prolific", "write rlimits/nproc"),
    ("igneg_nice", "ulimits/nice says how nice a process can be"),
];

const ALWAYS: &str = "this is always so";

/// `cflags` and its older name: none is needed, so that of each is told what became of it.
pub(super) fn flags(reading: &mut Reading<'_>) {
    for file in ["cflags", "flags"] {
        let lines = reading.lines(file);
        for (text, origin) in items(&lines) {
            let Some(Item::Named(name)) = item(text, &["VXF_"]).1 else {
                reading.note(origin, || format!("\"{}\" has no effect: remove it", source(text)));
                continue;
            };
            let lower = name.to_ascii_lowercase();
            match FLAGS.iter().find(|(known, _)| *known == lower) {
                Some((_, now)) => reading.note(origin, || format!("{lower} is not needed any more: {now}")),
                None => {
                    let near = nearest(&lower, FLAGS.iter().map(|(known, _)| *known));
                    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    reading.warning(origin, || {
                        format!("\"{}\" is not a flag of contexts{hint}; it is ignored", source(text))
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_names_bits_and_words() {
        for (text, expected) in [
            ("CAP_SYS_ADMIN", (false, Some(Item::Named("SYS_ADMIN")))),
            ("cap_mknod", (false, Some(Item::Named("mknod")))),
            ("~NET_RAW", (true, Some(Item::Named("NET_RAW")))),
            ("!NET_RAW", (true, Some(Item::Named("NET_RAW")))),
            ("!~NET_RAW", (false, Some(Item::Named("NET_RAW")))),
            ("all", (false, Some(Item::All))),
            ("~ALL", (true, Some(Item::All))),
            ("none", (false, Some(Item::Nothing))),
            ("^21", (false, Some(Item::Bits(1 << 21)))),
            ("^64", (false, None)),
            ("0x10", (false, Some(Item::Bits(16)))),
            ("12", (false, Some(Item::Bits(12)))),
            ("12x", (false, None)),
            ("CAP_", (false, None)),
            ("~", (true, None)),
            ("ü", (false, Some(Item::Named("ü")))),
        ] {
            assert_eq!(item(text, &["CAP_"]), expected, "{text:?}");
        }
    }

    #[test]
    fn every_context_capability_and_flag_is_told_once() {
        for (at, (name, _)) in CONTEXT.iter().enumerate() {
            assert!(CONTEXT[..at].iter().all(|(other, _)| other != name), "{name}");
        }
        for (at, (name, _)) in FLAGS.iter().enumerate() {
            assert!(FLAGS[..at].iter().all(|(other, _)| other != name), "{name}");
        }
    }
}
