//! Who is started or stopped, in which order, and why: pure, over plain data (design section 4).
//!
//! The result is a list of steps. The daemon works through it as guests come up or end; `guestctl plan`, `autostart
//! --plan` and `-L` print it. Nothing here knows the time or asks a guest: who runs is told by a function.
//!
//! # How a plan is made
//!
//! 1. **Select** (`select`). A bulk request picks the guests with `start.auto` (or all of them) that are in one of its
//!    groups; one with `last-state` counts if it was up before, and one that a cluster's manager owns never does. Each is taken once, at its first group of the list. Sorted by that position, by `start.order` (which way
//!    round is a setting) and by name, they are the *start order*; one order value at one position is a *tier*. A
//!    request that names guests is the same with one position.
//! 2. **Refuse** (`cycle`, `graph`). Nobody in a dependency cycle, nobody that requires a guest that does not exist, or
//!    is down and held or a cluster manager's, and nobody that requires one of these, is started. The others go on. Stopping is never refused: inside a cycle
//!    the dependencies are then ignored.
//! 3. **Draw in** (`graph`). A start draws in whom its guests require and want, and whom these do, as far as they do
//!    not run. A stop draws in the running guests that require one which stops. A reboot draws in nobody.
//! 4. **Arrange** (`waves`). A walk in depth over the start order lists, before each guest, those that it waits for
//!    (`after` and `requires`), and behind it those that it only wants. Whoever is moved forward so gets the tier of
//!    the guest that needs it first. Without dependencies, the list is the start order itself. A stop takes the list of
//!    its picks backwards, and a second walk inserts those drawn in, each before the first guest that it requires.
//! 5. **Count** (`waves`, `step`). Tiers are counted along the list. The wave of a step is one more than the latest of:
//!    every step of the tiers before, every step that it waits for, and every earlier step with a delay, since a delay
//!    holds back everything behind it. So guests of one tier share a wave unless something is between them.
//!
//! Tiers are numbers that rise along the list, not edges from each guest to each of the next tier, so that all of it
//! is linear in guests and written dependencies (apart from sorting).
//!
//! Waves may fall inside a tier: in `db, web (after db), zoo`, web is in wave 2 and zoo in wave 1. Sorted stably by
//! wave, the steps read as a person expects; `-L` and the daemon use the order of the list, in which a delay holds
//! back exactly what is behind it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::model::{Action, Guest, GuestName, Order, Outlook, Owner, PlannedStep, Selection, Verb};

mod cycle;
mod graph;
mod listing;
mod reason;
mod select;
mod step;
#[cfg(test)]
mod tests;
mod waves;

pub use cycle::Cycle;
pub use listing::{line, listing};

use graph::{Graph, Part};
use select::{Pick, Why};
use waves::Arrangement;

/// All guests that are known, by name.
pub type Guests = BTreeMap<GuestName, Arc<Guest>>;

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// Whom.
    pub guest: GuestName,
    /// The wave, counted from 1: all of a wave may run at the same time.
    pub wave: u32,
    /// The tier, counted from 0: one order value inside one group position. A tier begins when every step of the
    /// tiers before it has ended, well or badly.
    pub tier: u32,
    /// Steps of this plan, by index (always smaller than this step's), that must have ended first.
    pub after: Vec<usize>,
    /// Those of them that must have ended well. Only starts and restarts have any: a stop or a reboot is never called
    /// off because another one failed.
    pub requires: Vec<usize>,
    /// Least time from the moment this guest runs to the start of any later step; zero for shutdown and kill.
    pub delay: Duration,
    /// The request names it: a hold does not keep it back.
    #[serde(default)]
    pub is_named: bool,
    /// Why it is here, and why at this place.
    pub reason: String,
}

impl From<Step> for PlannedStep {
    fn from(step: Step) -> Self {
        Self { wave: step.wave, guest: step.guest, delay: step.delay, reason: step.reason }
    }
}

impl From<Plan> for Outlook {
    fn from(plan: Plan) -> Self {
        Self { steps: plan.steps.into_iter().map(PlannedStep::from).collect(), refused: plan.refused }
    }
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The steps, in order: a step only ever waits for steps before it.
    pub steps: Vec<Step>,
    /// Selected, and already as wanted.
    pub already: Vec<GuestName>,
    /// Selected, or wanted by a step, and refused: a cycle, or a required guest that does not exist, is held, or is
    /// refused itself. With the reason.
    pub refused: Vec<(GuestName, String)>,
}

/// How it stands with the guests when a plan is made.
#[derive(Clone, Copy)]
pub struct Standing<'a> {
    /// Whether anything of a guest runs.
    pub is_running: &'a dyn Fn(&GuestName) -> bool,
    /// Why a guest is held, if it is: then nothing but a request that names it starts or reboots it.
    pub held: &'a dyn Fn(&GuestName) -> Option<String>,
    /// Whether a guest was wanted up when the host last went down: `auto = "last-state"` starts it then.
    pub was_up: &'a dyn Fn(&GuestName) -> bool,
}

