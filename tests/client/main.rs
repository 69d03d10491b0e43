//! The clients as an administrator uses them, on real containers: what they print, how they exit, what they promise to
//! scripts.

#[path = "../host/mod.rs"]
mod host;
mod terminal;

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use host::{Host, executable};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

const AUTO: &str = "lxc.start.auto = 1";
/// Its init does not know this signal, so it goes on.
const DEAF: &str = "lxc.signal.halt = SIGWINCH";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Replaces what differs from run to run and from host to host: times, process ids, paths, versions, LXC's words.
fn masked(host: &Host, mut value: Value) -> Value {
    fn walk(value: &mut Value, dir: &str) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| walk(item, dir)),
            Value::Object(fields) => {
                for (key, field) in fields {
                    let is_time = ["since", "started", "ended", "at"].contains(&key.as_str());
                    let is_counted = key == "usage" && field.is_object();
                    for number in is_counted.then(|| field.as_object_mut()).flatten().into_iter().flatten() {
                        // A host may count nothing, and limit nothing.
                        *number.1 = "<number>".into();
                    }
                    let is_of_host = ["version", "launcher"].contains(&key.as_str());
                    if (is_time && field.is_string()) || (key == "init_pid" && field.is_i64()) || is_of_host {
                        *field = format!("<{key}>").into();
                    }
                    walk(field, dir);
                }
            }
            Value::String(text) => {
                *text = text.replace(dir, "<dir>");
                let lxc = text.find("with lxc-start: ").map(|at| at + "with lxc-start: ".len());
                if let Some(at) = lxc {
                    text.replace_range(at.., "<LXC's words>");
                }
            }
            _ => {}
        }
    }
    walk(&mut value, &host.at("").display().to_string());
    value
}

fn json_of(host: &Host, arguments: &[&str]) -> Value {
    let output = host.guestctl(arguments);
    masked(host, parsed(&String::from_utf8_lossy(&output.stdout)))
}

fn ended(mut child: Child) -> Output {
    host::wait_for("the client to end", || child.try_wait().expect("a look"));
    child.wait_with_output().expect("its output")
}

#[test]
fn the_times_of_a_stop_mean_what_they_say() {
    let host = Host::running("");
    host.guest("deaf", &[AUTO, DEAF]);
    host.guest("manual", &[]);
    host.guestctl_ok(&["start", "deaf", "manual"]);

    let asked = parsed(&host.autostart_ok(&["-s", "-t", "0", "--json"]));
    assert_eq!(asked["results"], json!({"deaf": "asked"}), "manual has no start.auto");
    assert!(host.lxc_init_pid("deaf").is_some(), "it is only asked");
    let status = host.guestctl_ok(&["status", "deaf"]);
    assert!(status.contains("Next: \"guestctl kill deaf\" does not wait for it"), "{status}");

    let began = Instant::now();
    host.autostart_ok(&["-s", "-t", "1"]);
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    assert_eq!(host.lxc_init_pid("deaf"), None);

    host.guestctl_ok(&["start", "deaf"]);
    let waits = host.command(env!("CARGO_BIN_EXE_autostart")).args(["-s", "-t", "-1"]).spawn().expect("it");
    host.until_phase("deaf", "stopping");
    host.autostart_ok(&["-k"]);
    assert!(ended(waits).status.success());
    assert_eq!(host.in_phase("up"), ["manual"]);
    host.autostart_ok(&["-s", "-A"]);
    assert_eq!(host.in_phase("up"), [] as [&str; 0], "-A is also for those without start.auto");
}

