//! rtnetlink in one network namespace: interfaces, addresses and routes.
//!
//! Every request has a deadline: an answer that the crate cannot read is dropped by it, and would be waited for in vain.

use std::{future::Future, io, net::IpAddr, os::fd::BorrowedFd, thread, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};
use rtnetlink::{
    AddressMessageBuilder, Handle, LinkUnspec, RouteMessageBuilder,
    packet_core::NlasIterator,
    packet_route::{
        address::{AddressAttribute, AddressMessage},
        link::LinkMessage,
        route::{RouteMessage, RouteScope},
    },
    sys::AsyncSocket,
};
use tokio::time::timeout;

use crate::model::network::{Address, Route};

use super::{error::Word, fault, seen::Seen};

/// How long the kernel may take for an answer. It takes microseconds; under its lock, with thousands of interfaces that
/// end at once, seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket in one namespace. It stays there whatever the thread does.
#[derive(Debug, Clone)]
pub struct Rtnl(Handle);

impl Rtnl {
    /// Opens one in the namespace of this thread.
    pub fn here() -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection()?;
        let socket = connection.socket_mut().socket_mut();
        // Its own words about an error, and not the request once more.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Opens one in another namespace. A thread of its own enters it, and ends there.
    pub fn within(netns: BorrowedFd<'_>) -> io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let open = || {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            let _entered = runtime.enter();
            Self::here()
        };
        thread::scope(|scope| {
            let opened = scope.spawn(open).join();
            opened.unwrap_or_else(|_| Err(io::Error::other("the thread that was to enter it has ended")))
        })
    }

    /// The interface of this name.
    pub async fn link(&self, name: impl AsRef<str>) -> Result<Option<Seen>, Word> {
        let request = self.0.link().get().match_name(name.as_ref());
        Self::one(request.execute()).await
    }

    /// The interface with this number.
    pub async fn at(&self, index: u32) -> Result<Option<Seen>, Word> {
        Self::one(self.0.link().get().match_index(index).execute()).await
    }

    async fn one(
        found: impl futures_util::Stream<Item = Result<LinkMessage, rtnetlink::Error>>,
    ) -> Result<Option<Seen>, Word> {
        let mut found = Box::pin(found);
        match answer(found.try_next()).await {
            Ok(message) => Ok(message.map(|message| Seen::from(&message))),
            Err(word) if word.is(Errno::ENODEV) => Ok(None),
            Err(word) => Err(word),
        }
    }

    /// All interfaces.
    pub async fn links(&self) -> Result<Vec<Seen>, Word> {
        let all: Vec<_> = answer(self.0.link().get().execute().try_collect()).await?;
        Ok(all.iter().map(Seen::from).collect())
    }

    /// Makes an interface.
    pub async fn make(&self, message: LinkMessage) -> Result<(), Word> {
        passed()?;
        answer(self.0.link().add(message).execute()).await
    }

    /// Changes an interface.
    pub async fn change(&self, message: LinkMessage) -> Result<(), Word> {
        passed()?;
        answer(self.0.link().change(message).execute()).await
    }

    /// Changes a port of a bridge.
    pub async fn change_port(&self, message: LinkMessage) -> Result<(), Word> {
        passed()?;
        answer(self.0.link().set(message).execute()).await
    }

    /// Takes a VLAN from a port of a bridge; one that is not there is as good.
    pub async fn take_from_port(&self, message: LinkMessage) -> Result<(), Word> {
        passed()?;
        match answer(self.0.link().del_with_message(message).execute()).await {
            Err(word) if word.is(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// Takes a further name from an interface. The kernel refuses it for a name that is another's.
    pub async fn take_name(&self, index: u32, name: &str) -> Result<(), Word> {
        passed()?;
        answer(self.0.link().property_del(index).alt_ifname(&[name]).execute()).await
    }

    /// Brings an interface up or down.
    pub async fn set_up(&self, index: u32, is_up: bool) -> Result<(), Word> {
        let link = LinkUnspec::new_with_index(index);
        self.change(if is_up { link.up() } else { link.down() }.build()).await
    }

    /// Removes an interface; one that is not there is as good.
    pub async fn remove(&self, index: u32) -> Result<(), Word> {
        passed()?;
        match answer(self.0.link().del(index).execute()).await {
            Err(word) if word.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// The addresses of an interface.
    pub async fn addresses(&self, index: u32) -> Result<Vec<AddressMessage>, Word> {
        answer(self.0.address().get().set_link_index_filter(index).execute().try_collect()).await
    }

    /// Adds an address.
    pub async fn add_address(&self, index: u32, address: &Address) -> Result<(), Word> {
        passed()?;
        let message = address_message(index, address);
        let mut request = self.0.address().add(index, IpAddr::from([0; 4]), 0);
        *request.message_mut() = message;
        answer(request.execute()).await
    }

    /// Adds a route over an interface.
    pub async fn add_route(&self, message: RouteMessage) -> Result<(), Word> {
        passed()?;
        answer(self.0.route().add(message).execute()).await
    }
}

/// What is heard of interfaces of this thread's namespace from now on: one element for each piece of news.
pub fn news() -> io::Result<impl futures_util::Stream<Item = ()> + Unpin> {
    let (connection, handle, news) = rtnetlink::new_multicast_connection(&[rtnetlink::MulticastGroup::Link])?;
    tokio::spawn(connection);
    // The connection ends with its handle.
    Ok(news.map(move |_| drop(handle.clone())))
}

fn passed() -> Result<(), Word> {
    fault::pass().map_err(|code| Word::No { code, said: None })
}

async fn answer<T>(request: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, Word> {
    match timeout(PATIENCE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(rtnetlink::Error::NetlinkError(error))) => Err(Word::No {
            code: Errno::from_raw(error.raw_code().saturating_abs()),
            said: said(&error.header),
        }),
        Ok(Err(error)) => Err(Word::Strange(error.to_string())),
        Err(_) => Err(Word::Late(PATIENCE)),
    }
}

/// What the kernel says about an error, behind the header of the request that it answers: attribute 1, a text
/// (netlink(7), NETLINK_EXT_ACK).
fn said(payload: &[u8]) -> Option<String> {
    const HEADER: usize = 16;
    const MESSAGE: u16 = 1;
    let mut attributes = NlasIterator::new(payload.get(HEADER..)?).filter_map(Result::ok);
    let text = attributes.find(|attribute| attribute.kind() == MESSAGE)?;
    let text = String::from_utf8_lossy(text.value()).trim_end_matches('\0').to_owned();
    (!text.is_empty()).then_some(text)
}

/// As `ip address add` has it: the peer is the address of the network, one's own is local.
fn address_message(index: u32, address: &Address) -> AddressMessage {
    match address {
        Address::V4 { net, broadcast, peer } => {
            let mut message = AddressMessageBuilder::<std::net::Ipv4Addr>::new()
                .index(index)
                .address(net.addr(), net.prefix_len())
                .build();
            for attribute in &mut message.attributes {
                match (attribute, peer, broadcast) {
                    (AddressAttribute::Address(at), Some(peer), _) => *at = IpAddr::V4(*peer),
                    (AddressAttribute::Broadcast(at), _, Some(broadcast)) => *at = *broadcast,
                    _ => {}
                }
            }
            if peer.is_some() && broadcast.is_none() {
                message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
            }
            message
        }
        Address::V6 { net, peer } => {
            let mut message = AddressMessageBuilder::<std::net::Ipv6Addr>::new()
                .index(index)
                .address(net.addr(), net.prefix_len())
                .build();
            for attribute in &mut message.attributes {
                if let (AddressAttribute::Address(at), Some(peer)) = (attribute, peer) {
                    *at = IpAddr::V6(*peer);
                }
            }
            message
        }
    }
}

/// A route over an interface.
pub fn route(index: u32, route: &Route) -> RouteMessage {
    match route {
        Route::V4 { to, via } => {
            let builder = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .output_interface(index)
                .destination_prefix(to.network(), to.prefix_len());
            match via {
                Some(via) => builder.gateway(*via).build(),
                None => builder.scope(RouteScope::Link).build(),
            }
        }
        Route::V6 { to, via } => {
            let builder = RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .output_interface(index)
                .destination_prefix(to.network(), to.prefix_len());
            match via {
                Some(via) => builder.gateway(*via).build(),
                None => builder.build(),
            }
        }
    }
}

/// The way to everywhere over an interface. `is_near` says that an address or a route leads to the gateway; else it is
/// taken to be on the link.
pub fn gateway(index: u32, gateway: IpAddr, is_near: bool) -> RouteMessage {
    match gateway {
        IpAddr::V4(gateway) => {
            let builder =
                RouteMessageBuilder::<std::net::Ipv4Addr>::new().output_interface(index).gateway(gateway);
            if is_near { builder.build() } else { builder.onlink().build() }
        }
        IpAddr::V6(gateway) => {
            let builder =
                RouteMessageBuilder::<std::net::Ipv6Addr>::new().output_interface(index).gateway(gateway);
            if is_near { builder.build() } else { builder.onlink().build() }
        }
    }
}
