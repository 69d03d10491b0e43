//! What is stored of jobs, and found again.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::{
    model::{Instant, JobState, Order, Pressure, Timestamp, status::JobStatus},
    supervise::fleet::{Fleet, Rules},
};

fn now() -> Now {
    Now { instant: Instant(std::time::Duration::from_secs(100)), wall: Timestamp(1_000_000_000) }
}

fn job(id: u32) -> StoredJob {
    let step = |guest, after: &[usize]| {
        json!({"guest": guest, "wave": 1, "tier": 0, "after": after, "requires": [], "reason": "in no group",
               "delay": {"secs": 0, "nanos": 0}})
    };
    let job = json!({
        "version": 1, "id": id, "verb": "start", "wait": "configured", "started": 7,
        "steps": [step("a", &[]), step("b", &[0])], "settled": {"c": "already"}, "brings_up": [null, "web"],
    });
    serde_json::from_value(job).unwrap()
}

fn change(value: Value) -> Change {
    serde_json::from_value(value).unwrap()
}

fn over(place: usize) -> Change {
    change(json!({"steps": [[place, {"over": {"outcome": "done"}}]]}))
}

fn fleet() -> Fleet {
    let rules = Rules {
        order: Order::HighestFirst,
        max_starting: 0,
        pressure: Pressure::NONE,
        boot_groups: Vec::new(),
    };
    Fleet::new(rules, BTreeSet::new())
}

/// What the next daemon finds: its jobs, and the number of a new one.
fn found(runtime: &Path) -> (BTreeMap<JobId, Arc<JobStatus>>, JobId) {
    let (left, last) = Jobs::new(runtime).take_left(now());
    let mut fleet = fleet();
    fleet.restore(left, last, now());
    fleet.publish(&Arc::default());
    (fleet.published().jobs.clone(), last)
}

fn files(runtime: &Path) -> BTreeSet<String> {
    listed(&runtime.join("jobs")).unwrap().into_iter().collect()
}

#[test]
fn the_next_daemon_finds_what_was_stored_and_not_what_was_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(found(dir.path()), (BTreeMap::new(), JobId(0)));
    let mut jobs = Jobs::new(dir.path());
    jobs.record(vec![Record::Whole(job(1), Change::default()), Record::Whole(job(2), over(0))]);
    jobs.record(vec![Record::More(JobId(2), over(1)), Record::More(JobId(2), change(json!({"ended": 9})))]);
    jobs.record(vec![Record::Whole(job(3), Change::default()), Record::Forgotten(JobId(3))]);
    assert_eq!(files(dir.path()), ["1.jsonl", "2.jsonl"].map(String::from).into());
    let (left, last) = found(dir.path());
    // Nobody of it is defined any more.
    assert_eq!((left[&JobId(1)].state, left[&JobId(1)].done), (JobState::Failed, 3));
    let second = &left[&JobId(2)];
    assert_eq!(
        (second.state, second.done, second.total, second.ended),
        (JobState::Done, 3, 3, Some(Timestamp(9)))
    );
    assert_eq!((left.len(), last), (2, JobId(2)));
}

#[test]
fn what_a_killed_daemon_had_not_written_to_the_end_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = Jobs::new(dir.path());
    jobs.record(vec![Record::Whole(job(1), over(0)), Record::More(JobId(1), change(json!({"ended": 9})))]);
    let path = dir.path().join("jobs/1.jsonl");
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - whole.iter().rev().skip(1).position(|byte| *byte == b'\n').unwrap() - 1;
    for length in last..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (_, kept) = (found(dir.path()), files(dir.path()));
        assert_eq!(kept, ["1.jsonl".to_owned()].into(), "{length}");
    }
    fs::write(dir.path().join("jobs/.2.jsonl.4711"), "half").unwrap();
    let mut next = Jobs::new(dir.path());
    let (left, _) = next.take_left(now());
    assert_eq!(files(dir.path()), ["1.jsonl".to_owned()].into(), "its writer is gone");
    let mut fleet = fleet();
    fleet.restore(left, JobId(1), now());
    next.record(fleet.take_job_records(now()));
    assert!(fs::read(&path).unwrap().ends_with(b"\n"), "it is written whole again");
    assert_eq!(found(dir.path()).0[&JobId(1)].done, 3);
}

#[test]
fn what_cannot_be_used_is_kept_aside_and_costs_only_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let mut jobs = Jobs::new(dir.path());
    jobs.record(vec![Record::Whole(job(1), Change::default())]);
    let line = |id: u32, version: u32| {
        let mut value = serde_json::to_value(job(id)).unwrap();
        value["version"] = version.into();
        format!("{value}\n")
    };
    let twice = line(2, 1).replace("\"c\"", "\"a\"");
    for (name, text) in [
        ("2", twice),
        ("3", line(3, 2)),
        ("4", line(3, 1)),
        ("5", "no JSON\n".to_owned()),
        ("6", String::new()),
        ("7", line(7, 1) + "{}\n[\n{}\n"),
        ("8", "{\"version\":2}\n".to_owned()),
    ] {
        fs::write(dir.path().join(format!("jobs/{name}.jsonl")), text).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("jobs/9.jsonl")).unwrap();
    fs::create_dir(dir.path().join("jobs/10.jsonl")).unwrap();
    for _ in 0..2 {
        let (left, last) = found(dir.path());
        assert_eq!(left.keys().collect::<Vec<_>>(), [&JobId(1)]);
        assert_eq!(last, JobId(10), "no number is given twice");
    }
    let aside: BTreeSet<String> =
        (2..=10).map(|n| format!("{n}.jsonl.bad")).chain(["1.jsonl".into()]).collect();
    assert_eq!(files(dir.path()), aside);
    assert_eq!(fs::read_to_string(dir.path().join("jobs/5.jsonl.bad")).unwrap(), "no JSON\n");
}

#[test]
fn a_job_that_cannot_be_stored_ends_with_its_daemon_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("jobs"), "in the way").unwrap();
    let mut jobs = Jobs::new(dir.path());
    assert_eq!(jobs.take_left(now()).1, JobId(0));
    jobs.record(vec![Record::Whole(job(1), Change::default()), Record::More(JobId(1), over(0))]);
    fs::remove_file(dir.path().join("jobs")).unwrap();
    jobs.record(vec![Record::More(JobId(1), over(1)), Record::Whole(job(2), Change::default())]);
    fs::remove_file(dir.path().join("jobs/2.jsonl")).unwrap();
    jobs.record(vec![Record::More(JobId(2), over(0)), Record::Whole(job(3), Change::default())]);
    assert_eq!(files(dir.path()), ["3.jsonl".to_owned()].into());
}
