//! What a guest's network leaves on the host, written down before it is done.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::{
    helper::record::{self, RecordError},
    model::{
        GuestName, LinkName,
        network::{Mac, VlanId},
    },
};

use super::{NetworkError, fault};

/// The largest record, in bytes; each of at most 32 interfaces takes some hundred.
const MAX: u64 = 64 * 1024;

/// What one guest's network leaves on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Whose network it is.
    pub guest: GuestName,
    /// The guest's network namespace.
    pub netns: NamespaceId,
    /// What is done, or about to be, in this order.
    pub traces: Vec<Trace>,
}

/// A network namespace, for as long as it lives: device and inode of its file in `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceId {
    dev: u64,
    ino: u64,
}

impl NamespaceId {
    /// The namespace behind a descriptor.
    pub fn of(netns: impl AsFd) -> io::Result<Self> {
        let found = nix::sys::stat::fstat(netns)?;
        Ok(Self { dev: found.st_dev, ino: found.st_ino })
    }

    /// Looks for a process in the namespace, and opens it.
    pub fn find(self) -> Option<File> {
        let is_process = |name: &OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        fs::read_dir("/proc").ok()?.flatten().filter(|entry| is_process(&entry.file_name())).find_map(
            |entry| {
                let file = File::open(entry.path().join("ns/net")).ok()?;
                let found = file.metadata().ok()?;
                (found.dev() == self.dev && found.ino() == self.ino).then_some(file)
            },
        )
    }
}

/// One thing on the host that is to be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trace {
    /// The host's end of a pair.
    Veth {
        /// Its name.
        name: LinkName,
        /// Its hardware address, which nobody else gives an interface.
        mac: Mac,
    },
    /// A VLAN of an interface. Guests share it, so that the last of them removes it.
    Vlan(HostVlan),
    /// A device that went into the guest.
    Device(Device),
    /// An interface inside the guest upon one of the host. It ends with the guest's namespace; where that lives on, the
    /// host's interface carries it on.
    Inside {
        /// Its names there: the first at first, then the second.
        names: [String; 2],
        /// Its type.
        kind: String,
    },
}

/// A VLAN that is an interface of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostVlan {
    /// Its name.
    pub name: LinkName,
    /// The interface's number.
    pub parent: u32,
    /// The VLAN.
    pub id: VlanId,
}

/// A device of the host, as it was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its name.
    pub name: LinkName,
    /// Its number.
    pub index: u32,
    /// Its number inside the guest, which a guest cannot change.
    pub inside: u32,
    /// How it is known again whatever it is called.
    pub identity: Identity,
    /// Its largest packet, in bytes.
    pub mtu: u32,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// It was up.
    pub up: bool,
}

/// What a device is born with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// The type of a virtual interface: "dummy".
    pub kind: Option<String>,
    /// Bus and place of hardware: "pci", "0000:00:1f.6".
    pub parent: Option<(String, String)>,
    /// The port, where hardware has several.
    pub port: Option<String>,
    /// The hardware address that it had when it was made.
    pub mac: Option<Vec<u8>>,
}

impl Identity {
    /// Whether this tells one device from all others, and the kernel gives it back to the host when its namespace ends.
    pub fn is_hardware(&self) -> bool {
        self.kind.is_none() && (self.parent.is_some() || self.mac.is_some())
    }
}

/// The record of one guest, open for writing.
#[derive(Debug)]
pub struct Book<'p> {
    path: &'p Path,
    record: Record,
}

impl<'p> Book<'p> {
    /// Opens the book of a guest of which nothing is left.
    pub fn open(path: &'p Path, guest: &GuestName, netns: NamespaceId) -> Result<Self, NetworkError> {
        if path.symlink_metadata().is_ok() {
            return Err(NetworkError::Applied(path.to_owned()));
        }
        Ok(Self { path, record: Record { guest: guest.clone(), netns, traces: Vec::new() } })
    }

    /// Writes down what is about to be done.
    pub fn note(&mut self, trace: Trace) -> Result<(), NetworkError> {
        self.record.traces.push(trace);
        write(self.path, &self.record)
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Where it is.
    pub fn path(&self) -> &'p Path {
        self.path
    }
}

/// Reads a record; none if nothing is left.
pub fn read(path: &Path) -> Result<Option<Record>, RecordError> {
    record::read(path, MAX)
}

fn write(path: &Path, record: &Record) -> Result<(), NetworkError> {
    let (folder, name) = place(path);
    fault::pass().map_err(|errno| RecordError::Io {
        operation: "write",
        path: path.to_owned(),
        source: errno.into(),
    })?;
    Ok(record::write(folder, name, record, MAX)?)
}

/// Removes a record: nothing is left.
pub fn remove(path: &Path) -> Result<(), NetworkError> {
    fault::pass().map_err(|errno| RecordError::Io {
        operation: "remove",
        path: path.to_owned(),
        source: errno.into(),
    })?;
    Ok(record::remove(path)?)
}

/// Folder and name of a record.
fn place(path: &Path) -> (&Path, &str) {
    let folder = path.parent().unwrap_or(Path::new("."));
    (folder, path.file_name().and_then(OsStr::to_str).unwrap_or_default())
}

/// Whether another guest's record tells of this VLAN. A record that cannot be read may.
pub fn is_shared(path: &Path, vlan: &HostVlan) -> bool {
    let (folder, own) = place(path);
    let others = fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| {
        let name = entry.file_name();
        name != own && !name.to_str().is_some_and(record::is_temporary)
    });
    others.map(|entry| read(&entry.path())).any(|record| match record {
        Ok(Some(record)) => {
            let same = |trace: &Trace| matches!(trace, Trace::Vlan(other) if other.is_same(vlan));
            record.traces.iter().any(same)
        }
        Ok(None) => false,
        Err(_) => true,
    })
}

impl HostVlan {
    /// Whether this is the same VLAN of the same interface.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.parent, self.id) == (other.parent, other.id)
    }
}

/// Holds off all others who look whether a VLAN is shared, until this is dropped.
pub fn lock(path: &Path) -> Result<Flock<File>, NetworkError> {
    let folder: PathBuf = place(path).0.to_owned();
    record::ensure_folder(&folder)?;
    let failed = |source| NetworkError::Lock { folder: folder.clone(), source };
    let file = File::open(&folder).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
}
