//! Who depends on whom, and who is drawn in by whom.
//!
//! Guests become numbers here, ascending by name; the other parts of this room speak of guests by these numbers. All
//! walks keep their own stack, so that a chain of any length is only a matter of memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{
    Cycle, Guests,
    cycle::{self, Knots, Tied},
    reason,
};
use crate::model::{Guest, GuestName, Order, Owner};

/// For each guest, other guests.
pub(super) type Edges = Vec<Vec<usize>>;

/// The guests with their dependencies.
pub(super) struct Graph<'a> {
    /// The guests, ascending by name.
    pub guests: Vec<&'a Guest>,
    /// Known guests in `requires`.
    pub requires: Edges,
    /// Known guests in `wants`.
    pub wants: Edges,
    /// Known guests in `after` or `requires`, in start order.
    before: Edges,
    /// Names in `requires` that no guest has.
    missing: BTreeMap<usize, Vec<&'a GuestName>>,
    /// Who is started only by a request that names it, and why: held guests, and those of a cluster's manager.
    kept_back: BTreeMap<usize, String>,
    knots: Knots,
    order: Order,
}

/// Who takes part in a plan, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Neither asked for nor drawn in.
    None,
    /// Asked for.
    Picked,
    /// Drawn in by a dependency.
    Pulled,
    /// Asked for or wanted, and refused.
    Refused,
}

impl Part {
    /// Whether it is among the steps.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Picked | Self::Pulled)
    }
}

impl<'a> Graph<'a> {
    pub fn new(guests: &'a Guests, order: Order) -> Self {
        let guests: Vec<&Guest> = guests.values().map(AsRef::as_ref).collect();
        let count = guests.len();
        let numbers: HashMap<&GuestName, usize> =
            guests.iter().enumerate().map(|(number, guest)| (&guest.name, number)).collect();
        let known = |names: &[GuestName]| -> Vec<usize> {
            let mut known: Vec<usize> = names.iter().filter_map(|name| numbers.get(name).copied()).collect();
            known.sort_unstable();
            known.dedup();
            known
        };
        let mut graph = Self {
            requires: guests.iter().map(|guest| known(&guest.start.requires)).collect(),
            wants: guests.iter().map(|guest| known(&guest.start.wants)).collect(),
            before: Vec::with_capacity(count),
            missing: BTreeMap::new(),
            kept_back: BTreeMap::new(),
            knots: Knots::default(),
            guests,
            order,
        };
        for (number, guest) in graph.guests.iter().enumerate() {
            let mut before = known(&guest.start.after);
            before.extend(&graph.requires[number]);
            before.sort_unstable_by_key(|&other| graph.rank(other));
            before.dedup();
            graph.before.push(before);
            let unknown = guest.start.requires.iter().filter(|name| !numbers.contains_key(name));
            let unknown: BTreeSet<_> = unknown.collect();
            if !unknown.is_empty() {
                graph.missing.insert(number, unknown.into_iter().collect());
            }
        }
        graph.knots = Knots::of(&graph.before);
        graph
    }

    /// The same, where guests are kept back that are held, or that a cluster's manager starts, but none that the request
    /// names.
    pub fn keeping_back(
        mut self,
        held: &dyn Fn(&GuestName) -> Option<String>,
        is_named: impl Fn(&GuestName) -> bool,
    ) -> Self {
        let why = |guest: &Guest| match held(&guest.name) {
            _ if is_named(&guest.name) => None,
            Some(why) => Some(reason::held(&why)),
            None => (guest.owner == Owner::Cluster).then(reason::owned),
        };
        let numbered = self.guests.iter().enumerate();
        self.kept_back = numbered.filter_map(|(number, guest)| Some((number, why(guest)?))).collect();
        self
    }

    pub fn is_kept_back(&self, guest: usize) -> bool {
        self.kept_back.contains_key(&guest)
    }

    /// The place of a guest when nothing but `start.order` and its name counts.
    pub fn rank(&self, guest: usize) -> (i64, usize) {
        let order = i64::from(self.guests[guest].start.order);
        match self.order {
            Order::HighestFirst => (-order, guest),
            Order::LowestFirst => (order, guest),
        }
    }

