//! `vshelper` as its callers see it: the order of util-vserver's files, what is logged, and its exit statuses, called by hand and
//! by a monitor.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use guestd::{
    guest_run::spec::{FILE_MAX, Place, Placement, SPEC, Spec},
    helper::{
        policy, record,
        wire::{Decision, Event},
    },
    model::{
        NativeSpec, RebootAction, Resources,
        native::{Helper, Root},
    },
};

use crate::{PROGRAM, Ran, drained, executable, name, played::Daemon, run, store};

/// Guests of util-vserver, and a runtime directory that knows them.
struct Host {
    folder: tempfile::TempDir,
    runtime_dir: PathBuf,
}

impl Host {
    /// A host with its own runtime directory, without a daemon.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime_dir = folder.path().join("run");
        fs::create_dir(&runtime_dir).unwrap();
        Self::with(folder, runtime_dir)
    }

    /// A host with the runtime directory of a daemon.
    fn of(daemon: &Daemon) -> Self {
        Self::with(tempfile::tempdir().unwrap(), daemon.dir().to_owned())
    }

    fn with(folder: tempfile::TempDir, runtime_dir: PathBuf) -> Self {
        let host = Self { folder, runtime_dir };
        for path in
            [".defaults/apps/vshelper", ".defaults/apps/vshelper-methods", ".defaults/apps/vshelper-delegate"]
        {
            fs::create_dir_all(host.at(path)).unwrap();
        }
        host
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("vservers").join(path)
    }

    /// A guest that runs, or has run, with this context.
    fn guest(&self, guest: &str, context: u32) {
        fs::create_dir_all(self.at(guest).join("apps/vshelper")).unwrap();
        let mut native = NativeSpec::new(Root::Folder(self.folder.path().join("root")));
        native.helper = Helper::Vshelper { program: None, context, folder: self.at(guest).into() };
        let spec = Spec {
            guest: name(guest),
            uuid: String::new(),
            native,
            root: Some(self.folder.path().join("root")),
            ids: None,
            placement: Placement::Unit,
            resources: Resources::default(),
            filter: Vec::new(),
            helper: Vec::new(),
            notify: None,
            stop_timeout: std::time::Duration::from_secs(10),
        };
        let place = Place::of(&self.runtime_dir, &name(guest));
        fs::create_dir_all(place.folder()).unwrap();
        record::write(place.folder(), SPEC, &spec, FILE_MAX).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.at(path), text).unwrap();
    }

    fn script(&self, path: &str, text: &str) {
        executable::script(&self.at(path), text);
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env_clear().arg("--runtime-dir").arg(&self.runtime_dir);
        command.arg("--vservers").arg(self.at("")).arg("vshelper").args(words);
        command.envs([("HOME", "/"), ("VS_CMD", "01234567"), ("VS_UID", "0"), ("VS_PID", "1")]);
        command
    }

    /// As the kernel calls, or a person.
    fn call(&self, words: &[&str]) -> Ran {
        run(self.command(words))
    }

    /// As the monitor of a guest calls.
    fn monitored(&self, guest: &str, words: &[&str]) -> Ran {
        let mut command = self.command(words);
        command.envs([("GUESTD_GUEST", guest), ("GUESTD_MONITOR", "1")]);
        run(command)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at(".defaults/apps/vshelper/logfile")).unwrap()
    }
}

