//! `fstab`, `fstab.local` and `fstab.remote`: what is mounted in the guest's root before it starts.

use crate::{
    import::{
        findings::source,
        native::mounts::{self, BIND, sound},
    },
    model::Mount,
};

use super::{reading::Reading, tree::Line};

/// The most mounts of one guest.
const MOST: usize = 256;

/// What the files say.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    /// The guest's root itself.
    pub(super) root: Option<Mount>,
    /// A root is written, and cannot be mounted as it is written.
    pub(super) is_rootless: bool,
    /// Some file system is to be checked before.
    pub(super) has_checks: bool,
    /// The others, before the network is there or without regard to it.
    pub(super) local: Vec<Mount>,
    /// Those that need the network.
    pub(super) remote: Vec<Mount>,
}

/// Reads all three.
pub(super) fn read(reading: &mut Reading<'_>) -> Mounts {
    let mut mounts = Mounts::default();
    for file in ["fstab", "fstab.local", "fstab.remote"] {
        for line in reading.lines(file) {
            if mounts.local.len() + mounts.remote.len() >= MOST {
                reading.error(&line.origin, || {
                    format!("a guest has at most {MOST} mounts; the rest is ignored")
                });
                break;
            }
            let is_root = is_root(&line);
            match entry(reading, &line) {
                Some((mount, pass)) => {
                    mounts.has_checks |= pass && file == "fstab";
                    match file {
                        "fstab" if is_root => mounts.root = Some(mount),
                        _ if is_root => reading.error(&line.origin, || {
                            "the root is mounted by fstab only; write the line there".into()
                        }),
                        "fstab.remote" => mounts.remote.push(mount),
                        _ => mounts.local.push(mount),
                    }
                }
                None if is_root && file == "fstab" => {
                    mounts.is_rootless = true;
                    reading.error(&line.origin, || {
                        "the guest is refused: its root cannot be mounted by this line; mend or remove it"
                            .into()
                    });
                }
                None => {}
            }
        }
    }
    mounts
}

/// Whether a line is for the guest's root, however that is spelt.
fn is_root(line: &Line) -> bool {
    let target = line.text.split_ascii_whitespace().nth(1).filter(|target| target.starts_with('/'));
    target.is_some_and(|target| target.split('/').all(|part| matches!(part, "" | ".")))
}

/// A line as a mount, and whether its file system is to be checked; none where nothing is to be mounted.
fn entry(reading: &mut Reading<'_>, line: &Line) -> Option<(Mount, bool)> {
    let fields: Vec<String> = line.text.split_ascii_whitespace().map(unescaped).collect();
    let [what, target, kind, rest @ ..] = fields.as_slice() else {
        reading.wrong(line, "a line of fstab(5), such as \"/dev/vg/data /data ext4 defaults 0 2\"");
        return None;
    };
    let options = rest.first().map_or("defaults", String::as_str);
    if kind == "swap" || target == "none" || kind == "ignore" {
        reading.note(&line.origin, || "nothing is mounted by this line; swap belongs to the host".into());
        return None;
    }
    let target = inside(reading, line, target)?;
    if is_own(reading, line, &target, kind) {
        return None;
    }
    let (options, is_bound) = options_of(reading, line, options)?;
    let is_optional = options.iter().any(|option| option == "nofail");
    let kind = kind_of(reading, line, kind, is_bound)?;
    let source = device(what);
    if kind == BIND && !source.starts_with('/') {
        return ignored(reading, line, || {
            format!("\"{}\" is not an absolute path of the host", self::source(what))
        });
    }
    let options = options.into_iter().filter(|option| option != "nofail").collect();
    let pass = rest.get(2).is_some_and(|pass| pass != "0") && kind != BIND && source.starts_with("/dev/");
    match sound(Mount { source, target, kind, options, optional: is_optional }) {
        Ok(mount) => Some((mount, pass)),
        Err(wrong) => ignored(reading, line, || wrong),
    }
}

/// Says why a line is not used.
fn ignored<T>(reading: &mut Reading<'_>, line: &Line, why: impl FnOnce() -> String) -> Option<T> {
    reading.error(&line.origin, || format!("the line is ignored: {}", why()));
    None
}

