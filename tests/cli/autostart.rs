//! `autostart` against guestd: exit statuses, waiting, what it prints.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{
    fake::{Call, Fake, Frame},
    program::{DEADLINE, PrivateBus, ended},
};

async fn with(script: Frame) -> (PrivateBus, Fake) {
    let bus = PrivateBus::start().await;
    let fake = Fake::appear(&bus, script).await;
    (bus, fake)
}

#[tokio::test]
async fn the_exit_status_tells_all_some_and_none_apart() {
    for (state, results, status, told) in [
        ("done", &[("p1", "done"), ("p2", "already")][..], 0, "autostart: 1 started, 1 already up\n"),
        ("done", &[], 0, "autostart: nothing to do\n"),
        (
            "failed",
            &[("p1", "failed: no rootfs"), ("p2", "done")],
            2,
            "autostart: p1: no rootfs\nautostart: 1 started, 1 failed\n",
        ),
        ("failed", &[("p1", "failed: no rootfs")], 1, "autostart: p1: no rootfs\nautostart: 1 failed\n"),
        (
            "canceled",
            &[("p1", "done"), ("p2", "canceled")],
            2,
            "autostart: p2: not done: job 1 was canceled before its turn\nautostart: 1 started, 1 canceled\n",
        ),
        (
            "failed",
            &[("p2", "canceled")],
            1,
            "autostart: p2: given up: a later request took its place; \"guestctl jobs\" shows it\n\
             autostart: 1 canceled\n",
        ),
    ] {
        let (bus, _fake) = with(Frame::over(state, results)).await;
        assert_eq!(bus.run("autostart", &["-a"]).await, (status, String::new(), told.into()), "{results:?}");
    }
}

#[tokio::test]
async fn it_waits_for_the_job_by_its_signals() {
    let (bus, mut fake) = with(Frame::running("starting p2", 2)).await;
    let mut child = bus.command("autostart", &["-a", "--progress"]).spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(DEADLINE, told.next_line()).await.unwrap().unwrap();
    let job = fake.looked_at().await;
    assert_eq!(next().await.as_deref(), Some("autostart: 0/2 starting p2"));
    let second = Frame { progress: (1, 2), results: vec![("p2", "done")], ..Frame::running("waiting 5s", 2) };
    fake.show(job, second).await;
    assert_eq!(next().await.as_deref(), Some("autostart: 1/2 waiting 5s"));
    assert_eq!(next().await.as_deref(), Some("autostart: 1/2 p2: done"));
    fake.show(job, Frame::over("failed", &[("p1", "failed: no\u{1b}[1m rootfs"), ("p2", "done")])).await;
    for line in ["2/2 p1: failed: no\\u{1b}[1m rootfs", "p1: no\\u{1b}[1m rootfs", "1 started, 1 failed"] {
        assert_eq!(next().await, Some(format!("autostart: {line}")));
    }
    assert_eq!((next().await, ended(child).await.0), (None, 2));
}

#[tokio::test]
async fn many_changes_at_once_do_not_stop_it() {
    let (bus, mut fake) = with(Frame::running("", 1)).await;
    let child = bus.command("autostart", &["-a"]).spawn().unwrap();
    let job = fake.looked_at().await;
    for _ in 0..300 {
        fake.show(job, Frame::running("still going", 1)).await;
    }
    fake.show(job, Frame::over("done", &[("p1", "done")])).await;
    assert_eq!(ended(child).await.0, 0);
}

#[tokio::test]
async fn options_arrive_as_the_interface_wants_them() {
    let (bus, fake) = with(Frame::over("done", &[])).await;
    for (line, call) in [
        (&[][..], Call::new("Autostart", "start", &[], &[])),
        (&["-a"], Call::new("Autostart", "start", &[], &["all=true"])),
        (
            &["-A", "-g", "dns,,web"],
            Call::new("Autostart", "start", &["dns", "", "web"], &["ignore-auto=true"]),
        ),
        (&["-s", "-t", "-1"], Call::new("Autostart", "shutdown", &[], &["timeout=-1"])),
        (&["-k", "-P", "/x"], Call::new("Autostart", "kill", &[], &["lxcpath=\"/x\""])),
        (&["-rg", "ubuntu", "-t", "9"], Call::new("Autostart", "reboot", &["ubuntu"], &[])),
        (&["--boot"], Call::new("Autostart", "start", &[], &["boot=true"])),
        (&["-L", "-s", "-a"], Call::new("Plan", "shutdown", &[], &["all=true"])),
        (&["-L", "-P", "/usr/../tmp/"], Call::new("Plan", "start", &[], &["lxcpath=\"/tmp\""])),
        (&["--plan"], Call::new("Plan", "start", &[], &[])),
    ] {
        let (status, _, told) = bus.run("autostart", line).await;
        assert_eq!(status, 0, "{line:?}: {told}");
        assert_eq!(fake.calls.lock().unwrap().pop(), Some(call), "{line:?}");
    }
}

