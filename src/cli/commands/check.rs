//! `guestctl check`.

use crate::{
    cli::{
        arguments::Places,
        error::Error,
        exit::GuestctlExit,
        offline,
        output::{print, print_json},
        render::{
            Style,
            finding::{FindingJson, findings},
        },
    },
    model::Severity,
};

pub(super) fn run(places: &Places, json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let checked = offline::check(places);
    match json {
        true => print_json(&checked.findings.iter().map(FindingJson::from).collect::<Vec<_>>())?,
        false => print(&findings(style, &checked.findings, checked.guests))?,
    }
    let failed = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { GuestctlExit::Failed } else { GuestctlExit::Done })
}
