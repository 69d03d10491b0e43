//! LXC's abstract sockets: their names, who listens, and connecting without ever blocking.
//!
//! Anybody may bind an abstract name. So who listens is believed only if it is root or our own user: monitors and
//! lxc-monitord of containers that root started are root's.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use tokio::net::UnixStream;

use super::process;
use crate::model::GuestName;

/// The longest socket name that LXC uses as it is, in bytes without the leading NUL: `sun_path` has 108, LXC keeps
/// one for the leading and one for a trailing NUL, and `snprintf` one more. A longer one is hashed.
const NAME_MAX: usize = 105;

/// FNV-1a over 64 bits, as LXC hashes names that are too long.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The lxcpath as LXC's programs take it from `-P`: without trailing slashes.
pub(super) fn trimmed(lxcpath: &Path) -> &Path {
    let mut bytes = lxcpath.as_os_str().as_bytes();
    while let [rest @ .., b'/'] = bytes
        && !rest.is_empty()
    {
        bytes = rest;
    }
    Path::new(OsStr::from_bytes(bytes))
}

/// The abstract name, without the leading NUL, of the command socket of the container `name` in `lxcpath`.
pub(super) fn command(lxcpath: &Path, name: &str) -> Vec<u8> {
    let lxcpath = trimmed(lxcpath).as_os_str().as_bytes();
    let folder = [lxcpath, b"/", name.as_bytes()].concat();
    let plain = [&folder[..], b"/command"].concat();
    if plain.len() <= NAME_MAX { plain } else { format!("lxc/{:016x}/command", fnv1a(&folder)).into_bytes() }
}

/// What the name of a command socket tells of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address<'a> {
    /// The container's name.
    Named(&'a [u8]),
    /// Nothing: it was too long.
    Hashed,
}

/// The container behind an abstract name, if it is a command socket's.
pub(super) fn container(address: &[u8]) -> Option<Address<'_>> {
    let folder = address.strip_suffix(b"/command")?;
    let name = folder.rsplit(|byte| *byte == b'/').next()?;
    let hashed = folder.strip_prefix(b"lxc/").is_some_and(|hash| hash.len() == 16 && hash == name);
    Some(if hashed { Address::Hashed } else { Address::Named(name) })
}

/// The lxcpath in the name of a command socket, which is that of the container `name`.
pub(super) fn lxcpath(address: &[u8], name: &str) -> Option<PathBuf> {
    let end = [b"/", name.as_bytes(), b"/command"].concat();
    let path = address.strip_suffix(&*end)?;
    Some(PathBuf::from(OsStr::from_bytes(if path.is_empty() { b"/" } else { path })))
}

/// The abstract name, without the leading NUL, of lxc-monitord's socket for `lxcpath`; none where the path is too
/// long for lxc-monitord too.
pub(super) fn monitord(lxcpath: &Path) -> Option<Vec<u8>> {
    let lxcpath = trimmed(lxcpath).as_os_str().as_bytes();
    let hash = fnv1a(&[b"lxc/", lxcpath, b"/monitor-sock"].concat());
    let name = [format!("lxc/{hash:016x}/").as_bytes(), lxcpath].concat();
    (name.len() <= NAME_MAX).then_some(name)
}

/// Somebody whom we do not believe listens on a socket of LXC's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "its socket @{name} is held by {}user {uid}, who may run no container of root's: end that process",
    .pid.map(|pid| format!("process {pid} of ")).unwrap_or_default()
)]
pub(super) struct Foreign {
    name: String,
    pid: Option<i32>,
    uid: u32,
}

/// Whether the other end of a connection belongs to a user whom we believe.
pub(super) fn has_trusted_peer(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| process::is_trusted_user(peer.uid()))
}