#[test]
fn an_lxcpath_selects_and_lists_its_own() {
    let mut host = Host::new("");
    let other = host.at("other");
    std::fs::create_dir(&other).expect("a folder");
    let settings =
        |paths: &str| std::fs::write(host.at("etc/guestd.toml"), format!("[lxc]\npath = [{paths}]\n"));
    settings(&format!("{:?}, {other:?}", host.lxcpath())).expect("settings");
    host.guest("here", &[AUTO]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/make-guest");
    assert!(Command::new(script).arg(&other).args(["there", AUTO]).status().expect("it").success());
    host.start_daemon();
    let (here, there) = (host.lxcpath().display().to_string(), other.display().to_string());

    let refused = host.autostart(&["-P", "/nonexistent"]);
    assert_eq!(refused.status.code(), Some(1));
    let told = stderr(&refused);
    assert!(["/nonexistent", &here, &there].iter().all(|path| told.contains(*path)), "{told}");

    host.autostart_ok(&["-P", &there]);
    assert_eq!(host.in_phase("up"), ["there"]);
    host.guestctl_ok(&["kill", "there"]);
    host.autostart_ok(&["-P", &format!("{here}/")]);
    assert_eq!(host.in_phase("up"), ["here"]);

    host.kill_daemon();
    for (arguments, listed) in
        [(&["-L"][..], ""), (&["-L", "-s"], "here\n"), (&["-L", "-r"], "here 0\n"), (&["-L", "-k"], "here\n")]
    {
        assert_eq!(host.autostart_ok(&[arguments, &["-P", &here]].concat()), listed, "{arguments:?}");
    }
    assert_eq!(host.autostart_ok(&["-L", "-P", &there]), "there 0\n");
    assert_eq!(host.autostart_ok(&["-L", "-s", "-P", &there]), "");
}

#[test]
fn a_second_boot_says_why_it_does_nothing_and_what_does() {
    let host = Host::running("");
    host.guest("bad", &[AUTO, "lxc.group = onboot", "lxc.hook.pre-start = /bin/false"]);
    host.guest("web", &[AUTO, "lxc.group = onboot"]);
    assert_eq!(host.autostart(&["--boot"]).status.code(), Some(2));
    host.guestctl_ok(&["kill", "web"]);
    let again = host.autostart(&["--boot"]);
    assert!(again.status.success());
    let told = stderr(&again);
    assert!(told.contains("nothing to do: the boot groups were brought up before"), "{told}");
    assert!(told.contains("\"autostart -g GROUP\" starts what is down in a group"), "{told}");
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
    let tried = host.autostart(&["-g", "onboot"]);
    assert_eq!(tried.status.code(), Some(2), "what failed is tried again: {}", stderr(&tried));
    assert_eq!(host.in_phase("up"), ["web"]);
}

#[test]
fn ctrl_c_leaves_a_job_that_can_be_seen_and_canceled() {
    let host = Host::running("");
    host.guest("first", &[AUTO, "lxc.start.delay = 300", "lxc.start.order = 9"]);
    host.guest("second", &[AUTO]);
    host.guest("zero", &[AUTO, "lxc.start.order = 10"]);
    let mut client = host.command(env!("CARGO_BIN_EXE_autostart"));
    let client = client.stderr(Stdio::piped()).spawn().expect("autostart");
    let job = host::wait_for("the delay", || {
        let jobs = parsed(&host.guestctl_ok(&["jobs", "--json"]));
        jobs.as_array()?.iter().find(|job| job["status"] == "waiting for the delay of first").cloned()
    });
    let id = job["id"].to_string();
    kill(Pid::from_raw(client.id() as i32), Signal::SIGINT).expect("Ctrl-C");
    let output = ended(client);
    assert_eq!(output.status.code(), Some(130));
    let told = stderr(&output);
    assert_eq!(
        told,
        format!("autostart: stopped waiting; job {id} goes on, \"guestctl cancel {id}\" cancels it\n")
    );
    assert!(host.guestctl_ok(&["jobs"]).contains("waiting for the delay of first"));

    host.guestctl_ok(&["cancel", &id]);
    let jobs = parsed(&host.guestctl_ok(&["jobs", "--json"]));
    assert_eq!((&jobs[0]["state"], &jobs[0]["results"]["second"]), (&json!("canceled"), &json!("canceled")));
    assert_eq!(host.in_phase("up"), ["first", "zero"], "what had begun goes on");
    let again = host.guestctl(&["cancel", &id]);
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("is over already: canceled"));
}

