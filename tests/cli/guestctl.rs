//! `guestctl` against guestd: exit statuses, JSON, what it prints.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::{
    fake::{Call, Fake, Frame, details_json, guest_json},
    program::{DEADLINE, PrivateBus, ended},
};

async fn with(script: Frame) -> (PrivateBus, Fake) {
    let bus = PrivateBus::start().await;
    let fake = Fake::appear(&bus, script).await;
    (bus, fake)
}

fn parsed(out: &str) -> Value {
    serde_json::from_str(out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[tokio::test]
async fn verbs_exit_with_0_1_2_and_4() {
    let (bus, fake) = with(Frame::over("done", &[("web", "done")])).await;
    for (line, status, out, told) in [
        (&["start", "web"][..], 0, "web: started\n", ""),
        (&["start", "nix"], 4, "", "guestctl: no guest is named \"nix\"\n"),
        (&["start", "nix", "web"], 4, "web: started\n", "guestctl: no guest is named \"nix\"\n"),
        (&["start", "forbidden", "nix"], 1, "", "org.guestd1.start is needed for this"),
        (&["start", "a/b"], 4, "", "holds '/'"),
        (&["start", "wep"], 4, "", "no guest is named \"wep\"; did you mean \"web\"?"),
        (&["status", "wep"], 4, "", "did you mean \"web\"?"),
        (&["start", "forbidden"], 1, "", "; run it as root (sudo)"),
        (&["start", "lost"], 1, "", "guestd no longer knows the job"),
        (&["stop", "web", "-t", "soon"], 2, "", "\"soon\" is not a number of seconds"),
        (&["start"], 2, "", "required"),
        (&["bogus"], 2, "", "bogus"),
        (&["status", "nix"], 4, "", "no guest is named \"nix\""),
        (&["cancel", "99"], 1, "", "no job has the number 99"),
    ] {
        let (got, printed, complained) = bus.run("guestctl", line).await;
        assert_eq!((got, printed.as_str()), (status, out), "{line:?}: {complained}");
        assert!(complained.contains(told), "{line:?}: {complained}");
    }
    assert_eq!(fake.calls.lock().unwrap().remove(0), Call::new("Start", "web", &[], &[]));
}

#[tokio::test]
async fn a_failed_job_exits_with_1_and_says_why() {
    let (bus, _fake) =
        with(Frame::over("failed", &[("db", "failed: no rootfs"), ("web", "failed: requires db")])).await;
    let (status, out, told) = bus.run("guestctl", &["start", "web"]).await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert_eq!(told, "guestctl: db: no rootfs\nguestctl: web: requires db\n");
    let (status, out, _) = bus.run("guestctl", &["start", "web", "nix", "--json"]).await;
    assert_eq!(status, 1);
    let answers = parsed(&out);
    assert_eq!(answers[0]["results"], json!({"db": "failed: no rootfs", "web": "failed: requires db"}));
    assert_eq!((&answers[0]["name"], &answers[0]["verb"]), (&json!("web"), &json!("start")));
    assert_eq!(answers[1]["error"], "no guest is named \"nix\"");
}

#[tokio::test]
async fn it_waits_unless_told_not_to() {
    let (bus, mut fake) = with(Frame::running("stopping", 1)).await;
    let (status, out, _) = bus.run("guestctl", &["stop", "web", "--no-block", "-t", "5"]).await;
    assert_eq!((status, out.as_str()), (0, "web: job 1 accepted\n"));
    assert_eq!(fake.calls.lock().unwrap().remove(0), Call::new("Stop", "web", &[], &["timeout=5"]));
    let child = bus.command("guestctl", &["stop", "web"]).spawn().unwrap();
    let job = fake.looked_at().await;
    fake.show(job, Frame::over("done", &[("web", "already")])).await;
    assert_eq!(ended(child).await, (0, "web: already down\n".into(), String::new()));
}

#[tokio::test]
async fn many_names_lose_no_result() {
    let (bus, fake) = with(Frame::over("done", &[])).await;
    let names = Vec::from_iter((0..150).map(|at| format!("g{at}")));
    let line = Vec::from_iter(["start"].into_iter().chain(names.iter().map(String::as_str)));
    let (status, out, told) = bus.run("guestctl", &line).await;
    assert_eq!((status, told.as_str()), (0, ""));
    assert_eq!(out, Vec::from_iter(names.iter().map(|name| format!("{name}: nothing to do\n"))).concat());
    let asked = Vec::from_iter(fake.calls.lock().unwrap().drain(..).map(|call| call.subject));
    assert_eq!(asked, names);
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
}

fn goes_on(job: u32) -> String {
    format!("stopped waiting; job {job} goes on, \"guestctl cancel {job}\" cancels it")
}

#[tokio::test]
async fn ctrl_c_tells_of_every_job() {
    let (bus, mut fake) = with(Frame::running("stopping", 1)).await;
    let mut child = bus.command("guestctl", &["stop", "nix", "a", "b", "c"]).spawn().unwrap();
    let jobs = [fake.looked_at().await, fake.looked_at().await, fake.looked_at().await];
    fake.show(jobs[0], Frame::over("done", &[("a", "done")])).await;
    let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(DEADLINE, printed.next_line()).await.unwrap().unwrap();
    assert_eq!(first.as_deref(), Some("a: stopped"), "it is told while the others go on");
    interrupt(&child);
    let (status, _, told) = ended(child).await;
    let (b, c) = (goes_on(jobs[1]), goes_on(jobs[2]));
    let nix = "guestctl: no guest is named \"nix\"\n";
    assert_eq!((status, told), (130, format!("{nix}guestctl: b: {b}\nguestctl: c: {c}\n")));
    assert_eq!(printed.next_line().await.unwrap(), None);
}

#[tokio::test]
async fn ctrl_c_leaves_json_with_every_job() {
    let (bus, mut fake) = with(Frame::running("stopping", 1)).await;
    let child = bus.command("guestctl", &["stop", "a", "nix", "b", "--json"]).spawn().unwrap();
    let jobs = [fake.looked_at().await, fake.looked_at().await];
    interrupt(&child);
    let (status, out, _) = ended(child).await;
    let (a, b) = (goes_on(jobs[0]), goes_on(jobs[1]));
    assert_eq!(status, 130);
    assert_eq!(
        parsed(&out),
        json!([
            {"name": "a", "verb": "stop", "job": jobs[0], "error": a},
            {"name": "nix", "verb": "stop", "job": null, "error": "no guest is named \"nix\""},
            {"name": "b", "verb": "stop", "job": jobs[1], "error": b},
        ])
    );
}

#[tokio::test]
async fn ctrl_c_before_all_is_asked_for_tells_what_was_begun() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let child = bus.command("guestctl", &["start", "web", "slow", "db", "lab", "--json"]).spawn().unwrap();
    let mut looked = [fake.looked_at().await, fake.looked_at().await];
    looked.sort_unstable();
    assert_eq!(looked, [0, 1]);
    interrupt(&child);
    let (status, out, told) = ended(child).await;
    assert_eq!(status, 130);
    let lines = Vec::from_iter(told.lines());
    let early = "guestctl: slow: interrupted before guestd answered";
    assert!(lines[0].starts_with("guestctl: web: stopped waiting; job 1 goes on"), "{told}");
    assert!(lines[1].starts_with(early), "{told}");
    assert_eq!(lines[2..], ["guestctl: guestd was not asked for the others: db, lab"]);
    let answers = parsed(&out);
    assert_eq!((&answers[0]["job"], &answers[1]["job"]), (&json!(1), &Value::Null));
    assert_eq!(
        answers[3],
        json!({"name": "lab", "verb": "start", "job": null, "error": "guestd was not asked"})
    );
}

#[tokio::test]
async fn a_daemon_that_vanishes_loses_no_answer() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let mut command = bus.command("guestctl", &["start", "web", "db", "--json"]);
    let child = command.env("GUESTD_PATIENCE", "0").spawn().unwrap();
    let _both = (fake.looked_at().await, fake.looked_at().await);
    fake.vanish().await;
    let (status, out, told) = ended(child).await;
    assert_eq!(status, 1);
    for (at, name) in [(0, "web"), (1, "db")] {
        let job = at + 1;
        let words = format!("guestctl: {name}: guestd went away while job {job} was running");
        assert!(told.lines().nth(at).is_some_and(|line| line.starts_with(&words)), "{told}");
        assert_eq!(parsed(&out)[at]["job"], json!(job), "{out}");
    }
}