#[test]
fn a_guest_is_found_by_its_context_and_guestd_is_told() {
    let daemon = Daemon::start();
    let host = Host::of(&daemon);
    for (guest, context) in [("restart", 40_001), ("stop", 40_002), ("nobody", 40_003)] {
        host.guest(guest, context);
        for event in ["restart", "halt", "poweroff", "shutdown"] {
            let ran = host.call(&[event, &context.to_string()]);
            assert_eq!(ran.status, 0, "{guest} {event}: {}", ran.said);
            assert!(
                ran.said.contains(&format!("of {guest}")) && ran.said.contains("as played"),
                "{}",
                ran.said
            );
        }
        let told = [Event::Reboot, Event::Halt, Event::Poweroff, Event::Stop];
        assert_eq!(daemon.asked(&name(guest)), told, "each once");
        for event in ["swsusp", "oom", "startup"] {
            let ran = host.call(&[event, &context.to_string()]);
            assert_eq!(ran.status, 0, "{guest} {event}: {}", ran.said);
            assert!(ran.said.contains("nothing is done"), "{}", ran.said);
        }
    }
    assert_eq!(host.call(&["netup", "40001"]).status, 1, "the id is of another kind");
    assert_eq!(host.call(&["40001", "restart"]).status, 0, "as old kernels call");
}

#[test]
fn without_guestd_the_stored_policy_is_used_and_the_request_kept() {
    let host = Host::new();
    host.guest("web", 40_001);
    store(&host.runtime_dir, "web", RebootAction::Restart);
    assert_eq!(host.call(&["restart", "40001"]).status, 0);
    host.write("web/apps/vshelper/action", "sync\n");
    assert_eq!(host.call(&["restart", "40001"]).status, 0);
    let web = |event, decision| ("web".to_owned(), event, decision);
    let expected = [web(Event::Reboot, Decision::Restart), web(Event::Declined, Decision::Stop)];
    assert_eq!(drained(&host.runtime_dir), expected);
    assert_eq!(host.call(&["restart", "40002"]).status, 1, "nobody has it");
    assert_eq!(host.call(&["shutdown", "40002"]).status, 0, "it is gone anyway");
}

#[test]
fn a_monitor_is_answered_and_guestd_is_left_to_it() {
    let host = Host::new();
    host.guest("web", 40_001);
    host.guest("db", 40_002);
    let calls = |words: &[&str]| host.monitored("web", words).status;
    for event in ["restart", "halt", "shutdown", "startup", "oom", "swsusp"] {
        assert_eq!(calls(&[event, "40001"]), 0, "{event}");
    }
    assert_eq!(calls(&["restart", "40002"]), 1, "another guest's context");
    assert_eq!(calls(&["shutdown", "40002"]), 0);
    assert_eq!(host.monitored("gone", &["restart", "40001"]).status, 1);
    assert_eq!(
        (calls(&[]), calls(&["restart"]), calls(&["explode", "40001"]), calls(&["restart", "x"])),
        (1, 1, 1, 1)
    );
    for (action, status) in [("restart", 0), ("async", 1), ("sync", 1), ("missing", 1)] {
        host.write("web/apps/vshelper/action", action);
        assert_eq!(calls(&["restart", "40001"]), status, "{action}");
        assert_eq!(calls(&["halt", "40001"]), i32::from(action == "missing"), "{action}");
    }
    assert_eq!(drained(&host.runtime_dir), [], "whoever asks guestd is the monitor");
    assert!(policy::read(&host.runtime_dir, &name("web")).unwrap().is_none());
}

