//! What each function of this room makes of data, as snapshots and tables.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use insta::assert_snapshot;
use serde_json::json;

use super::{
    finding::{findings, values},
    *,
};
use crate::{
    cli::view::JobView,
    dbus::describe::{Daemon, GuestDetails, Health, Host, Job, PastEnd},
    import::Effective,
    model::{Action, Auto, Diagnostic, GuestName, JobId, JobState, Origin, Outcome, PlannedStep, Verb},
};

fn now() -> SystemTime {
    humantime::parse_rfc3339("2026-11-21T12:00:00Z").unwrap()
}

/// Three guests as guestd tells them.
const GUESTS: &str = r#"[
    {"name": "db", "engine": "lxc", "phase": "up", "intent": "up", "ready": true, "reason": "", "auto": true,
     "order": 100, "delay": 5, "groups": ["onboot", "data"], "init_pid": 4711,
     "since": "2026-11-21T09:47:00.000000Z", "restarts": 2, "after": [], "wants": [], "requires": [], "held": null,
     "adopted": false, "lxcpath": "/var/lib/lxc", "config_changed": true,
     "helper": {"event": "reboot", "decision": "restart", "reason": "2 of 5 within 1m", "at": "2026-11-21T11:59:00Z"}},
    {"name": "mail-gateway", "engine": "lxc", "phase": "failed", "intent": "up", "ready": false,
     "reason": "crashed: its init was killed by SIGKILL\u001b[31m after it had been started five times", "auto": true,
     "order": -3, "delay": 0.5, "groups": [], "init_pid": null, "since": "2026-11-17T10:00:00Z", "restarts": 0,
     "after": [], "wants": [], "requires": ["db"], "held": "disk full", "adopted": true, "lxcpath": null,
     "config_changed": false, "helper": null},
    {"name": "web", "engine": "lxc", "phase": "down", "intent": "down", "ready": false,
     "reason": "halted by the guest", "auto": false, "order": 0, "delay": 0, "groups": [], "init_pid": null,
     "since": null, "restarts": 0, "after": [], "wants": [], "requires": [], "held": null, "adopted": false,
     "lxcpath": null, "config_changed": false, "helper": null}
]"#;

fn guests() -> [GuestDetails<'static>; 3] {
    serde_json::from_str::<Vec<_>>(GUESTS).unwrap().try_into().unwrap()
}

fn listed(style: Style) -> String {
    guest::list(style, &guests().map(|details| details.guest), now())
}

fn at(width: u16) -> Style {
    Style { width: Some(width), ..Style::default() }
}

