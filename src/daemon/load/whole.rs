//! What no file shows by itself: how the guests stand to one another.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use crate::{
    import::{Layer, Settings},
    model::{Auto, Diagnostic, EngineKind, EngineSpec, Guest, GuestName, Order, Origin, native::Helper},
    plan::{self, Cycle, Guests},
};

/// Where a guest's settings name other guests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dependency {
    key: &'static str,
    names: Vec<GuestName>,
    origin: Origin,
}

/// Every guest that names others.
pub(super) type Dependencies = BTreeMap<GuestName, Vec<Dependency>>;

/// Where these settings name other guests.
pub(super) fn dependencies(layer: &Layer) -> Vec<Dependency> {
    layer
        .dependencies()
        .filter(|(_, names)| !names.value.is_empty())
        .map(|(key, names)| Dependency { key, names: names.value.clone(), origin: names.origin.clone() })
        .collect()
}

/// Settings that only a unit of systemd can keep, where guests are launched without one.
pub(super) fn without_systemd(layer: &Layer, engine: EngineKind) -> impl Iterator<Item = Diagnostic> {
    const WHY: &str = "systemd, and guests are launched without it here (see launcher in guestd.toml)";
    // Native guests have a monitor that sees to their resources where there are no units.
    let lost = layer.resources.first_key_value().filter(|_| engine == EngineKind::Lxc);
    let resources = lost.map(|(resource, amount)| {
        let message = format!(
            "{} has no effect: [resources] of a container need {WHY}; limit guests in their LXC configuration, such as with \
             lxc.cgroup2.memory.max",
            resource.setting()
        );
        Diagnostic::warning(amount.origin.clone(), message)
    });
    let online = layer.network_online.as_ref().filter(|wanted| wanted.value).map(|wanted| {
        let message = format!(
            "start.network-online has no effect: it needs {WHY}; let what calls autostart wait for the network"
        );
        Diagnostic::warning(wanted.origin.clone(), message)
    });
    resources.into_iter().chain(online)
}

/// Dependencies on guests that do not exist.
pub(super) fn strangers(guests: &Guests, dependencies: &Dependencies) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (of, Dependency { key, names, origin }) in each(dependencies) {
        for name in names.iter().filter(|name| !guests.contains_key(*name)) {
            let says = format!("start.{key} of {of} names {name}, and no guest has that name");
            let found_one = match *key {
                "requires" => {
                    let message = format!("{says}; {of} is not started; mend the name or define {name}");
                    Diagnostic::error(origin.clone(), message)
                }
                _ => {
                    Diagnostic::warning(origin.clone(), format!("{says}; that has no effect; mend the name"))
                }
            };
            found.push(found_one.about(of));
        }
    }
    found
}

/// Guests that wait for one another in a ring, each ring once.
pub(super) fn cycles(guests: &Guests, dependencies: &Dependencies) -> Vec<Diagnostic> {
    if dependencies.is_empty() {
        return Vec::new();
    }
    let told = |cycle: Cycle| {
        let (of, Dependency { key, origin, .. }) = link(&cycle, dependencies)?;
        let message = format!(
            "the dependencies {cycle} form a cycle; none of these guests is started; cut it, such as in this \
             start.{key} of {of}"
        );
        Some(Diagnostic::error(origin.clone(), message).about(of))
    };
    plan::cycles(guests).into_iter().filter_map(told).collect()
}

/// Where the first guest of a cycle names the next one.
fn link<'d>(cycle: &Cycle, dependencies: &'d Dependencies) -> Option<(&'d GuestName, &'d Dependency)> {
    let first = cycle.guests.first()?;
    let next = cycle.guests.get(1).unwrap_or(first);
    let (of, named) = dependencies.get_key_value(first)?;
    let ties = |key| named.iter().find(|found| found.key == key && found.names.contains(next));
    ["requires", "after"].into_iter().find_map(ties).map(|dependency| (of, dependency))
}

fn each(dependencies: &Dependencies) -> impl Iterator<Item = (&GuestName, &Dependency)> {
    dependencies.iter().flat_map(|(of, named)| named.iter().map(move |dependency| (of, dependency)))
}

/// The two generations of LXC read `lxc.start.order` in opposite ways, so nobody should rely on a default.
pub(super) fn order(settings: &Settings, file: &Path, guests: &Guests) -> Option<Diagnostic> {
    let mut containers = guests.values().filter(|guest| guest.engine_kind() == EngineKind::Lxc);
    if settings.order_is_written || containers.all(|guest| guest.start.order == 0) {
        return None;
    }
    let message = format!(
        "LXC containers have a start order, and which end of it comes first is not written down: guestd takes \
         \"{}\" (as LXC 1.0 and its documentation), LXC since 1.1 does \"{}\"; write order = \"{}\" or \
         order = \"{}\" into {}",
        Order::HighestFirst,
        Order::LowestFirst,
        Order::HighestFirst,
        Order::LowestFirst,
        file.display()
    );
    Some(Diagnostic::warning(Origin::file(file), message))
}

/// Vservers with a mark that no boot group is named after: util-vserver started those with the mark `default`, guestd starts
/// groups.
pub(super) fn unreached(settings: &Settings, file: &Path, guests: &Guests) -> Option<Diagnostic> {
    let is_vserver = |guest: &Guest| matches!(&guest.engine, EngineSpec::Native(spec) if matches!(spec.helper, Helper::Vshelper { .. }));
    let is_reached = |guest: &Guest| settings.boot_groups.iter().any(|group| guest.is_in(group.as_ref()));
    let left = |guest: &&Arc<Guest>| is_vserver(guest) && guest.start.auto != Auto::No && !is_reached(guest);
    let mut all = guests.values().filter(left);
    let first = all.next()?;
    let (group, more) = (first.start.groups.names().first()?, all.count());
    let others = if more == 0 { String::new() } else { format!(" and {more} more vservers") };
    let message = format!(
        "{}{others} have a mark and are not started at boot, since it is no boot group: write the marks that are, such as \
         boot-groups = [\"onboot\", \"\", \"{group}\"], into {}",
        first.name,
        file.display()
    );
    Some(Diagnostic::warning(Origin::file(file), message))
}
