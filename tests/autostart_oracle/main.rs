//! guestd's order against the real one: `lxc-autostart -L` of LXC 5.0.2 lists what guestd plans, for thousands of
//! made-up container sets and options, when `order` is `"lowest-first"`. Both read the same configuration files. For
//! hundreds of them guestd's list is that of the built `autostart -L`.
//!
//! Where both differ on purpose, the sets leave that out, and a test of its own in `differences` shows both. LXC:
//!
//! - takes a group for another one that it begins, drops a group that begins with one before it, and drops every group
//!   behind an empty one;
//! - compares the names of equals only up to the length of the first one, which shows when it stops;
//! - takes groups with commas between them for one name;
//! - walks the groups from first to last also when it stops; guestd reverses everything then;
//! - subtracts orders, which overflows where they are far apart, and prints delays above 2147483647 as negative.
//!
//! `refusals` shows that the words of the importer about what LXC refuses are true.
#![expect(clippy::unwrap_used, reason = "all of it is a test; clippy only sees the functions marked so")]

use std::collections::HashSet;

use guestd::model::{Action, Order, Selection};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    container::{Container, containers, group},
    host::{Host, Options},
};

mod container;
mod differences;
mod host;
mod refusals;

/// Names as long as one another: when LXC stops, it sorts equals wrongly of whom one's name begins the other's.
const EVEN_NAMES: &str = "[a-cA-C_0-2][a-c0-2][a-c._-]";
/// Names of which many begin with another one.
const ANY_NAMES: &str = "[a-cA-C_][a-b0-1]{0,2}[.-]?[a-b]?";

/// Some `-g` arguments. The null group comes last, since LXC drops what follows it.
fn groups() -> impl Strategy<Value = Vec<String>> {
    let lists = prop::collection::vec(prop::collection::vec(group(), 1..4), 0..3);
    (lists, prop::option::weighted(0.4, 0..3)).prop_map(|(lists, null)| {
        let mut lists: Vec<String> = lists.into_iter().map(|list| list.join(",")).collect();
        match (null, lists.last_mut()) {
            (Some(0), _) | (Some(_), None) => lists.push(String::new()),
            (Some(1), Some(last)) => last.push(','),
            (Some(_), Some(last)) => last.push_str(",,"),
            (None, _) => {}
        }
        lists
    })
}

fn options(actions: &'static [Action]) -> impl Strategy<Value = Options> {
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.3));
    (prop::sample::select(actions), flags, groups())
        .prop_map(|(action, (all, ignore_auto), groups)| Options { action, all, ignore_auto, groups })
}

/// What guestd would list if it walked the groups of a stop from first to last, as LXC does.
fn groups_forward(host: &Host, options: &Options) -> Vec<String> {
    let selection = options.selection();
    if selection.all || selection.groups.is_empty() {
        return host.ours(options);
    }
    let mut taken = HashSet::new();
    let each = selection.groups.iter().flat_map(|group| {
        let one = Selection { groups: vec![group.clone()], ..selection.clone() };
        host.listing(options.action, &one, Order::LowestFirst)
    });
    each.filter(|line| taken.insert(line.clone())).collect()
}

/// Checks that lxc-autostart and `ours` list the same for so many sets, and that most of the lists say something.
fn agree(
    cases: u32,
    sets: impl Strategy<Value = Vec<Container>>,
    options: impl Strategy<Value = Options>,
    ours: impl Fn(&Host, &Options) -> Vec<String>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let lines = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&(sets, options), |(set, options)| {
        let host = Host::new(&set);
        let lxc = host.lxc(&options);
        let ours = ours(&host, &options);
        lines.set(lines.get() + lxc.len());
        prop_assert_eq!(ours, lxc, "guestd and lxc-autostart");
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    assert!(lines.get() > cases as usize, "only {} lines in {cases} lists", lines.get());
}

#[test]
fn starts_are_listed_as_lxc_lists_them() {
    agree(2_000, containers(ANY_NAMES, false), options(&[Action::Start]), Host::ours);
}

#[test]
fn starts_and_reboots_are_listed_so_when_some_containers_run() {
    let options = options(&[Action::Start, Action::Reboot]);
    agree(800, containers(ANY_NAMES, true), options, Host::ours);
}

#[test]
fn stops_are_listed_so_but_for_the_order_of_groups() {
    let options = options(&[Action::Shutdown, Action::Kill]);
    agree(800, containers(EVEN_NAMES, true), options, groups_forward);
}

#[test]
fn the_built_program_lists_what_lxc_autostart_lists() {
    let options =
        options(&[Action::Start, Action::Reboot, Action::Shutdown, Action::Kill]).prop_map(|options| {
            let groups = match options.groups.first() {
                // With one group, nobody can tell which way groups are walked.
                Some(first) if options.action.is_downward() => {
                    vec![first.split(',').next().unwrap_or_default().to_owned()]
                }
                _ => options.groups,
            };
            Options { groups, ..options }
        });
    agree(400, containers(EVEN_NAMES, true), options, Host::program);
}