/// A type of file system that can be mounted as it is written.
fn kind_of(reading: &mut Reading<'_>, line: &Line, kind: &str, is_bound: bool) -> Option<String> {
    match kind {
        _ if is_bound => Some(BIND.to_owned()),
        "none" | "auto" => ignored(reading, line, || {
            "no type can be guessed; write it, such as ext4, or the option bind".into()
        }),
        kind => mounts::kind_of(kind)
            .or_else(|| ignored(reading, line, || format!("\"{}\" is no type of file system", source(kind)))),
    }
}

/// A target: an absolute path inside, and no other.
fn inside(reading: &mut Reading<'_>, line: &Line, target: &str) -> Option<String> {
    if !target.starts_with('/') || target.contains('\0') {
        return ignored(reading, line, || {
            format!("\"{}\" is not an absolute path in the guest", source(target))
        });
    }
    if target.split('/').any(|part| part == "..") {
        return ignored(reading, line, || {
            format!("\"{}\" leads out of the guest's root by \"..\"; write the path without", source(target))
        });
    }
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    Some(format!("/{}", parts.join("/")))
}

/// Whether the guest has this anyway, or must not have it: mounted on the host, these file systems would show the host's
/// processes, devices and settings.
fn is_own(reading: &mut Reading<'_>, line: &Line, target: &str, kind: &str) -> bool {
    let is_usual = matches!(kind, "proc" | "sysfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" | "devtmpfs");
    let is_place = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|own| target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if is_usual || is_place {
        reading.note(&line.origin, || {
            format!("{target} is not mounted by this line: the guest has its own; remove it")
        });
        return true;
    }
    let is_hosts = matches!(
        kind,
        "securityfs"
            | "debugfs"
            | "tracefs"
            | "configfs"
            | "pstore"
            | "efivarfs"
            | "bpf"
            | "binfmt_misc"
            | "fusectl"
    );
    if is_hosts {
        ignored::<()>(reading, line, || {
            format!("{kind} is the host's own, and no guest is given it; remove it")
        });
    }
    is_hosts
}

/// Options that are for programs, or are usual anyway.
const EMPTY: [&str; 14] = [
    "defaults", "auto", "rw", "user", "users", "nouser", "owner", "group", "_netdev", "exec", "suid",
    "async", "dev", "",
];

/// Options for the kernel, and whether something is bound. Devices are no use to a guest unless somebody says so.
fn options_of(reading: &mut Reading<'_>, line: &Line, text: &str) -> Option<(Vec<String>, bool)> {
    let said: Vec<&str> = text.split(',').collect();
    if said.contains(&"noauto") {
        reading.note(&line.origin, || "it is not mounted at the start, since it says noauto".into());
        return None;
    }
    if said.iter().any(|option| *option == "loop" || option.starts_with("loop=")) {
        return ignored(reading, line, || {
            "files are not mounted by way of a loop device; give it one on the host (losetup) and name that"
                .into()
        });
    }
    let is_bound = said.iter().any(|option| matches!(*option, "bind" | "rbind"));
    let is_kept = |option: &&str| {
        !EMPTY.contains(option)
            && *option != "bind"
            && !option.starts_with("x-")
            && !option.starts_with("comment=")
    };
    let mut options: Vec<String> = said.iter().copied().filter(is_kept).map(str::to_owned).collect();
    if !said.contains(&"dev") && !said.contains(&"nodev") {
        options.push("nodev".to_owned());
    }
    Some((options, is_bound))
}

/// A source by its tag (fstab(5)) as the path that udev makes of it.
fn device(text: &str) -> String {
    let tags =
        [("UUID=", "uuid"), ("LABEL=", "label"), ("PARTUUID=", "partuuid"), ("PARTLABEL=", "partlabel")];
    let tagged = tags.iter().find_map(|(tag, folder)| Some((text.strip_prefix(tag)?, folder)));
    match tagged {
        Some((name, folder)) if !name.contains('/') => {
            format!("/dev/disk/by-{folder}/{}", name.trim_matches('"'))
        }
        _ => text.to_owned(),
    }
}

/// Blanks and backslashes are written in octal (fstab(5)).
fn unescaped(field: &str) -> String {
    let mut text = field.to_owned();
    for (escape, meant) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escape, meant);
    }
    text
}
