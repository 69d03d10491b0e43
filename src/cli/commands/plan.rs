//! `guestctl plan`.

use crate::{
    cli::{
        arguments::{Choice, Places},
        bus::Bus,
        error::Error,
        exit::GuestctlExit,
        offline,
        output::{print, print_json, tell},
        render::{self, Style},
    },
    model::{Action, Outlook, PlannedStep, Selection},
};

const PROGRAM: &str = "guestctl";

pub(super) async fn run(
    choice: &Choice,
    places: &Places,
    json: bool,
    style: Style,
) -> Result<GuestctlExit, Error> {
    let (selection, warning) = choice.selection()?;
    if let Some(warning) = warning {
        tell(PROGRAM, warning);
    }
    let steps = steps(PROGRAM, choice.action(), &selection, places).await?;
    match json {
        true => print_json(&render::plan::json(&steps))?,
        false => print(&render::plan::waves(style, choice.action(), &steps))?,
    }
    Ok(GuestctlExit::Done)
}

/// The steps of a plan, from guestd; where it cannot be reached, from the configuration.
pub(super) async fn steps(
    program: &str,
    action: Action,
    selection: &Selection,
    places: &Places,
) -> Result<Vec<PlannedStep>, Error> {
    let asked = async { Bus::connect().await?.plan(action, selection).await };
    match asked.await {
        Err(error) if error.is_unreachable() => {
            tell(program, "guestd cannot be reached; this plan is made from the configuration");
            offline(program, action, selection, places)
        }
        answer => Ok(told(program, answer?)),
    }
}

/// The steps of a plan from the configuration; what is wrong with it is told.
pub(super) fn offline(
    program: &str,
    action: Action,
    selection: &Selection,
    places: &Places,
) -> Result<Vec<PlannedStep>, Error> {
    let planned = offline::plan(places, action, selection)?;
    for error in &planned.errors {
        tell(program, &error.to_string());
    }
    Ok(told(program, planned.outlook))
}

/// The steps of a plan, after its refusals were told.
pub(super) fn told(program: &str, outlook: Outlook) -> Vec<PlannedStep> {
    for (guest, reason) in &outlook.refused {
        tell(program, &format!("{guest}: {reason}"));
    }
    outlook.steps
}
