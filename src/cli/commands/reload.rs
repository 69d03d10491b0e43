//! `guestctl reload`.

use serde_json::json;

use crate::{
    cli::{
        bus::{Bus, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json, tell},
        render::counted,
    },
    dbus::{describe::Host, proxy::DiagnosticRow},
};

/// How many findings are told; the others are only counted.
const TOLD: usize = 20;

pub(super) async fn run(json: bool) -> Result<GuestctlExit, Error> {
    let bus = Bus::connect().await?;
    bus.reload().await?;
    let told = bus.describe().await?;
    let Host { daemon, .. } = parse(&told)?;
    let (guests, findings) = (daemon.guests_total, daemon.diagnostics);
    if json {
        print_json(&json!({"guests": guests, "findings": findings}))?;
    } else {
        if findings > 0 {
            tell_findings(&bus).await?;
        }
        let hint = if findings == 0 { "" } else { "; \"guestctl check\" shows them" };
        print(&format!("{}, {}{hint}\n", counted(guests, "guest"), counted(findings, "finding")))?;
    }
    Ok(GuestctlExit::Done)
}

/// Tells the first errors and warnings. Which old settings stay in force, only the daemon knows.
async fn tell_findings(bus: &Bus) -> Result<(), Error> {
    let asked = bus.manager().inner().call("Diagnostics", &());
    let found: Vec<DiagnosticRow> = bus.read("Diagnostics", asked).await?;
    for (severity, _, file, line, message) in found.iter().filter(|found| found.0 != "note").take(TOLD) {
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        tell("guestctl", &format!("{file}{line}: {severity}: {message}"));
    }
    Ok(())
}