#[test]
fn a_guest_says_when_it_is_started() {
    let [_, _, mut web] = guests();
    for (auto, words) in [
        (Auto::No, "Start: by hand, order 0"),
        (Auto::Yes, "Start: auto, order 0"),
        (Auto::LastState, "Start: auto if it was up, order 0"),
    ] {
        web.guest.auto = auto;
        let shown = guest::status(at(80), &web, None, now());
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn the_list_fits_60_columns() {
    assert_snapshot!(listed(at(60)));
}

#[test]
fn the_list_fits_80_columns() {
    assert_snapshot!(listed(at(80)));
}

#[test]
fn the_list_fits_140_columns() {
    assert_snapshot!(listed(at(140)));
}

#[test]
fn the_list_is_whole_in_a_pipe() {
    assert_snapshot!(listed(Style::default()));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [40, 60, 80, 100, 140] {
        let list = listed(at(width));
        assert!(list.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}:\n{list}");
        assert_eq!(list.lines().count(), 4);
    }
}

#[test]
fn colours_are_used_when_wanted() {
    let style = Style { width: Some(140), colour: true, ..Style::default() };
    let list = listed(style);
    assert!(list.contains("\u{1b}["), "{list}");
    assert!(
        guest::status(style, &guests()[1], None, now())
            .starts_with("\u{1b}[1m\u{1b}[31m●\u{1b}[0m mail-gateway")
    );
    assert!(!listed(at(140)).contains('\u{1b}'));
}

#[test]
fn a_guest_with_everything() {
    assert_snapshot!(guest::status(at(80), &guests()[0], None, now()));
}

#[test]
fn a_failed_guest_in_60_columns() {
    assert_snapshot!(guest::status(at(60), &guests()[1], None, now()));
}

#[test]
fn a_guest_that_is_started_again_says_when() {
    let [_, mut mail, _] = guests();
    mail.guest.phase = "backing-off".into();
    mail.guest.next_try = Some("2026-11-21T12:00:11.500000Z".into());
    mail.guest.restarts = 1;
    (mail.restart_policy, mail.restart_limit) = ("on-failure".into(), "5/5m".into());
    mail.failures = ["2026-11-21T11:54:00Z", "2026-11-21T11:59:00Z"].map(Into::into).into();
    mail.required_by = vec!["web".into()];
    assert_snapshot!(guest::status(at(80), &mail, None, now()));
    let list = guest::list(at(80), &[mail.guest.clone()], now());
    assert!(list.contains("next try in 12s; cras"), "{list}");
    mail.guest.next_try = None;
    assert!(!guest::list(at(80), &[mail.guest], now()).contains("next try"));
}

#[test]
fn a_guest_that_is_up_and_does_not_serve_is_marked() {
    let [mut db, ..] = guests();
    db.guest.ready = false;
    db.guest.reason = "waits for readiness: tcp 10.0.3.5:5432".into();
    db.ready_when = "tcp 10.0.3.5:5432".into();
    let health = |failed| Health {
        probe: "file /run/well".into(),
        interval: 10.0,
        threshold: 3,
        action: "restart".into(),
        failed,
    };
    db.health = Some(health(0));
    assert_snapshot!(guest::status(at(80), &db, None, now()));
    let coloured = Style { width: Some(140), colour: true, ..Style::default() };
    let list = guest::list(coloured, &[db.guest.clone()], now());
    assert!(list.contains("\u{1b}[38;5;11mup, not ready"), "{list:?}");
    for (ready, failed, words) in [
        (true, 0, "good; file /run/well every 10s; restart after 3 failures in a row"),
        (true, 2, "good, but for the last 2; file"),
        (false, 3, "bad, 3 failures in a row; file"),
    ] {
        (db.guest.ready, db.health) = (ready, Some(health(failed)));
        let shown = guest::status(Style::default(), &db, None, now());
        assert!(shown.contains(&format!("Health: {words}")), "{shown}");
    }
}

fn job(id: u32, state: &'static str, status: &'static str) -> Job<'static> {
    Job {
        id,
        verb: "start".into(),
        state: state.into(),
        done: 1,
        total: 4,
        status: status.into(),
        results: BTreeMap::new(),
        started: "2026-11-21T11:59:30.000000Z".into(),
        ended: None,
    }
}

#[test]
fn a_held_guest_says_so_in_lists_too_and_an_owner_and_the_past_are_told() {
    let [_, _, mut web] = guests();
    web.guest.held = Some("restoring a backup".into());
    web.guest.held_until = Some("2026-11-21T14:00:00.000000Z".into());
    web.owner = "cluster".into();
    let end = |at: &'static str, how: &'static str| PastEnd { at: at.into(), how: how.into() };
    web.history = vec![
        end("2026-11-18T01:00:00Z", "too long ago"),
        end("2026-11-19T01:00:00Z", "crashed"),
        end("2026-11-20T01:00:00Z", "stopped with the host"),
        end("2026-11-21T01:00:00Z", "halted by the guest"),
    ];
    let list = guest::list(at(160), std::slice::from_ref(&web.guest), now());
    assert!(
        list.contains("halted by the guest; held until 2026-11-21 14:00:00 UTC: restoring a backup"),
        "{list}"
    );
    let shown = guest::status(Style::default(), &web, None, now());
    for part in [
        "Held: restoring a backup until 2026-11-21 14:00:00 UTC\n",
        "Ended: 2026-11-21 01:00:00 UTC: halted by the guest\n",
        "Ended: 2026-11-19 01:00:00 UTC: crashed\n",
        "Note: owned by the cluster manager",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("too long ago"), "{shown}");
}

#[test]
fn the_daemon() {
    let daemon = Daemon {
        version: "0.1.0".into(),
        launcher: "direct".into(),
        authorization: "polkit".into(),
        order: "highest-first".into(),
        max_starting: 4,
        held_back: Some("the host's memory pressure to fall to 40 % (it is 57 %)".into()),
        lxcpaths: vec!["/var/lib/lxc".into()],
        guests_total: 3,
        guests_up: 1,
        guests_failed: 1,
        diagnostics: 2,
        unkept: None,
    };
    let jobs = vec![job(2, "done", ""), job(3, "running", "starting web")];
    let host = Host { daemon: daemon.clone(), guests: guests().map(|details| details.guest).into(), jobs };
    assert_snapshot!(guest::overview(at(80), &host));
    let empty = Host { daemon: Daemon { diagnostics: 0, ..daemon }, guests: Vec::new(), jobs: Vec::new() };
    let shown = guest::overview(at(80), &empty);
    for part in ["Guests: none\n", "Jobs: none running\n", "Findings: none\n"] {
        assert!(shown.contains(part), "{shown}");
    }
}

fn steps() -> Vec<PlannedStep> {
    let step = |wave, name: &str, delay, reason: &str| PlannedStep {
        wave,
        guest: GuestName::new(name).unwrap(),
        delay: Duration::from_millis(delay),
        reason: reason.into(),
    };
    vec![
        step(1, "p2", 5000, "in no group, order 100"),
        step(2, "p1", 0, "group ubuntu, order 0, after the delay of p2"),
        step(2, "p3", 500, "required by p1"),
    ]
}

#[test]
fn plans_as_lxc_prints_them() {
    assert_eq!(plan::list(Action::Start, &steps()), "p2 5\np1 0\np3 0.5\n");
    assert_eq!(plan::list(Action::Reboot, &steps()[..1]), "p2 5\n");
    assert_eq!(plan::list(Action::Shutdown, &steps()), "p2\np1\np3\n");
    assert_eq!(plan::list(Action::Kill, &[]), "");
}

#[test]
fn names_give_way_to_reasons() {
    let name = "n".repeat(64);
    let long = [PlannedStep { guest: GuestName::new(&name).unwrap(), ..steps()[1].clone() }];
    let shown = plan::waves(at(80), Action::Start, &long);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(shown.contains("nnn…  -      group ubuntu"), "{shown}");
    let ascii = plan::waves(Style { ascii: true, ..at(80) }, Action::Start, &long);
    assert!(ascii.contains("nnn...  -      group ubuntu") && ascii.is_ascii(), "{ascii}");
    assert!(plan::waves(Style::default(), Action::Start, &long).contains(&name));
}

#[test]
fn plans_as_waves() {
    assert_snapshot!(plan::waves(at(60), Action::Start, &steps()));
    assert!(!plan::waves(at(60), Action::Kill, &steps()).contains("DELAY"));
    assert_eq!(plan::waves(at(60), Action::Start, &[]), "nothing to do\n");
    let json = serde_json::to_value(plan::json(&steps())).unwrap();
    assert_eq!(json[2], json!({"wave": 2, "name": "p3", "delay": 0.5, "reason": "required by p1"}));
}

#[test]
fn a_wave_stands_together_in_the_table_alone() {
    let mut mixed = steps();
    mixed.swap(0, 1);
    let table = |steps: &[PlannedStep]| plan::waves(at(80), Action::Start, steps);
    assert_eq!(table(&mixed), table(&steps()));
    assert_eq!(plan::list(Action::Start, &mixed), "p1 0\np2 5\np3 0.5\n");
    let json = serde_json::to_value(plan::json(&mixed)).unwrap();
    assert_eq!((&json[0]["name"], &json[0]["wave"]), (&json!("p1"), &json!(2)));
}

#[test]
fn jobs_and_their_summary() {
    let rows = [job(6, "failed", ""), job(7, "running", "waiting 3s after p2")];
    assert_snapshot!(super::job::list(at(80), &rows, now()));
    let followed = |outcomes: &[Outcome]| JobView {
        id: JobId(1),
        verb: "start".into(),
        state: JobState::Done,
        done: 0,
        total: 0,
        status: String::new(),
        results: outcomes.iter().enumerate().map(|(at, outcome)| (at.to_string(), outcome.clone())).collect(),
    };
    let mixed = followed(&[Outcome::Done, Outcome::Done, Outcome::Already, Outcome::Failed("x".into())]);
    assert_eq!(super::job::summary(Verb::Start, &mixed), "2 started, 1 already up, 1 failed");
    assert_eq!(
        super::job::summary(Verb::Stop, &followed(&[Outcome::Asked, Outcome::Canceled])),
        "1 asked, 1 canceled"
    );
    assert_eq!(super::job::summary(Verb::Kill, &followed(&[])), "nothing to do");
}

#[test]
fn findings_with_a_summary() {
    let web = GuestName::new("web").unwrap();
    let file = |line| Origin::line(std::path::Path::new("/var/lib/lxc/web/config"), line);
    let found = [
        Diagnostic::error(file(3), "lxc.start.order \"abc\" is no number").about(&web),
        Diagnostic::warning(file(9), "a comma in lxc.group\u{7} separates"),
    ];
    assert_snapshot!(findings(at(80), &found, 2));
    assert_eq!(findings(at(80), &[], 1), "0 errors, 0 warnings in 1 guest\n");
    let json = serde_json::to_value(finding::FindingJson::from(&found[0])).unwrap();
    let wanted = json!({"severity": "error", "file": "/var/lib/lxc/web/config", "line": 3, "guest": "web",
                        "message": "lxc.start.order \"abc\" is no number"});
    assert_eq!(json, wanted);
}

#[test]
fn values_with_their_origins() {
    let value = |key: &'static str, value: &str, line: Option<u32>| Effective {
        key: key.into(),
        value: value.into(),
        origin: line.map(|line| Origin::line(std::path::Path::new("/c"), line)),
    };
    let shown = values(&[value("start.auto", "true", Some(4)), value("stop.timeout", "\"1m\"", None)]);
    assert_eq!(shown, "start.auto = true    # /c:4\nstop.timeout = \"1m\"  # default\n");
}

#[test]
fn hostile_text_is_harmless() {
    assert_eq!(plain("a\u{1b}]0;x\u{7}\r\nb\u{202e}c"), "a\\u{1b}]0;x\\u{7}\\r b\\u{202e}c");
}
