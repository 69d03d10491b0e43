//! The JSON objects, field by field.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::model::{
    self, Condition, EngineKind, GroupName, GuestName, Hold, JobId, JobState, Limit, Order, Outcome, Owner,
    Probe, RestartPolicy, Verb,
    status::{HelperReport, Upkeep},
};

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn web() -> GuestStatus {
    let (event, reason) = ("reboot".into(), "its policy says restart".into());
    let helper = HelperReport { event, decision: "restart", reason, at: Timestamp(1_700_000_000_000_000) };
    GuestStatus {
        last_words: Vec::new(),
        next_try: None,
        name: name("web"),
        engine: EngineKind::Lxc,
        phase: PhaseWord::Up,
        intent_up: true,
        ready: true,
        reason: String::new(),
        auto: Auto::Yes,
        order: 100,
        delay: Duration::from_secs(5),
        groups: [GroupName::new("onboot").unwrap()].into(),
        after: Arc::new([]),
        wants: Arc::new([]),
        requires: [name("db")].into(),
        init_pid: Some(4711),
        since: Some(Timestamp(1_700_000_000_123_456)),
        restarts: 2,
        adopted: false,
        held: None,
        owner: Owner::Guestd,
        history: Arc::new([]),
        helper: Some(helper),
        deciding: None,
        lxcpath: Some(Arc::from(std::path::Path::new("/srv/lxc"))),
        config_changed: true,
        upkeep: Upkeep {
            policy: RestartPolicy::OnFailure,
            limit: Limit { count: 5, window: Duration::from_secs(300) },
            failures: vec![Timestamp(1_700_000_000_000_000)],
            ready: Condition::Notify,
            health: Some(model::Health::new(Probe::File("/run/well".into()))),
            ill: 1,
        },
    }
}

#[test]
fn a_hold_an_owner_and_past_ends_are_told() {
    let hold = Hold { reason: "disk full".into(), since: Timestamp(0), until: Some(Timestamp(1_000_000)) };
    let history = [model::PastEnd { at: Timestamp(1), how: "stopped with the host".into() }].into();
    let held = GuestStatus { held: Some(hold), owner: Owner::Cluster, history, ..web() };
    let value = serde_json::to_value(GuestDetails::from(&held)).unwrap();
    assert_eq!(value["held"], "disk full");
    assert_eq!(value["held_since"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(value["held_until"], "1970-01-01T00:00:01.000000Z");
    assert_eq!(value["owner"], "cluster");
    assert_eq!(
        value["history"],
        json!([{"at": "1970-01-01T00:00:00.000001Z", "how": "stopped with the host"}])
    );
    let text = value.to_string();
    assert_eq!(serde_json::from_str::<GuestDetails<'_>>(&text).unwrap(), GuestDetails::from(&held));
}

#[test]
fn a_guest_in_a_list_has_what_the_contract_names_and_its_hold() {
    let up = serde_json::to_value(Guest::from(&web())).unwrap();
    let expected = json!({
        "name": "web", "engine": "lxc", "phase": "up", "intent": "up", "ready": true, "reason": "",
        "auto": true, "order": 100, "delay": 5, "groups": ["onboot"], "init_pid": 4711,
        "since": "2023-11-14T22:13:20.123456Z", "next_try": null, "restarts": 2,
        "after": [], "wants": [], "requires": ["db"],
        "held": null, "held_until": null,
    });
    assert_eq!(up, expected);
    let down = GuestStatus {
        phase: PhaseWord::Down,
        intent_up: false,
        auto: Auto::LastState,
        delay: Duration::from_millis(1500),
        groups: Arc::new([]),
        init_pid: None,
        since: None,
        next_try: Some(Timestamp(1_700_000_001_000_000)),
        ..web()
    };
    let down = serde_json::to_value(Guest::from(&down)).unwrap();
    assert_eq!((&down["delay"], &down["auto"]), (&json!(1.5), &json!("last-state")));
    assert_eq!(down["intent"], json!("down"));
    assert_eq!([&down["init_pid"], &down["since"]], [&Value::Null, &Value::Null]);
    assert_eq!(down["next_try"], json!("2023-11-14T22:13:21.000000Z"));
    assert_eq!(down["groups"], json!([]));
    let text = down.to_string();
    assert_eq!(serde_json::from_str::<Guest>(&text).unwrap().auto, Auto::LastState);
}

#[test]
fn a_guest_by_itself_has_more() {
    let guest = web();
    let text = serde_json::to_string(&GuestDetails::from(&guest)).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["name"], json!("web"));
    assert_eq!(value["requires"], json!(["db"]));
    assert_eq!(value["lxcpath"], json!("/srv/lxc"));
    assert_eq!(value["config_changed"], json!(true));
    assert_eq!(value["held"], Value::Null);
    assert_eq!([&value["restart_policy"], &value["restart_limit"]], [&json!("on-failure"), &json!("5/5m")]);
    assert_eq!(value["failures"], json!(["2023-11-14T22:13:20.000000Z"]));
    assert_eq!(value["ready_when"], json!("notify"));
    let health =
        json!({"probe": "file /run/well", "interval": 10, "threshold": 3, "action": "report", "failed": 1});
    assert_eq!(value["health"], health);
    assert_eq!(value["required_by"], json!([]));
    let helper = json!({
        "event": "reboot", "decision": "restart", "reason": "its policy says restart",
        "at": "2023-11-14T22:13:20.000000Z",
    });
    assert_eq!(value["helper"], helper);
    assert_eq!(serde_json::from_str::<GuestDetails>(&text).unwrap(), GuestDetails::from(&guest));
}

#[test]
fn a_guest_knows_those_that_require_it() {
    let (web, db) = (web(), GuestStatus { name: name("db"), requires: Arc::new([]), ..web() });
    let guests = [web, db.clone()].map(|guest| (guest.name.clone(), Arc::new(guest))).into();
    assert_eq!(GuestDetails::from(&db).among(&guests).required_by, ["web"]);
}

#[test]
fn a_host_is_read_back_as_it_was_written() {
    let job = JobStatus {
        id: JobId(3),
        verb: Verb::Start,
        state: JobState::Failed,
        done: 2,
        total: 2,
        status: String::new(),
        guests: Arc::new([name("db"), name("web")]),
        results: [(name("db"), Outcome::Failed("no rootfs".into())), (name("web"), Outcome::Done)].into(),
        started: Timestamp(0),
        ended: Some(Timestamp(u64::MAX)),
    };
    let snapshot = Snapshot {
        guests: [(name("web"), Arc::new(web()))].into(),
        jobs: [(job.id, Arc::new(job))].into(),
        daemon: Arc::new(DaemonStatus {
            launcher: "direct".into(),
            order: Order::LowestFirst,
            max_starting: 4,
            lxcpaths: vec!["/srv/lxc".into()],
            ..Default::default()
        }),
    };
    let host = Host::new(&snapshot, "polkit");
    let text = serde_json::to_string(&host).unwrap();
    assert_eq!(serde_json::from_str::<Host>(&text).unwrap(), host);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["jobs"][0]["results"], json!({"db": "failed: no rootfs", "web": "done"}));
    assert_eq!(value["jobs"][0]["ended"], json!("9999-12-31T23:59:59.999999Z"));
    assert_eq!(value["daemon"]["order"], json!("lowest-first"));
    assert_eq!([&value["daemon"]["guests_up"], &value["daemon"]["guests_failed"]], [&json!(1), &json!(0)]);
}
