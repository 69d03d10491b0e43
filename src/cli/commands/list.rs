//! `guestctl list`.

use std::time::SystemTime;

use crate::{
    cli::{
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json},
        render::{self, Style},
    },
    dbus::describe::Host,
};

pub(super) async fn run(json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    let told = bus.describe().await?;
    let Host { guests, .. } = parse(&told)?;
    match json {
        true => print_json(&guests)?,
        false => {
            let table = render::guest::list(style, &guests, SystemTime::now());
            print(&(table + &render::guest::total(style, &guests)))?;
        }
    }
    Ok(GuestctlExit::Done)
}
