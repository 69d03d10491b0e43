//! `guest-helper` as its callers see it: the built program, its exit statuses and its two seconds, with a server on a
//! real socket and a thread that plays the manager.
#![allow(clippy::unwrap_used, reason = "it is all test")]

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{PermissionsExt, symlink},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use guestd::{
    helper::{
        policy::{self, StoredPolicy},
        server::{self, SOCKET_NAME},
        spool::{self, Spooled},
        wire::{Decision, Event},
    },
    model::{GuestName, Limit, RebootAction, Timestamp},
};
use nix::{
    errno::Errno,
    sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr},
};

use played::Daemon;

#[path = "../executable/mod.rs"]
mod executable;
mod played;
mod vshelper;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guest-helper");

fn name(text: &str) -> GuestName {
    GuestName::new(text).unwrap()
}

/// What a run of the program shows.
struct Ran {
    status: i32,
    said: String,
    took: Duration,
}

fn run(mut command: Command) -> Ran {
    let begun = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let took = begun.elapsed();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Ran { status: output.status.code().unwrap_or_else(|| panic!("{}: {said}", output.status)), said, took }
}

fn helper(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("--runtime-dir").arg(dir).args(arguments).envs(environment.iter().copied());
    run(command)
}

fn plain(dir: &Path, guest: &str, event: &str) -> Ran {
    helper(dir, &["--guest", guest, event], &[])
}

fn lxc(dir: &Path, guest: &str, target: &str) -> Ran {
    let environment = [("LXC_NAME", guest), ("LXC_TARGET", target)];
    helper(dir, &["lxc-hook", guest, "lxc", "post-stop"], &environment)
}

fn vshelper(dir: &Path, event: &str, id: &str) -> Ran {
    helper(dir, &["vshelper", event, id], &[("VS_CMD", "01234567"), ("VS_UID", "0"), ("VS_PID", "42")])
}

fn store(dir: &Path, guest: &str, action: RebootAction) {
    let policy = StoredPolicy {
        ready: None,
        unwanted: false,
        version: StoredPolicy::VERSION,
        guest: name(guest),
        action,
        limit: Limit { count: 2, window: Duration::from_secs(3600) },
        restarts: 0,
        failures: Vec::new(),
        recent: Vec::new(),
        started_fingerprint: 0,
        stopping: false,
        follows: None,
        held: false,
        keeper: None,
        over: None,
    };
    policy::write(dir, &policy).unwrap();
}

/// What lies in the spool, which is empty then.
fn spooled_in_full(dir: &Path) -> Vec<Spooled> {
    let lying = spool::look(dir, &BTreeSet::new()).into_iter();
    let taken = lying.map(|lying| {
        spool::remove(dir, &lying.file).unwrap();
        lying.request
    });
    taken.collect()
}

fn drained(dir: &Path) -> Vec<(String, Event, Decision)> {
    spooled_in_full(dir).into_iter().map(|r| (r.guest.to_string(), r.event, r.decision)).collect()
}

#[test]
fn the_daemons_decision_becomes_the_exit_status() {
    let daemon = Daemon::start();
    let expected: HashMap<&str, (i32, i32)> =
        HashMap::from([("restart", (0, 0)), ("stop", (1, 1)), ("anew", (0, 1)), ("nobody", (2, 0))]);
    for (guest, (by_hand, as_hook)) in expected {
        for event in ["reboot", "restart", "halt", "poweroff", "stop"] {
            let ran = plain(daemon.dir(), guest, event);
            assert_eq!(ran.status, by_hand, "{guest} {event}: {}", ran.said);
            assert!(ran.said.contains("as played"), "{}", ran.said);
        }
        assert_eq!(lxc(daemon.dir(), guest, "reboot").status, as_hook, "{guest}");
        assert_eq!(lxc(daemon.dir(), guest, "stop").status, 0, "{guest}");
        let version_1 = [
            ("LXC_NAME", guest),
            ("LXC_TARGET", "reboot"),
            ("LXC_HOOK_TYPE", "post-stop"),
            ("LXC_HOOK_SECTION", "lxc"),
        ];
        assert_eq!(helper(daemon.dir(), &["lxc-hook"], &version_1).status, as_hook, "{guest}");
    }
    assert_eq!(drained(daemon.dir()), [], "what the daemon heard is not spooled");
}