#[tokio::test]
async fn lists_and_plans() {
    let (bus, _fake) = with(Frame::default()).await;
    for (line, out) in [
        (&["-L", "-a"][..], "p2 5\np1 0\n"),
        (&["-L", "-q"], "p2 5\np1 0\n"),
        (&["-L", "-s"], "p2\np1\n"),
        (&["-L", "-k"], "p2\np1\n"),
        (&["-L", "-r"], "p2 5\np1 0\n"),
        (
            &["--plan"],
            "WAVE  NAME  DELAY  REASON\n   1  p2    5s     in no group, order 100\n   2  p1    -      group ubuntu\n",
        ),
        (
            &["-L", "--json"],
            "[{\"wave\":1,\"name\":\"p2\",\"delay\":5,\"reason\":\"in no group, order 100\"},\
             {\"wave\":2,\"name\":\"p1\",\"delay\":0,\"reason\":\"group ubuntu\"}]\n",
        ),
    ] {
        assert_eq!(bus.run("autostart", line).await, (0, out.into(), String::new()), "{line:?}");
    }
}

#[tokio::test]
async fn a_list_of_an_lxcpath_that_guestd_does_not_manage_is_made_from_the_configuration() {
    let (bus, _fake) = with(Frame::default()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("other")).unwrap();
    std::fs::write(folder.path().join("other/config"), "lxc.start.auto = 1\nlxc.start.delay = 3\n").unwrap();
    let path = folder.path().to_str().unwrap();
    for (line, told) in [
        (&["-L", "-a", "-P", path][..], (0, "other 3\n".into(), String::new())),
        (&["-L", "-a", "-P", "/tmp"], (0, "p2 5\np1 0\n".into(), String::new())),
    ] {
        let command = [line, &["--config-dir", path, "--runtime-dir", path]].concat();
        assert_eq!(bus.run("autostart", &command).await, told, "{line:?}");
    }
    let (status, _, told) = bus.run("autostart", &["--plan", "-P", path]).await;
    assert_eq!((status, told.as_str()), (1, "autostart: that lxcpath is not managed by guestd\n"));
}

#[tokio::test]
async fn ctrl_c_stops_waiting_only() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let child = bus.command("autostart", &["-a"]).spawn().unwrap();
    let job = fake.looked_at().await;
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), Signal::SIGINT).unwrap();
    let (status, _, told) = ended(child).await;
    assert_eq!(status, 130);
    assert_eq!(
        told,
        format!("autostart: stopped waiting; job {job} goes on, \"guestctl cancel {job}\" cancels it\n")
    );
    assert!(fake.canceled.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_daemon_that_does_not_come_back_is_an_error() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let child = bus.command("autostart", &["-a"]).env("GUESTD_PATIENCE", "1").spawn().unwrap();
    fake.looked_at().await;
    fake.vanish().await;
    let (status, _, told) = ended(child).await;
    assert_eq!(status, 1);
    assert!(told.starts_with("autostart: guestd went away while job 1 was running"), "{told}");
}

#[tokio::test]
async fn a_daemon_that_comes_back_with_the_job_is_waited_for() {
    let (bus, mut fake) = with(Frame::running("starting", 1)).await;
    let child = bus.command("autostart", &["-a", "--progress"]).spawn().unwrap();
    fake.looked_at().await;
    fake.vanish().await;
    for _ in 0..2 {
        let mut fake = Fake::appear_with(&bus, Frame::running("starting", 1), &[1]).await;
        fake.looked_at().await;
        fake.vanish().await;
    }
    let mut fake = Fake::appear_with(&bus, Frame::running("starting", 1), &[1]).await;
    fake.looked_at().await;
    fake.show(1, Frame::over("done", &[("p1", "done")])).await;
    let (status, _, told) = ended(child).await;
    assert_eq!(status, 0, "{told}");
    assert!(
        told.contains(
            "autostart: guestd went away; waiting for it to come back\nautostart: guestd is back\n"
        ),
        "{told}"
    );
    assert!(fake.calls.lock().unwrap().is_empty(), "nothing is asked for again");
}

#[tokio::test]
async fn a_daemon_that_comes_back_without_the_job_is_an_error() {
    let other = Frame { started: 7, ..Frame::over("done", &[("p1", "done")]) };
    for (known, script) in [(&[][..], Frame::default()), (&[1], other)] {
        let (bus, mut fake) = with(Frame::running("starting", 1)).await;
        let child = bus.command("autostart", &["-a"]).spawn().unwrap();
        fake.looked_at().await;
        fake.vanish().await;
        let _fake = Fake::appear_with(&bus, script, known).await;
        let (status, _, told) = ended(child).await;
        assert_eq!(status, 1, "{told}");
        assert!(told.starts_with("autostart: guestd no longer knows the job"), "{told}");
    }
}

