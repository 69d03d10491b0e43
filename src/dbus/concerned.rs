//! Which guests a request about one guest also touches, so that each of them is authorised.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    GuestName, Owner, Verb,
    status::{PhaseWord, Snapshot},
};

/// The guests that `verb` on `guest` concerns, itself first: a start also starts what it wants and requires, a stop
/// also stops what requires it (design section 4). Those that are already so are left out.
pub fn guests(snapshot: &Snapshot, verb: Verb, guest: &GuestName) -> Vec<GuestName> {
    let starts = matches!(verb, Verb::Start | Verb::Restart);
    let stops = matches!(verb, Verb::Stop | Verb::Restart | Verb::Kill);
    let mut found = vec![guest.clone()];
    if starts {
        found.extend(reached(guest, |name| started_with(snapshot, name)));
    }
    if stops {
        let dependents = dependents(snapshot);
        let others = reached(guest, |name| dependents.get(name).cloned().unwrap_or_default());
        found.extend(others.into_iter().filter(|name| phase(snapshot, name) != Some(PhaseWord::Down)));
    }
    let mut seen = BTreeSet::new();
    found.retain(|name| seen.insert(name.clone()));
    found
}

/// What starts with a guest and does not run yet.
fn started_with(snapshot: &Snapshot, name: &GuestName) -> Vec<GuestName> {
    let Some(status) = snapshot.guests.get(name) else { return Vec::new() };
    let wanted = status.requires.iter().chain(status.wants.iter());
    let is_started = |name: &&GuestName| {
        let status = snapshot.guests.get(*name);
        status.is_some_and(|status| status.phase != PhaseWord::Up && status.owner != Owner::Cluster)
    };
    wanted.filter(is_started).cloned().collect()
}

/// Who requires each guest.
fn dependents(snapshot: &Snapshot) -> BTreeMap<&GuestName, Vec<GuestName>> {
    let mut dependents: BTreeMap<&GuestName, Vec<GuestName>> = BTreeMap::new();
    for status in snapshot.guests.values() {
        for required in status.requires.iter() {
            dependents.entry(required).or_default().push(status.name.clone());
        }
    }
    dependents
}

fn phase(snapshot: &Snapshot, name: &GuestName) -> Option<PhaseWord> {
    snapshot.guests.get(name).map(|status| status.phase)
}

/// Everything that can be reached from `first` by `next`, without `first`.
fn reached(first: &GuestName, next: impl Fn(&GuestName) -> Vec<GuestName>) -> Vec<GuestName> {
    let mut found: Vec<GuestName> = Vec::new();
    let mut open = next(first);
    while let Some(name) = open.pop() {
        if name != *first && !found.contains(&name) {
            open.extend(next(&name));
            found.push(name);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::model::{
        Auto, EngineKind,
        status::{GuestStatus, Upkeep},
    };

    fn name(text: &str) -> GuestName {
        GuestName::new(text).unwrap()
    }

    fn names(texts: &[&str]) -> Arc<[GuestName]> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn guest(
        text: &str,
        phase: PhaseWord,
        requires: &[&str],
        wants: &[&str],
    ) -> (GuestName, Arc<GuestStatus>) {
        let status = GuestStatus {
            last_words: Vec::new(),
            next_try: None,
            name: name(text),
            engine: EngineKind::Lxc,
            phase,
            intent_up: false,
            ready: false,
            reason: String::new(),
            auto: Auto::No,
            order: 0,
            delay: Duration::ZERO,
            groups: Arc::new([]),
            after: Arc::new([]),
            wants: names(wants),
            requires: names(requires),
            init_pid: None,
            since: None,
            restarts: 0,
            adopted: false,
            held: None,
            owner: Owner::Guestd,
            history: Arc::new([]),
            helper: None,
            deciding: None,
            lxcpath: None,
            config_changed: false,
            upkeep: Upkeep::default(),
        };
        (name(text), Arc::new(status))
    }

    fn concerned(snapshot: &Snapshot, verb: Verb, guest: &str) -> String {
        let mut found: Vec<_> =
            guests(snapshot, verb, &name(guest)).iter().map(ToString::to_string).collect();
        assert_eq!(found[0], guest, "it concerns itself first");
        found.sort();
        found.join(" ")
    }

    #[test]
    fn a_start_concerns_what_starts_too_and_a_stop_what_stops_too() {
        use PhaseWord::{Down, Failed, Up};
        let snapshot = Snapshot {
            guests: [
                guest("app", Down, &["web"], &["missing"]),
                guest("web", Up, &["db"], &["cache"]),
                guest("db", Down, &["disk"], &[]),
                guest("cache", Failed, &[], &[]),
                guest("disk", Up, &[], &[]),
                guest("idle", Down, &["db"], &[]),
            ]
            .into(),
            ..Snapshot::default()
        };
        for (verb, guest, others) in [
            (Verb::Start, "web", "cache db web"),
            (Verb::Start, "app", "app"),
            (Verb::Start, "disk", "disk"),
            (Verb::Stop, "db", "db web"),
            (Verb::Kill, "disk", "disk web"),
            (Verb::Restart, "db", "db web"),
            (Verb::Restart, "web", "cache db web"),
            (Verb::Reboot, "web", "web"),
            (Verb::Freeze, "db", "db"),
            (Verb::Hold, "db", "db"),
        ] {
            assert_eq!(concerned(&snapshot, verb, guest), others, "{verb} {guest}");
        }
    }

    #[test]
    fn a_cycle_ends() {
        let up = PhaseWord::Failed;
        let snapshot = Snapshot {
            guests: [guest("a", up, &["b"], &[]), guest("b", up, &["a"], &[])].into(),
            ..Default::default()
        };
        assert_eq!(concerned(&snapshot, Verb::Restart, "a"), "a b");
    }
}
