//! Plans of small hosts, written as text: guests in, steps out.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::model::{Auto, EngineSpec, GroupName, Groups, LxcSpec, Start};

mod delays;
mod dependencies;
mod properties;
mod refusals;
mod selection;
mod stops;

/// A guest with these start settings.
fn guest(name: &str, lxcpath: &str, start: Start) -> Guest {
    let engine = EngineSpec::Lxc(LxcSpec::new(Path::new(lxcpath).into()));
    Guest { start, ..Guest::new(GuestName::new(name).unwrap(), engine) }
}

fn names(list: &str) -> Vec<GuestName> {
    list.split(',').filter(|name| !name.is_empty()).map(|name| GuestName::new(name).unwrap()).collect()
}

/// Some guests, of whom some run.
#[derive(Debug, Clone, Default)]
struct Host {
    guests: Guests,
    running: BTreeSet<GuestName>,
    held: BTreeSet<GuestName>,
    was_up: BTreeSet<GuestName>,
    order: Order,
}

impl Host {
    /// Reads one guest a line: its name, then words like `auto`, `order=5`, `delay=0.5`, `group=a,b` (`group=` is in
    /// groups without a usable name), `after=x`, `wants=x`, `requires=x,y`, `path=/srv`, `held`, `cluster`, `up`
    /// and `was-up`. All are `auto`, unless `manual` or `last-state`.
    fn new(text: &str) -> Self {
        let mut host = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            let mut start = Start { auto: Auto::Yes, ..Start::default() };
            let (mut path, mut owner) = ("/var/lib/lxc", Owner::Guestd);
            for word in words {
                match word.split_once('=').unwrap_or((word, "")) {
                    ("manual", _) => start.auto = Auto::No,
                    ("last-state", _) => start.auto = Auto::LastState,
                    ("held", _) => assert!(host.held.insert(GuestName::new(name).unwrap())),
                    ("cluster", _) => owner = Owner::Cluster,
                    ("was-up", _) => assert!(host.was_up.insert(GuestName::new(name).unwrap())),
                    ("up", _) => assert!(host.running.insert(GuestName::new(name).unwrap())),
                    ("order", value) => start.order = value.parse().unwrap(),
                    ("delay", value) => start.delay = Duration::from_secs_f64(value.parse().unwrap()),
                    ("group", value) => {
                        let names = value.split(',').filter(|name| !name.is_empty());
                        start.groups = Groups::In(names.map(|name| GroupName::new(name).unwrap()).collect());
                    }
                    ("after", value) => start.after = names(value),
                    ("wants", value) => start.wants = names(value),
                    ("requires", value) => start.requires = names(value),
                    ("path", value) => path = value,
                    _ => panic!("what is {word:?}?"),
                }
            }
            let guest = Guest { owner, ..guest(name, path, start) };
            assert!(host.guests.insert(guest.name.clone(), Arc::new(guest)).is_none());
        }
        host
    }

    fn lowest_first(mut self) -> Self {
        self.order = Order::LowestFirst;
        self
    }

    /// The same host with everybody up.
    fn all_up(mut self) -> Self {
        self.running = self.guests.keys().cloned().collect();
        self
    }

    fn standing(&self, plan: impl FnOnce(Standing<'_>) -> Plan) -> Plan {
        let held = |name: &GuestName| self.held.contains(name).then(|| "repair".to_owned());
        let was_up = |name: &GuestName| self.was_up.contains(name);
        plan(Standing { is_running: &|name| self.running.contains(name), held: &held, was_up: &was_up })
    }

    fn plan(&self, action: Action, selection: &Selection) -> Plan {
        self.standing(|standing| autostart(&self.guests, selection, action, self.order, standing))
    }

    /// The plan of a request over all guests with `auto`.
    fn all(&self, action: Action) -> Plan {
        self.plan(action, &Selection { all: true, ..Selection::default() })
    }

    fn operation(&self, verb: Verb, list: &str) -> Plan {
        self.standing(|standing| operation(&self.guests, &names(list), verb, self.order, standing))
    }
}

/// A selection by `-g` lists.
fn groups(lists: &[&str]) -> Selection {
    Selection { groups: Selection::parse_groups(lists).unwrap(), ..Selection::default() }
}

/// The steps as `NAME` in order.
fn order_of(plan: &Plan) -> String {
    let shown: Vec<_> = plan.steps.iter().map(|step| step.guest.to_string()).collect();
    shown.join(" ")
}

/// The steps as `NAME:TIER:WAVE` in order.
fn places(plan: &Plan) -> String {
    let shown: Vec<_> =
        plan.steps.iter().map(|step| format!("{}:{}:{}", step.guest, step.tier, step.wave)).collect();
    shown.join(" ")
}

fn reason<'a>(plan: &'a Plan, name: &str) -> &'a str {
    let step = plan.steps.iter().find(|step| step.guest.as_str() == name);
    &step.unwrap_or_else(|| panic!("{name} is no step of {plan:#?}")).reason
}

fn refused(plan: &Plan) -> Vec<String> {
    plan.refused.iter().map(|(name, why)| format!("{name}: {why}")).collect()
}

fn shown(names: &[GuestName]) -> String {
    names.iter().map(GuestName::as_str).collect::<Vec<_>>().join(" ")
}
