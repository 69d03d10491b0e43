//! What is set up on interfaces inside the guest: addresses, whether they are up, and routes.

use std::{net::IpAddr, time::Duration};

use nix::errno::Errno;
use tokio::time::{Instant, sleep};

use crate::model::{Link, LinkName};

use super::{
    NetworkError, Step, Word,
    rtnl::{self, Rtnl},
};

/// Brings the loopback up.
pub async fn loopback(inside: &Rtnl) -> Result<(), NetworkError> {
    /// The number of every namespace's loopback.
    const INDEX: u32 = 1;
    let Err(word) = inside.set_up(INDEX, true).await else { return Ok(()) };
    match LinkName::new("lo") {
        Ok(link) => Err(NetworkError::refused(&link, Step::Loopback)(word)),
        Err(_) => Ok(()),
    }
}

/// Adds an interface's addresses, and brings it up.
pub async fn addresses(inside: &Rtnl, link: &Link, index: u32) -> Result<(), NetworkError> {
    for address in &link.addresses {
        let added = patiently(Errno::EADDRINUSE, || inside.add_address(index, address)).await;
        added.map_err(NetworkError::refused(&link.name, Step::Address(address.clone())))?;
    }
    if link.up.is_some() {
        let is_up = patiently(Errno::EADDRINUSE, || inside.set_up(index, true)).await;
        is_up.map_err(NetworkError::refused(&link.name, Step::Up))?;
    }
    Ok(())
}

/// Adds an interface's routes: first those that may lead to the gateways.
pub async fn routes(inside: &Rtnl, link: &Link, index: u32) -> Result<(), NetworkError> {
    let Some(routing) = &link.up else { return Ok(()) };
    for route in &routing.routes {
        let added = inside.add_route(rtnl::route(index, route)).await;
        added.map_err(NetworkError::refused(&link.name, Step::Route(route.clone())))?;
    }
    let gateway4 = routing.gateway4.map(|to| (IpAddr::from(to), routing.reaches4(&link.addresses, to)));
    let gateway6 = routing.gateway6.map(|to| (IpAddr::from(to), routing.reaches6(&link.addresses, to)));
    for (gateway, is_near) in gateway4.into_iter().chain(gateway6) {
        let added = inside.add_route(rtnl::gateway(index, gateway, is_near)).await;
        added.map_err(NetworkError::refused(&link.name, Step::Gateway(gateway)))?;
    }
    Ok(())
}

/// Asks again for a while when something is in use: the run of a guest before holds its addresses until the kernel has
/// worked off its namespace, and nobody is told when that is.
pub async fn patiently<F: Future<Output = Result<(), Word>>>(
    busy: Errno,
    mut ask: impl FnMut() -> F,
) -> Result<(), Word> {
    const PATIENCE: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(word) if word.is(busy) && Instant::now() < deadline => sleep(PAUSE).await,
            result => return result,
        }
    }
}