    pub fn name(&self, guest: usize) -> &'a GuestName {
        &self.guests[guest].name
    }

    /// The number of the guest of this name.
    pub fn number(&self, name: &GuestName) -> Option<usize> {
        self.guests.binary_search_by(|guest| guest.name.cmp(name)).ok()
    }

    /// Which guests each one waits for when these start, in start order. Dependencies inside a cycle cannot be kept
    /// and are left out.
    pub fn waits(&self, starts: impl Fn(usize) -> bool) -> Edges {
        let kept = |guest, other| starts(guest) && starts(other) && !self.knots.tie(guest, other);
        let edges = self
            .before
            .iter()
            .enumerate()
            .map(|(guest, before)| before.iter().copied().filter(|&other| kept(guest, other)).collect());
        edges.collect()
    }

    /// The same seen from the other end, in stop order: which guests have to stop before each one.
    pub fn waits_to_stop(&self, waits: &Edges) -> Edges {
        let mut edges = transposed(waits);
        for others in &mut edges {
            others.sort_unstable_by_key(|&other| std::cmp::Reverse(self.rank(other)));
        }
        edges
    }

    /// The cycles to report, and for each guest of a knot the one to tell.
    pub fn cycles(&self) -> (Vec<Cycle>, HashMap<usize, Tied>) {
        let (rings, tied) = cycle::rings(&self.before, &self.knots);
        let named = |ring: Vec<usize>| Cycle { guests: ring.iter().map(|&g| self.name(g).clone()).collect() };
        (rings.into_iter().map(named).collect(), tied)
    }

    /// Who cannot be started, and why: guests in cycles, those kept back, those that require a guest that does not exist,
    /// and those that require one of these. What runs is not refused, and holds back nobody.
    pub fn refusals(&self, running: &[bool]) -> BTreeMap<usize, String> {
        let mut roots: BTreeMap<usize, String> = BTreeMap::new();
        if !self.knots.is_empty() {
            let (cycles, tied) = self.cycles();
            roots.extend(tied.into_iter().map(|(guest, tied)| (guest, reason::cycle(&cycles, tied))));
        }
        for (&guest, names) in &self.missing {
            roots.entry(guest).or_insert_with(|| reason::missing(names));
        }
        for (&guest, why) in &self.kept_back {
            roots.entry(guest).or_insert_with(|| why.clone());
        }
        roots.retain(|&guest, _| !running[guest]);
        if roots.is_empty() {
            return roots;
        }
        let dependents = transposed(&self.requires);
        let mut queue: VecDeque<(usize, usize)> = roots.keys().map(|&root| (root, root)).collect();
        let mut refused = roots.clone();
        while let Some((guest, root)) = queue.pop_front() {
            for &dependent in dependents[guest].iter().filter(|&&dependent| !running[dependent]) {
                refused.entry(dependent).or_insert_with(|| {
                    queue.push_back((dependent, root));
                    reason::held_back(self.name(guest), self.name(root), &roots[&root])
                });
            }
        }
        refused
    }

    /// Draws in everything that `parts` require or want, as far as it does not run, and refuses those wanted ones that
    /// cannot be started: these are returned. Those kept back are left alone without a word.
    pub fn pull_for_start(
        &self,
        parts: &mut [Part],
        running: &[bool],
        refused: &BTreeMap<usize, String>,
    ) -> Vec<usize> {
        let mut left_out = Vec::new();
        let mut queue = picked(parts);
        while let Some(guest) = queue.pop() {
            for &other in self.requires[guest].iter().chain(&self.wants[guest]) {
                if running[other] || parts[other] != Part::None || self.is_kept_back(other) {
                    continue;
                }
                if !refused.contains_key(&other) {
                    parts[other] = Part::Pulled;
                    queue.push(other);
                } else {
                    parts[other] = Part::Refused;
                    left_out.push(other);
                }
            }
        }
        left_out.sort_unstable_by_key(|&guest| self.rank(guest));
        left_out
    }

    /// Draws in every running guest that requires one of `parts`, as far as `may` says.
    pub fn pull_for_stop(&self, parts: &mut [Part], running: &[bool], may: impl Fn(usize) -> bool) {
        let dependents = transposed(&self.requires);
        let mut queue = picked(parts);
        while let Some(guest) = queue.pop() {
            for &other in &dependents[guest] {
                if running[other] && parts[other] == Part::None && may(other) {
                    parts[other] = Part::Pulled;
                    queue.push(other);
                }
            }
        }
    }
}

fn picked(parts: &[Part]) -> Vec<usize> {
    (0..parts.len()).filter(|&guest| parts[guest] == Part::Picked).collect()
}

/// The edges turned round.
pub(super) fn transposed(edges: &Edges) -> Edges {
    let mut back = vec![Vec::new(); edges.len()];
    for (from, others) in edges.iter().enumerate() {
        for &to in others {
            back[to].push(from);
        }
    }
    back
}

/// A walk in depth that visits each guest once, and lists it behind everything it leads to.
pub(super) struct Descent {
    /// The guests visited, each behind those it leads to (unless they lead back to it).
    pub visited: Vec<usize>,
    seen: Vec<bool>,
    /// The way down to the guest at hand: each guest with how many of its edges were tried.
    way: Vec<(usize, usize)>,
}

impl Descent {
    pub fn new(count: usize) -> Self {
        Self { visited: Vec::with_capacity(count), seen: vec![false; count], way: Vec::new() }
    }

    /// Visits `root` and all it leads to, as far as not yet visited.
    pub fn visit(&mut self, root: usize, edges: &Edges) {
        if std::mem::replace(&mut self.seen[root], true) {
            return;
        }
        self.way.push((root, 0));
        while let Some((guest, tried)) = self.way.last_mut() {
            match edges[*guest].get(*tried) {
                Some(&next) => {
                    *tried += 1;
                    if !std::mem::replace(&mut self.seen[next], true) {
                        self.way.push((next, 0));
                    }
                }
                None => {
                    self.visited.push(*guest);
                    self.way.pop();
                }
            }
        }
    }
}
