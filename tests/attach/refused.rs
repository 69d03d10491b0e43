//! Who may not, and where there is nothing to be in.

use super::{Terminal, attach, host, host::Host, running, stderr, stdout};

const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups";

/// nobody may be in what is in the group lab.
const RULES: &str = r#"
polkit.addRule(function (action, subject) {
    if (action.id != "org.guestd1.attach" || subject.user != "nobody")
        return polkit.Result.NOT_HANDLED;
    return action.lookup("groups").split(",").indexOf("lab") >= 0 ? polkit.Result.YES : polkit.Result.NO;
});
"#;

/// A copy of guestctl that every user may run.
fn reachable(host: &Host) -> String {
    let copy = host.at("guestctl");
    host::executable::copy(env!("CARGO_BIN_EXE_guestctl"), &copy);
    copy.display().to_string()
}

#[test]
fn an_ordinary_user_is_in_no_guest_but_where_polkit_says_so() {
    let host = Host::running("");
    host.guest("lab", &["lxc.group = lab"]);
    host.guest("web", &[]);
    host.guestctl_ok(&["reload"]);
    host.guestctl_ok(&["start", "lab", "web"]);
    let guestctl = reachable(&host);
    let words: Vec<&str> = NOBODY.split(' ').collect();
    let run = |arguments: &[&str]| {
        let mut command = host.command(words[0]);
        command.args(&words[1..]).arg(&guestctl).args(arguments);
        command.output().expect("guestctl")
    };
    let in_lab = ["attach", "lab", "--", "/bin/echo", "in"];
    let output = run(&in_lab);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()));
    let told = stderr(&output);
    assert!(told.contains("not authorised for org.guestd1.attach: no polkit answers"), "{told}");
    // What a guest uses is everybody's to see.
    let output = run(&["top", "--once"]);
    assert!(output.status.success() && stdout(&output).contains("lab"), "{}", stderr(&output));

    let _polkit = host::bus::Polkit::start(&host.bus, RULES);
    host::wait_for("polkit", || {
        let status: serde_json::Value =
            serde_json::from_str(&host.guestctl_ok(&["status", "--json"])).expect("JSON");
        (status["daemon"]["authorization"] == "polkit").then_some(())
    });
    let output = run(&in_lab);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), "in\n"), "{}", stderr(&output));
    // On a terminal nothing is shown before it is known that nobody is asked for a password.
    let mut command = host.command("setsid");
    command.args(["--ctty", "--wait"]).args(&words).arg(&guestctl).args(["attach", "lab"]);
    let mut terminal = Terminal::run(command);
    terminal.until("/ # ");
    terminal.types("/bin/busybox id -u; exit 4\n");
    terminal.until("0\n");
    assert_eq!(terminal.ended().code(), Some(4));
    let told = stderr(&run(&["attach", "web", "--", "/bin/echo", "in"]));
    assert!(told.contains("guest web: not authorised for org.guestd1.attach: polkit refused it"), "{told}");
    let output = run(&["exec", "--all", "--", "/bin/echo", "in"]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(2), "lab:\nin\nweb:\n"));
    assert!(host.log().contains("lab: user 65534 attaches to it: /bin/echo"), "{}", host.log());
    assert!(!host.log().contains("web: user 65534"), "{}", host.log());
}

#[test]
fn a_guest_that_does_not_run_is_told_apart() {
    let host = running(&["web"]);
    host.guestctl_ok(&["freeze", "web"]);
    let output = attach(&host, "web", "true");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("web: it is frozen; \"guestctl thaw web\""), "{}", stderr(&output));
    host.guestctl_ok(&["thaw", "web"]);
    assert_eq!(attach(&host, "web", "true").status.code(), Some(0));
    host.guestctl_ok(&["kill", "web"]);
    let output = attach(&host, "web", "true");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("web: it does not run: it is down"), "{}", stderr(&output));
    let mut terminal = Terminal::guestctl(&host, &["attach", "web"]);
    assert_eq!(terminal.ended().code(), Some(1));
    terminal.until("it does not run");
    assert!(terminal.echoes());
    let output = attach(&host, "wep", "true");
    assert_eq!(output.status.code(), Some(4));
    assert!(stderr(&output).contains("did you mean \"web\"?"), "{}", stderr(&output));
    assert_eq!(attach(&host, "../x", "true").status.code(), Some(4));
    assert_eq!(host.guestctl(&["attach"]).status.code(), Some(2));
}

#[test]
fn a_guest_that_stops_takes_its_sessions_along() {
    let host = running(&["web"]);
    let nap = super::unique(11);
    let client = super::attach_in_background(&host, "web", &format!("sleep {nap}; true"));
    super::until_processes(&format!("sleep {nap}"), 1);
    host.guestctl_ok(&["kill", "web"]);
    let output = client.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(137), "its processes were killed");
}
