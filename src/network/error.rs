//! What can go wrong with a network: which interface, which step, the kernel's word, and what to do about it.

use std::{fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use nix::errno::Errno;

use crate::{
    helper::record::RecordError,
    model::{
        GuestName, LinkName,
        network::{Address, Route, VlanId},
    },
};

/// Why a network could not be set up, or not be undone.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// What an interface hangs on is not there.
    #[error("{link}: the host has no {what} named {name}; {fix}")]
    Missing {
        /// The guest's interface.
        link: LinkName,
        /// What it is: "bridge".
        what: &'static str,
        /// Its name.
        name: LinkName,
        /// What to do.
        fix: String,
    },
    /// What an interface hangs on is there, and cannot carry it.
    #[error("{link}: {name} {why}; {fix}")]
    Unfit {
        /// The guest's interface.
        link: LinkName,
        /// What cannot carry it.
        name: LinkName,
        /// Why not, as a predicate: "is no bridge".
        why: String,
        /// What to do.
        fix: String,
    },
    /// A name is taken.
    #[error("{link}: {place} has an interface named {name} already; remove that, or choose another {key}")]
    Taken {
        /// The guest's interface.
        link: LinkName,
        /// Where: "the host" or "the guest".
        place: &'static str,
        /// The name.
        name: LinkName,
        /// The setting that says it.
        key: &'static str,
    },
    /// The kernel refuses a step.
    #[error("{link}: could not {step}: {word}{}", fix(step, word))]
    Refused {
        /// The interface.
        link: LinkName,
        /// The step.
        step: Step,
        /// What the kernel says.
        word: Word,
    },
    /// An interface inside a guest could not be removed.
    #[error("could not remove a {kind} from inside {guest}: {word}")]
    Kept {
        /// The guest.
        guest: GuestName,
        /// The type of the interface.
        kind: String,
        /// What the kernel says.
        word: Word,
    },
    /// A namespace could not be entered, or a socket not be opened in it.
    #[error("could not reach the network namespace of {whose}")]
    Unreachable {
        /// Whose namespace: "the host" or "the guest".
        whose: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What an earlier run has left is not undone.
    #[error("{} tells of a network that was not undone; undo it first", .0.display())]
    Applied(PathBuf),
    /// A device of the host is nowhere.
    #[error(
        "{name}: it has not come back to the host within {} seconds; something still holds the guest's network \
         namespace: end it, and undo again",
        .waited.as_secs()
    )]
    Away {
        /// Its name on the host.
        name: LinkName,
        /// How long was waited.
        waited: Duration,
    },
    /// The record could not be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The folder of records could not be locked.
    #[error("could not lock {}", .folder.display())]
    Lock {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Setting up failed, and not all of it could be undone.
    #[error("{failed}; what was done before could not be undone either: {undo}")]
    Left {
        /// Why setting up failed.
        failed: Box<Self>,
        /// Why undoing failed.
        undo: Box<Self>,
    },
}

impl NetworkError {
    /// The kernel refuses a step of this interface.
    pub(super) fn refused(link: &LinkName, step: Step) -> impl FnOnce(Word) -> Self {
        move |word| Self::Refused { link: link.clone(), step, word }
    }

    /// The same while looking at what is there.
    pub(super) fn unseen(link: &LinkName) -> impl FnOnce(Word) -> Self {
        Self::refused(link, Step::Look)
    }
}

/// What the kernel answered to a request.
#[derive(Debug, thiserror::Error)]
pub enum Word {
    /// No.
    #[error("{}{}", .code.desc(), detail(.said))]
    No {
        /// The error.
        code: Errno,
        /// More about it, in the kernel's words.
        said: Option<String>,
    },
    /// Nothing, for longer than it ever takes.
    #[error("no answer within {} seconds", .0.as_secs())]
    Late(Duration),
    /// Something that makes no sense.
    #[error("an answer that makes no sense: {0}")]
    Strange(String),
}

impl Word {
    /// Whether it is this error.
    pub(super) fn is(&self, errno: Errno) -> bool {
        matches!(self, Self::No { code, .. } if *code == errno)
    }
}

fn detail(said: &Option<String>) -> String {
    said.as_ref().map(|said| format!(" ({})", said.trim_end_matches('.'))).unwrap_or_default()
}