#[tokio::test]
async fn a_daemon_that_comes_back_goes_on_with_each_job() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let child = bus.command("guestctl", &["start", "web", "db"]).spawn().unwrap();
    let _both = (fake.looked_at().await, fake.looked_at().await);
    fake.vanish().await;
    let _fake =
        Fake::appear_with(&bus, Frame::over("done", &[("web", "done"), ("db", "done")]), &[1, 2]).await;
    assert_eq!(ended(child).await, (0, "web: started\ndb: started\n".into(), String::new()));
}

#[tokio::test]
async fn lists_and_states_as_json_are_what_guestd_tells() {
    let (bus, _fake) = with(Frame::default()).await;
    let (status, out, _) = bus.run("guestctl", &["list", "--json"]).await;
    assert_eq!((status, parsed(&out)), (0, json!([guest_json()])));
    let (status, out, _) = bus.run("guestctl", &["status", "web", "--json"]).await;
    let mut details = details_json();
    // One from before an upgrade does not tell what guests use.
    details["usage"] = json!(null);
    assert_eq!((status, parsed(&out)), (0, details));
    let (_, out, _) = bus.run("guestctl", &["--json", "status"]).await;
    let daemon = parsed(&out);
    assert_eq!((&daemon["daemon"]["launcher"], &daemon["jobs"][0]["id"]), (&json!("direct"), &json!(1)));
    let (_, out, _) = bus.run("guestctl", &["jobs", "--json"]).await;
    assert_eq!(parsed(&out)[0]["status"], "starting web");
    let (_, out, _) = bus.run("guestctl", &["plan", "--json"]).await;
    assert_eq!(
        parsed(&out)[0],
        json!({"wave": 1, "name": "p2", "delay": 5, "reason": "in no group, order 100"})
    );
    let (_, out, _) = bus.run("guestctl", &["deps", "web", "--json"]).await;
    let db = json!({"name": "db", "phase": null, "requires": [], "wants": [], "after": []});
    assert_eq!((&parsed(&out)[0]["after"], &parsed(&out)[1]), (&json!(["db"]), &db));
    let (status, _, told) = bus.run("guestctl", &["deps", "wep"]).await;
    assert_eq!((status, told.contains("did you mean \"web\"?")), (4, true), "{told}");
    let (_, out, _) = bus.run("guestctl", &["reload", "--json"]).await;
    assert_eq!(parsed(&out), json!({"guests": 1, "findings": 0}));
}

