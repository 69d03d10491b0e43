//! Who may do what, with the real polkit.

use super::{
    boot::HOST,
    machine::{Host, Machine, guests, write},
};

const RULE: &str = r#"
polkit.addRule(function (action, subject) {
    if (action.id == "org.guestd1.stop" && subject.isInGroup("operators"))
        return polkit.Result.YES;
    if (action.id == "org.guestd1.attach" && subject.isInGroup("operators"))
        return action.lookup("guest") == "lab" ? polkit.Result.YES : polkit.Result.NO;
    if (action.id == "org.guestd1.reboot" && subject.isInGroup("operators") &&
        action.lookup("groups").split(",").indexOf("lab") >= 0)
        return polkit.Result.YES;
});
"#;

/// A host with an ordinary user, alice, and an operator, bob; and lab is up.
fn people() -> Machine {
    let machine = Machine::boot_with(|upper| {
        guests(upper, &HOST);
        write(upper, "etc/polkit-1/rules.d/50-operators.rules", RULE);
    });
    machine.sh("groupadd operators; useradd alice; useradd -G operators bob; guestctl start lab");
    machine
}

#[test]
fn an_ordinary_user_reads_and_an_operator_acts() {
    let machine = people();
    let run = |user: &str, argv: &[&str]| {
        let output = machine.run_with(&[&format!("--uid={user}")], argv);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run("alice", &["guestctl", "list"]).0, Some(0));
    let (status, told) = run("alice", &["autostart", "-s", "-a"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("org.guestd1.stop") && told.contains("run it as root (sudo)"), "{told}");
    assert_eq!(machine.phases(), "db up, lab up, mail up, web up");

    // A rule may look at the guest's groups.
    assert_eq!(run("bob", &["guestctl", "restart", "lab"]), (Some(0), String::new()));
    let (status, told) = run("bob", &["guestctl", "restart", "web"]);
    assert_eq!(status, Some(1));
    assert!(told.contains("org.guestd1.reboot"), "{told}");
    let (status, told) = run("bob", &["autostart", "-s", "-a"]);
    assert_eq!(status, Some(0), "{told}");
    assert_eq!(machine.phases(), "db down, lab up, mail down, web down");
}

const BOX: &str = "/bin/busybox";
/// Waits inside a guest until somebody takes it away.
const WAITS: &str = "echo >/tmp/inside; while [ -e /tmp/inside ]; do sleep 0.1; done; exit 6";

#[test]
fn an_operator_is_in_a_guest_in_a_unit_of_its_own() {
    let machine = people();
    let run = |user: &str, argv: &[&str]| {
        let output = machine.run_with(&[&format!("--uid={user}")], argv);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, out, told) = run("alice", &["guestctl", "attach", "lab", "--", "/bin/echo", "in"]);
    assert_eq!((status, &*out), (Some(1), ""));
    assert!(told.contains("guest lab: not authorised for org.guestd1.attach"), "{told}");
    let (status, _, told) = run("bob", &["guestctl", "attach", "web", "--", "/bin/echo", "in"]);
    assert!(status == Some(1) && told.contains("web: not authorised"), "{told}");
    let script = "echo out; echo err >&2; exit 7";
    let ended = run("bob", &["guestctl", "attach", "lab", "--", "/bin/sh", "-c", script]);
    assert_eq!(ended, (Some(7), "out\n".into(), "err\n".into()));
    // systemd-run makes one of two.
    let ended = run("bob", &["guestctl", "attach", "lab", "--", "/bin/sh", "-c", "kill -9 $$$$"]);
    assert_eq!(ended.0, Some(137));
    assert_eq!(run("bob", &["guestctl", "attach", "lab", "--", "/none"]).0, Some(127));

    session_has_a_terminal(&machine);
    session_has_a_unit(&machine, &run);
    session_ends_with_its_client(&machine);
}

/// Other programs than ours give it a terminal.
fn session_has_a_terminal(machine: &Machine) {
    let size = "stty rows 33 cols 77; exec guestctl attach lab -- /bin/busybox stty size";
    let shown = machine.sh(&format!("script -qec '{size}' /dev/null </dev/null"));
    assert!(shown.contains("33 77"), "{shown:?}");
    // The console of a guest that a unit keeps in the foreground.
    let shown =
        machine.sh("sleep 60 | timeout 60 script -qec 'guestctl console lab' /run/console >/dev/null & \
         until grep -q 'on the console' /run/console; do \
             guestctl attach lab -- /bin/sh -c 'echo on the console >/dev/console'; sleep 0.1; \
         done; pkill -TERM -x guestctl; cat /run/console");
    assert!(shown.contains("on the console"), "{shown}");
}

type Ended = (Option<i32>, String, String);

fn session_has_a_unit(machine: &Machine, run: &(impl Fn(&str, &[&str]) -> Ended + Sync)) {
    // While it runs it is in the guest's cgroup, and what got it there in a unit of its own.
    let (ended, unit) = std::thread::scope(|scope| {
        let session = scope.spawn(|| {
            run("bob", &["guestctl", "attach", "lab", "--", BOX, "timeout", "60", "/bin/sh", "-c", WAITS])
        });
        machine.wait("the session", "systemctl -q is-active 'guestd-session-lab-*.service'");
        let unit = machine.sh("systemctl show -p ControlGroup --value 'guestd-session-lab-*.service'");
        let processes = machine.sh("cat /sys/fs/cgroup/systemd/system.slice/guestd-session-lab-*.service/cgroup.procs \
            /sys/fs/cgroup/system.slice/guestd-session-lab-*.service/cgroup.procs 2>/dev/null | xargs -I{} cat /proc/{}/comm");
        assert!(processes.contains("guestctl") && !processes.contains("sleep"), "{processes}");
        machine.sh("guestctl attach lab -- /bin/busybox rm -f /tmp/inside");
        (session.join().expect("a session"), unit)
    });
    assert_eq!(ended.0, Some(6));
    assert!(unit.starts_with("/system.slice/guestd-session-lab-"), "{unit}");
    machine.wait("its end", "! systemctl list-units --all --no-legend 'guestd-session-*' | grep -q .");
    // Nothing of it is a failure, and the journal names who it was.
    assert_eq!(machine.sh("systemctl list-units --failed --no-legend"), "");
    let told = machine.sh("journalctl -u guestd -o cat; id -u bob");
    let uid = told.trim().lines().last().unwrap_or_default().to_owned();
    assert!(
        told.contains(&format!("lab: user {uid} attaches to it: {BOX}")) && !told.contains("exit 6"),
        "{told}"
    );
}

/// Whoever leaves takes it along.
fn session_ends_with_its_client(machine: &Machine) {
    machine.sh("cd /; (guestctl attach lab -- /bin/sleep 98765 & echo $! >/run/client; wait) & \
        until pgrep -fx '/bin/sleep 98765'; do sleep 0.05; done; pkill -KILL -F /run/client");
    machine.wait("the end of what ran there", "! pgrep -fx '/bin/sleep 98765'");
    machine.wait(
        "the end of its unit",
        "! systemctl list-units --all --no-legend 'guestd-session-*' | grep -q .",
    );
    let used = machine.sh("guestctl status lab --json");
    assert!(used.contains("\"usage\":{\"memory\":"), "{used}");
}
