//! Guests in the manner of Linux-VServer: their helper is called as the kernel called it, and guestd has the last word.

use std::{collections::BTreeSet, fs, path::PathBuf, sync::Arc, time::Duration};

use guestd::{
    engine::Observation,
    helper::{
        policy::{self, StoredPolicy},
        spool,
        wire::{Decision, Event},
    },
    model::{Guest, Limit, RebootAction, WaitStatus, native::Helper},
};

use super::{
    native_host::{Bench, eventually, executable},
    played::Daemon,
};

const CONTEXT: u32 = 40_001;

/// A guest with a context, below a folder of guests of its own.
fn vserver(bench: &mut Bench, name: &str, program: Option<PathBuf>) -> Arc<Guest> {
    let folder = bench.folder().join("vservers").join(name);
    fs::create_dir_all(folder.join("apps/vshelper")).unwrap();
    bench.guest(name, |spec| {
        spec.helper = Helper::Vshelper { program, context: CONTEXT, folder: folder.into() };
    })
}

/// A program that writes down what it is called with: the arguments, then what the environment says. It ends with the status in
/// a file.
fn recorder(bench: &Bench) -> PathBuf {
    let folder = bench.folder().display();
    let text = format!(
        "echo \"$* [$GUESTD_GUEST $GUESTD_MONITOR $GUESTD_RUNTIME_DIR] $HOME $TERM $PATH $VS_CMD $VS_UID $VS_PID\" \
         >> '{folder}/called'; exit \"$(cat '{folder}/status' 2>/dev/null || echo 0)\""
    );
    executable::script(&bench.folder().join("recorder"), &text)
}

