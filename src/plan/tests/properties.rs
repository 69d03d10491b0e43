//! What holds for every plan of every host.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

const ACTIONS: [Action; 4] = [Action::Start, Action::Shutdown, Action::Kill, Action::Reboot];

/// Names, some a prefix of others, some unknown to most hosts.
fn name() -> impl Strategy<Value = GuestName> {
    "[a-d][0-2]?".prop_map(|name| GuestName::new(&name).unwrap())
}

fn group() -> impl Strategy<Value = GroupName> {
    prop::sample::select(vec!["web", "webserver", "db", "x"]).prop_map(|name| GroupName::new(name).unwrap())
}

/// Some names, mostly none; denser dependencies would tie everybody into cycles.
fn dependencies() -> impl Strategy<Value = Vec<GuestName>> {
    prop_oneof![5 => Just(Vec::new()), 2 => prop::collection::vec(name(), 1..3)]
}

fn start() -> impl Strategy<Value = Start> {
    let numbers = (prop::bool::weighted(0.8), -1..3, prop_oneof![3 => Just(0), 1 => 1..4u64]);
    let groups = prop::option::weighted(0.7, prop::collection::vec(group(), 0..3));
    (numbers, groups, dependencies(), dependencies(), dependencies()).prop_map(
        |((auto, order, delay), groups, after, wants, requires)| Start {
            auto: auto.into(),
            order,
            delay: Duration::from_secs(delay),
            groups: groups.map_or(Groups::Null, Groups::In),
            after,
            wants,
            requires,
            ..Start::default()
        },
    )
}

fn hosts() -> impl Strategy<Value = Host> {
    let guests = prop::collection::btree_map(name(), (start(), prop::bool::ANY), 0..12);
    (guests, prop::bool::ANY).prop_map(|(guests, lowest)| Host {
        held: BTreeSet::new(),
        was_up: BTreeSet::new(),
        running: guests.iter().filter(|(_, (_, up))| *up).map(|(name, _)| name.clone()).collect(),
        guests: guests
            .into_iter()
            .map(|(name, (start, _))| (name.clone(), Arc::new(guest(name.as_str(), "/var/lib/lxc", start))))
            .collect(),
        order: if lowest { Order::LowestFirst } else { Order::HighestFirst },
    })
}

fn selections() -> impl Strategy<Value = Selection> {
    let groups = prop::collection::vec(prop::option::weighted(0.8, group()), 0..4);
    (groups, prop::bool::ANY, prop::bool::ANY).prop_map(|(groups, all, ignore_auto)| Selection {
        groups,
        all,
        ignore_auto,
        ..Selection::default()
    })
}

/// Who is selected, by the words of the rule.
fn selected<'a>(host: &'a Host, selection: &Selection) -> Vec<&'a GuestName> {
    let walked: &[_] = if selection.groups.is_empty() { &[None] } else { &selection.groups };
    let chosen = host.guests.values().filter(|guest| {
        (guest.start.auto.is_candidate(false) || selection.ignore_auto)
            && (selection.all || walked.iter().any(|group| guest.is_in(group.as_ref())))
    });
    chosen.map(|guest| &guest.name).collect()
}

/// Whether `after` and `requires` lead from one guest to another; the slow way.
fn reaches(host: &Host, from: &GuestName, target: &GuestName) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![from];
    while let Some(name) = queue.pop() {
        let Some(guest) = host.guests.get(name) else { continue };
        for next in guest.start.after.iter().chain(&guest.start.requires) {
            if next == target && host.guests.contains_key(next) {
                return true;
            }
            if seen.insert(next) {
                queue.push(next);
            }
        }
    }
    false
}

fn in_cycle(host: &Host, name: &GuestName) -> bool {
    reaches(host, name, name)
}

/// Whether a start of this guest has to be refused, by the words of the rule.
fn is_hopeless(host: &Host, name: &GuestName) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![name];
    while let Some(name) = queue.pop() {
        let Some(guest) = host.guests.get(name) else { return true };
        if host.running.contains(name) {
            continue;
        }
        if in_cycle(host, name) {
            return true;
        }
        queue.extend(guest.start.requires.iter().filter(|name| seen.insert(*name)));
    }
    false
}