/// One step of setting up or undoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Looking at what is there.
    Look,
    /// Bringing the loopback up.
    Loopback,
    /// Making a pair of interfaces.
    Veth,
    /// Plugging the host's end into a bridge and bringing it up.
    Join(LinkName),
    /// Making the host's end part of a VLAN of the bridge.
    PortVlan(VlanId),
    /// Making an interface upon one of the host.
    Upon(&'static str, LinkName),
    /// Making a VLAN of an interface of the host, on the host or in the guest.
    Vlan(VlanId, LinkName),
    /// Moving a device of the host into the guest.
    Take(LinkName),
    /// Giving an interface its name inside the guest.
    Name,
    /// Setting largest packet and hardware address.
    Shape,
    /// Adding an address.
    Address(Address),
    /// Bringing the interface up.
    Up,
    /// Adding the way to everywhere.
    Gateway(IpAddr),
    /// Adding a route.
    Route(Route),
    /// Removing an interface that was made.
    Remove,
    /// Moving a device back to the host.
    Return,
    /// Giving a device what it had: its name, its hardware address, its largest packet, and whether it was up.
    Restore,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Look => f.write_str("look at what is there"),
            Self::Loopback => f.write_str("bring the loopback up"),
            Self::Veth => f.write_str("make the pair of interfaces"),
            Self::Join(bridge) => write!(f, "plug the host's end into {bridge}"),
            Self::PortVlan(vlan) => write!(f, "make the host's end part of VLAN {vlan}"),
            Self::Upon(kind, parent) => write!(f, "make a {kind} upon {parent}"),
            Self::Vlan(id, parent) => write!(f, "make VLAN {id} of {parent}"),
            Self::Take(device) => write!(f, "move {device} into the guest"),
            Self::Name => f.write_str("give it its name"),
            Self::Shape => f.write_str("set mtu and mac"),
            Self::Address(address) => write!(f, "add the address {address}"),
            Self::Up => f.write_str("bring it up"),
            Self::Gateway(gateway) => write!(f, "set the gateway {gateway}"),
            Self::Route(route) => write!(f, "add the route to {route}"),
            Self::Remove => f.write_str("remove it from the host"),
            Self::Return => f.write_str("move it back to the host"),
            Self::Restore => f.write_str("give it back its name, mtu and mac"),
        }
    }
}

/// What to do about a refusal, where that is known.
fn fix(step: &Step, word: &Word) -> String {
    let Word::No { code, .. } = word else { return String::new() };
    match (step, *code) {
        (_, Errno::EPERM | Errno::EACCES) => "; this needs root with CAP_NET_ADMIN".into(),
        (Step::Veth, Errno::EOPNOTSUPP) => no_module("veth"),
        (Step::Upon(kind, _), Errno::EOPNOTSUPP) => no_module(kind),
        (Step::Vlan(..), Errno::EOPNOTSUPP) => no_module("8021q"),
        (Step::Upon(_, parent) | Step::Vlan(_, parent), Errno::ENETDOWN) => {
            format!("; bring {parent} up first: ip link set {parent} up")
        }
        (Step::Up, Errno::ENETDOWN) => "; what it hangs on is down: bring that up first, on the host".into(),
        (Step::Upon(kind, parent), Errno::EBUSY) => format!(
            "; {parent} is part of a bridge or a bond, or carries another type than {kind}: use that bridge, or one \
             type for all guests"
        ),
        (_, Errno::EADDRINUSE) => "; another interface has this address: choose another".into(),
        (Step::Vlan(id, parent), Errno::EEXIST) => {
            format!(
                "; {parent} has a VLAN {id} elsewhere, perhaps in another guest: choose another, or remove that"
            )
        }
        (Step::Address(_), Errno::EEXIST) => "; the interface has it already: remove one".into(),
        (Step::Gateway(_) | Step::Route(_), Errno::EEXIST) => {
            "; the guest has a route to there already: remove one".into()
        }
        (Step::Gateway(_) | Step::Route(_), Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
            "; no address and no route leads to its gateway: add one, or mend the gateway".into()
        }
        (Step::Shape, Errno::EINVAL | Errno::ERANGE) => {
            "; the device does not take them: mtu may not be more than what the interface hangs on has".into()
        }
        (Step::Restore, Errno::EEXIST) => {
            "; another interface has its name now: rename that, and undo again".into()
        }
        _ => String::new(),
    }
}

fn no_module(module: &str) -> String {
    format!("; this kernel does not know this type: load the module {module}, or choose another type")
}
