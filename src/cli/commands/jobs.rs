//! `guestctl jobs`.

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
    let Host { jobs, .. } = parse(&told)?;
    match (json, jobs.is_empty()) {
        (true, _) => print_json(&jobs)?,
        (false, true) => print("no jobs\n")?,
        (false, false) => print(&render::job::list(style, &jobs, SystemTime::now()))?,
    }
    Ok(GuestctlExit::Done)
}
