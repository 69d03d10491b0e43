//! `guestctl status`.

use std::time::SystemTime;

use serde_json::json;

use crate::{
    cli::{
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json},
        render::{self, Style},
    },
    dbus::describe::{GuestDetails, Host},
    model::GuestName,
};

/// One guest.
pub(super) async fn guest(name: &str, json: bool, style: Style) -> Result<GuestctlExit, Error> {
    // What cannot be a name is no guest's.
    GuestName::new(name).map_err(|error| Error::NoSuchGuest { message: error.to_string() })?;
    let bus = Bus::connect().await?;
    let told = match bus.describe_guest(name).await {
        Err(error) => return Err(bus.with_suggestion(name, error).await),
        Ok(told) => told,
    };
    let guest: GuestDetails<'_> = parse(&told)?;
    match json {
        true => print_json(&guest)?,
        false => print(&render::guest::status(style, &guest, SystemTime::now()))?,
    }
    Ok(GuestctlExit::Done)
}

/// The daemon.
pub(super) async fn daemon(json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    let told = bus.describe().await?;
    let host: Host<'_> = parse(&told)?;
    match json {
        true => print_json(&json!({"daemon": host.daemon, "jobs": host.jobs}))?,
        false => print(&render::guest::overview(style, &host))?,
    }
    Ok(GuestctlExit::Done)
}
