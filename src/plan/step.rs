//! The steps of an arrangement, each with its words.

use std::{collections::HashSet, time::Duration};

use super::{
    Step,
    graph::Graph,
    reason,
    select::{Pick, Why},
    waves::{Arrangement, Placed, Waves},
};
use crate::model::{GuestName, Verb};

/// Makes the steps that carry out `verb` in this arrangement.
pub(super) fn steps(
    graph: &Graph<'_>,
    picks: &[Pick<'_>],
    arrangement: &Arrangement,
    verb: Verb,
) -> Vec<Step> {
    let mut places = vec![None; graph.guests.len()];
    for (place, placed) in arrangement.list.iter().enumerate() {
        places[placed.guest] = Some(place);
    }
    let among = |others: &[usize]| -> Vec<usize> {
        let mut among: Vec<usize> = others.iter().filter_map(|&other| places[other]).collect();
        among.sort_unstable();
        among
    };
    let (starts, runs_anew) = (matches!(verb, Verb::Start | Verb::Restart), verb == Verb::Reboot);
    let mut reasons = reasons(graph, picks, arrangement, verb);
    let named: HashSet<usize> =
        picks.iter().filter(|pick| pick.why == Why::Named).map(|pick| pick.guest).collect();
    let mut waves = Waves::default();
    let mut steps: Vec<Step> = Vec::with_capacity(arrangement.list.len());
    for &Placed { guest, tier } in &arrangement.list {
        let after = among(&arrangement.waits[guest]);
        let delay = if starts || runs_anew { graph.guests[guest].start.delay } else { Duration::ZERO };
        let latest = after.iter().map(|&place| steps[place].wave).max().unwrap_or(0);
        let (wave, tier) = waves.next(tier, latest, delay);
        let mut reason = std::mem::take(&mut reasons[guest]);
        reason::after(&mut reason, after.iter().map(|&place| &steps[place].guest));
        steps.push(Step {
            guest: graph.name(guest).clone(),
            wave,
            tier,
            requires: if starts { among(&graph.requires[guest]) } else { Vec::new() },
            after,
            delay,
            is_named: named.contains(&guest),
            reason,
        });
    }
    steps
}

/// Why each guest is in the list, by guest; empty for the others.
fn reasons(graph: &Graph<'_>, picks: &[Pick<'_>], arrangement: &Arrangement, verb: Verb) -> Vec<String> {
    let mut reasons = vec![String::new(); graph.guests.len()];
    for pick in picks {
        reasons[pick.guest] = reason::picked(pick.why, graph.guests[pick.guest].start.order);
    }
    if matches!(verb, Verb::Stop | Verb::Kill) {
        dependents(graph, arrangement, &mut reasons);
    } else {
        prerequisites(graph, arrangement, &mut reasons);
        brought_forward(graph, picks, arrangement, &mut reasons);
    }
    reasons
}

/// Says of those drawn in by a start who did it: the first of the list, one that requires before one that wants.
fn prerequisites(graph: &Graph<'_>, arrangement: &Arrangement, reasons: &mut [String]) {
    for (edges, say) in
        [(&graph.requires, reason::required as fn(&GuestName) -> String), (&graph.wants, reason::wanted)]
    {
        for placed in &arrangement.list {
            for &other in &edges[placed.guest] {
                if reasons[other].is_empty() {
                    reasons[other] = say(graph.name(placed.guest));
                }
            }
        }
    }
}

/// Says of those that stand in an earlier tier than their own for whom they do: the first of the list.
fn brought_forward(graph: &Graph<'_>, picks: &[Pick<'_>], arrangement: &Arrangement, reasons: &mut [String]) {
    let mut moved = vec![None; graph.guests.len()];
    for pick in picks {
        moved[pick.guest] = Some(pick.tier);
    }
    for placed in &arrangement.list {
        if moved[placed.guest] == Some(placed.tier) {
            moved[placed.guest] = None;
        }
        for &other in &arrangement.waits[placed.guest] {
            if moved[other].take().is_some() {
                reason::forward(&mut reasons[other], graph.name(placed.guest));
            }
        }
    }
}

/// Says of those drawn in by a stop which guest of the list they require: the first.
fn dependents(graph: &Graph<'_>, arrangement: &Arrangement, reasons: &mut [String]) {
    let mut place = vec![usize::MAX; graph.guests.len()];
    for (at, placed) in arrangement.list.iter().enumerate() {
        place[placed.guest] = at;
    }
    for placed in arrangement.list.iter().filter(|placed| !graph.requires[placed.guest].is_empty()) {
        let required = graph.requires[placed.guest].iter().min_by_key(|&&other| place[other]);
        if let Some(&required) = required.filter(|_| reasons[placed.guest].is_empty()) {
            reasons[placed.guest] = reason::dependent(graph.name(required));
        }
    }
}
