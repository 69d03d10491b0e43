//! Everything in order: the list, its tiers and its waves.

use std::time::Duration;

use super::{
    graph::{Descent, Edges, Graph, Part},
    select::Pick,
};

/// A guest at its place in the list, with its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    pub guest: usize,
    pub tier: u32,
}

impl From<&Pick<'_>> for Placed {
    fn from(pick: &Pick<'_>) -> Self {
        Self { guest: pick.guest, tier: pick.tier }
    }
}

/// All who take part, in order.
pub(super) struct Arrangement {
    /// In the order of the plan. Guests of one tier stand together; the numbers of tiers are those of the picks, not
    /// yet counted along the list.
    pub list: Vec<Placed>,
    /// For each guest of the list those of the list that go before it.
    pub waits: Edges,
}

impl Arrangement {
    /// In the order of a start. Whom a guest waits for comes directly before the first that needs it, and into its
    /// tier; whom it only wants, directly behind.
    pub fn up(graph: &Graph<'_>, picks: &[Pick<'_>], parts: &[Part]) -> Self {
        let waits = graph.waits(|guest| parts[guest].is_active());
        let pulled = |wants: &Vec<usize>| -> Vec<usize> {
            wants.iter().copied().filter(|&other| parts[other] == Part::Pulled).collect()
        };
        let pulls = graph.wants.iter().map(pulled).collect();
        let list = arrange(picks.iter().map(Placed::from), &waits, &pulls);
        Self { list, waits }
    }

    /// In the order of a stop: the picks as they would start, backwards, and whoever is drawn in directly before the
    /// first guest that it requires.
    pub fn down(graph: &Graph<'_>, picks: &[Pick<'_>], parts: &[Part]) -> Self {
        let mut pulls = vec![Vec::new(); parts.len()];
        let among_picks = graph.waits(|guest| parts[guest] == Part::Picked);
        let mut backwards = arrange(picks.iter().map(Placed::from), &among_picks, &pulls);
        backwards.reverse();
        // Nobody waits for anybody inside a cycle: there, whom a guest draws in comes behind it.
        for guest in (0..parts.len()).filter(|&guest| parts[guest] == Part::Pulled) {
            for &required in &graph.requires[guest] {
                pulls[required].push(guest);
            }
        }
        let waits = graph.waits_to_stop(&graph.waits(|guest| parts[guest].is_active()));
        let list = arrange(backwards, &waits, &pulls);
        Self { list, waits }
    }

    /// All at once, in the order of the picks.
    pub fn flat(graph: &Graph<'_>, picks: &[Pick<'_>]) -> Self {
        let list = picks.iter().map(|pick| Placed { guest: pick.guest, tier: 0 }).collect();
        Self { list, waits: vec![Vec::new(); graph.guests.len()] }
    }
}

/// Lists `roots` in their order, before each whom it waits for, and behind it whom it and those `pulls` in; all of
/// these get the tier of the root that brings them first.
fn arrange(roots: impl IntoIterator<Item = Placed>, waits: &Edges, pulls: &Edges) -> Vec<Placed> {
    let mut walk = Descent::new(waits.len());
    let mut tiers = Vec::new();
    for root in roots {
        let mut asked = walk.visited.len();
        walk.visit(root.guest, waits);
        while let Some(&guest) = walk.visited.get(asked) {
            for &pulled in &pulls[guest] {
                walk.visit(pulled, waits);
            }
            asked += 1;
        }
        tiers.resize(walk.visited.len(), root.tier);
    }
    walk.visited.into_iter().zip(tiers).map(|(guest, tier)| Placed { guest, tier }).collect()
}

/// Counts tiers and waves along a list.
#[derive(Debug, Default)]
pub(super) struct Waves {
    /// The tier at hand: as the list has it, and as it is counted.
    tier: Option<(u32, u32)>,
    /// The last wave so far.
    last: u32,
    /// The last wave of the tiers before.
    floor: u32,
    /// The last wave with a delay.
    held: u32,
}

impl Waves {
    /// The wave and the tier of the next step of the list: behind the tiers before, behind `after` (the last wave of
    /// those it waits for) and behind every delay of an earlier step.
    pub fn next(&mut self, tier: u32, after: u32, delay: Duration) -> (u32, u32) {
        let counted = match self.tier {
            Some((here, counted)) if here == tier => counted,
            last => {
                self.floor = self.last;
                last.map_or(0, |(_, counted)| counted + 1)
            }
        };
        self.tier = Some((tier, counted));
        let wave = 1 + self.floor.max(self.held).max(after);
        self.last = self.last.max(wave);
        if !delay.is_zero() {
            self.held = self.held.max(wave);
        }
        (wave, counted)
    }
}