fn called(bench: &Bench) -> Vec<String> {
    let text = fs::read_to_string(bench.folder().join("called")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Reboots from inside; it comes back.
async fn reboots(bench: &mut Bench, guest: &Guest) {
    bench.inside(guest, "reboot -f");
    assert_eq!(bench.observes(guest).await, Observation::InitExited(Some(WaitStatus(0x1))));
    bench.running(guest).await;
}

/// Reboots from inside, and stays down.
async fn reboots_no_more(bench: &mut Bench, guest: &Guest) {
    bench.inside(guest, "reboot -f");
    bench.ends(guest, 0x1).await;
}

#[tokio::test]
async fn a_program_is_called_with_what_the_kernel_gave() {
    let mut bench = Bench::new();
    let program = recorder(&bench);
    let guest = vserver(&mut bench, "called", Some(program));
    let monitor = bench.up(&guest).await.keeper.unwrap().pid;
    assert!(eventually(|| called(&bench).len() == 1).await, "{:?}", called(&bench));
    reboots(&mut bench, &guest).await;
    assert!(eventually(|| called(&bench).len() == 4).await, "{:?}", called(&bench));
    bench.inside(&guest, "poweroff -f");
    bench.ends(&guest, 0x2).await;
    let line = |event: &str, rest: &str| {
        let run = bench.folder().join("run");
        let own = format!("[{} {monitor} {}]", guest.name, run.display());
        format!("{event} {CONTEXT} {own} / linux /sbin:/usr/sbin:/bin:/usr/bin {rest}")
    };
    let (startup, shutdown) = (line("startup", "00000001  "), line("shutdown", "00000002  "));
    let (restart, halt) = (line("restart", "01234567 0 1"), line("halt", "cdef0123 0 1"));
    assert_eq!(
        called(&bench),
        [&startup, &restart, &shutdown, &startup, &halt, &shutdown].map(String::clone)
    );
    let asked = bench.asked();
    let events: Vec<_> = asked.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(events, ["reboot", "halt"], "guestd is asked once for each");
}

#[tokio::test]
async fn guestd_and_the_program_have_to_agree_about_a_reboot() {
    let mut bench = Bench::new();
    let program = recorder(&bench);
    let guest = vserver(&mut bench, "agree", Some(program.clone()));
    bench.up(&guest).await;
    reboots(&mut bench, &guest).await;
    fs::write(bench.folder().join("status"), "3").unwrap();
    reboots_no_more(&mut bench, &guest).await;
    assert!(bench.asked().ends_with(&format!("--guest {} declined\n", guest.name)), "{}", bench.asked());

    fs::remove_file(bench.folder().join("status")).unwrap();
    bench.decide(1);
    let refused = vserver(&mut bench, "refused", Some(program));
    bench.up(&refused).await;
    reboots_no_more(&mut bench, &refused).await;
    assert!(bench.asked().ends_with(&format!("--guest {} reboot\n", refused.name)), "{}", bench.asked());

    bench.decide(0);
    let missing = bench.folder().join("missing");
    let without = vserver(&mut bench, "without", Some(missing));
    bench.up(&without).await;
    reboots(&mut bench, &without).await;
}

#[tokio::test]
async fn guestds_own_helper_counts_a_reboot_once() {
    let mut bench = Bench::with_guest_helper();
    let daemon = Daemon::at(&bench.folder().join("run"));
    let guest = vserver(&mut bench, "restart", None);
    bench.up(&guest).await;
    for _ in 0..2 {
        reboots(&mut bench, &guest).await;
        assert_eq!(daemon.asked(&guest.name), [Event::Reboot]);
    }
    let own = bench.folder().join("vservers/restart/apps/vshelper/restart");
    let seen = bench.folder().join("seen");
    executable::script(&own, &format!("echo \"$*\" > '{}'", seen.display()));
    reboots(&mut bench, &guest).await;
    assert_eq!(daemon.asked(&guest.name), [Event::Reboot]);
    assert_eq!(fs::read_to_string(&seen).unwrap(), format!("restart {CONTEXT}\n"));
    fs::remove_file(&own).unwrap();
    fs::write(bench.folder().join("vservers/restart/apps/vshelper/action"), "sync\n").unwrap();
    reboots_no_more(&mut bench, &guest).await;
    assert_eq!(daemon.asked(&guest.name), [Event::Declined]);

    let refused = vserver(&mut bench, "stop", None);
    bench.up(&refused).await;
    reboots_no_more(&mut bench, &refused).await;
    assert_eq!(daemon.asked(&refused.name), [Event::Reboot]);
}

/// Stores what is decided by without a daemon.
fn store(bench: &Bench, guest: &Guest, action: RebootAction) {
    let policy = StoredPolicy {
        version: StoredPolicy::VERSION,
        guest: guest.name.clone(),
        action,
        limit: Limit { count: 2, window: Duration::from_secs(3600) },
        recent: Vec::new(),
        failures: Vec::new(),
        restarts: 0,
        started_fingerprint: 0,
        stopping: false,
        follows: None,
        ready: None,
        unwanted: false,
        held: false,
        keeper: None,
        over: None,
    };
    policy::write(&bench.folder().join("run"), &policy).unwrap();
}

/// What was decided without a daemon, and why it failed.
fn spooled(bench: &Bench, guest: &Guest) -> Vec<(Event, Decision, bool)> {
    let lying =
        spool::look(&bench.folder().join("run"), &BTreeSet::new()).into_iter().map(|lying| lying.request);
    let own = lying.filter(|request| request.guest == guest.name);
    own.map(|request| (request.event, request.decision, request.tripped.is_some())).collect()
}

#[tokio::test]
async fn without_guestd_its_stored_policy_and_loop_guard_hold() {
    let mut bench = Bench::with_guest_helper();
    let guest = vserver(&mut bench, "guard", None);
    store(&bench, &guest, RebootAction::Restart);
    bench.up(&guest).await;
    for _ in 0..2 {
        reboots(&mut bench, &guest).await;
    }
    reboots_no_more(&mut bench, &guest).await;
    let again = (Event::Reboot, Decision::Restart, false);
    assert_eq!(spooled(&bench, &guest), [again, again, (Event::Reboot, Decision::Stop, true)]);

    let once = vserver(&mut bench, "once", None);
    store(&bench, &once, RebootAction::Stop);
    bench.up(&once).await;
    reboots_no_more(&mut bench, &once).await;
    assert_eq!(spooled(&bench, &once), [(Event::Reboot, Decision::Stop, false)]);
}

#[tokio::test]
async fn a_guest_that_is_killed_for_want_of_memory_is_told_as_that() {
    let mut bench = Bench::new();
    let program = recorder(&bench);
    let mut guest = Guest::clone(&vserver(&mut bench, "hungry", Some(program)));
    let guestd::model::EngineSpec::Native(spec) = &mut guest.engine else { panic!("not native") };
    // Its init itself, without a child that would be killed in its place.
    Arc::make_mut(spec).init.program = super::native_host::shell("read x < /go; exec tail /dev/zero");
    nix::unistd::mkfifo(&bench.root().join("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let memory = (guestd::model::Resource::MemoryMax, guestd::model::Amount::Bytes(16 << 20));
    guest.resources = [memory].into_iter().collect();
    let guest = Arc::new(guest);
    bench.up(&guest).await;
    fs::write(bench.root().join("go"), "\n").unwrap();
    assert_eq!(bench.observes(&guest).await, Observation::OutOfMemory);
    assert_eq!(bench.observes(&guest).await, Observation::Gone);
    let events: Vec<_> =
        called(&bench).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(events, ["startup", "oom", "shutdown"]);
}
