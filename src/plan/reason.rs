//! The words of a plan: why a step is where it is, and why a guest is refused.

use std::fmt::Write;

use super::{
    cycle::{Cycle, Tied},
    select::Why,
};
use crate::model::GuestName;

/// How many names a message lists before it only counts.
const NAMED: usize = 3;

/// Why a guest that was asked for is where it is.
pub(super) fn picked(why: Why<'_>, order: i32) -> String {
    match why {
        Why::Group(Some(group)) => format!("group {group}, order {order}"),
        Why::Group(None) => format!("null group, order {order}"),
        Why::All => format!("all groups, order {order}"),
        Why::Named => format!("named, order {order}"),
    }
}

/// Why a guest that another one requires is started with it.
pub(super) fn required(by: &GuestName) -> String {
    format!("required by {by}")
}

/// Why a guest that another one wants is started with it.
pub(super) fn wanted(by: &GuestName) -> String {
    format!("wanted by {by}")
}

/// Why a guest is stopped with another one.
pub(super) fn dependent(required: &GuestName) -> String {
    format!("requires {required}, which stops")
}

/// Adds for whom a guest left its own tier.
pub(super) fn forward(reason: &mut String, name: &GuestName) {
    push(reason, format_args!("; brought forward for {name}"));
}

/// Adds whom a step waits for.
pub(super) fn after<'a>(reason: &mut String, names: impl ExactSizeIterator<Item = &'a GuestName>) {
    if names.len() > 0 {
        push(reason, format_args!("; after {}", listed(names)));
    }
}

/// Why a name that no guest has is refused.
pub(super) fn unknown() -> String {
    "no guest has this name".into()
}

/// Why a guest that requires unknown ones is refused.
pub(super) fn missing(names: &[&GuestName]) -> String {
    let verb = if names.len() == 1 { "does" } else { "do" };
    let names = listed(names.iter().copied());
    format!("it requires {names}, which {verb} not exist: define what is missing or take it out of requires")
}

/// Why a guest that is held is not started for another one.
pub(super) fn held(why: &str) -> String {
    format!("it is held: {why}; \"guestctl release\" ends that")
}

/// Why a guest of a cluster's manager is not started for another one.
pub(super) fn owned() -> String {
    "it is down, and its cluster manager starts it".into()
}

/// Why a guest of a knot is refused.
pub(super) fn cycle(cycles: &[Cycle], tied: Tied) -> String {
    let (place, cycle) = match tied {
        Tied::On(cycle) => ("is in", &cycles[cycle]),
        Tied::To(cycle) => ("is tied to", &cycles[cycle]),
    };
    format!("it {place} the dependency cycle {cycle}: take one of them out of after or requires")
}

/// Why a guest is refused that requires `name`, which is refused because of `root`.
pub(super) fn held_back(name: &GuestName, root: &GuestName, why: &str) -> String {
    if name == root {
        format!("it requires {name}, which cannot start: {why}")
    } else {
        format!("it requires {name}, which cannot start because of {root}: {why}")
    }
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a GuestName>) -> String {
    let count = names.len();
    let mut text = String::new();
    for (at, name) in names.take(NAMED).enumerate() {
        push(&mut text, format_args!("{}{name}", if at == 0 { "" } else { ", " }));
    }
    if count > NAMED {
        push(&mut text, format_args!(" and {} more", count - NAMED));
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}