/// Shuffles what has no order of its own: the lists of every guest.
fn shuffled(host: &Host) -> Host {
    let mut host = host.clone();
    for guest in host.guests.values_mut() {
        let start = &mut Arc::make_mut(guest).start;
        for list in [&mut start.after, &mut start.wants, &mut start.requires] {
            list.reverse();
            list.extend(list.first().cloned());
        }
        if let Groups::In(names) = &mut start.groups {
            names.reverse();
        }
    }
    host
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everyone_selected_is_in_exactly_one_place(host in hosts(), selection in selections()) {
        for action in ACTIONS {
            let plan = host.plan(action, &selection);
            let mut times: BTreeMap<&GuestName, u32> = BTreeMap::new();
            let refused = plan.refused.iter().map(|(name, _)| name);
            for name in plan.steps.iter().map(|step| &step.guest).chain(&plan.already).chain(refused) {
                *times.entry(name).or_default() += 1;
            }
            for (name, times) in &times {
                prop_assert_eq!(*times, 1, "{}", name);
            }
            for name in selected(&host, &selection) {
                let wanted = action != Action::Reboot || host.running.contains(name);
                prop_assert_eq!(times.contains_key(name), wanted, "{}: {}", action, name);
            }
        }
    }

    #[test]
    fn steps_wait_for_earlier_ones_as_their_dependencies_say(host in hosts(), selection in selections()) {
        for action in ACTIONS {
            let plan = host.plan(action, &selection);
            let place: HashMap<_, _> = plan.steps.iter().enumerate().map(|(at, step)| (&step.guest, at)).collect();
            for (at, step) in plan.steps.iter().enumerate() {
                prop_assert!(step.after.iter().all(|&before| before < at));
                prop_assert!(step.after.is_sorted() && step.requires.iter().all(|r| step.after.contains(r)));
                prop_assert_eq!(host.running.contains(&step.guest), action != Action::Start);
                let guest = &host.guests[&step.guest];
                for other in guest.start.after.iter().chain(&guest.start.requires) {
                    let Some(&other_at) = place.get(other) else { continue };
                    let tied = reaches(&host, other, &step.guest);
                    let (first, second) = if action.is_downward() { (at, other_at) } else { (other_at, at) };
                    prop_assert_eq!(plan.steps[second].after.contains(&first), !tied, "{} {}", step.guest, other);
                }
            }
        }
    }

    #[test]
    fn required_guests_run_or_are_started_and_dependents_stop(host in hosts(), selection in selections()) {
        let start = host.plan(Action::Start, &selection);
        for step in &start.steps {
            for required in &host.guests[&step.guest].start.requires {
                let at = start.steps.iter().position(|other| other.guest == *required);
                prop_assert!(host.running.contains(required) || at.is_some_and(|at| step.requires.contains(&at)));
            }
            for wanted in &host.guests[&step.guest].start.wants {
                prop_assert!(
                    !host.guests.contains_key(wanted)
                        || host.running.contains(wanted)
                        || start.refused.iter().any(|(name, _)| name == wanted)
                        || start.steps.iter().any(|other| other.guest == *wanted)
                );
            }
        }
        let stop = host.plan(Action::Shutdown, &selection);
        let stops = |name: &GuestName| stop.steps.iter().any(|step| step.guest == *name);
        for guest in host.guests.values().filter(|guest| host.running.contains(&guest.name)) {
            prop_assert!(stops(&guest.name) || !guest.start.requires.iter().any(stops), "{}", guest.name);
        }
    }

    #[test]
    fn refused_are_those_in_or_behind_a_cycle_or_a_missing_guest(host in hosts(), selection in selections()) {
        let plan = host.plan(Action::Start, &selection);
        for (name, why) in &plan.refused {
            prop_assert!(is_hopeless(&host, name), "{}: {}", name, why);
        }
        for name in plan.steps.iter().map(|step| &step.guest) {
            prop_assert!(!is_hopeless(&host, name), "{}", name);
        }
        for action in [Action::Shutdown, Action::Kill, Action::Reboot] {
            prop_assert!(host.plan(action, &selection).refused.is_empty());
        }
    }

    #[test]
    fn cycles_are_cycles_and_name_every_guest_in_one(host in hosts()) {
        let cycles = cycles(&host.guests);
        for cycle in &cycles {
            let next = cycle.guests.iter().cycle().skip(1);
            for (guest, next) in cycle.guests.iter().zip(next) {
                let start = &host.guests[guest].start;
                prop_assert!(start.after.contains(next) || start.requires.contains(next), "{}", cycle);
            }
            prop_assert_eq!(cycle.guests.iter().min(), cycle.guests.first());
            prop_assert_eq!(cycle.guests.iter().collect::<BTreeSet<_>>().len(), cycle.guests.len());
        }
        for name in host.guests.keys() {
            let told = cycles.iter().any(|cycle| cycle.guests.contains(name));
            prop_assert_eq!(told, in_cycle(&host, name), "{}", name);
        }
    }

    #[test]
    fn tiers_and_waves_rise_as_they_should(host in hosts(), selection in selections()) {
        for action in ACTIONS {
            let steps = host.plan(action, &selection).steps;
            prop_assert!(steps.first().is_none_or(|step| (step.tier, step.wave) == (0, 1)));
            for (at, step) in steps.iter().enumerate() {
                if let Some(before) = at.checked_sub(1).map(|before| &steps[before]) {
                    prop_assert!(step.tier == before.tier || step.tier == before.tier + 1);
                }
                // The definition, word for word.
                let holds = |before: &usize| {
                    let earlier = &steps[*before];
                    earlier.tier < step.tier || step.after.contains(before) || !earlier.delay.is_zero()
                };
                let last = (0..at).filter(holds).map(|before| steps[before].wave).max();
                prop_assert_eq!(step.wave, 1 + last.unwrap_or(0), "{}", step.guest);
            }
        }
    }

    #[test]
    fn a_stop_mirrors_the_start_when_nobody_is_drawn_in(host in hosts()) {
        let everybody = Selection { all: true, ignore_auto: true, ..Selection::default() };
        // Guests in or behind a cycle are not started, so that there is nothing to mirror.
        let mut host = host;
        let hopeless: Vec<_> = host.guests.keys().filter(|name| in_cycle(&host, name)).cloned().collect();
        host.guests.retain(|name, _| !hopeless.contains(name));
        let known: BTreeSet<_> = host.guests.keys().cloned().collect();
        for guest in host.guests.values_mut() {
            Arc::make_mut(guest).start.requires.retain(|name| known.contains(name));
        }
        host.running.clear();
        let start = host.plan(Action::Start, &everybody).steps;
        let stop = host.clone().all_up().plan(Action::Shutdown, &everybody).steps;
        prop_assert_eq!(start.len(), host.guests.len());
        let last = start.last().map_or(0, |step| step.tier);
        for (first, second) in start.iter().rev().zip(&stop) {
            prop_assert_eq!((&first.guest, last - first.tier), (&second.guest, second.tier));
        }
    }

    #[test]
    fn how_lists_are_written_changes_nothing(host in hosts(), selection in selections()) {
        let other = shuffled(&host);
        for action in ACTIONS {
            prop_assert_eq!(host.plan(action, &selection), other.plan(action, &selection));
        }
        prop_assert_eq!(cycles(&host.guests), cycles(&other.guests));
        let mut repeated = selection.clone();
        repeated.groups.extend_from_slice(&selection.groups);
        prop_assert_eq!(
            host.plan(Action::Start, &selection),
            host.plan(Action::Start, &repeated)
        );
    }

    #[test]
    fn every_step_says_why(host in hosts(), selection in selections()) {
        for action in ACTIONS {
            let plan = host.plan(action, &selection);
            let chosen = selected(&host, &selection);
            for step in &plan.steps {
                let words = ["group ", "null group, ", "all groups, "];
                let is_selected = words.iter().any(|words| step.reason.starts_with(words));
                prop_assert_eq!(is_selected, chosen.contains(&&step.guest), "{}: {}", step.guest, step.reason);
                let words = ["required by ", "wanted by ", "requires "];
                let is_pulled = words.iter().any(|words| step.reason.starts_with(words));
                prop_assert_eq!(is_selected, !is_pulled, "{}: {}", step.guest, step.reason);
            }
        }
    }
}
