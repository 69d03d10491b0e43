//! `guestctl deps`.

use std::collections::BTreeMap;

use crate::{
    cli::{
        arguments::{Places, guestctl::Deps},
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        offline,
        output::{print, print_json, tell},
        render::{
            Style,
            deps::{self, Dependencies, Node},
        },
    },
    dbus::describe::Host,
    model::name::shown,
};

pub(super) async fn run(
    deps: &Deps,
    places: &Places,
    json: bool,
    style: Style,
) -> Result<GuestctlExit, Error> {
    let nodes = match told().await {
        Err(error) if error.is_unreachable() => {
            tell("guestctl", "guestd cannot be reached; this is made from the configuration");
            offline::dependencies(places)?
        }
        told => told?,
    };
    if let Some(name) = deps.names.iter().find(|name| !nodes.contains_key(*name)) {
        let message = format!("no guest is named \"{}\"", shown(name));
        let meant = Error::no_such_guest(name, nodes.keys().map(String::as_str));
        return Err(meant.unwrap_or(Error::NoSuchGuest { message }));
    }
    let dependencies = Dependencies::new(&nodes, deps.reverse);
    match json {
        true => print_json(&dependencies.json(&deps.names))?,
        false => print(&dependencies.trees(style, &deps.names))?,
    }
    Ok(GuestctlExit::Done)
}

/// What guestd knows.
async fn told() -> Result<BTreeMap<String, Node>, Error> {
    let told = Bus::connect().await?.describe().await?;
    let Host { guests, .. } = parse(&told)?;
    let owned = |names: Vec<std::borrow::Cow<'_, str>>| names.into_iter().map(Into::into).collect();
    let node = |guest: crate::dbus::describe::Guest<'_>| {
        let phase = deps::phase(&guest.phase, guest.ready).to_owned();
        let [requires, wants, after] = [guest.requires, guest.wants, guest.after].map(owned);
        (guest.name.into_owned(), Node { phase, requires, wants, after })
    };
    Ok(guests.into_iter().map(node).collect())
}