#[test]
fn programs_are_run_instead_in_their_order_with_what_the_kernel_gave() {
    let host = Host::new();
    host.guest("web", 40_001);
    let words = ["restart", "40001", "more"];
    let said = || host.monitored("web", &words);
    let tell = |what: &str, status| {
        format!("echo \"{what}: $* $VS_CMD $VS_UID $VS_PID ${{VSERVER-none}} $(umask)\"; exit {status}")
    };
    let mask = Command::new("sh").args(["-c", "umask"]).output().unwrap().stdout;
    let mask = String::from_utf8(mask).unwrap();
    let steps = [
        (".defaults/apps/vshelper-methods/mail", "method", 3),
        (".defaults/apps/vshelper/restart", "default", 4),
        ("web/apps/vshelper/restart", "own", 0),
        (".defaults/apps/vshelper-delegate/restart", "delegate", 6),
    ];
    host.write(".defaults/apps/vshelper/action", "mail\n");
    for (path, what, status) in steps {
        host.script(path, &tell(what, status));
        let ran = said();
        let vserver = if what == "method" { host.at("web").display().to_string() } else { "none".into() };
        let expected = format!("{what}: restart 40001 more 01234567 0 1 {vserver} {}", mask.trim());
        assert_eq!(ran.status, status, "{what}: {}", ran.said);
        assert!(ran.said.contains(&expected), "{expected} is not in {}", ran.said);
    }
    let other = host.call(&["halt", "40001"]);
    assert_eq!(other.status, 3, "for want of a program of its own: {}", other.said);

    host.write("web/apps/vshelper/disabled", "");
    assert_eq!(said().status, 6, "a delegate does not know whose it is");
    host.remove(".defaults/apps/vshelper-delegate/restart");
    assert_eq!(said().status, 0);
    assert!(said().said.contains("disabled for this guest"));
    host.remove("web/apps/vshelper/disabled");
    host.write(".defaults/apps/vshelper/disabled", "");
    for words in [&["restart", "40001"][..], &["explode", "40001"], &["restart", "999"]] {
        assert_eq!(host.call(words).status, 0, "{words:?}");
    }
    assert_eq!(host.call(&["restart"]).status, 1, "that is looked at before");
}

#[test]
fn a_program_that_others_could_have_written_is_left_out() {
    let host = Host::new();
    host.guest("web", 40_001);
    host.script("web/apps/vshelper/restart", "exit 9");
    let call = || host.monitored("web", &["restart", "40001"]);
    assert_eq!(call().status, 9);
    let path = host.at("web/apps/vshelper/restart");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o775)).unwrap();
    let ran = call();
    assert_eq!(ran.status, 0, "{}", ran.said);
    assert!(ran.said.contains("is not run") && ran.said.contains("others than root"), "{}", ran.said);
}

#[test]
fn what_is_said_is_dated_and_goes_to_the_log() {
    let host = Host::new();
    host.guest("web", 40_001);
    host.write(".defaults/apps/vshelper/logfile", "kept\n");
    host.script("web/apps/vshelper/halt", "echo out; echo err >&2; read line || echo no input");
    let ran = host.call(&["halt", "40001"]);
    assert_eq!((ran.status, ran.said.as_str()), (0, ""));
    let log = host.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "kept");
    assert!(lines[1].ends_with("Z vshelper: called with halt 40001"), "{log}");
    assert!(lines[1].starts_with("20"), "{log}");
    assert_eq!(lines[lines.len() - 3..], ["out", "err", "no input"]);
    assert_eq!(host.call(&["a\nb"]).status, 1);
    assert!(host.log().contains("called with a\\nb\n"), "{}", host.log());
    assert!(!host.log().contains("is not there"), "{}", host.log());
    host.write(".defaults/apps/vshelper/debug", "");
    host.monitored("web", &["restart", "40001"]);
    assert!(host.log().contains("web/apps/vshelper/restart is not there"), "{}", host.log());

    host.remove("web/apps/vshelper/halt");
    let mut by_a_person = host.command(&["halt", "40001"]);
    let terminal = nix::pty::openpty(None, None).unwrap();
    let output = by_a_person.stdin(File::from(terminal.slave)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("called with halt 40001"), "to whoever calls: {said}");
}

#[test]
fn called_by_its_own_name_it_finds_everything_by_what_the_monitor_says() {
    let host = Host::new();
    host.guest("web", 40_001);
    host.write("web/apps/vshelper/action", "sync\n");
    let link = host.folder.path().join("vshelper");
    symlink(Path::new(PROGRAM), &link).unwrap();
    let mut command = Command::new(&link);
    command.env_clear().args(["restart", "40001"]).envs([("GUESTD_GUEST", "web"), ("GUESTD_MONITOR", "1")]);
    command.env("GUESTD_RUNTIME_DIR", &host.runtime_dir);
    let ran = run(command);
    assert_eq!(ran.status, 1, "{}", ran.said);
    assert!(ran.said.contains("its reboot is declined"), "{}", ran.said);
}
