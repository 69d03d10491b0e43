//! The call, the order of the files, and whose files are believed.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
};

use super::{
    course::{Files, Whose, is_disabled, of_all, of_guest},
    *,
};
use crate::{helper::dialect::CommandLine, model::GuestName};

fn called(words: &[&str], environment: &[(&str, &str)]) -> Called {
    let line = CommandLine {
        program: "vshelper".into(),
        arguments: Vec::new(),
        environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    };
    Called::of(&words.iter().map(OsString::from).collect::<Vec<_>>(), None, None, &line)
}

#[test]
fn an_event_and_a_number_are_understood_in_either_order() {
    for event in ContextEvent::ALL {
        let expected = Ok(Asked { event, id: 49152 });
        for words in
            [&[event.as_str(), "49152"][..], &["49152", event.as_str()], &[event.as_str(), "49152", "x"]]
        {
            assert_eq!(called(words, &[]).asked, expected, "{words:?}");
        }
    }
    for words in [&[][..], &["restart"], &["40001"]] {
        assert!(matches!(called(words, &[]).asked, Err(UsageError::Arguments(_))), "{words:?}");
    }
    for words in [["reboot", "1"], ["../restart", "1"], ["lxc-hook", "7"]] {
        assert!(matches!(called(&words, &[]).asked, Err(UsageError::UnknownEvent { .. })), "{words:?}");
    }
    for number in ["-1", "+1", "", "4294967296", "halt", "1 "] {
        let asked = called(&["restart", number], &[]).asked;
        assert!(matches!(asked, Err(UsageError::BadId { .. } | UsageError::UnknownEvent { .. })), "{number}");
    }
}

#[test]
fn what_guest_run_says_is_understood() {
    let own = [("GUESTD_GUEST", "web"), ("GUESTD_MONITOR", "12"), ("GUESTD_RUNTIME_DIR", "/run/b")];
    let by_monitor = called(&["restart", "7"], &own);
    assert_eq!(by_monitor.monitored, Some(GuestName::new("web").unwrap()));
    assert_eq!(by_monitor.runtime_dir, PathBuf::from("/run/b"));
    assert_eq!(called(&["restart", "7"], &own[..1]).monitored, None, "it is not guest-run");
    let relative = called(&["restart", "7"], &[("GUESTD_RUNTIME_DIR", "run")]);
    assert_eq!(relative.runtime_dir, PathBuf::from("/run/guestd"));
}

/// Files that are only written down, and which of them were looked at.
#[derive(Default)]
struct Played {
    files: BTreeMap<(Whose, &'static str), &'static str>,
    seen: RefCell<Vec<String>>,
}

const PROGRAM: &str = "#!";

impl Files for Played {
    fn is_there(&self, whose: Whose, path: &str) -> bool {
        self.files.keys().any(|(other, name)| *other == whose && *name == path)
    }

    fn program(&self, whose: Whose, path: &str) -> Option<PathBuf> {
        self.seen.borrow_mut().push(format!("{whose:?} {path}"));
        let found = self.files.iter().find(|((other, name), _)| *other == whose && *name == path)?;
        (*found.1 == PROGRAM).then(|| PathBuf::from(format!("/{whose:?}/{path}")))
    }