#[test]
fn vshelper_is_answered_as_util_vserver_answers() {
    let daemon = Daemon::start();
    for event in ["restart", "halt", "poweroff", "swsusp", "oom", "startup", "netup", "netdown"] {
        let ran = vshelper(daemon.dir(), event, "49152");
        assert_eq!(ran.status, 1, "{event}: {}", ran.said);
        assert!(ran.said.contains("no guest has the id 49152"), "{}", ran.said);
    }
    assert_eq!(vshelper(daemon.dir(), "shutdown", "49152").status, 0);
    for event in ["restart", "halt", "poweroff", "swsusp", "oom", "startup", "shutdown"] {
        assert_eq!(vshelper(daemon.dir(), event, "7").status, 0, "{event}");
    }
    for (event, id) in [("reboot", "7"), ("restart", "x")] {
        assert_eq!(vshelper(daemon.dir(), event, id).status, 1, "{event} {id}");
    }

    let link = daemon.dir().join("vshelper");
    symlink(PROGRAM, &link).unwrap();
    let called = |words: &[&str]| {
        let mut command = Command::new(&link);
        command.env_clear().arg("--runtime-dir").arg(daemon.dir()).args(words);
        run(command).status
    };
    assert_eq!((called(&["restart", "7"]), called(&["restart", "8"]), called(&["restart"])), (0, 1, 1));
}

