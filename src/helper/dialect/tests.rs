//! Every dialect: what is understood, what is refused, and every exit status.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::helper::{vshelper::called::Asked, wire::Environment};

fn line(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> CommandLine {
    CommandLine {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

fn called(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Call, Misuse> {
    parse(&line("/usr/lib/guestd/guest-helper", arguments, environment))
}

fn about(guest: &str, event: Event) -> About {
    About::Guest { guest: GuestName::new(guest).unwrap(), event }
}

fn report(dialect: Dialect, runtime_dir: &str, about: About) -> Result<Call, Misuse> {
    Ok(Call::Report(Report { dialect, runtime_dir: runtime_dir.into(), about }))
}

#[test]
fn plain_calls_are_understood() {
    for (arguments, runtime_dir, event) in [
        (&["--guest", "web", "reboot"][..], "/run/guestd", Event::Reboot),
        (&["--guest=web", "restart"], "/run/guestd", Event::Reboot),
        (&["--runtime-dir", "/run/b", "--guest", "web", "halt"], "/run/b", Event::Halt),
        (&["poweroff", "--runtime-dir=/run/b", "--guest", "web"], "/run/b", Event::Poweroff),
        (&["--guest", "db", "--guest", "web", "stop"], "/run/guestd", Event::Stop),
    ] {
        assert_eq!(called(arguments, &[]), report(Dialect::Plain, runtime_dir, about("web", event)));
    }
    let named = report(Dialect::Plain, "/run/guestd", about("lxc-hook", Event::Stop));
    assert_eq!(called(&["--guest", "lxc-hook", "stop"], &[]), named);
    assert_eq!(called(&["--help"], &[]), Ok(Call::Help));
    assert_eq!(called(&["-V"], &[]), Ok(Call::Version));
}

#[test]
fn both_versions_of_the_lxc_hook_are_understood() {
    let version_0 = ["--runtime-dir", "/run/b", "lxc-hook", "web", "lxc", "post-stop"];
    let version_1 = ["--runtime-dir", "/run/b", "lxc-hook"];
    let typed = [("LXC_HOOK_TYPE", "post-stop"), ("LXC_HOOK_SECTION", "lxc"), ("LXC_NAME", "web")];
    for (target, event) in [("reboot", Event::Reboot), ("stop", Event::Stop)] {
        let expected = report(Dialect::Lxc, "/run/b", about("web", event));
        let target = ("LXC_TARGET", target);
        assert_eq!(called(&version_0, &[target]), expected);
        assert_eq!(called(&version_0, &[target, ("LXC_NAME", "web")]), expected);
        assert_eq!(called(&version_1, &[&typed[..], &[target]].concat()), expected);
    }
}

#[test]
fn other_hooks_and_targets_are_left_alone() {
    let reboot = ("LXC_TARGET", "reboot");
    for (arguments, environment) in [
        (&["lxc-hook", "web", "lxc", "pre-start"][..], &[reboot][..]),
        (&["lxc-hook", "web", "net", "post-stop"], &[reboot]),
        (&["lxc-hook"], &[reboot, ("LXC_NAME", "web"), ("LXC_HOOK_TYPE", "stop")]),
        (&["lxc-hook"], &[reboot, ("LXC_NAME", "web"), ("LXC_HOOK_SECTION", "net")]),
        (&["lxc-hook", "web", "lxc", "post-stop"], &[]),
        (&["lxc-hook", "web", "lxc", "post-stop"], &[("LXC_TARGET", "Reboot")]),
    ] {
        assert!(
            matches!(called(arguments, environment), Ok(Call::Nothing(_))),
            "{arguments:?} {environment:?}"
        );
    }
}

#[test]
fn vshelper_is_understood_by_either_name() {
    let environment = [("VS_CMD", "0000004d"), ("VS_UID", "0"), ("VS_BAD", "a\nb"), ("HOME", "/")];
    let mut kept = Environment::default();
    kept.insert("VS_CMD".into(), "0000004d".into()).unwrap();
    kept.insert("VS_UID".into(), "0".into()).unwrap();
    let expected = |runtime_dir: &str, vservers: Option<&str>| {
        Ok(Call::Vshelper(Called {
            runtime_dir: runtime_dir.into(),
            vservers: vservers.map(PathBuf::from),
            words: ["halt", "49152"].map(OsString::from).to_vec(),
            asked: Ok(Asked { event: ContextEvent::Halt, id: 49152 }),
            environment: kept.clone(),
            monitored: None,
        }))
    };
    let by_name = |words: &[&str]| parse(&line("/sbin/vshelper", words, &environment));
    assert_eq!(by_name(&["halt", "49152"]), expected("/run/guestd", None));
    assert_eq!(by_name(&["--runtime-dir", "/run/b", "halt", "49152"]), expected("/run/b", None));
    assert_eq!(called(&["vshelper", "halt", "49152"], &environment), expected("/run/guestd", None));
    let all = ["--runtime-dir=/run/b", "--vservers", "/srv/v", "vshelper", "halt", "49152"];
    assert_eq!(called(&all, &environment), expected("/run/b", Some("/srv/v")));
    for words in [&[][..], &["halt"]] {
        let Ok(Call::Vshelper(called)) = by_name(words) else { panic!("{words:?}") };
        assert!(matches!(called.asked, Err(UsageError::Arguments(_))), "{words:?}");
    }
}

#[test]
fn what_cannot_be_understood_has_the_status_of_its_dialect() {
    let target = ("LXC_TARGET", "reboot");
    for (arguments, environment, status) in [
        (&[][..], &[][..], 2),
        (&["reboot"], &[], 2),
        (&["--guest", "web"], &[], 2),
        (&["--guest", "web", "reboot", "halt"], &[], 2),
        (&["--guest", "web", "explode"], &[], 2),
        (&["--guest", "../web", "reboot"], &[], 2),
        (&["--guest"], &[], 2),
        (&["--colour", "reboot"], &[], 2),
        (&["--runtime-dir", "run", "--guest", "web", "reboot"], &[], 2),
        (&["--guest", "lxc-hook", "frob"], &[target], 2),
        (&["--guest", "vshelper", "frob"], &[], 2),
        (&["frob", "--guest=lxc-hook"], &[target], 2),
        (&["--guest", "web", "lxc-hook", "--colour"], &[target, ("LXC_NAME", "")], 0),
        (&["--vservers", "here", "vshelper", "restart", "7"], &[], 1),
        (&["--colour", "lxc-hook"], &[target, ("LXC_NAME", "web")], 0),
        (&["lxc-hook"], &[target], 0),
        (&["lxc-hook"], &[target, ("LXC_NAME", "a/b")], 0),
        (&["lxc-hook"], &[target, ("LXC_NAME", "")], 0),
        (&["--runtime-dir", "lxc-hook"], &[target], 0),
    ] {
        let misuse = called(arguments, environment).unwrap_err();
        assert_eq!(misuse.dialect.misuse_status(), status, "{arguments:?}: {}", misuse.error);
    }
    let misuse = parse(&line("/sbin/vshelper", &["--colour"], &[])).unwrap_err();
    assert_eq!(misuse.dialect, Dialect::Vshelper);
}

#[test]
fn what_is_no_text_is_refused() {
    let raw = OsString::from_vec(vec![b'w', 0xff]);
    let mut bad = line("guest-helper", &["lxc-hook"], &[("LXC_TARGET", "reboot")]);
    bad.environment.insert("LXC_NAME".into(), raw.clone());
    assert!(matches!(parse(&bad).unwrap_err().error, UsageError::NotText { .. }));
    let mut bad = line("guest-helper", &["--guest", "web"], &[]);
    bad.arguments.push(raw);
    assert!(matches!(parse(&bad).unwrap_err().error, UsageError::NotText { .. }));
}

fn answered(decision: Decision, anew: bool) -> Outcome {
    Outcome::Answered(Answer { decision, reason: String::new(), anew })
}

#[test]
fn the_lxc_hook_fails_only_to_cancel_a_reboot() {
    let status = |event, outcome: &Outcome| {
        Report { dialect: Dialect::Lxc, runtime_dir: "/".into(), about: about("web", event) }.status(outcome)
    };
    let cancelling = [answered(Decision::Stop, false), answered(Decision::Restart, true)];
    let others = [
        answered(Decision::Restart, false),
        answered(Decision::Ignore, false),
        answered(Decision::Ignore, true),
        Outcome::UnknownId(String::new()),
        Outcome::Failed(String::new()),
    ];
    for outcome in &cancelling {
        assert_eq!(status(Event::Reboot, outcome), 1, "{outcome:?}");
    }
    for outcome in &others {
        assert_eq!(status(Event::Reboot, outcome), 0, "{outcome:?}");
    }
    for outcome in cancelling.iter().chain(&others) {
        assert_eq!(status(Event::Stop, outcome), 0, "{outcome:?}");
    }
}

#[test]
fn plain_statuses() {
    let plain = Report { dialect: Dialect::Plain, runtime_dir: "/".into(), about: about("web", Event::Halt) };
    for (outcome, status) in [
        (answered(Decision::Restart, false), 0),
        (answered(Decision::Restart, true), 0),
        (answered(Decision::Stop, false), 1),
        (answered(Decision::Ignore, false), 2),
        (Outcome::Failed(String::new()), 2),
    ] {
        assert_eq!(plain.status(&outcome), status, "{outcome:?}");
    }
}

#[test]
fn a_monitor_lets_its_run_end_where_guestd_starts_anew() {
    let about = about("web", Event::Reboot);
    let called = called(&["--guest", "web", "reboot"], &[("GUESTD_MONITOR", "7")]);
    let Ok(Call::Report(monitor)) = called else { panic!("{called:?}") };
    assert_eq!(monitor, Report { dialect: Dialect::Monitor, runtime_dir: RUNTIME_DIR.into(), about });
    for (outcome, status) in [
        (answered(Decision::Restart, false), 0),
        (answered(Decision::Restart, true), 1),
        (answered(Decision::Stop, false), 1),
        (answered(Decision::Ignore, false), 2),
        (Outcome::Failed(String::new()), 2),
    ] {
        assert_eq!(monitor.status(&outcome), status, "{outcome:?}");
    }
}

#[test]
fn vshelper_statuses() {
    let about = about("web", Event::Stop);
    let gone = Report { dialect: Dialect::Vshelper, runtime_dir: "/".into(), about };
    assert_eq!(gone.status(&Outcome::Failed(String::new())), 0, "what is gone needs nobody");
    for event in ContextEvent::ALL {
        let about = About::Context { id: 7, event, environment: Environment::default() };
        let report = Report { dialect: Dialect::Vshelper, runtime_dir: "/".into(), about };
        for decision in [Decision::Restart, Decision::Stop, Decision::Ignore] {
            assert_eq!(report.status(&answered(decision, false)), 0);
        }
        let unknown = u8::from(event != ContextEvent::Shutdown);
        assert_eq!(report.status(&Outcome::UnknownId(String::new())), unknown, "{event:?}");
        assert_eq!(report.status(&Outcome::Failed(String::new())), unknown, "{event:?}");
    }
}
