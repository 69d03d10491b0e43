//! Dependencies that lead back to where they began.
//!
//! Guests that all wait for one another, directly or not, form a knot (a strongly connected component). Each guest of
//! a knot lies on at least one cycle; the shortest one through it is what a person is told.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
};

use super::graph::{Descent, Edges, transposed};
use crate::model::GuestName;

/// How many cycles of one knot are looked for; the guests they miss are told the first one.
const CYCLES_OF_A_KNOT: usize = 64;
/// How many guests of a cycle are shown in a message.
const SHOWN: usize = 8;

/// Guests that wait for one another in a ring, so that none of them can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// Each waits for the next one, and the last for the first. The first is the smallest name of the cycle.
    pub guests: Vec<GuestName>,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in self.guests.iter().take(SHOWN) {
            write!(f, "{name} → ")?;
        }
        if self.guests.len() > SHOWN {
            write!(f, "… ({} more) → ", self.guests.len() - SHOWN)?;
        }
        self.guests.first().map_or(Ok(()), |first| write!(f, "{first}"))
    }
}

/// Which guests are tied into a knot, and which knot.
#[derive(Debug, Default)]
pub(super) struct Knots {
    of: HashMap<usize, usize>,
    /// The guests of each knot, ascending.
    members: Vec<Vec<usize>>,
}

impl Knots {
    /// Finds the knots (Kosaraju's algorithm: a walk along the edges, then one against them in the reverse order of
    /// leaving; what the second reaches from one guest is its component).
    pub fn of(edges: &Edges) -> Self {
        let mut knots = Self::default();
        if edges.iter().all(Vec::is_empty) {
            return knots;
        }
        let mut there = Descent::new(edges.len());
        for guest in 0..edges.len() {
            there.visit(guest, edges);
        }
        let against = transposed(edges);
        let mut back = Descent::new(edges.len());
        for &guest in there.visited.iter().rev() {
            let known = back.visited.len();
            back.visit(guest, &against);
            let component = &back.visited[known..];
            if component.len() > 1 || (!component.is_empty() && edges[guest].contains(&guest)) {
                let mut members = component.to_vec();
                members.sort_unstable();
                knots.members.push(members);
            }
        }
        knots.members.sort_unstable();
        for (knot, members) in knots.members.iter().enumerate() {
            knots.of.extend(members.iter().map(|&guest| (guest, knot)));
        }
        knots
    }

    /// Whether there is no cycle.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether both guests are in one knot.
    pub fn tie(&self, guest: usize, other: usize) -> bool {
        !self.is_empty() && self.of.get(&guest).is_some_and(|knot| self.of.get(&other) == Some(knot))
    }
}

/// The cycle that a guest of a knot is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tied {
    /// It lies on this one.
    On(usize),
    /// It lies on another one of the knot that was not looked for.
    To(usize),
}

/// Cycles that together touch the guests of every knot, unless a knot has too many, and for each of these guests the
/// number of the one to tell.
pub(super) fn rings(edges: &Edges, knots: &Knots) -> (Vec<Vec<usize>>, HashMap<usize, Tied>) {
    let mut rings = Vec::new();
    let mut tied = HashMap::new();
    for members in &knots.members {
        let first = rings.len();
        for &guest in members {
            if tied.contains_key(&guest) {
                continue;
            }
            if rings.len() - first == CYCLES_OF_A_KNOT {
                tied.insert(guest, Tied::To(first));
                continue;
            }
            let ring = shortest_ring(guest, edges, knots);
            for &touched in &ring {
                tied.entry(touched).or_insert(Tied::On(rings.len()));
            }
            rings.push(ring);
        }
    }
    (rings, tied)
}

/// The shortest way from a guest of a knot back to itself, turned so that it begins with its smallest guest.
fn shortest_ring(start: usize, edges: &Edges, knots: &Knots) -> Vec<usize> {
    let from = search(start, edges, knots);
    let mut ring = vec![start];
    let mut at = start;
    while let Some(&before) = from.get(&at).filter(|&&before| before != start) {
        ring.push(before);
        at = before;
    }
    ring[1..].reverse();
    let smallest = ring.iter().enumerate().min_by_key(|&(_, guest)| guest).map_or(0, |(at, _)| at);
    ring.rotate_left(smallest);
    ring
}

/// Searches in breadth until the way leads back to `start`: from where each guest, also `start`, was reached.
fn search(start: usize, edges: &Edges, knots: &Knots) -> HashMap<usize, usize> {
    let mut from = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(guest) = queue.pop_front() {
        for &next in edges[guest].iter().filter(|&&next| knots.tie(start, next)) {
            from.entry(next).or_insert_with(|| {
                queue.push_back(next);
                guest
            });
            if next == start {
                return from;
            }
        }
    }
    from
}
