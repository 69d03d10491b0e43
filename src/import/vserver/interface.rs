//! `interfaces` and `netns`: the guest's addresses.
//!
//! VServer's guests shared the host's network stack. Here a guest has one of its own: all addresses of one device are put on
//! one macvlan of it, which is what comes nearest.

use core::net::{IpAddr, Ipv4Addr};

use crate::{import::findings::source, model::Origin};

use super::{
    number,
    reading::Reading,
    tree::{Line, What},
};

/// The most addresses of one guest.
const MOST: usize = 256;

/// One interface of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its name in the guest.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) addresses: Vec<Address>,
    pub(super) is_down: bool,
    pub(super) gateway4: Option<Ipv4Addr>,
    pub(super) gateway6: Option<core::net::Ipv6Addr>,
    pub(super) origin: Origin,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A second hardware address on this device of the host, or on this VLAN of it.
    Macvlan(String, Option<u16>),
    /// One end of a pair; the other has this name on the host.
    Veth(Option<String>),
}

/// An address, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    pub(super) broadcast: Option<Ipv4Addr>,
    pub(super) peer: Option<IpAddr>,
}

/// All interfaces, in the order of their folders.
pub(super) fn read(reading: &mut Reading<'_>) -> Vec<Interface> {
    let mut all: Vec<Interface> = Vec::new();
    let guest = reading.guest;
    let is_folder = |name: &&str| matches!(guest.what(&format!("interfaces/{name}")), Some(What::Folder));
    for name in guest.names("interfaces").filter(is_folder).take(MOST) {
        let folder = format!("interfaces/{name}");
        if guest.has(&format!("{folder}/disabled")) {
            continue;
        }
        if let Some(one) = one(reading, &folder) {
            merge(&mut all, one);
        }
    }
    without_gateway(reading, &all);
    all.extend(pairs(reading));
    all
}

/// What one folder adds.
fn merge(all: &mut Vec<Interface>, one: Interface) {
    match all.iter_mut().find(|known| known.kind == one.kind) {
        Some(known) => {
            known.addresses.extend(one.addresses);
            known.is_down &= one.is_down;
            known.gateway4 = known.gateway4.or(one.gateway4);
            known.gateway6 = known.gateway6.or(one.gateway6);
        }
        None => all.push(one),
    }
}

/// A value of the folder, or of the one above.
fn inherited(reading: &mut Reading<'_>, folder: &str, key: &str) -> Option<Line> {
    let own = reading.scalar(&format!("{folder}/{key}"));
    own.or_else(|| reading.guest.first(&format!("interfaces/{key}")))
}

fn one(reading: &mut Reading<'_>, folder: &str) -> Option<Interface> {
    let Some(ip) = reading.scalar(&format!("{folder}/ip")) else {
        reading.error(&reading.guest.origin(folder), || {
            "the interface is ignored: it has no address; write that into ip, or make the file disabled"
                .into()
        });
        return None;
    };
    if reading.has(&format!("{folder}/nodev")) || reading.has(&format!("{folder}/only_ip")) {
        reading.warning(&ip.origin, || {
            format!(
                "{} is left out: with nodev it is the host's own, and a guest with a network stack of its own cannot \
                 share it; give the guest an address of its own, with dev and without nodev",
                source(&ip.text)
            )
        });
        return None;
    }
    let address = address(reading, folder, &ip)?;
    let Some(device) = inherited(reading, folder, "dev") else {
        reading.error(&ip.origin, || {
            "the interface is ignored: no device is said to carry it; write that into dev".into()
        });
        return None;
    };
    if device.text == "lo" {
        reading.note(&ip.origin, || "the guest has a loopback interface of its own; this is left out".into());
        return None;
    }
    let (parent, vlan) = vlan(reading, folder, &device)?;
    let (gateway4, gateway6) = gateway(reading, folder);
    Some(Interface {
        name: device.text,
        kind: Kind::Macvlan(parent, vlan),
        addresses: vec![address],
        is_down: reading.has(&format!("{folder}/down")),
        gateway4,
        gateway6,
        origin: ip.origin,
    })
}

fn gateway(reading: &mut Reading<'_>, folder: &str) -> (Option<Ipv4Addr>, Option<core::net::Ipv6Addr>) {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    match reading.value(&format!("{folder}/gw"), "an address, such as 192.0.2.1", address) {
        Some(gateway) => match gateway.value {
            IpAddr::V4(address) => (Some(address), None),
            IpAddr::V6(address) => (None, Some(address)),
        },
        None => (None, None),
    }
}

/// The address, with the length of its prefix from wherever that is said.
fn address(reading: &mut Reading<'_>, folder: &str, line: &Line) -> Option<Address> {
    let (text, own) =
        line.text.split_once('/').map_or((line.text.as_str(), None), |(ip, own)| (ip, Some(own)));
    let Ok(ip) = text.parse::<IpAddr>() else {
        reading.wrong(line, "an address, such as 192.0.2.10 or 192.0.2.10/24");
        return None;
    };
    let own = own.map(|own| Line { text: own.to_owned(), origin: line.origin.clone() });
    let prefix = prefix(reading, folder, ip, own)?;
    if prefix.is_none() {
        reading.warning(&line.origin, || {
            format!(
                "no length of a prefix is said, so that {text} has no neighbours; write prefix, such as 24"
            )
        });
    }
    let broadcast = inherited(reading, folder, "bcast").filter(|_| ip.is_ipv4());
    let broadcast = broadcast.and_then(|line| match line.text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            reading.wrong(&line, "a broadcast address, such as 192.0.2.255");
            None
        }
    });
    let same = |text: &str| text.parse::<IpAddr>().ok().filter(|peer| peer.is_ipv4() == ip.is_ipv4());
    let peer = reading.value(&format!("{folder}/peer"), "an address of the same kind as ip", same);
    let prefix = prefix.unwrap_or(longest(ip));
    Some(Address { ip, prefix, broadcast, peer: peer.map(|peer| peer.value) })
}

