//! Every option of both programs, short and long, and what it means.

use std::path::Path;

use clap::{CommandFactory, Parser};

use super::{
    autostart::{Mode, Request},
    guestctl::Command,
    *,
};
use crate::{
    cli::log::Priority,
    model::{GroupName, Verb},
};

fn autostart(line: &[&str]) -> Request {
    let arguments = Autostart::try_parse_from([&["autostart"], line].concat())
        .unwrap_or_else(|e| panic!("{line:?}: {e}"));
    arguments.request().unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

fn start() -> Request {
    autostart(&[])
}

fn groups(names: &[&str]) -> Vec<Option<GroupName>> {
    names.iter().map(|name| (!name.is_empty()).then(|| GroupName::new(name).unwrap())).collect()
}

#[test]
fn the_command_lines_are_sound() {
    Autostart::command().debug_assert();
    Guestctl::command().debug_assert();
}

#[test]
fn actions_in_short_and_long_form_and_their_precedence() {
    for (line, action) in [
        (&[][..], Action::Start),
        (&["-s"], Action::Shutdown),
        (&["--shutdown"], Action::Shutdown),
        (&["-k"], Action::Kill),
        (&["--kill"], Action::Kill),
        (&["-r"], Action::Reboot),
        (&["--reboot"], Action::Reboot),
        (&["-rks"], Action::Shutdown),
        (&["-r", "--kill"], Action::Kill),
        (&["-sr"], Action::Shutdown),
        (&["-r", "-r"], Action::Reboot),
        (&["--shut"], Action::Shutdown),
        (&["--s"], Action::Shutdown),
        (&["--k"], Action::Kill),
        (&["--re"], Action::Reboot),
    ] {
        assert_eq!(autostart(line), Request { action, ..start() }, "{line:?}");
    }
}

#[test]
fn selections_in_short_and_long_form() {
    let selection = |selection| Request { selection, ..start() };
    let grouped = |names: &[&str]| selection(Selection { groups: groups(names), ..Selection::default() });
    for (line, request) in [
        (&["-a"][..], selection(Selection { all: true, ..Selection::default() })),
        (&["--all"], selection(Selection { all: true, ..Selection::default() })),
        (&["-A"], selection(Selection { ignore_auto: true, ..Selection::default() })),
        (&["--ignore-auto"], selection(Selection { ignore_auto: true, ..Selection::default() })),
        (&["-g", "web"], grouped(&["web"])),
        (&["-gweb"], grouped(&["web"])),
        (&["--groups=web,db"], grouped(&["web", "db"])),
        (&["--groups", "onboot,"], grouped(&["onboot", ""])),
        (&["-g", ",onboot"], grouped(&["", "onboot"])),
        (&["-g", "dns,web,,onboot"], grouped(&["dns", "web", "", "onboot"])),
        (&["-g", ""], grouped(&[""])),
        (&["-g", "a", "-g", "b"], grouped(&["a", "b"])),
        (&["-g", "-a"], grouped(&["-a"])),
        (&["-g", "a,b", "-g", "b,c"], grouped(&["a", "b", "c"])),
        (&["-P", "/x"], selection(Selection { lxcpath: Some("/x".into()), ..Selection::default() })),
        (&["-P", "/y/..//./x/"], selection(Selection { lxcpath: Some("/x".into()), ..Selection::default() })),
        (&["--lxcpath=/x"], selection(Selection { lxcpath: Some("/x".into()), ..Selection::default() })),
        (&["--boot"], selection(Selection { boot: true, ..Selection::default() })),
    ] {
        assert_eq!(autostart(line), request, "{line:?}");
    }
    let combined = autostart(&["-rg", "ubuntu"]);
    assert_eq!((combined.action, combined.selection.groups), (Action::Reboot, groups(&["ubuntu"])));
}

#[test]
fn the_timeout_counts_for_a_shutdown_only() {
    for (line, timeout) in [
        (&["-s"][..], None),
        (&["-s", "-t", "5"], Some(5)),
        (&["-s", "-t-1"], Some(-1)),
        (&["-s", "-t", "-1"], Some(-1)),
        (&["-s", "-t", "0"], Some(0)),
        (&["-st0"], Some(0)),
        (&["-s", "--timeout=120"], Some(120)),
        (&["-s", "--timeout", "-7"], Some(-7)),
        (&["-s", "--time=3"], Some(3)),
        (&["-s", "-t", "1", "-t", "2"], Some(2)),
        (&["-t", "5"], None),
        (&["-r", "-t", "5"], None),
    ] {
        assert_eq!(autostart(line).timeout, timeout, "{line:?}");
    }
}

#[test]
fn seconds_are_read_as_lxc_reads_them() {
    for (text, value) in [
        ("60", 60),
        (" 5", 5),
        ("+5", 5),
        ("-1", -1),
        ("0", 0),
        ("0x10", 16),
        ("010", 8),
        ("99999999999", i32::MAX),
        ("99999999999999999999", i32::MAX),
        ("-99999999999", -i32::MAX),
    ] {
        assert_eq!(seconds(text), Ok(value), "{text:?}");
    }
    for text in ["", "5s", "five", "-", "0x", "08", "1.5", "--1"] {
        assert_eq!(seconds(text), Err(UsageError::Timeout { shown: text.into() }), "{text:?}");
    }
}

#[test]
fn modes() {
    for (line, mode) in [
        (&[][..], Mode::Wait),
        (&["-L"], Mode::List),
        (&["--list"], Mode::List),
        (&["--plan"], Mode::Plan),
        (&["-L", "--plan"], Mode::List),
        (&["--no-block"], Mode::Leave),
    ] {
        assert_eq!(autostart(line).mode, mode, "{line:?}");
    }
}

#[test]
fn logging_quiet_and_ignored_options() {
    let parse = |line: &[&str]| Autostart::try_parse_from([&["autostart"], line].concat()).unwrap();
    for line in [&["-q", "-o", "/l"][..], &["--quiet", "--logfile=/l"]] {
        let arguments = parse(line);
        assert!(arguments.quiet);
        assert_eq!(arguments.log_file.as_deref(), Some(Path::new("/l")));
    }
    assert_eq!(autostart(&["-l", "debug"]).log_priority, Priority::Debug);
    assert_eq!(autostart(&["--logpriority=ERROR"]).log_priority, Priority::Error);
    let odd = autostart(&["-l", "loud"]);
    assert_eq!((odd.log_priority, odd.warnings.len()), (Priority::Info, 1));
    for line in [
        &["-n", "web"][..],
        &["--name=web"],
        &["--n=web"],
        &["--n", "web"],
        &["--na", "web"],
        &["--rcfile=/x"],
        &["stray", "words"],
        &["--", "-x"],
    ] {
        assert_eq!(autostart(line), start(), "{line:?}");
    }
    assert!(parse(&["-?"]).question);
    assert!(parse(&["--usage"]).usage);
    assert!(parse(&["--progress"]).progress && parse(&["--json"]).json);
}

#[test]
fn help_and_version_end_the_parse() {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    for (option, kind) in [("-h", DisplayHelp), ("--help", DisplayHelp), ("--version", DisplayVersion)] {
        let error = Autostart::try_parse_from(["autostart", "-L", option]).unwrap_err();
        assert_eq!(error.kind(), kind, "{option}");
    }
}

#[test]
fn all_wins_over_groups_with_a_warning() {
    let both = autostart(&["-a", "-g", "web"]);
    assert_eq!(both.selection, Selection { all: true, ..Selection::default() });
    assert_eq!(
        both.warnings,
        ["-a (all) and -g (groups) contradict each other: -a wins, groups are ignored"]
    );
}

#[test]
fn wrong_requests_name_the_option() {
    for (line, words) in [
        (&["-P", "/a", "-P", "/b"][..], "-P, --lxcpath may be given once, it was given 2 times"),
        (&["-t", "soon"], "-t, --timeout: \"soon\" is not a number of seconds"),
        (&["-g", "a/b"], "-g: the name \"a/b\" holds '/'"),
        (
            &["--boot", "-s"],
            "--boot starts the boot groups of the settings; it cannot be used with -s, -k or -r",
        ),
        (&["--boot", "-g", "x"], "cannot be used with -g"),
        (&["--boot", "-a"], "cannot be used with -a"),
    ] {
        let arguments = Autostart::try_parse_from([&["autostart"], line].concat()).unwrap();
        let message = arguments.request().unwrap_err().to_string();
        assert!(message.contains(words), "{line:?}: {message}");
    }
    for line in [&["--bogus"][..], &["-g"], &["--all=x"], &["--log=5"], &["-Z"]] {
        let error = Autostart::try_parse_from([&["autostart"], line].concat()).unwrap_err();
        assert!(error.use_stderr(), "{line:?}");
    }
}

#[test]
fn guestctl_verbs_become_operations() {
    let names = ["web".to_owned(), "db".to_owned()];
    for (word, verb) in [
        ("start", Verb::Start),
        ("stop", Verb::Stop),
        ("restart", Verb::Restart),
        ("reboot", Verb::Reboot),
        ("kill", Verb::Kill),
        ("freeze", Verb::Freeze),
        ("thaw", Verb::Thaw),
        ("unfreeze", Verb::Thaw),
        ("reset", Verb::Reset),
        ("hold", Verb::Hold),
        ("release", Verb::Release),
    ] {
        let parsed =
            Guestctl::try_parse_from(["guestctl", word, "web", "db", "--no-block", "--json"]).unwrap();
        assert!(parsed.json);
        let operation = parsed.command.operation().unwrap();
        assert_eq!((operation.verb, operation.names, operation.wait), (verb, &names[..], false), "{word}");
        assert!(Guestctl::try_parse_from(["guestctl", word]).is_err(), "{word} needs a name");
    }
    let stop = Guestctl::try_parse_from(["guestctl", "stop", "-t", "-1", "web"]).unwrap();
    assert_eq!(stop.command.operation().unwrap().timeout, Some("-1"));
    let hold = Guestctl::try_parse_from(["guestctl", "hold", "web", "--reason", "disk"]).unwrap();
    assert_eq!(hold.command.operation().unwrap().reason, Some("disk"));
}

#[test]
fn guestctl_has_the_other_commands() {
    for line in [
        &["list"][..],
        &["--json", "list"],
        &["status"],
        &["status", "web"],
        &["plan", "-s", "-a"],
        &["plan", "-rg", "ubuntu"],
        &["check"],
        &["cat", "web"],
        &["jobs"],
        &["cancel", "7"],
        &["reload"],
        &["completions", "bash"],
        &["generate", "/tmp/x"],
    ] {
        let parsed = Guestctl::try_parse_from([&["guestctl"], line].concat()).unwrap();
        assert!(parsed.command.operation().is_none(), "{line:?}");
    }
    let plan = Guestctl::try_parse_from(["guestctl", "plan", "-k"]).unwrap();
    assert!(matches!(plan.command, Command::Plan(choice) if choice.action() == Action::Kill));
    for line in [&[][..], &["cancel", "x"], &["bogus"], &["list", "extra"], &["cat"]] {
        assert!(Guestctl::try_parse_from([&["guestctl"], line].concat()).is_err(), "{line:?}");
    }
}
