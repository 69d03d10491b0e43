//! A command in many guests.

use serde_json::Value;

use super::{Terminal, host::Host, stderr, stdout};

const SCRIPT: &str =
    "read name </proc/sys/kernel/hostname; echo in $name; echo bad >&2; [ $name != b ] || exit 5";

fn three() -> Host {
    let host = Host::running("");
    host.guest("a", &["lxc.group = front,lxc.group = web", "lxc.group = web"]);
    host.guest("b", &["lxc.group = web"]);
    host.guest("c", &["lxc.group = data"]);
    host.guest("idle", &["lxc.group = web"]);
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "a", "b", "c"]);
    host
}

fn exec(host: &Host, arguments: &[&str], script: &str) -> (Option<i32>, String, String) {
    let output = host.guestctl(&[&["exec"], arguments, &["--", "/bin/sh", "-c", script]].concat());
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn one_after_the_other_and_where_it_failed_is_told() {
    let host = three();
    let (status, out, errors) = exec(&host, &["web"], SCRIPT);
    assert_eq!((status, &*out), (Some(2), "a:\nin a\nb:\nin b\n"));
    assert_eq!(errors, "bad\nbad\nguestctl: b: status 5\nguestctl: failed in 1 of 2 guests\n");
    let (status, out, _) = exec(&host, &["-g", "data,web", "-q"], "exit 0");
    assert_eq!((status, &*out), (Some(0), ""));
    let (status, _, errors) = exec(&host, &["-a"], "exit 3");
    assert_eq!(status, Some(1));
    assert!(errors.ends_with("guestctl: c: status 3\nguestctl: failed in 3 of 3 guests\n"), "{errors}");
    // Of those in groups only who runs is meant.
    let (status, out, errors) = exec(&host, &["c", "idle"], "echo here");
    assert_eq!((status, &*out), (Some(2), "here\n"));
    assert_eq!(errors, "guestctl: idle: does not run: it is down\nguestctl: failed in 1 of 2 guests\n");
    for (arguments, expected, part) in [
        (&["none"][..], 4, "no guest and no group is named \"none\""),
        (&["-g", "none"], 1, "no guest is in the group \"none\""),
        (&[], 2, "required"),
    ] {
        let (status, _, errors) = exec(&host, arguments, "true");
        assert_eq!(status, Some(expected), "{errors}");
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn side_by_side_each_line_has_its_guest() {
    let host = three();
    // Each waits for the others: one after the other it would take for ever.
    let meet = host.lxcpath().join(".root/tmp");
    let script = format!(
        "read name </proc/sys/kernel/hostname; echo >/tmp/$name.here; \
         until [ -e /tmp/a.here ] && [ -e /tmp/b.here ] && [ -e /tmp/c.here ]; do sleep 0.05; done; {SCRIPT}"
    );
    let (status, out, errors) = exec(&host, &["--parallel", "-a"], &script);
    assert!(meet.join("a.here").exists(), "they share their root");
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    assert_eq!((status, lines), (Some(2), vec!["a | in a", "b | in b", "c | in c"]), "{errors}");
    assert!(errors.contains("b | bad\n") && errors.contains("guestctl: b: status 5\n"), "{errors}");
    let (status, out, _) = exec(&host, &["--parallel=2", "-a", "-q"], "echo x; printf y");
    assert_eq!(
        (status, out.matches("x\n").count(), out.matches("y\n").count(), out.len()),
        (Some(0), 3, 3, 12)
    );
    assert_eq!(exec(&host, &["--parallel=0", "-a"], "true").0, Some(2));
}

#[test]
fn json_has_what_was_printed() {
    let host = three();
    let long = "i=0; while [ $i -lt 9000 ]; do echo 0123456789; i=$((i + 1)); done";
    let output =
        host.guestctl(&["exec", "-a", "idle", "--json", "--", "/bin/sh", "-c", &format!("{SCRIPT}; {long}")]);
    assert_eq!(output.status.code(), Some(2));
    let told: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let names: Vec<&str> = told.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["a", "b", "c", "idle"]);
    assert_eq!(
        (&told[1]["status"], &told[1]["stdout"], &told[1]["stderr"]),
        (&5.into(), &"in b\n".into(), &"bad\n".into())
    );
    assert_eq!((&told[0]["status"], &told[0]["truncated"]), (&0.into(), &true.into()));
    assert_eq!(told[0]["stdout"].as_str().map(str::len), Some(64 * 1024));
    assert_eq!((&told[3]["status"], &told[3]["error"]), (&Value::Null, &"does not run: it is down".into()));
}

#[test]
fn on_a_terminal_each_guest_has_it_in_turn() {
    let host = three();
    let script = "printf 'sure? '; read answer; echo got $answer";
    let mut terminal = Terminal::guestctl(&host, &["exec", "-g", "web", "--", "/bin/sh", "-c", script]);
    for (guest, answer) in [("a:", "yes"), ("b:", "no")] {
        terminal.until(guest);
        terminal.until("sure? ");
        terminal.types(&format!("{answer}\r"));
        terminal.until(&format!("got {answer}\n"));
    }
    assert_eq!(terminal.ended().code(), Some(0));
}