#[tokio::test]
async fn lists_and_states_for_people() {
    let (bus, _fake) = with(Frame::default()).await;
    for (line, parts) in [
        (&["list"][..], &["NAME  PHASE   PID", "web   up     4711", "1s 500ms"][..]),
        (&["status", "web"], &["● web (lxc)", "Init PID: 4711", "Helper: asked reboot, answered restart ("]),
        (&["status"], &["● guestd 0.1.0", "1 up", "1 (start 0/2, starting web)", "root-only"]),
        (&["jobs"], &["JOB", "starting web"]),
        (&["jobs", "--no-legend"], &["1  start  running  0/2"]),
        (&["deps"], &["● web\n? └─after db (not defined)\n"]),
        (&["list-dependencies", "--reverse", "web"], &["● web\n"]),
        (&["plan", "-a"], &["WAVE", "p2", "in no group, order 100"]),
        (&["reload"], &["1 guest, 0 findings"]),
        (&["completions", "bash"], &["_guestctl"]),
    ] {
        let (status, out, told) = bus.run("guestctl", line).await;
        assert_eq!((status, told.as_str()), (0, ""), "{line:?}");
        assert!(parts.iter().all(|part| out.contains(part)), "{line:?}: {out}");
        assert!(line[0] == "completions" || !out.contains('\u{1b}'), "{line:?}: {out}");
    }
}

#[tokio::test]
async fn scripts_get_no_headings_and_old_locales_no_dots() {
    let (bus, _fake) = with(Frame::default()).await;
    let (_, out, _) = bus.run("guestctl", &["list", "--no-legend"]).await;
    assert!(out.starts_with("web  up  4711") && out.lines().count() == 1, "{out}");
    for (locale, first) in [("C", "* web (lxc)"), ("de_DE.ISO-8859-1", "* web"), ("en_GB.utf8", "● web")] {
        let mut command = bus.command("guestctl", &["status", "web"]);
        let (_, out, _) = ended(command.env("LC_ALL", locale).spawn().unwrap()).await;
        assert!(out.starts_with(first), "{locale}: {out}");
    }
}

#[tokio::test]
async fn cancel_reaches_the_job() {
    let (bus, fake) = with(Frame::running("stopping", 1)).await;
    bus.run("guestctl", &["stop", "web", "--no-block"]).await;
    let (status, out, _) = bus.run("guestctl", &["cancel", "1"]).await;
    assert_eq!((status, out.as_str()), (0, "job 1 canceled; what it had begun goes on\n"));
    assert_eq!(*fake.canceled.lock().unwrap(), [1]);
    let over = bus.run("guestctl", &["cancel", "7"]).await;
    let words = "guestctl: job 7 is over already: done\n";
    assert_eq!(over, (1, String::new(), words.into()));
    let over = bus.run("guestctl", &["cancel", "7", "--json"]).await;
    assert_eq!(over, (1, "{\"canceled\":false,\"job\":7}\n".into(), words.into()));
    assert_eq!(*fake.canceled.lock().unwrap(), [1]);
}

#[tokio::test]
async fn without_a_daemon_it_fails_with_what_to_do() {
    let bus = PrivateBus::start().await;
    for line in [&["list"][..], &["status"], &["start", "web"], &["jobs"], &["reload"], &["cancel", "1"]] {
        let (status, out, told) = bus.run("guestctl", line).await;
        assert_eq!((status, out.as_str()), (1, ""), "{line:?}");
        assert!(told.contains("start it with \"systemctl start guestd\""), "{line:?}: {told}");
    }
    let (status, _, told) = bus.run("guestctl", &["start", "web", "db", "lab"]).await;
    assert_eq!((status, told.lines().count()), (1, 2), "{told}");
    assert!(told.ends_with("guestctl: guestd was not asked for the others: db, lab\n"), "{told}");
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_accident() {
    let (bus, _fake) = with(Frame::default()).await;
    let mut child = bus.command("guestctl", &["list"]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(ended(child).await, (0, String::new(), String::new()));
}
