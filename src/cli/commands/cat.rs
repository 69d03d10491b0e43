//! `guestctl cat`.

use crate::{
    cli::{
        arguments::Places,
        error::Error,
        exit::GuestctlExit,
        offline,
        output::{print, print_json, tell},
        render::finding::{ValueJson, values},
    },
    daemon::load::Absent,
    model::GuestName,
};

fn unknown(guest: &GuestName, places: &Places) -> Error {
    let names = offline::names(places);
    let message = format!(
        "no guest is named \"{guest}\" in the configuration; \"guestctl check\" tells what is wrong with it"
    );
    Error::no_such_guest(guest.as_str(), names.iter().map(GuestName::as_str))
        .unwrap_or(Error::NoSuchGuest { message })
}

pub(super) fn run(name: &str, places: &Places, json: bool) -> Result<GuestctlExit, Error> {
    let guest = GuestName::new(name).map_err(|error| Error::NoSuchGuest { message: error.to_string() })?;
    let (said, findings) = offline::values(places, &guest);
    for finding in &findings {
        tell("guestctl", &finding.to_string());
    }
    let said = said.map_err(|absent| match absent {
        Absent::Unknown { .. } => unknown(&guest, places),
        unreadable @ Absent::Unreadable { .. } => unreadable.into(),
    })?;
    match json {
        true => print_json(&said.iter().map(ValueJson::from).collect::<Vec<_>>())?,
        false => print(&values(&said))?,
    }
    Ok(GuestctlExit::Done)
}
