//! An operator of a host whose guestd dies again and again. Who was not answered looks whether the request was taken.

use std::{
    process::{Command, Output},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::host::Host;

/// How long anything may take while daemons come and go.
pub const LONG: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// What a client says that was not answered.
const UNANSWERED: [&str; 2] = ["guestd is not running", "guestd did not answer"];

/// Reads JSON from `guestctl`, however often guestd goes away meanwhile.
pub fn read(host: &Host, arguments: &[&str]) -> Value {
    wait_for(host, &format!("{arguments:?}"), || {
        let output = host.guestctl(arguments);
        if output.status.success() {
            return Some(serde_json::from_slice(&output.stdout).expect("JSON"));
        }
        assert_is_unanswered(host, arguments, &output);
        None
    })
}

/// Waits until a guest's status is as it should be.
pub fn until(host: &Host, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let mut look = || {
        last = read(host, &["status", name, "--json"]);
        holds(&last).then(|| last.clone())
    };
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() >= deadline {
            panic!("{name} is never {what}: {last:#}");
        }
        sleep(PAUSE);
    }
}

/// Begins a job and waits for its end, once: a request that was not answered is made again only if it was not taken.
/// Answers whether the job has gone well.
pub fn ask(host: &Host, command: impl Fn() -> Command) -> bool {
    let deadline = Instant::now() + LONG;
    loop {
        let before = last_job(host);
        let output = command().env("GUESTD_PATIENCE", "60").output().expect("a client");
        if output.status.success() {
            return true;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let after = last_job(host);
        let is_unanswered = UNANSWERED.iter().any(|words| said.contains(words));
        if after > before {
            let state = ended(host, after);
            let is_told = !is_unanswered && state == "failed";
            assert!(is_unanswered || is_told, "job {after} is {state}, and its client says {said}");
            return state == "done";
        }
        assert!(is_unanswered, "{said}");
        assert!(Instant::now() < deadline, "nobody answers: {said}");
    }
}

/// The newest job's number.
fn last_job(host: &Host) -> u64 {
    let jobs = read(host, &["jobs", "--json"]);
    let numbers = jobs.as_array().expect("a list").iter().filter_map(|job| job["id"].as_u64());
    numbers.max().unwrap_or_default()
}

/// Waits for the end of a job; its state.
fn ended(host: &Host, id: u64) -> String {
    wait_for(host, &format!("the end of job {id}"), || {
        let jobs = read(host, &["jobs", "--json"]);
        let job = jobs.as_array().expect("a list").iter().find(|job| job["id"] == id);
        let state =
            job.unwrap_or_else(|| panic!("job {id} is lost: {jobs}"))["state"].as_str().expect("a word");
        (state != "running").then(|| state.to_owned())
    })
}

fn assert_is_unanswered(host: &Host, arguments: &[&str], output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    let is_it = UNANSWERED.iter().any(|words| said.contains(words));
    assert!(is_it, "guestctl {arguments:?} at {}: {said}", host.bus_address());
}

/// Waits until something is there.
pub fn wait_for<T>(host: &Host, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        let last = || host.guestctl(&["list"]).stdout;
        assert!(Instant::now() < deadline, "no {what}\n{}", String::from_utf8_lossy(&last()));
        sleep(PAUSE);
    }
}
