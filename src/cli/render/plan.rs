//! Plans: `-L` in LXC's format, `--plan` as a table, both as JSON.

use serde::Serialize;

use super::{Column, Long, Style, table, time};
use crate::{
    dbus::describe::seconds,
    model::{Action, PlannedStep},
    plan,
};

/// LXC's format: `NAME DELAY` for start and reboot, `NAME` for shutdown and kill.
pub fn list(action: Action, steps: &[PlannedStep]) -> String {
    steps.iter().map(|step| plan::line(&step.guest, step.delay, action) + "\n").collect()
}

/// The waves with their reasons, wave by wave; inside one the order of the list stays. A wave's number stands at its
/// first guest.
pub fn waves(style: Style, action: Action, steps: &[PlannedStep]) -> String {
    if steps.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let mut steps: Vec<&PlannedStep> = steps.iter().collect();
    steps.sort_by_key(|step| step.wave);
    let firsts = steps.iter().enumerate().map(|(at, step)| {
        let first = at == 0 || steps[at - 1].wave != step.wave;
        if first { step.wave.to_string() } else { "\"".to_owned() }
    });
    let mut columns = vec![
        Column::new("WAVE", firsts).numeric(),
        Column::new("NAME", steps.iter().map(|step| step.guest.to_string())),
    ];
    if !action.is_downward() {
        columns.push(Column::new("DELAY", steps.iter().map(|step| time::delay(step.delay))));
    }
    columns.push(Column::new("REASON", steps.iter().map(|step| step.reason.clone())));
    table(style, columns, "", Long::Wrap)
}

/// One step as JSON.
#[derive(Debug, Serialize)]
pub struct StepJson<'a> {
    wave: u32,
    name: &'a str,
    /// In seconds.
    #[serde(serialize_with = "seconds")]
    delay: f64,
    reason: &'a str,
}

impl<'a> From<&'a PlannedStep> for StepJson<'a> {
    fn from(step: &'a PlannedStep) -> Self {
        Self {
            wave: step.wave,
            name: step.guest.as_str(),
            delay: step.delay.as_secs_f64(),
            reason: &step.reason,
        }
    }
}

/// Steps as JSON; delays in seconds.
pub fn json(steps: &[PlannedStep]) -> Vec<StepJson<'_>> {
    steps.iter().map(StepJson::from).collect()
}
