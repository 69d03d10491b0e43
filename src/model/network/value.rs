//! What is said of an interface in a word, a number or an address.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::{fmt, str::FromStr};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Words that choose among a few things.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[$about:meta])+ $word:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$about])+ $word,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word),+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$word => $text,)+ })
            }
        }
    };
}

words! {
    /// Who may speak with whom over one parent.
    MacvlanMode {
        /// Guests speak with one another, as if their parent were a bridge.
        #[default]
        Bridge = "bridge",
        /// Guests speak with the outside only.
        Private = "private",
        /// The switch outside sends back what is for another guest.
        Vepa = "vepa",
        /// One guest has the parent alone.
        Passthru = "passthru",
    }
}

words! {
    /// What guests share of their parent.
    IpvlanMode {
        /// Its hardware address.
        #[default]
        L2 = "l2",
        /// Its routing as well: no broadcasts.
        L3 = "l3",
        /// The same, and the host's filters see all packets.
        L3s = "l3s",
    }
}

/// An address with its network, which may hold bits of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// IPv4.
    V4 {
        /// Address and network.
        net: Ipv4Net,
        /// Another broadcast address than the last of the network.
        broadcast: Option<Ipv4Addr>,
        /// The other end of a line between two; the network is that end's.
        peer: Option<Ipv4Addr>,
    },
    /// IPv6.
    V6 {
        /// Address and network.
        net: Ipv6Net,
        /// The other end of a line between two; the network is that end's.
        peer: Option<Ipv6Addr>,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4 { net, .. } => net.fmt(f),
            Self::V6 { net, .. } => net.fmt(f),
        }
    }
}

/// A way to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// IPv4.
    V4 {
        /// The network.
        to: Ipv4Net,
        /// The gateway; none where the network is on the link.
        via: Option<Ipv4Addr>,
    },
    /// IPv6.
    V6 {
        /// The network.
        to: Ipv6Net,
        /// The gateway; none where the network is on the link.
        via: Option<Ipv6Addr>,
    },
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4 { to, via: None } => to.fmt(f),
            Self::V6 { to, via: None } => to.fmt(f),
            Self::V4 { to, via: Some(via) } => write!(f, "{to} via {via}"),
            Self::V6 { to, via: Some(via) } => write!(f, "{to} via {via}"),
        }
    }
}

/// A number outside what the kernel takes, or text that is no hardware address of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not allowed here")]
pub struct Outside;

/// Numbers within bounds.
macro_rules! bounded {
    ($(#[doc = $doc:literal])+ $name:ident($number:ty) in $bounds:expr) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name($number);

        impl $name {
            /// The number.
            pub const fn get(self) -> $number {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = Outside;
            fn try_from(number: i64) -> Result<Self, Outside> {
                let number = <$number>::try_from(number).map_err(|_| Outside)?;
                $bounds.contains(&number).then_some(Self(number)).ok_or(Outside)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

bounded! {
    /// The number of a VLAN, 1 to 4094 (IEEE 802.1Q).
    VlanId(u16) in (1..=4094)
}

bounded! {
    /// The largest packet of an interface, in bytes: 68 (the least of IPv4, RFC 791) to 65535.
    Mtu(u32) in (68..=65535)
}

/// The hardware address of one interface: six bytes, neither a group's nor zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac([u8; 6]);

impl Mac {
    /// Checks and takes the bytes.
    ///
    /// # Errors
    /// [`Outside`] for a group's address, and for zeros.
    pub fn new(bytes: [u8; 6]) -> Result<Self, Outside> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes)).ok_or(Outside)
    }

    /// An address that no maker has given (its second bit is set: IEEE 802), beginning with this byte or the nearest that is
    /// allowed.
    pub const fn local(first: u8, [a, b, c, d, e]: [u8; 5]) -> Self {
        Self([(first & !1) | 2, a, b, c, d, e])
    }

    /// The bytes.
    pub const fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Outside;
    fn from_str(text: &str) -> Result<Self, Outside> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && !part.starts_with('+'));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or(Outside)?;
        }
        if parts.next().is_some() { Err(Outside) } else { Self::new(bytes) }
    }
}

impl TryFrom<String> for Mac {
    type Error = Outside;
    fn try_from(text: String) -> Result<Self, Outside> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        for (number, is_vlan, is_mtu) in [
            (0, false, false),
            (1, true, false),
            (68, true, true),
            (4094, true, true),
            (4095, false, true),
            (65535, false, true),
            (65536, false, false),
            (-1, false, false),
        ] {
            assert_eq!(VlanId::try_from(number).is_ok(), is_vlan, "{number}");
            assert_eq!(Mtu::try_from(number).is_ok(), is_mtu, "{number}");
        }
    }

    #[test]
    fn hardware_addresses_are_of_one_interface() {
        assert_eq!(Mac::local(0xff, [0; 5]).to_string(), "fe:00:00:00:00:00");
        assert_eq!(Mac::local(0, [1; 5]).to_string(), "02:01:01:01:01:01");
        assert_eq!("02:00:5e:10:00:aF".parse::<Mac>().unwrap().to_string(), "02:00:5e:10:00:af");
        for bad in [
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "02:00:5e:10:00",
            "02:00:5e:10:00:00:00",
            "2:0:5e:10:0:0",
            "02:00:5e:10:00:+1",
            "02-00-5e-10-00-00",
            "",
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(Outside), "{bad:?}");
        }
    }
}
