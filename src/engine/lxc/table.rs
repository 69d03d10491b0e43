//! One look at all processes of the host, to find those that run a container when its monitor does not answer.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use super::{
    process::{self, Stat},
    socket,
};
use crate::model::GuestName;

/// The processes of the host at one moment.
#[derive(Debug)]
pub(super) struct Table(BTreeMap<i32, Stat>);

/// What a container consists of, as far as the host's processes show it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Those that run it: the monitor, and an `lxc-start` that waits for it.
    pub(super) monitors: Vec<i32>,
    /// The container's init: a child of a monitor in a PID namespace of its own.
    pub(super) init: Option<i32>,
    /// Other children of the monitors and theirs, except what runs inside: hooks.
    pub(super) hooks: Vec<i32>,
    /// Somebody listens on its command socket.
    pub(super) is_listening: bool,
}

impl Found {
    /// Looks for the container, beside the daemon's own thread: it reads much of `/proc`.
    pub(super) async fn look(lxcpath: Arc<Path>, guest: GuestName) -> Self {
        let look = move || Self::look_now(&lxcpath, guest.as_str());
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    fn look_now(lxcpath: &Path, name: &str) -> Self {
        let table = Table::read();
        let address = socket::command(lxcpath, name);
        let listening = socket::listeners().unwrap_or_default();
        let inode =
            listening.into_iter().find(|listener| listener.name == address).map(|listener| listener.inode);
        let here = namespace(std::process::id().cast_signed());
        let runs_it =
            |pid: i32| inode.is_some_and(|inode| holds(pid, inode)) || Command::of(pid).runs(lxcpath, name);
        let monitors: Vec<i32> = table
            .0
            .keys()
            .copied()
            .filter(|pid| *pid > 1 && *pid != std::process::id().cast_signed())
            // What runs in a container, or is another user's, could call itself anything.
            .filter(|pid| namespace(*pid) == here && here.is_some() && runs_it(*pid))
            .filter(|pid| process::is_trusted(*pid))
            .collect();
        Self { is_listening: inode.is_some(), ..table.sort(monitors, |pid| namespace(pid) != here) }
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.monitors.is_empty()
    }

    /// Whether a monitor is stopped by a signal or a tracer and so cannot do its work.
    pub(super) fn is_wedged(&self) -> bool {
        self.monitors.iter().any(|pid| Self::is_stopped(*pid))
    }

    /// Whether a process is stopped.
    pub(super) fn is_stopped(pid: i32) -> bool {
        process::stat(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
    }
}

impl Table {
    fn read() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else { return Self(BTreeMap::new()) };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(pids.filter_map(|pid| Some((pid, process::stat(pid)?))).collect())
    }

    /// Divides what descends from the monitors; `is_inside` tells those of another PID namespace.
    fn sort(&self, monitors: Vec<i32>, is_inside: impl Fn(i32) -> bool) -> Found {
        let mut found = Found { monitors, ..Found::default() };
        let mut parents = found.monitors.clone();
        while let Some(parent) = parents.pop() {
            for (&child, stat) in &self.0 {
                let known = found.monitors.contains(&child) || found.hooks.contains(&child);
                if stat.parent != parent || known || stat.state == b'Z' {
                    continue;
                }
                if is_inside(child) {
                    found.init.get_or_insert(child);
                } else {
                    found.hooks.push(child);
                    parents.push(child);
                }
            }
        }
        found
    }
}

/// How the title begins that LXC gives a monitor in the background (`setproctitle` in `lxccontainer.c`).
const MONITOR: &[u8] = b"[lxc monitor] ";
/// The program that is the monitor in the foreground.
const FOREGROUND: &[u8] = b"lxc-start";

/// Whether a process is a monitor, of whatever container. What runs inside of one could call itself so.
pub(super) fn is_monitor(pid: i32) -> bool {
    let command = Command::of(pid);
    (command.0.starts_with(MONITOR) || command.is_lxc_start())
        && namespace(pid) == namespace(std::process::id().cast_signed())
}

/// A process's command line as the kernel shows it: words with a NUL behind each, or a title.
struct Command(Vec<u8>);

impl Command {
    fn of(pid: i32) -> Self {
        Self(fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == 0)
    }

    fn is_lxc_start(&self) -> bool {
        self.words().next().and_then(|program| program.rsplit(|byte| *byte == b'/').next())
            == Some(FOREGROUND)
    }

    /// Whether it is that of a container's monitor. One in the foreground is recognised if guestd has started it.
    fn runs(&self, lxcpath: &Path, name: &str) -> bool {
        let lxcpath = socket::trimmed(lxcpath).as_os_str().as_bytes();
        let says = |option: &[u8], value: &[u8]| {
            self.words().zip(self.words().skip(1)).any(|(word, next)| word == option && next == value)
        };
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        self.0[..end] == [MONITOR, lxcpath, b" ", name.as_bytes()].concat()
            || self.is_lxc_start() && says(b"-n", name.as_bytes()) && says(b"-P", lxcpath)
    }
}

/// Whether a process holds a socket that a user whom we believe has made: others may have handed theirs on.
fn holds(pid: i32, inode: u64) -> bool {
    let target = format!("socket:[{inode}]");
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let is_it = |path: &Path| fs::read_link(path).is_ok_and(|link| link.as_os_str() == &target[..]);
    let mut found = entries.flatten().map(|entry| entry.path()).filter(|path| is_it(path));
    found.any(|path| fs::metadata(path).is_ok_and(|socket| process::is_trusted_user(socket.uid())))
}

fn namespace(pid: i32) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors_are_known_by_their_command_lines() {
        let runs = |line: &str| {
            Command(line.replace(' ', "\0").into_bytes()).runs(Path::new("/var/lib/lxc/"), "web")
        };
        let titled =
            |line: &str| Command(format!("{line}\0\0").into_bytes()).runs(Path::new("/var/lib/lxc"), "web");
        assert!(titled("[lxc monitor] /var/lib/lxc web"));
        assert!(!titled("[lxc monitor] /var/lib/lxc web2") && !titled("[lxc monitor] /srv web"));
        for line in
            ["lxc-start -F -n web -P /var/lib/lxc", "/usr/bin/lxc-start -F -n web -P /var/lib/lxc -o x "]
        {
            assert!(runs(line), "{line}");
        }
        for line in [
            "lxc-start -F -n web -P /srv",
            "lxc-start -n a -P /var/lib/lxc web",
            "cat -n web -P /var/lib/lxc",
            "",
        ] {
            assert!(!runs(line), "{line}");
        }
    }

    #[test]
    fn descendants_are_told_apart() {
        let stat = |parent: i32, state: char| {
            process::parse_stat(&format!("1 (x) {state} {parent} {}", "0 ".repeat(48)))
        };
        let rows = [
            (10, 1, 'S'),
            (11, 10, 'S'),
            (12, 10, 'S'),
            (13, 12, 'S'),
            (14, 11, 'S'),
            (15, 1, 'S'),
            (16, 10, 'Z'),
        ];
        let table =
            Table(rows.iter().map(|(pid, parent, state)| (*pid, stat(*parent, *state).unwrap())).collect());
        let found = table.sort(vec![10], |pid| pid == 11 || pid == 14);
        assert_eq!(
            found,
            Found { monitors: vec![10], init: Some(11), hooks: vec![12, 13], ..Found::default() }
        );
        assert_eq!(table.sort(vec![], |_| false), Found::default());
    }
}
