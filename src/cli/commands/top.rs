//! `guestctl top`: what guests use. guestd is asked again and again for as long as somebody looks; by itself it never reads
//! any of it.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io::IsTerminal,
    time::{Duration, Instant, SystemTime},
};

use tokio::time::sleep;

use crate::{
    cli::{
        arguments::guestctl::{Sort, Top},
        bus::{Bus, Interrupt, parse},
        error::Error,
        exit::GuestctlExit,
        output::{print, print_json},
        render::{
            Style, deps,
            usage::{Row, top},
        },
        usage::{Look, UsageView, percent},
    },
    dbus::describe::{Guest, Host},
};

/// Between two tables.
const PAUSE: Duration = Duration::from_secs(2);
/// Between the two looks that one table needs.
const FIRST: Duration = Duration::from_millis(500);
/// Goes to the upper left corner, and clears what is below (console_codes(4)).
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

type Used = BTreeMap<String, UsageView>;

/// Shows the table until somebody has seen enough.
pub(super) async fn run(arguments: &Top, json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let mut interrupt = Interrupt::listen()?;
    let shown = async {
        let bus = Bus::connect().await?;
        show(&bus, arguments, json, style).await
    };
    tokio::select! {
        shown = shown => shown,
        // That is how one leaves it.
        () = interrupt.heard() => Ok(GuestctlExit::Done),
    }
}

async fn show(bus: &Bus, arguments: &Top, json: bool, style: Style) -> Result<GuestctlExit, Error> {
    let is_watched = std::io::stdout().is_terminal() && !json;
    let usual = if arguments.once || !is_watched { Some(1) } else { None };
    let mut left = arguments.count.or(usual);
    let mut before = look(bus).await?;
    let mut pause = FIRST;
    while left != Some(0) {
        sleep(pause).await;
        pause = PAUSE;
        let now = look(bus).await?;
        let told = bus.describe().await?;
        let host: Host<'_> = parse(&told)?;
        let mut rows = rows(&host.guests, &before, &now);
        rows.sort_by(|one, other| order(arguments.sort, one, other));
        match json {
            true => print_json(&rows)?,
            false if is_watched && left != Some(1) => {
                print(&format!("{CLEAR}{}", top(style, &rows, SystemTime::now())))?;
            }
            false => print(&top(style, &rows, SystemTime::now()))?,
        }
        before = now;
        left = left.map(|left| left - 1);
    }
    Ok(GuestctlExit::Done)
}

async fn look(bus: &Bus) -> Result<Look<Used>, Error> {
    let seen = bus.usage(&[]).await?;
    Ok(Look { at: Instant::now(), seen })
}

fn rows(guests: &[Guest<'_>], before: &Look<Used>, now: &Look<Used>) -> Vec<Row> {
    let passed = now.at.duration_since(before.at);
    let row = |guest: &Guest<'_>| {
        let usage = now.seen.get(&*guest.name)?.clone();
        let earlier = before.seen.get(&*guest.name).and_then(|usage| usage.cpu);
        Some(Row {
            name: guest.name.to_string(),
            phase: deps::phase(&guest.phase, guest.ready).to_owned(),
            cpu_percent: percent(earlier, usage.cpu, passed),
            usage,
            since: guest.since.as_deref().map(str::to_owned),
        })
    };
    guests.iter().filter_map(row).collect()
}

/// The most first; what is not counted last.
fn order(sort: Sort, one: &Row, other: &Row) -> Ordering {
    let by = match sort {
        Sort::Cpu => other.cpu_percent.unwrap_or(-1.0).total_cmp(&one.cpu_percent.unwrap_or(-1.0)),
        Sort::Memory => other.usage.memory.cmp(&one.usage.memory),
        Sort::Tasks => other.usage.tasks.cmp(&one.usage.tasks),
        Sort::Name => Ordering::Equal,
    };
    by.then_with(|| one.name.cmp(&other.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_comes_first() {
        let row = |name: &str, cpu_percent, memory| Row {
            name: name.into(),
            phase: "up".into(),
            cpu_percent,
            usage: UsageView { memory, ..UsageView::default() },
            since: None,
        };
        let rows = [row("a", Some(1.0), None), row("b", Some(9.0), Some(2)), row("c", None, Some(3))];
        for (sort, expected) in
            [(Sort::Cpu, "b a c"), (Sort::Memory, "c b a"), (Sort::Name, "a b c"), (Sort::Tasks, "a b c")]
        {
            let mut rows = rows.to_vec();
            rows.sort_by(|one, other| order(sort, one, other));
            let names: Vec<&str> = rows.iter().map(|row| &*row.name).collect();
            assert_eq!(names.join(" "), expected, "{sort:?}");
        }
    }
}
