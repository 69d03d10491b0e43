//! Who sent a datagram: somebody inside the guest, or a stranger.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
};

use crate::{engine, model::ProcessId};

/// As deep as PID namespaces go (pid_namespaces(7)).
const DEPTH: usize = 32;

/// What tells a namespace from every other that there is.
type Space = (u64, u64);

/// A guest as seen from the host: what its processes are known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Realm {
    /// Its init.
    pub(super) init: ProcessId,
    /// Its PID namespace; none where it has none of its own.
    space: Option<Space>,
    /// Which of the host's users is its root.
    root: Option<u32>,
}

impl Realm {
    /// That of an init; none when it has ended.
    pub(super) fn of(init: i32) -> Option<Self> {
        let space = space_of(&File::open(format!("/proc/{init}/ns/pid")).ok()?).ok()?;
        let own = fs::metadata("/proc/self/ns/pid").ok()?;
        let root = root(&fs::read_to_string(format!("/proc/{init}/uid_map")).ok()?);
        let space = Some(space).filter(|space| *space != (own.dev(), own.ino()));
        // Last: nothing above was another's, if it still is there.
        Some(Self { init: engine::identified(init)?, space, root })
    }

    /// Whether somebody belongs there: to its PID namespace or to one below it. One that is gone by now was its root, who
    /// sends and ends at once as `systemd-notify` may; every other user must stay until he was seen.
    pub(super) fn has(&self, origin: &Origin) -> bool {
        match self.space {
            Some(space) if !origin.spaces.is_empty() => origin.spaces.contains(&space),
            _ => self.root == Some(origin.user),
        }
    }
}

/// Who sent something, as far as could be seen at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The user, as the host counts.
    user: u32,
    /// The PID namespaces that he is in, the innermost first; none when he is gone.
    spaces: Vec<Space>,
}

impl Origin {
    /// Looks at a sender.
    pub(super) fn of((process, user): (i32, u32)) -> Self {
        Self { user, spaces: spaces(process).unwrap_or_default() }
    }
}

fn spaces(process: i32) -> io::Result<Vec<Space>> {
    let mut at = OwnedFd::from(File::open(format!("/proc/{process}/ns/pid"))?);
    let mut spaces = Vec::new();
    while spaces.len() < DEPTH {
        let file = File::from(at);
        spaces.push(space_of(&file)?);
        // Above our own there is nothing to be seen.
        let Some(parent) = parent(&file) else { break };
        at = parent;
    }
    Ok(spaces)
}

fn space_of(namespace: &File) -> io::Result<Space> {
    namespace.metadata().map(|file| (file.dev(), file.ino()))
}

/// The namespace above one (ioctl_ns(2)).
fn parent(namespace: &File) -> Option<OwnedFd> {
    // SAFETY: the request takes no argument.
    let found = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_PARENT) };
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    (found >= 0).then(|| unsafe { OwnedFd::from_raw_fd(found) })
}

/// Which user of ours is root in a user namespace, by its `uid_map` (user_namespaces(7)).
fn root(map: &str) -> Option<u32> {
    let mut ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    ranges.find(|(inside, _, count)| *inside == 0 && *count > 0).map(|(_, outside, _)| outside)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process in new PID namespaces, one in the other, and what it is on this host.
    fn nested() -> (Child, i32, i32) {
        // Without a fork the shell stays in the namespaces of its parent, and its first child is their init.
        let inner = "unshare --pid --fork sh -c 'echo; read x; :'";
        let mut child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--pid", "--fork", "sh", "-c", &format!("{inner}; :")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        let only_child = |pid: i32| {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
            children.trim().parse::<i32>().unwrap()
        };
        let outer = only_child(child.id().cast_signed());
        let inner = only_child(only_child(outer));
        (child, outer, inner)
    }

    #[test]
    fn whoever_is_in_a_namespace_or_below_it_belongs_there() {
        let (mut child, outer, inner) = nested();
        let (own, user) = (std::process::id().cast_signed(), nix::unistd::getuid().as_raw());
        let [of_outer, of_inner] = [outer, inner].map(|init| Realm::of(init).unwrap());
        assert!(of_outer.has(&Origin::of((outer, user))) && of_outer.has(&Origin::of((inner, user))));
        assert!(of_inner.has(&Origin::of((inner, user))) && !of_inner.has(&Origin::of((outer, user))));
        assert!(!of_outer.has(&Origin::of((own, user))), "the host's");
        assert_eq!(Realm::of(own).unwrap().space, None, "it has the host's");
        drop(child.stdin.take());
        child.wait().unwrap();
        // Whoever is gone was its root, or is not believed.
        assert!(of_outer.has(&Origin::of((outer, user))) && !of_outer.has(&Origin::of((outer, user + 1))));
        assert_eq!(Realm::of(outer), None);
    }

    #[test]
    fn root_is_found_in_a_map() {
        assert_eq!(root("         0          0 4294967295\n"), Some(0));
        assert_eq!(root("         0     100000      65536\n"), Some(100_000));
        assert_eq!(root("         1     100000      65536\n         0 7 1\n"), Some(7));
        assert_eq!(root("1 100000 65536\n"), None);
        assert_eq!(root(""), None);
    }
}
