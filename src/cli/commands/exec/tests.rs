//! Who is meant, and what is told of them.

use super::*;
use crate::cli::streams::Sink;

fn guests() -> String {
    let guest = |name: &str, phase: &str, groups: &[&str]| {
        json!({"name": name, "engine": "lxc", "phase": phase, "intent": "up", "ready": true, "reason": "", "auto": false,
               "order": 0, "delay": 0, "groups": groups, "init_pid": null, "since": null, "next_try": null, "restarts": 0,
               "held": null, "held_until": null})
    };
    let all = [
        guest("db", "up", &["data"]),
        guest("lone", "up", &[]),
        guest("web", "down", &["front"]),
        guest("www", "up", &["front", "web"]),
    ];
    serde_json::to_string(&all).unwrap()
}

fn meant(names: &[&str], groups: &[&str], all: bool) -> Result<String, Error> {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let arguments = Exec { names: texts(names), groups: texts(groups), all, ..Exec::default() };
    let told = guests();
    let guests: Vec<Guest<'_>> = serde_json::from_str(&told).unwrap();
    let Chosen { running, idle } = chosen(&arguments, &guests)?;
    let idle: Vec<String> = idle.into_iter().map(|(name, phase)| format!("!{name} {phase}")).collect();
    Ok([running, idle].concat().join(" "))
}

#[test]
fn names_are_guests_or_groups_and_only_those_named_may_be_down() {
    for (names, groups, all, expected) in [
        (&["db"][..], &[][..], false, "db"),
        (&["front"], &[], false, "www"),
        (&["web"], &[], false, "!web down"),
        (&[], &["web"], false, "www"),
        (&[], &["front,data"], false, "db www"),
        (&[], &[""], false, "lone"),
        (&["lone", "front"], &["data"], false, "db lone www"),
        (&[], &[], true, "db lone www"),
    ] {
        assert_eq!(meant(names, groups, all).unwrap(), expected, "{names:?} {groups:?}");
    }
    for (names, groups, part) in [
        (&["dbb"][..], &[][..], "did you mean \"db\""),
        (&["fornt"], &[], "did you mean \"front\""),
        (&["xyz"], &[], "no guest and no group is named \"xyz\""),
        (&[], &["xyz"], "no guest is in the group \"xyz\""),
    ] {
        let error = meant(names, groups, false).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_status_tells_all_some_and_none_apart() {
    let parts = |statuses: &[u8]| -> Vec<Part> {
        statuses.iter().map(|status| part("web", Ok(*status), None)).collect()
    };
    for (statuses, expected) in [(&[0, 0][..], 0), (&[0, 7], 2), (&[1, 7], 1), (&[100], 1)] {
        assert_eq!(told_of(&parts(statuses)), expected, "{statuses:?}");
    }
}

#[test]
fn what_is_kept_has_an_end() {
    let mut kept = Captured::default();
    kept.take(b"a\n");
    assert_eq!((kept.text().as_str(), kept.is_cut()), ("a\n", false));
    kept.take(&vec![b'x'; 64 * 1024]);
    assert_eq!((kept.text().len(), kept.is_cut()), (64 * 1024, true));
}