/// Connects to an abstract name. A listener whose queue is full counts as one that does not answer; one whom we do not
/// believe is an error that holds [`Foreign`].
pub(super) async fn connect(name: &[u8]) -> io::Result<UnixStream> {
    let path = PathBuf::from(OsStr::from_bytes(&[b"\0", name].concat()));
    let stream = match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its queue of connections is full"));
        }
        result => result?,
    };
    if has_trusted_peer(&stream) {
        return Ok(stream);
    }
    let peer = stream.peer_cred()?;
    let name = String::from_utf8_lossy(name).into_owned();
    Err(io::Error::new(io::ErrorKind::PermissionDenied, Foreign { name, pid: peer.pid(), uid: peer.uid() }))
}

/// Whether somebody whom we do not believe listens on an abstract name.
pub(super) async fn is_foreign(name: &[u8]) -> bool {
    connect(name).await.is_err_and(|error| error.downcast::<Foreign>().is_ok())
}

/// A listening abstract socket of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listener {
    /// Its name, without the leading NUL.
    pub(super) name: Vec<u8>,
    /// Its inode, as `/proc/PID/fd` shows it.
    pub(super) inode: u64,
}

/// Every listening abstract socket, by one read of `/proc/net/unix`.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    Ok(parse_listeners(&fs::read("/proc/net/unix")?))
}

/// Lines are `Num RefCount Protocol Flags Type St Inode Path`; the flag 0x10000 marks a listening socket, a leading
/// `@` an abstract name.
fn parse_listeners(table: &[u8]) -> Vec<Listener> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let flags = fields.nth(3)?;
        let inode = std::str::from_utf8(fields.nth(2)?).ok()?.parse().ok()?;
        let start = line.windows(2).position(|pair| pair == b" @")?;
        (flags == b"00010000").then(|| Listener { name: line[start + 2..].to_owned(), inode })
    };
    table.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

/// Which of `candidates` run in `lxcpath`: those whose command socket somebody listens on. One read of
/// `/proc/net/unix`; the candidates are needed because LXC hashes names that are too long.
///
/// # Errors
/// When `/proc/net/unix` cannot be read.
pub fn running<'a>(
    lxcpath: &Path,
    candidates: impl IntoIterator<Item = &'a GuestName>,
) -> io::Result<BTreeSet<GuestName>> {
    let listening: BTreeSet<Vec<u8>> = listeners()?.into_iter().map(|listener| listener.name).collect();
    let is_up = |name: &&GuestName| listening.contains(&command(lxcpath, name.as_str()));
    Ok(candidates.into_iter().filter(is_up).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_hashed_where_lxc_hashes_them() {
        assert_eq!(command(Path::new("/var/lib/lxc/"), "web"), b"/var/lib/lxc/web/command");
        let fits = format!("/{}", "p".repeat(NAME_MAX - 1 - "/c/command".len()));
        assert_eq!(command(Path::new(&fits), "c").len(), NAME_MAX);
        let long = format!("{fits}p");
        let name = String::from_utf8(command(Path::new(&long), "c")).unwrap();
        assert!(name.starts_with("lxc/") && name.len() == 28 && name.ends_with("/command"), "{name}");
        assert_eq!(container(name.as_bytes()), Some(Address::Hashed));
        assert_eq!(container(b"/var/lib/lxc/web/command"), Some(Address::Named(b"web")));
        assert_eq!(container(b"/var/lib/lxc/web"), None);
        assert_eq!(lxcpath(b"/var/lib/lxc/web/command", "web").as_deref(), Some(Path::new("/var/lib/lxc")));
        assert_eq!(lxcpath(b"/web/command", "web").as_deref(), Some(Path::new("/")));
        assert_eq!(lxcpath(b"/var/lib/lxc/web/command", "eb"), None);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(monitord(Path::new(&"/p".repeat(60))), None);
    }

    #[test]
    fn listeners_are_read_from_the_kernels_table() {
        let table = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12577 @/var/lib/lxc/a b/command\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 12578 @/var/lib/lxc/c/command\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 12579 /run/socket\n";
        let found = parse_listeners(table);
        assert_eq!(found, [Listener { name: b"/var/lib/lxc/a b/command".to_vec(), inode: 12577 }]);
    }
}