    fn first_line(&self, whose: Whose, path: &str) -> Option<String> {
        self.seen.borrow_mut().push(format!("{whose:?} {path}"));
        let found = self.files.iter().find(|((other, name), _)| *other == whose && *name == path)?;
        (!found.1.is_empty()).then(|| (*found.1).to_owned())
    }
}

fn played(files: &[(Whose, &'static str, &'static str)]) -> Played {
    let files = files.iter().map(|(whose, path, text)| ((*whose, *path), *text)).collect();
    Played { files, ..Played::default() }
}

fn run(whose: Whose, path: &str, role: Role) -> Course {
    Course::Run { program: format!("/{whose:?}/{path}").into(), role }
}

#[test]
fn the_order_is_that_of_util_vserver() {
    use Whose::{Defaults, Guest};
    const EVENT: &str = "apps/vshelper/restart";
    const ACTION: &str = "apps/vshelper/action";
    let (again, no) = (Course::Tell(Event::Reboot), Course::Tell(Event::Declined));
    let method = run(Defaults, "apps/vshelper-methods/mail", Role::Method);
    const MAIL: &str = "apps/vshelper-methods/mail";
    for (files, expected) in [
        (&[][..], again.clone()),
        (&[(Guest, EVENT, PROGRAM), (Guest, ACTION, "sync")], run(Guest, EVENT, Role::Event)),
        (&[(Guest, ACTION, "restart"), (Defaults, EVENT, PROGRAM)], again.clone()),
        (&[(Guest, ACTION, "async"), (Defaults, EVENT, PROGRAM)], no.clone()),
        (&[(Defaults, EVENT, PROGRAM), (Defaults, ACTION, "sync")], run(Defaults, EVENT, Role::Event)),
        (&[(Defaults, ACTION, "sync")], no.clone()),
        (&[(Guest, EVENT, "no program"), (Guest, ACTION, "sync")], no.clone()),
        (&[(Guest, ACTION, ""), (Defaults, ACTION, "sync")], no),
        (&[(Guest, ACTION, "mail"), (Defaults, MAIL, PROGRAM)], method),
        (&[(Guest, "apps/vshelper/halt", PROGRAM)], again),
    ] {
        assert_eq!(of_guest(ContextEvent::Restart, &played(files)), expected, "{files:?}");
    }
    for action in ["mail", "../x", ".hidden", "a/b", "default", "/bin/true"] {
        let files = played(&[(Guest, "apps/vshelper/action", action), (Guest, MAIL, PROGRAM)]);
        let course = of_guest(ContextEvent::Restart, &files);
        assert!(matches!(&course, Course::Fail(why) if why.contains(action)), "{course:?}");
    }
    let all = played(&[]);
    of_guest(ContextEvent::Oom, &all);
    let expected = [
        "Guest apps/vshelper/oom",
        "Guest apps/vshelper/action",
        "Defaults apps/vshelper/oom",
        "Defaults apps/vshelper/action",
    ];
    assert_eq!(*all.seen.borrow(), expected);
}

#[test]
fn each_event_has_its_meaning() {
    for (event, restart, sync) in [
        (ContextEvent::Restart, Some(Event::Reboot), Some(Event::Declined)),
        (ContextEvent::Halt, Some(Event::Halt), Some(Event::Halt)),
        (ContextEvent::Poweroff, Some(Event::Poweroff), Some(Event::Poweroff)),
        (ContextEvent::Shutdown, Some(Event::Stop), Some(Event::Stop)),
        (ContextEvent::Swsusp, None, None),
        (ContextEvent::Oom, None, None),
        (ContextEvent::Startup, None, None),
        (ContextEvent::Netup, None, None),
        (ContextEvent::Netdown, None, None),
    ] {
        for (action, expected) in [("restart", restart), ("sync", sync), ("async", sync)] {
            let files = played(&[(Whose::Guest, "apps/vshelper/action", action)]);
            match (of_guest(event, &files), expected) {
                (Course::Tell(told), Some(expected)) => assert_eq!(told, expected, "{event:?} {action}"),
                (Course::Nothing(why), None) => assert!(why.contains(event.as_str()), "{why}"),
                (course, _) => panic!("{event:?} {action}: {course:?}"),
            }
        }
    }
}

#[test]
fn what_is_disabled_or_delegated_comes_first() {
    use Whose::{Defaults, Guest};
    assert!(is_disabled(&played(&[(Defaults, "apps/vshelper/disabled", "")])));
    let own = played(&[(Guest, "apps/vshelper/disabled", ""), (Guest, "apps/vshelper/restart", PROGRAM)]);
    assert!(!is_disabled(&own));
    assert!(matches!(of_guest(ContextEvent::Restart, &own), Course::Nothing(_)));
    const DELEGATE: &str = "apps/vshelper-delegate/halt";
    let delegated = played(&[(Defaults, DELEGATE, PROGRAM), (Guest, DELEGATE, PROGRAM)]);
    assert_eq!(of_all(ContextEvent::Halt, &delegated), Some(run(Defaults, DELEGATE, Role::Delegate)));
    assert_eq!(of_all(ContextEvent::Restart, &delegated), None);
}

/// A folder of guests with one, `web`, whose root lies beside it.
struct Scene {
    folder: tempfile::TempDir,
    known: Known,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in ["etc/web/apps/vshelper", "etc/.defaults/apps/vshelper-methods", "root"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let known = Known {
            guest: GuestName::new("web").unwrap(),
            context: 40_001,
            folder: folder.path().join("etc/web"),
            root: Some(folder.path().join("root")),
        };
        Self { folder, known }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.at(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn program(&self) -> Option<PathBuf> {
        let log = Log::default();
        Folders::new(None, Some(&self.known), &log).program(Whose::Guest, "apps/vshelper/restart")
    }

    fn action(&self) -> Option<String> {
        let log = Log::default();
        Folders::new(None, Some(&self.known), &log).first_line(Whose::Guest, "apps/vshelper/action")
    }
}

#[test]
fn only_roots_own_programs_are_run() {
    const RESTART: &str = "etc/web/apps/vshelper/restart";
    let scene = Scene::new();
    assert_eq!(scene.program(), None);
    for (mode, runs) in [(0o755, true), (0o700, true), (0o644, false), (0o775, false), (0o757, false)] {
        let path = scene.write(RESTART, "#!/bin/sh\n", mode);
        assert_eq!(scene.program(), runs.then(|| fs::canonicalize(path).unwrap()), "{mode:o}");
    }
    let path = scene.write(RESTART, "#!/bin/sh\n", 0o755);
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        assert_eq!(scene.program(), None, "another user's");
        std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    }
    let folder = scene.at("etc/web/apps/vshelper");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(scene.program(), None, "others may replace it");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(&path).unwrap();
    symlink("/bin/true", &path).unwrap();
    assert!(scene.program().is_some(), "a program of the host");
    let planted = scene.write("root/planted", "#!/bin/sh\n", 0o755);
    fs::remove_file(&path).unwrap();
    symlink(planted, &path).unwrap();
    assert_eq!(scene.program(), None, "a program of the guest");
    fs::remove_file(&path).unwrap();
    symlink("restart", &path).unwrap();
    assert_eq!(scene.program(), None, "a link to itself");
}

#[test]
fn lines_are_short_and_of_the_host() {
    const ACTION: &str = "etc/web/apps/vshelper/action";
    let scene = Scene::new();
    for (text, line) in [
        ("sync\nrestart\n", Some("sync")),
        ("  async \n", Some("async")),
        ("", None),
        ("\nsync\n", None),
        ("restart", Some("restart")),
    ] {
        scene.write(ACTION, text, 0o644);
        assert_eq!(scene.action().as_deref(), line, "{text:?}");
    }
    fs::write(scene.at(ACTION), vec![b'x'; 100_000]).unwrap();
    assert_eq!(scene.action().map(|line| line.len()), Some(4096));
    fs::write(scene.at(ACTION), b"\xff\n").unwrap();
    assert_eq!(scene.action(), None);
    let elsewhere = scene.write("elsewhere", "sync\n", 0o644);
    for (target, line) in [
        (elsewhere, None),
        ("/dev/null".into(), None),
        ("../../../.defaults/apps/vshelper/action".into(), Some("async")),
        (scene.at("etc/.defaults/apps/vshelper/action"), Some("async")),
    ] {
        fs::create_dir_all(scene.at("etc/.defaults/apps/vshelper")).unwrap();
        scene.write("etc/.defaults/apps/vshelper/action", "async\n", 0o644);
        fs::remove_file(scene.at(ACTION)).unwrap();
        symlink(&target, scene.at(ACTION)).unwrap();
        assert_eq!(scene.action().as_deref(), line, "{}", target.display());
    }
    fs::remove_file(scene.at(ACTION)).unwrap();
    nix::unistd::mkfifo(&scene.at(ACTION), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(scene.action(), None, "nobody is waited for");
}

#[test]
fn a_log_is_a_file_that_is_there() {
    let scene = Scene::new();
    let log = Log::default();
    let opened = || Folders::new(None, Some(&scene.known), &log).logfile().is_some();
    fs::create_dir_all(scene.at("etc/.defaults/apps/vshelper")).unwrap();
    assert!(!opened());
    let path = scene.at("etc/.defaults/apps/vshelper/logfile");
    for (target, is_log) in [("here", true), ("/dev/null", false), ("root/there", false)] {
        let target = scene.at(target);
        if !target.starts_with("/dev") {
            fs::write(&target, "").unwrap();
        }
        symlink(&target, &path).unwrap();
        assert_eq!(opened(), is_log, "{}", target.display());
        fs::remove_file(&path).unwrap();
    }
}