#[test]
fn every_verb_has_its_words_and_its_exit_status() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    host.guest("db", &[]);
    for (line, status, out, told) in [
        (&["start", "web", "db"][..], 0, "web: started\ndb: started\n", ""),
        (&["start", "web"], 0, "web: already up\n", ""),
        (&["freeze", "web", "db"], 0, "web: frozen\ndb: frozen\n", ""),
        (&["freeze", "web"], 0, "web: already frozen\n", ""),
        (&["reboot", "web"], 1, "", "guest web: it is frozen; thaw it first"),
        (&["thaw", "web", "db"], 0, "web: thawed\ndb: thawed\n", ""),
        (&["thaw", "web"], 0, "web: not frozen\n", ""),
        (&["reboot", "web"], 0, "web: rebooted\n", ""),
        (&["restart", "web"], 0, "web: restarted\n", ""),
        (&["hold", "web", "--reason", "its disk is full"], 0, "web: held\n", ""),
        (&["hold", "web"], 0, "web: held\n", ""),
        (&["stop", "web", "db", "-t", "5"], 0, "web: stopped\ndb: stopped\n", ""),
        (&["stop", "web"], 0, "web: already down\n", ""),
        (&["freeze", "web"], 1, "", "guest web: it is down"),
        (&["release", "web"], 0, "web: ", ""),
        (&["start", "wep", "db"], 4, "db: started\n", "no guest is named \"wep\"; did you mean \"web\"?"),
        (&["status", "wep"], 4, "", "did you mean \"web\"?"),
        (&["cat", "wep"], 4, "", "did you mean \"web\"?"),
        (&["kill", "db"], 0, "db: killed\n", ""),
        (&["kill", "db", "nobody-knows"], 4, "db: already down\n", "no guest is named \"nobody-knows\""),
        (&["reset", "db"], 0, "db: not failed\n", ""),
        (&["stop", "db", "-t", "soon"], 2, "", "\"soon\" is not a number of seconds"),
        (&["stop"], 2, "", "required"),
        (&["sart", "db"], 2, "", "start"),
    ] {
        let output = host.guestctl(line);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(status), "{line:?}: {}", stderr(&output));
        assert!(printed.starts_with(out) && printed.is_empty() == out.is_empty(), "{line:?}: {printed}");
        assert!(stderr(&output).contains(told), "{line:?}: {}", stderr(&output));
    }
}

#[test]
fn a_held_guest_says_why_and_is_left_alone_also_when_it_is_the_only_one() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    host.guestctl_ok(&["hold", "web", "--reason", "its disk is full"]);
    host.guestctl_ok(&["hold", "web"]);
    assert_eq!(host.status("web")["held"], "its disk is full");
    let lxcpath = host.lxcpath().display().to_string();
    for path in [&[][..], &["-P", &lxcpath]] {
        assert_eq!(host.autostart_ok(&[&["-L", "-a"], path].concat()), "", "{path:?}");
    }
    host.autostart_ok(&["-a"]);
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
    let status = host.guestctl_ok(&["status", "web"]);
    assert!(status.contains("Held: its disk is full"), "{status}");
    assert!(status.contains("Next: \"guestctl release web\" ends the hold"), "{status}");
}

/// What fails stays so, to be looked at.
const NEVER_AGAIN: &str = "[defaults.restart]\npolicy = \"never\"\n";