impl<'a> Standing<'a> {
    /// Nobody is held, and nobody was up.
    pub fn free(is_running: &'a dyn Fn(&GuestName) -> bool) -> Self {
        Self { is_running, held: &|_| None, was_up: &|_| false }
    }
}

/// Plans a bulk request.
///
/// A reboot is about running guests only; the others appear nowhere in its plan. Held guests are neither started nor
/// rebooted, and still stopped with the others. Those of a cluster's manager are left alone altogether.
pub fn autostart(
    guests: &Guests,
    selection: &Selection,
    action: Action,
    order: Order,
    standing: Standing<'_>,
) -> Plan {
    let graph = Graph::new(guests, order).keeping_back(standing.held, |_| false);
    let running = running(&graph, standing);
    let mut picks = select::bulk(&graph, selection, standing.was_up);
    if action == Action::Reboot {
        picks.retain(|pick| running[pick.guest]);
    }
    if matches!(action, Action::Start | Action::Reboot) {
        picks.retain(|pick| !graph.is_kept_back(pick.guest));
    }
    plan(&graph, picks, action.into(), &running)
}

/// Plans a request that names its guests. Start draws in whom they require and want, stop and kill who requires them;
/// the other verbs are about these guests alone, whether they run or not.
pub fn operation(
    guests: &Guests,
    names: &[GuestName],
    verb: Verb,
    order: Order,
    standing: Standing<'_>,
) -> Plan {
    let graph = Graph::new(guests, order).keeping_back(standing.held, |name| names.contains(name));
    let running = running(&graph, standing);
    let (picks, unknown) = select::named(&graph, names);
    let mut plan = plan(&graph, picks, verb, &running);
    plan.refused.extend(unknown.into_iter().map(|name| (name, reason::unknown())));
    plan
}

/// The dependency cycles among these guests, shortest ones, so many that every guest in a cycle is in one of them
/// (unless thousands are entangled). To be reported when guests are loaded: none of these guests will start.
pub fn cycles(guests: &Guests) -> Vec<Cycle> {
    Graph::new(guests, Order::default()).cycles().0
}

fn running(graph: &Graph<'_>, standing: Standing<'_>) -> Vec<bool> {
    graph.guests.iter().map(|guest| (standing.is_running)(&guest.name)).collect()
}

fn plan(graph: &Graph<'_>, picks: Vec<Pick<'_>>, verb: Verb, running: &[bool]) -> Plan {
    let mut plan = Plan::default();
    let mut parts = vec![Part::None; running.len()];
    let refusals = refusals(graph, &picks, verb, running);
    let already = |guest: usize| match verb {
        Verb::Start => running[guest],
        Verb::Stop | Verb::Kill => !running[guest],
        _ => false,
    };
    let mut kept = Vec::with_capacity(picks.len());
    for pick in picks {
        if already(pick.guest) {
            plan.already.push(graph.name(pick.guest).clone());
        } else if let Some(why) = refusals.get(&pick.guest) {
            parts[pick.guest] = Part::Refused;
            plan.refused.push((graph.name(pick.guest).clone(), why.clone()));
        } else {
            parts[pick.guest] = Part::Picked;
            kept.push(pick);
        }
    }
    let arrangement = match verb {
        Verb::Start => {
            let left_out = graph.pull_for_start(&mut parts, running, &refusals);
            plan.refused.extend(left_out.into_iter().map(|g| (graph.name(g).clone(), refusals[&g].clone())));
            Arrangement::up(graph, &kept, &parts)
        }
        Verb::Restart | Verb::Reboot => Arrangement::up(graph, &kept, &parts),
        Verb::Stop | Verb::Kill => {
            // An operator who stops a guest by name means those that need it too, whoever started them.
            let is_by_name = kept.iter().any(|pick| pick.why == Why::Named);
            let may = |guest: usize| is_by_name || graph.guests[guest].owner != Owner::Cluster;
            graph.pull_for_stop(&mut parts, running, may);
            Arrangement::down(graph, &kept, &parts)
        }
        Verb::Freeze | Verb::Thaw | Verb::Reset | Verb::Hold | Verb::Release => {
            Arrangement::flat(graph, &kept)
        }
    };
    plan.steps = step::steps(graph, &kept, &arrangement, verb);
    plan
}

/// Whom this verb may not be done to. A guest that could not come back is not restarted either.
fn refusals(graph: &Graph<'_>, picks: &[Pick<'_>], verb: Verb, running: &[bool]) -> BTreeMap<usize, String> {
    match verb {
        Verb::Start => graph.refusals(running),
        Verb::Restart => {
            let mut running = running.to_vec();
            picks.iter().for_each(|pick| running[pick.guest] = false);
            graph.refusals(&running)
        }
        _ => BTreeMap::new(),
    }
}
