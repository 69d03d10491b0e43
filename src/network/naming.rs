//! Names and hardware addresses that nobody has said.

use std::fs;

use crate::{
    import::fingerprint::Fingerprint,
    model::{GuestName, LinkName, network::Mac},
};

/// The name of the host's end of a guest's pair: `gv-GUEST-NUMBER`, or with a part of a digest where that is too long or
/// taken. Not `ve-`, which systemd-networkd takes for its own.
pub fn host_end(guest: &GuestName, number: usize, attempt: u8) -> Option<LinkName> {
    let whole = format!("gv-{guest}-{number}");
    if attempt == 0
        && let Ok(name) = LinkName::new(&whole)
    {
        return Some(name);
    }
    let mut digest = Fingerprint::new();
    digest.write(guest.as_str().as_bytes());
    digest.write(&[0, attempt]);
    let begin: String = guest.as_str().chars().take(4).collect();
    LinkName::new(&format!("gv-{begin}{:05x}-{number}", digest.finish() & 0xf_ffff)).ok()
}

/// The name of an interface in the guest before it has its own: one that nobody has, there or on the host.
pub fn temporary(guest: &GuestName, number: usize) -> String {
    format!("gv{:08x}-{number}", Fingerprint::of(guest.as_str().as_bytes()) & 0xffff_ffff)
}

/// What tells this host from others; empty where nobody has said.
pub fn machine() -> Vec<u8> {
    fs::read("/etc/machine-id").unwrap_or_default()
}

/// The hardware address of a guest's interface: the same at every start, and another on every host. None where nothing
/// tells hosts apart: the kernel then chooses one.
pub fn inside(machine: &[u8], guest: &GuestName, link: &LinkName) -> Option<Mac> {
    let of: [&[u8]; 3] = [machine, guest.as_str().as_bytes(), link.as_str().as_bytes()];
    (!machine.is_empty()).then(|| made(0x02, &of))
}

/// The hardware address of the host's end. It begins with fe, so that no bridge takes it for its own: a bridge takes the
/// lowest of its ports' addresses.
pub fn outside(machine: &[u8], guest: &GuestName, host_end: &LinkName) -> Mac {
    made(0xfe, &[machine, b"outside", guest.as_str().as_bytes(), host_end.as_str().as_bytes()])
}

fn made(first: u8, of: &[&[u8]]) -> Mac {
    let mut digest = Fingerprint::new();
    for part in of {
        digest.write(part);
        digest.write(&[0]);
    }
    let [a, b, c, d, e, ..] = digest.finish().to_be_bytes();
    Mac::local(first, [a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_host_ends_fit_and_differ() {
        let guest = |text: &str| GuestName::new(text).unwrap();
        let name = |text: &str, number, attempt| host_end(&guest(text), number, attempt).unwrap();
        assert_eq!(name("web", 0, 0).as_str(), "gv-web-0");
        assert!(LinkName::new(&temporary(&guest("web"), 31)).is_ok());
        let mut seen = BTreeSet::new();
        for text in ["a", "web", "database-1", "database-12345", "database-12346", &"x".repeat(64)] {
            for number in [0, 1, 31] {
                for attempt in 0..3 {
                    let name = name(text, number, attempt);
                    assert!(name.as_str().len() <= 15);
                    assert!(seen.insert(name.clone()), "{name}");
                }
            }
        }
    }

    #[test]
    fn hardware_addresses_stay_and_differ() {
        let (web, db) = (GuestName::new("web").unwrap(), GuestName::new("db").unwrap());
        let (eth0, eth1) = (LinkName::new("eth0").unwrap(), LinkName::new("eth1").unwrap());
        let mac = |machine: &[u8], guest, link| inside(machine, guest, link).map(String::from);
        let first = mac(b"m", &web, &eth0);
        assert_eq!(first, mac(b"m", &web, &eth0));
        assert!(first.as_ref().is_some_and(|mac| mac.starts_with("02:")));
        for other in [mac(b"m", &db, &eth0), mac(b"m", &web, &eth1), mac(b"n", &web, &eth0)] {
            assert_ne!(other, first);
        }
        assert_eq!(mac(b"", &web, &eth0), None);
        assert_eq!(outside(b"", &web, &eth0).bytes()[0], 0xfe);
    }
}