/// The longest prefix.
fn longest(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The length of the prefix: behind the address, or in `prefix`, or as `mask`; none where it is not said, and nothing where it
/// is none.
fn prefix(reading: &mut Reading<'_>, folder: &str, ip: IpAddr, own: Option<Line>) -> Option<Option<u8>> {
    match own.or_else(|| inherited(reading, folder, "prefix")) {
        Some(line) => {
            let prefix = number::unsigned(&line.text).and_then(|prefix| u8::try_from(prefix).ok());
            let prefix = prefix.filter(|prefix| *prefix <= longest(ip));
            if prefix.is_none() {
                reading.wrong(&line, "the length of a prefix, such as 24");
                return None;
            }
            Some(prefix)
        }
        None if ip.is_ipv4() => mask(reading, folder),
        None => Some(None),
    }
}

/// A network mask as the length of a prefix: none where it is not said, and nothing where it is no mask.
fn mask(reading: &mut Reading<'_>, folder: &str) -> Option<Option<u8>> {
    let Some(line) = inherited(reading, folder, "mask") else { return Some(None) };
    let bits = line.text.parse::<Ipv4Addr>().map(u32::from);
    match bits {
        Ok(bits) if bits.leading_ones() + bits.trailing_zeros() >= 32 => {
            Some(u8::try_from(bits.leading_ones()).ok())
        }
        _ => {
            reading.wrong(&line, "a network mask, such as 255.255.255.0");
            None
        }
    }
}

/// The device that carries the interface, and the VLAN of it.
fn vlan(reading: &mut Reading<'_>, folder: &str, device: &Line) -> Option<(String, Option<u16>)> {
    let says = |reading: &Reading<'_>, key: &str| {
        if reading.has(&format!("{folder}/no{key}")) {
            return false;
        }
        let own = reading.has(&format!("{folder}/{key}"));
        let above = reading.has(&format!("interfaces/{key}"));
        let defaults = reading.defaults.has(&format!("interfaces/{key}"))
            && !reading.has(&format!("interfaces/no{key}"));
        own || above || defaults
    };
    let name = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
        (!text.is_empty() && text.len() <= 15 && text.bytes().all(plain) && text != "." && text != "..")
            .then(|| text.to_owned())
    };
    if says(reading, "vlandev") {
        // Where the name is none of a VLAN, util-vserver makes none either.
        let split =
            device.text.rsplit_once('.').and_then(|(parent, id)| Some((parent, id.parse::<u16>().ok()?)));
        if let Some((parent, id)) = split {
            return match name(parent).filter(|_| (1..=4094).contains(&id)) {
                Some(parent) => Some((parent, Some(id))),
                None => {
                    reading.wrong(device, "a device and a VLAN from 1 to 4094, such as eth0.100");
                    None
                }
            };
        }
    }
    let device = name(&device.text).or_else(|| {
        reading.wrong(device, "a network device, such as eth0");
        None
    });
    device.map(|device| (device, None))
}

fn without_gateway(reading: &mut Reading<'_>, all: &[Interface]) {
    let is_without = all.iter().all(|one| one.gateway4.is_none() && one.gateway6.is_none());
    if let Some(first) = all.first().filter(|_| is_without) {
        reading.warning(&first.origin, || {
            "the guest has a network stack of its own, and no gateway is said: it reaches only its own networks; write \
             the way to everywhere into gw, beside ip"
                .into()
        });
    }
}

/// `netns/interfaces`: pairs of interfaces, of which the guest sets its end up itself.
fn pairs(reading: &mut Reading<'_>) -> Vec<Interface> {
    let names: Vec<String> = reading.guest.names("netns/interfaces").map(str::to_owned).collect();
    let mut all = Vec::new();
    for name in names.iter().take(MOST) {
        let folder = format!("netns/interfaces/{name}");
        let kind = reading.value(&format!("{folder}/type"), "veth", |text| (text == "veth").then_some(()));
        let guest = reading.scalar(&format!("{folder}/guest"));
        let host = reading.scalar(&format!("{folder}/host"));
        let origin = reading.guest.origin(&folder);
        match (kind, guest) {
            (Some(_), Some(guest)) => all.push(Interface {
                name: guest.text,
                kind: Kind::Veth(host.map(|host| host.text)),
                addresses: Vec::new(),
                is_down: false,
                gateway4: None,
                gateway6: None,
                origin: guest.origin,
            }),
            _ => reading.error(&origin, || {
                "the pair is ignored: write veth into type, and its name in the guest into guest".into()
            }),
        }
    }
    all
}
