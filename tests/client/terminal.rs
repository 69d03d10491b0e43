//! The clients on a terminal: bars, colours, and the question for a password.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    AUTO, ended,
    host::{self, Host, SOON, executable},
    parsed, reachable, stderr,
};

/// Runs what follows as somebody without rights and without a session.
const NOBODY: &str = "setpriv --reuid 65534 --regid 65534 --clear-groups env -u XDG_SESSION_ID";

/// A command line on a terminal of its own.
fn terminal(host: &Host, line: &str) -> Command {
    let mut command = host.command("script");
    command.args(["-qec", line, "/dev/null"]).env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs a command line on a terminal of its own, and hands out what appeared there.
fn on_a_terminal(host: &Host, line: &str) -> String {
    let output = ended(terminal(host, line).spawn().expect("script, of util-linux"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_terminal_gets_a_bar_colours_and_totals_and_a_pipe_lines() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    let bin = |name: &str| reachable(&host, name);
    let shown = on_a_terminal(&host, &format!("{} -a", bin("autostart")));
    assert!(shown.contains("start [") && shown.contains("0/1"), "{shown:?}");
    assert!(shown.trim_end().ends_with("autostart: 1 started"), "{shown:?}");
    let narrow = on_a_terminal(&host, &format!("stty cols 40 rows 24; {} -a -r", bin("autostart")));
    assert!(narrow.contains("0/1 reboot: web") && !narrow.contains("reboot ["), "{narrow:?}");
    assert!(narrow.split(['\r', '\n']).all(|line| line.replace("\u{1b}[2K", "").len() <= 40), "{narrow:?}");
    let shown = on_a_terminal(&host, &format!("{} list", bin("guestctl")));
    assert!(shown.contains("\u{1b}[") && shown.contains("1 guest listed."), "{shown:?}");
    let shown = on_a_terminal(&host, &format!("NO_COLOR=1 {} list", bin("guestctl")));
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    let piped = host.guestctl_ok(&["list"]);
    assert!(!piped.contains('\u{1b}') && !piped.contains("listed"), "{piped}");

    let lines = stderr(&host.autostart(&["-k", "-a", "--progress"]));
    assert_eq!(lines.lines().last(), Some("autostart: 1 killed"), "{lines}");
    assert!(lines.contains("autostart: 1/1 web: done\n") && !lines.contains('\u{1b}'), "{lines}");
}

#[test]
fn a_terminal_of_a_user_gets_the_text_agent() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    let guestctl = reachable(&host, "guestctl");
    let agent = host.at("pkttyagent");
    // Registers as the real one does, by closing the descriptor that it was given.
    executable::script(&agent, "echo \"$@\" >>/dev/tty\neval \"exec $2>&-\"\nexec sleep 1000");
    let path = format!("{}:/usr/bin:/bin", host.at("").display());
    let line = format!("{NOBODY} PATH={path} {guestctl}");
    let began = Instant::now();
    let shown = on_a_terminal(&host, &format!("{line} start web"));
    assert!(shown.contains("--notify-fd") && !shown.contains("--fallback"), "{shown:?}");
    assert!(shown.contains("org.guestd1.start"), "{shown:?}");
    assert!(began.elapsed() < SOON, "the agent is ended with the request: {:?}", began.elapsed());
    let shown = on_a_terminal(&host, &format!("{NOBODY} PATH={path} XDG_SESSION_ID=1 {guestctl} start web"));
    assert!(shown.contains("--fallback"), "the session's own agent is preferred: {shown:?}");
    let shown = on_a_terminal(&host, &format!("{line} list"));
    assert!(!shown.contains("--notify-fd"), "reading asks nobody: {shown:?}");
}

#[test]
fn polkit_asks_a_user_for_the_password() {
    let host = Host::running("");
    host.guest("web", &[AUTO]);
    let _polkit = host::bus::Polkit::start(&host.bus, "");
    host::wait_for("polkit", || {
        let status = parsed(&host.guestctl_ok(&["status", "--json"]));
        (status["daemon"]["authorization"] == "polkit").then_some(())
    });
    let line = format!("{NOBODY} {} start web", reachable(&host, "guestctl"));
    let mut client = terminal(&host, &line).spawn().expect("script, of util-linux");
    let mut output = client.stdout.take().expect("its output is piped");
    let reader = std::thread::spawn(move || {
        let mut shown = Vec::new();
        output.read_to_end(&mut shown).map(|_| String::from_utf8_lossy(&shown).into_owned())
    });
    let mut input = client.stdin.take().expect("its input is piped");
    // The agent throws away what was typed before it asked.
    host::wait_for("the end of the request", || {
        // Nobody reads any more once it has ended.
        let _ = input.write_all(b"not this one\n");
        std::thread::sleep(Duration::from_millis(100));
        client.try_wait().expect("a look")
    });
    let shown = reader.join().expect("a reader").expect("its output");
    assert_eq!(ended(client).status.code(), Some(1));
    assert!(shown.contains("AUTHENTICATING FOR org.guestd1.start"), "{shown}");
    assert!(shown.contains("polkit refused it; run it as root (sudo)"), "{shown}");
    assert_eq!(host.in_phase("up"), [] as [&str; 0]);
}