#[test]
fn a_guest_in_trouble_says_what_happened_and_what_to_do() {
    let host = Host::running(NEVER_AGAIN);
    host.guest("web", &[AUTO]);
    host.guestctl_ok(&["start", "web"]);
    let says = |parts: &[&str]| {
        let status = host.guestctl_ok(&["status", "web"]);
        assert!(parts.iter().all(|part| status.contains(part)), "{parts:?}: {status}");
    };
    host.guestctl_ok(&["freeze", "web"]);
    says(&["Phase: frozen", "Next: \"guestctl thaw web\""]);
    host.guestctl_ok(&["thaw", "web"]);
    let config = host.lxcpath().join("web/config");
    let text = std::fs::read_to_string(&config).expect("the config");
    std::fs::write(&config, format!("{text}lxc.environment = A=b\n")).expect("a new config");
    host.until("web", "known as changed", |status| status["config_changed"] == true);
    says(&["Note: its configuration changed", "Next: \"guestctl reboot web\" takes"]);
    let init = host.lxc_init_pid("web").expect("an init");
    kill(Pid::from_raw(init as i32), Signal::SIGKILL).expect("a crash");
    host.until_phase("web", "failed");
    says(&[
        "Reason: crashed: its init was killed by SIGKILL",
        "\"guestctl start web\" tries again",
        "GUEST=web",
    ]);
    assert!(host.guestctl_ok(&["status"]).contains("Failed: web\n"));
    host.guestctl_ok(&["reset", "web"]);
    assert!(host.lxc("lxc-start", "web").arg("-d").status().expect("lxc-start").success());
    host.until_phase("web", "up");
    says(&["Note: started by somebody else and adopted"]);
}

#[test]
fn others_read_and_are_told_what_they_may_not_do() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    let nobody = |program: &str, arguments: &[&str]| {
        let mut command = host.command(program);
        command.args(arguments).uid(65534).gid(65534).output().expect("the program")
    };
    let (autostart, guestctl) = (reachable(&host, "autostart"), reachable(&host, "guestctl"));
    for line in [&["list"][..], &["status"], &["status", "web"], &["jobs"], &["plan", "-a"]] {
        let output = nobody(&guestctl, line);
        assert!(output.status.success(), "{line:?}: {}", stderr(&output));
    }
    assert!(nobody(&autostart, &["-L"]).status.success());
    for (program, line, action) in [
        (&guestctl, &["start", "web"][..], "start"),
        (&guestctl, &["stop", "web"], "stop"),
        (&guestctl, &["hold", "web"], "manage"),
        (&guestctl, &["reload"], "reload"),
        (&autostart, &["-a"], "start"),
    ] {
        let output = nobody(program, line);
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        let told = stderr(&output);
        assert!(told.contains(&format!("org.guestd1.{action}")), "{line:?}: {told}");
        assert!(told.contains("run it as root (sudo)"), "{line:?}: {told}");
    }
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
}

/// A program of ours where every user can reach it.
fn reachable(host: &Host, program: &str) -> String {
    let built = match program {
        "autostart" => env!("CARGO_BIN_EXE_autostart"),
        _ => env!("CARGO_BIN_EXE_guestctl"),
    };
    let copy = host.at(program);
    executable::copy(built, &copy);
    copy.display().to_string()
}

#[test]
fn what_scripts_read_stays_as_it_is() {
    let mut host = Host::new(&format!("order = \"highest-first\"\nmax-starting = 4\n{NEVER_AGAIN}"));
    host.guest("bad", &[AUTO, "lxc.group = web", "lxc.hook.pre-start = /bin/false"]);
    host.guest("db", &[AUTO, "lxc.start.order = 100", "lxc.start.delay = 1", "lxc.group = data, web"]);
    host.guest("lab", &["lxc.start.order = -1"]);
    host.start_daemon();
    let output = host.autostart(&["-g", "web", "--json"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_json_snapshot!(
        "autostart",
        masked(&host, parsed(&String::from_utf8_lossy(&output.stdout)))
    );
    for (name, line) in [
        ("list", &["list"][..]),
        ("status_guest", &["status", "db"]),
        ("status_daemon", &["status"]),
        ("jobs", &["jobs"]),
        ("plan", &["plan", "-a", "-A", "-r"]),
        ("check", &["check"]),
        ("verb", &["stop", "db", "nix"]),
        ("left", &["start", "lab", "--no-block"]),
    ] {
        insta::assert_json_snapshot!(name, json_of(&host, &[line, &["--json"]].concat()));
    }
    let required = "name engine phase intent ready reason auto order delay groups init_pid since restarts";
    for (name, guest) in host.list() {
        for field in required.split(' ') {
            assert!(guest.get(field).is_some(), "{name} has no {field}");
        }
    }
}
