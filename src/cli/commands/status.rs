//! `guestctl status`.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;

use crate::{
    cli::{
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json},
        render::{self, Style},
        usage::UsageView,
    },
    dbus::describe::{GuestDetails, Host},
    model::GuestName,
};

/// A guest, and what it uses just now.
#[derive(Serialize)]
struct Used<'a> {
    #[serde(flatten)]
    guest: &'a GuestDetails<'a>,
    /// None when it does not run.
    usage: Option<&'a UsageView>,
}

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
    // It may have gone this moment, and a guestd from before an upgrade does not tell it.
    let used = bus.usage(&[name]).await.unwrap_or_default().remove(name);
    match json {
        true => print_json(&Used { guest: &guest, usage: used.as_ref() })?,
        false => print(&render::guest::status(style, &guest, used.as_ref(), SystemTime::now()))?,
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
