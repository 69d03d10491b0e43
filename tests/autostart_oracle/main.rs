//! guestd's order against the real one: `lxc-autostart -L` of LXC 5.0.2 lists what guestd plans, for thousands of
//! made-up container sets and options, when `order` is `"lowest-first"`. Both read the same configuration files.
//!
//! Where both differ on purpose, the sets leave that out, and a test of its own in `differences` shows both.
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

/// Checks that both list the same for so many sets, and that most of the lists say something.
fn agree(cases: u32, sets: impl Strategy<Value = Vec<Container>>, options: impl Strategy<Value = Options>) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let lines = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&(sets, options), |(set, options)| {
        let host = Host::new(&set);
        let lxc = host.lxc(&options);
        let ours =
            if options.action.is_downward() { groups_forward(&host, &options) } else { host.ours(&options) };
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
    agree(2_000, containers(ANY_NAMES, false), options(&[Action::Start]));
}

#[test]
fn starts_and_reboots_are_listed_so_when_some_containers_run() {
    agree(800, containers(ANY_NAMES, true), options(&[Action::Start, Action::Reboot]));
}

#[test]
fn stops_are_listed_so_but_for_the_order_of_groups() {
    agree(800, containers(EVEN_NAMES, true), options(&[Action::Shutdown, Action::Kill]));
}
