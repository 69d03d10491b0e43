//! Who is asked for, and in which tier: groups, `start.auto` and `start.order`, without any dependency.

use std::collections::HashMap;

use super::graph::Graph;
use crate::model::{GroupName, Groups, Guest, GuestName, Owner, Selection};

/// Why a guest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why<'a> {
    /// It is in this group; `None` is the null group.
    Group(Option<&'a GroupName>),
    /// Groups are ignored.
    All,
    /// It is named in the request.
    Named,
}

/// A guest that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pick<'a> {
    /// Whom.
    pub guest: usize,
    /// Its tier, before any dependency moves it.
    pub tier: u32,
    /// Why.
    pub why: Why<'a>,
}

/// The guests that a bulk request selects, in start order; `was_up` as in [`super::Standing`]. Those of a cluster's manager
/// are nobody's to select.
pub(super) fn bulk<'a>(
    graph: &Graph<'a>,
    selection: &'a Selection,
    was_up: &dyn Fn(&GuestName) -> bool,
) -> Vec<Pick<'a>> {
    let positions = Positions::of(selection);
    let candidates = graph.guests.iter().copied().enumerate().filter(|(_, guest)| {
        guest.owner != Owner::Cluster
            && (selection.ignore_auto || guest.start.auto.is_candidate(was_up(&guest.name)))
            && selection.lxcpath.as_deref().is_none_or(|path| guest.lxcpath() == Some(path))
    });
    let placed = candidates.filter_map(|(number, guest)| {
        let (position, why) = positions.first(guest)?;
        Some((position, number, why))
    });
    in_tiers(graph, placed.collect())
}

/// The guests of a request that names them, in start order, and the names that no guest has.
pub(super) fn named<'a>(graph: &Graph<'a>, names: &[GuestName]) -> (Vec<Pick<'a>>, Vec<GuestName>) {
    let mut placed = Vec::new();
    let mut unknown = Vec::new();
    for name in names {
        match graph.number(name) {
            Some(number) => placed.push((0, number, Why::Named)),
            None => unknown.push(name.clone()),
        }
    }
    placed.sort_unstable_by_key(|&(_, number, _)| number);
    placed.dedup();
    (in_tiers(graph, placed), unknown)
}

/// Puts guests in the order of their positions, inside one in that of their ranks, and counts the tiers.
fn in_tiers<'a>(graph: &Graph<'a>, mut placed: Vec<(usize, usize, Why<'a>)>) -> Vec<Pick<'a>> {
    placed.sort_unstable_by_key(|&(position, number, _)| (position, graph.rank(number)));
    let mut tier = 0;
    let mut last = None;
    let picks = placed.into_iter().map(|(position, guest, why)| {
        let here = (position, graph.guests[guest].start.order);
        if last.replace(here).is_some_and(|last| last != here) {
            tier += 1;
        }
        Pick { guest, tier, why }
    });
    picks.collect()
}

/// The walked list of groups.
enum Positions<'a> {
    /// Groups are ignored: everybody is at the one position.
    All,
    /// Where each group comes in the list.
    Groups(HashMap<Option<&'a GroupName>, usize>),
}

impl<'a> Positions<'a> {
    fn of(selection: &'a Selection) -> Self {
        if selection.all {
            return Self::All;
        }
        let mut positions = HashMap::new();
        for (position, group) in selection.groups.iter().enumerate() {
            positions.entry(group.as_ref()).or_insert(position);
        }
        if selection.groups.is_empty() && !selection.boot {
            positions.insert(None, 0);
        }
        Self::Groups(positions)
    }

    /// The first position at which a guest is met.
    fn first(&self, guest: &'a Guest) -> Option<(usize, Why<'a>)> {
        let Self::Groups(positions) = self else { return Some((0, Why::All)) };
        let found = |group: Option<&'a GroupName>| {
            positions.get(&group).map(|&position| (position, Why::Group(group)))
        };
        match &guest.start.groups {
            Groups::Null => found(None),
            Groups::In(names) => {
                names.iter().filter_map(|group| found(Some(group))).min_by_key(|&(position, _)| position)
            }
        }
    }
}