#[tokio::test]
async fn no_daemon_and_no_bus_are_told_with_what_to_do() {
    let bus = PrivateBus::start().await;
    for (line, parts) in [
        (&["-a"][..], &["guestd is not running", "systemctl start guestd"][..]),
        (&["-L"], &["\"-L -P PATH\"", "guestd is not running"]),
    ] {
        let (status, out, told) = bus.run("autostart", line).await;
        assert_eq!((status, out.as_str()), (1, ""), "{line:?}");
        assert!(parts.iter().all(|part| told.contains(part)), "{line:?}: {told}");
    }
    let mut command = bus.command("autostart", &["-a"]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
    let (status, _, told) = ended(command.spawn().unwrap()).await;
    assert_eq!(status, 1);
    assert!(told.starts_with("autostart: cannot connect to the system bus"), "{told}");
}

#[tokio::test]
async fn wrong_requests_exit_with_1() {
    let bus = PrivateBus::start().await;
    for line in
        [&["--bogus"][..], &["-t", "soon"], &["-g", "a/b"], &["-P", "/a", "-P", "/b"], &["--boot", "-s"]]
    {
        let (status, out, told) = bus.run("autostart", line).await;
        assert_eq!((status, out.as_str()), (1, ""), "{line:?}");
        assert!(!told.is_empty());
    }
}

#[tokio::test]
async fn help_goes_to_standard_output_but_for_the_question_mark() {
    let bus = PrivateBus::start().await;
    let (status, out, told) = bus.run("autostart", &["-?"]).await;
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(told.contains("--ignore-auto"), "{told}");
    for (line, part) in
        [(&["-h"][..], "--ignore-auto"), (&["--usage"], "Usage:"), (&["--version"], "autostart ")]
    {
        let (status, out, told) = bus.run("autostart", line).await;
        assert_eq!((status, told.as_str()), (0, ""), "{line:?}");
        assert!(out.contains(part), "{out}");
    }
}

#[tokio::test]
async fn no_block_json_and_quiet() {
    let (bus, _fake) = with(Frame::over("failed", &[("p1", "failed: no rootfs"), ("p2", "done")])).await;
    let (status, out, _) = bus.run("autostart", &["--no-block", "--json"]).await;
    assert_eq!((status, out.as_str()), (0, "{\"job\":1}\n"));
    let (status, out, told) = bus.run("autostart", &["--json", "-q"]).await;
    assert_eq!((status, told.as_str()), (2, "autostart: p1: no rootfs\n"));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json["results"]["p1"], "failed: no rootfs");
    assert_eq!((&json["state"], &json["total"]), (&"failed".into(), &2.into()));
}

#[tokio::test]
async fn all_with_groups_warns_and_the_log_tells_what_was_done() {
    let (bus, _fake) = with(Frame::over("failed", &[("p1", "failed: no rootfs"), ("p2", "done")])).await;
    let folder = tempfile::tempdir().unwrap();
    let (all, errors) = (folder.path().join("all"), folder.path().join("errors"));
    let (_, _, told) = bus.run("autostart", &["-a", "-g", "x", "-o", all.to_str().unwrap()]).await;
    assert!(told.starts_with("autostart: -a (all) and -g (groups) contradict"), "{told}");
    bus.run("autostart", &["-o", errors.to_str().unwrap(), "-l", "ERROR"]).await;
    let logged = |path| std::fs::read_to_string(path).unwrap();
    let all = logged(all);
    assert!(all.contains("WARN     -a (all)") && all.contains("INFO     job 1 Autostart p2: done"), "{all}");
    let errors = logged(errors);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.trim_end().ends_with("ERROR    job 2 Autostart p1: failed: no rootfs"), "{errors}");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_changes_neither_the_result_nor_the_exit_status() {
    let (bus, _fake) = with(Frame::over("failed", &[("p1", "failed: no rootfs"), ("p2", "done")])).await;
    let full = "autostart: cannot write the log /dev/full: No space left on device (os error 28)\n";
    let told = format!("autostart: p1: no rootfs\nautostart: 1 started, 1 failed\n{full}");
    assert_eq!(bus.run("autostart", &["-o", "/dev/full"]).await, (2, String::new(), told));
    let (status, out, told) =
        bus.run("autostart", &["-o", "/dev/full", "--json", "-q", "-a", "-g", "x"]).await;
    assert_eq!((status, told), (2, format!("{full}autostart: p1: no rootfs\n")));
    assert!(out.starts_with("{\"done\":2,"), "{out}");
    let left = bus.run("autostart", &["-o", "/dev/full", "--no-block", "--json"]).await;
    assert_eq!(left, (0, "{\"job\":3}\n".into(), full.into()));
    let (status, _, told) = bus.run("autostart", &["-o", "/dev/full", "--no-block"]).await;
    assert_eq!(status, 0);
    assert!(told.starts_with("autostart: job 4 accepted") && told.ends_with(full), "{told}");
}

#[tokio::test]
async fn a_list_takes_one_call() {
    let (bus, fake) = with(Frame::default()).await;
    assert_eq!(bus.run("autostart", &["-L", "-a"]).await.0, 0);
    assert_eq!(*fake.calls.lock().unwrap(), [Call::new("Plan", "start", &[], &["all=true"])]);
}