#[test]
fn help_and_version_are_shown() {
    let shown = |option: &str| {
        let mut command = Command::new(PROGRAM);
        command.arg(option);
        run(command)
    };
    let help = shown("--help");
    assert!(help.status == 0 && help.said.contains("Usage: guest-helper"), "{}", help.said);
    let version = shown("--version");
    assert_eq!(
        (version.status, version.said.trim()),
        (0, concat!("guest-helper ", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_hook_never_harms_a_guest_it_cannot_report() {
    let dir = tempfile::tempdir().unwrap();
    for (guest, target) in
        [("../../etc/shadow", "reboot"), ("", "reboot"), ("web", "explode"), ("a b", "stop")]
    {
        let ran = lxc(dir.path(), guest, target);
        assert_eq!(ran.status, 0, "{guest} {target}: {}", ran.said);
    }
    assert_eq!(helper(dir.path(), &["lxc-hook", "--colour"], &[("LXC_TARGET", "reboot")]).status, 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left of them");
    let missing = lxc(&dir.path().join("missing"), "web", "reboot");
    assert_eq!(missing.status, 0, "{}", missing.said);

    let mut deaf = Command::new(PROGRAM);
    deaf.arg("--runtime-dir").arg(dir.path()).arg("lxc-hook");
    deaf.envs([("LXC_NAME", "web"), ("LXC_TARGET", "reboot")]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(deaf.stderr(writer).status().unwrap().success(), "even when nobody reads what it says");
}

#[test]
fn without_a_daemon_the_stored_policy_decides_and_the_request_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    store(dir, "loop", RebootAction::Restart);
    store(dir, "once", RebootAction::Stop);
    let statuses = |guest| [lxc(dir, guest, "reboot").status, plain(dir, guest, "reboot").status];
    assert_eq!(statuses("loop"), [0, 0], "two are within the limit");
    assert_eq!(statuses("loop"), [1, 1], "the third and fourth are not");
    assert_eq!(statuses("once"), [1, 1]);
    assert_eq!(statuses("nobody"), [0, 2], "LXC reboots a guest we do not know");
    assert_eq!((lxc(dir, "once", "stop").status, plain(dir, "nobody", "halt").status), (0, 2));
    assert_eq!(vshelper(dir, "restart", "7").status, 1);

    let reboot = |guest: &str, decision| (guest.to_owned(), Event::Reboot, decision);
    let expected = [
        reboot("loop", Decision::Restart),
        reboot("loop", Decision::Restart),
        reboot("loop", Decision::Stop),
        reboot("loop", Decision::Stop),
        reboot("once", Decision::Stop),
        reboot("once", Decision::Stop),
        reboot("nobody", Decision::Ignore),
        reboot("nobody", Decision::Ignore),
        ("once".into(), Event::Stop, Decision::Stop),
        ("nobody".into(), Event::Halt, Decision::Ignore),
    ];
    assert_eq!(drained(dir), expected);
}

#[test]
fn the_spool_is_private_and_dated() {
    let dir = tempfile::tempdir().unwrap();
    let since =
        |at: SystemTime| u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros());
    let before = since(SystemTime::now()).unwrap();
    assert_eq!(lxc(dir.path(), "web", "reboot").status, 0);
    let after = since(SystemTime::now()).unwrap();
    let folder = dir.path().join("spool");
    let file = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    let [Spooled { at: Timestamp(at), .. }] = spooled_in_full(dir.path())[..] else { panic!("one request") };
    assert!((before..=after).contains(&at));
}

/// A script in a folder.
fn script(dir: &Path, text: &str) -> PathBuf {
    executable::script(&dir.join("script"), text)
}

#[test]
fn without_a_daemon_a_script_is_asked() {
    for (text, status) in [("exit 0", 0), ("exit 3", 1), ("exec sleep 600", 0)] {
        let dir = tempfile::tempdir().unwrap();
        store(dir.path(), "web", RebootAction::Script(script(dir.path(), text)));
        let ran = lxc(dir.path(), "web", "reboot");
        assert_eq!(ran.status, status, "{text}: {}", ran.said);
        assert!(ran.took < Duration::from_millis(2200), "{text} took {:?}", ran.took);
    }
    let dir = tempfile::tempdir().unwrap();
    store(dir.path(), "web", RebootAction::Script(dir.path().join("missing")));
    let ran = lxc(dir.path(), "web", "reboot");
    assert_eq!(ran.status, 1, "{}", ran.said);
    assert!(ran.said.contains("stop") && ran.said.contains("could not be run"), "{}", ran.said);
    assert_eq!(drained(dir.path()), [("web".into(), Event::Reboot, Decision::Stop)], "as guestd decides");
}

/// A hung daemon is answered for within two seconds, by the policy.
fn assert_within_two_seconds(dir: &Path, guest: &str) {
    for (action, status) in [
        (RebootAction::Restart, 0),
        (RebootAction::Stop, 1),
        (RebootAction::Script(script(dir, "exec sleep 600")), 0),
    ] {
        store(dir, guest, action.clone());
        let ran = lxc(dir, guest, "reboot");
        assert_eq!(ran.status, status, "{action}: {}", ran.said);
        assert!(ran.said.contains("did not answer in time"), "{}", ran.said);
        assert!(ran.took < Duration::from_millis(2200), "{action} took {:?}", ran.took);
        assert!(ran.took > Duration::from_millis(300), "{action}: the daemon has its time; {:?}", ran.took);
        assert_eq!(drained(dir).len(), 1);
    }
}

#[test]
fn a_manager_that_hangs_keeps_no_guest_waiting() {
    let daemon = Daemon::start();
    assert_within_two_seconds(daemon.dir(), "hang");
}

/// Connects until the kernel lets no more wait.
fn fill_queue(path: &Path) -> Vec<OwnedFd> {
    let address = UnixAddr::new(path).unwrap();
    let mut waiting = Vec::new();
    loop {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        match socket::connect(socket.as_raw_fd(), &address) {
            Ok(()) => waiting.push(socket),
            Err(error) => {
                assert_eq!(error, Errno::EAGAIN);
                return waiting;
            }
        }
    }
}

#[test]
fn a_daemon_that_does_not_even_accept_keeps_no_guest_waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SOCKET_NAME);
    let _listener = server::bind(&path).unwrap();
    assert_within_two_seconds(dir.path(), "web");
    let _waiting = fill_queue(&path);
    assert_within_two_seconds(dir.path(), "web");
}

#[test]
fn a_decision_that_takes_long_is_waited_for_while_there_is_progress() {
    let daemon = Daemon::start();
    store(daemon.dir(), "slow", RebootAction::Stop);
    let ran = lxc(daemon.dir(), "slow", "reboot");
    assert_eq!(ran.status, 0, "{}", ran.said);
    assert!(ran.took >= Duration::from_secs(3), "{:?}", ran.took);
    assert_eq!(drained(daemon.dir()), []);
}

#[test]
fn only_root_may_report() {
    let daemon = Daemon::start();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(daemon.dir(), 0o755);
    let copy = daemon.dir().join("guest-helper");
    executable::copy(PROGRAM, &copy);
    let as_nobody = || {
        let mut command = Command::new(&copy);
        command.uid(65534).gid(65534).current_dir("/").arg("--runtime-dir").arg(daemon.dir());
        command.args(["--guest", "restart", "reboot"]);
        run(command)
    };
    let shut_out = as_nobody();
    assert_eq!(shut_out.status, 2);
    assert!(shut_out.said.contains("only root may report"), "{}", shut_out.said);

    open(&daemon.dir().join(SOCKET_NAME), 0o666);
    let refused = as_nobody();
    assert_eq!(refused.status, 2);
    assert!(refused.said.contains("only root may report; the peer is uid 65534"), "{}", refused.said);
    assert_eq!(drained(daemon.dir()), []);
    assert_eq!(plain(daemon.dir(), "restart", "reboot").status, 0, "root still may");
}
