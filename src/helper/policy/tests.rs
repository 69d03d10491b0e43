//! What the policy decides, and that it survives being stored.

use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000;
/// Some moment in 2026.
const NOW: Timestamp = Timestamp(1_770_000_000 * SECOND);

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

fn policy(action: RebootAction) -> StoredPolicy {
    StoredPolicy {
        version: StoredPolicy::VERSION,
        guest: name("web"),
        action,
        limit: Limit { count: 5, window: Duration::from_secs(60) },
        restarts: 0,
        failures: Vec::new(),
        recent: Vec::new(),
        started_fingerprint: 7,
        stopping: false,
        follows: None,
        ready: None,
        unwanted: false,
        held: false,
        keeper: None,
        over: None,
    }
}

fn ago(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 - seconds * SECOND)
}

fn spooled(event: Event, decision: Decision, at: Timestamp) -> Spooled {
    Spooled { guest: name("web"), event, at, decision, reason: String::new(), tripped: None }
}

fn decision(policy: &StoredPolicy, spooled: &[Spooled], event: Event) -> Decision {
    match decide(Some(policy), spooled, event, NOW) {
        Verdict::Decided(answer) | Verdict::Tripped(answer, _) => answer.decision,
        Verdict::Script(path) => panic!("{} should not be asked", path.display()),
    }
}

#[test]
fn without_a_policy_nothing_is_decided() {
    let answer = |event| match decide(None, &[], event, NOW) {
        Verdict::Decided(answer) => answer.decision,
        verdict => panic!("{verdict:?}"),
    };
    for event in [Event::Reboot, Event::Declined, Event::Halt, Event::Poweroff, Event::Stop] {
        assert_eq!(answer(event), Decision::Ignore);
    }
}

#[test]
fn the_action_decides_a_reboot_and_nothing_else() {
    let restart = policy(RebootAction::Restart);
    assert_eq!(decision(&restart, &[], Event::Reboot), Decision::Restart);
    for event in [Event::Halt, Event::Poweroff, Event::Stop] {
        assert_eq!(decision(&restart, &[], event), Decision::Stop);
    }
    assert_eq!(decision(&policy(RebootAction::Stop), &[], Event::Reboot), Decision::Stop);
    let script = policy(RebootAction::Script("/etc/ask".into()));
    assert_eq!(decide(Some(&script), &[], Event::Reboot, NOW), Verdict::Script("/etc/ask".into()));
    assert_eq!(decision(&script, &[], Event::Halt), Decision::Stop);
}

#[test]
fn a_guest_that_is_stopping_or_held_stays_down() {
    for action in [RebootAction::Restart, RebootAction::Script("/x".into())] {
        let stopping = StoredPolicy { stopping: true, ..policy(action.clone()) };
        assert_eq!(decision(&stopping, &[], Event::Reboot), Decision::Stop);
        let held = StoredPolicy { held: true, ..policy(action) };
        assert_eq!(decision(&held, &[], Event::Reboot), Decision::Stop);
    }
}

#[test]
fn the_sixth_reboot_within_the_window_trips_the_guard() {
    let mut policy = policy(RebootAction::Restart);
    policy.recent = vec![ago(50), ago(40)];
    let mut requests = vec![
        spooled(Event::Reboot, Decision::Restart, ago(30)),
        spooled(Event::Reboot, Decision::Restart, ago(20)),
        spooled(Event::Reboot, Decision::Stop, ago(15)),
        spooled(Event::Halt, Decision::Stop, ago(14)),
    ];
    assert_eq!(decision(&policy, &requests, Event::Reboot), Decision::Restart, "the fifth");
    requests.push(spooled(Event::Reboot, Decision::Restart, ago(10)));
    let Verdict::Tripped(answer, limit) = decide(Some(&policy), &requests, Event::Reboot, NOW) else {
        panic!()
    };
    assert_eq!((answer.decision, limit), (Decision::Stop, policy.limit));
    assert!(answer.reason.contains("limit of 5/1m is used up"), "{}", answer.reason);
    policy.recent[0] = ago(60);
    assert_eq!(decision(&policy, &requests, Event::Reboot), Decision::Restart, "the first is a minute ago");
}

#[test]
fn a_clock_set_back_neither_panics_nor_counts_for_ever() {
    let mut policy = policy(RebootAction::Restart);
    policy.limit.count = 1;
    policy.recent = vec![Timestamp(NOW.0 + 3600 * SECOND), Timestamp(u64::MAX), Timestamp(0)];
    assert_eq!(decision(&policy, &[], Event::Reboot), Decision::Restart);
    policy.limit.window = Duration::MAX;
    assert_eq!(decision(&policy, &[], Event::Reboot), Decision::Stop);
    policy.limit.count = 0;
    policy.recent.clear();
    assert_eq!(decision(&policy, &[], Event::Reboot), Decision::Stop, "a limit of none allows none");
}

#[test]
fn a_policy_is_stored_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for action in [RebootAction::Restart, RebootAction::Stop, RebootAction::Script("/etc/ask".into())] {
        let keeper = Some(ProcessId { pid: 7, started: 1234 });
        let policy = StoredPolicy { recent: vec![ago(9), ago(3)], keeper, ..policy(action) };
        write(dir.path(), &policy).unwrap();
        assert_eq!(read(dir.path(), &name("web")).unwrap(), Some(policy));
    }
    assert_eq!(read(dir.path(), &name("db")).unwrap(), None);
    remove(dir.path(), &name("web")).unwrap();
    assert_eq!(read(dir.path(), &name("web")).unwrap(), None);
}

#[test]
fn a_policy_of_an_earlier_daemon_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("policy")).unwrap();
    let text = r#"{"version":1,"guest":"web","action":"stop","limit":{"count":5,"window":{"secs":60,"nanos":0}},
        "recent":[],"started_fingerprint":7,"stopping":false,"held":false}"#;
    std::fs::write(dir.path().join("policy/web.json"), text).unwrap();
    assert_eq!(read(dir.path(), &name("web")).unwrap(), Some(policy(RebootAction::Stop)));
}

#[test]
fn only_the_newest_reboots_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let many = StoredPolicy { recent: (0..10_000).map(ago).collect(), ..policy(RebootAction::Restart) };
    write(dir.path(), &many).unwrap();
    let kept = read(dir.path(), &name("web")).unwrap().unwrap().recent;
    assert_eq!(kept, [ago(4), ago(3), ago(2), ago(1), ago(0)]);
    let unbounded = StoredPolicy { limit: Limit { count: u32::MAX, ..many.limit }, ..many };
    write(dir.path(), &unbounded).unwrap();
    assert_eq!(read(dir.path(), &name("web")).unwrap().unwrap().recent.len(), RECENT_MAX);
}

#[test]
fn a_policy_of_another_form_or_guest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &StoredPolicy { version: 2, ..policy(RebootAction::Stop) }).unwrap();
    assert!(matches!(read(dir.path(), &name("web")), Err(PolicyError::Version { found: 2, .. })));
    std::fs::rename(dir.path().join("policy/web.json"), dir.path().join("policy/db.json")).unwrap();
    write(dir.path(), &policy(RebootAction::Stop)).unwrap();
    std::fs::rename(dir.path().join("policy/web.json"), dir.path().join("policy/db.json")).unwrap();
    assert!(matches!(read(dir.path(), &name("db")), Err(PolicyError::OtherGuest { .. })));
    std::fs::write(dir.path().join("policy/db.json"), vec![b' '; 200_000]).unwrap();
    assert!(matches!(
        read(dir.path(), &name("db")),
        Err(PolicyError::File { source: RecordError::TooLarge { .. }, .. })
    ));
}
