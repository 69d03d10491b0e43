//! Side by side with lxc-monitord: whoever comes first, both the engine and `lxc-monitor` see everything.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

mod lxc_host;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use guestd::{
    engine::{
        Engine, Epoch, Observation, Observed,
        lxc::{Hook, LxcEngine},
    },
    launch::Direct,
    model::{Guest, WaitStatus},
};
use lxc_host::{Host, SOON, eventually};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

/// A running `lxc-monitor` and what it prints.
struct Viewer {
    program: Child,
    lines: UnboundedReceiver<String>,
}

impl Viewer {
    /// Starts one, and waits until it is connected.
    async fn new(host: &Host) -> Self {
        let before = sockets_in(host.lxcpath(), &["02", "03"]);
        let mut program = Command::new("lxc-monitor")
            .args(["-n", ".*", "-P"])
            .arg(host.lxcpath())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(program.stdout.take().unwrap());
        let (send, lines) = unbounded_channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        assert!(eventually(|| connections(host.lxcpath()) > before).await, "lxc-monitor found nobody");
        Self { program, lines }
    }

    async fn sees(&mut self, line: &str) {
        let mut others = Vec::new();
        while let Ok(Some(seen)) = timeout(SOON, self.lines.recv()).await {
            if seen == line {
                return;
            }
            others.push(seen);
        }
        panic!("no \"{line}\", only {others:?}");
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Sockets with the name of lxc-monitord's, in these states of the kernel's table: `01` listens, `02` is a
/// connection that waits to be accepted, `03` one that is.
fn sockets_in(lxcpath: &Path, states: &[&str]) -> usize {
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let end = format!("/{}", lxcpath.display());
    let is_one = |line: &&str| line.contains(" @lxc/") && line.ends_with(&end);
    let in_state = |line: &&str| line.split_whitespace().nth(5).is_some_and(|state| states.contains(&state));
    table.lines().filter(is_one).filter(in_state).count()
}

/// Whether somebody serves `lxc-monitor`.
fn is_served(host: &Host) -> bool {
    sockets_in(host.lxcpath(), &["01"]) > 0
}

/// Accepted connections.
fn connections(lxcpath: &Path) -> usize {
    sockets_in(lxcpath, &["03"])
}

fn fifo(host: &Host) -> PathBuf {
    Path::new("/run/lxc").join(host.lxcpath().strip_prefix("/").unwrap()).join("monitor-fifo")
}

fn monitord_runs(host: &Host) -> bool {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line);
        line.contains("lxc-monitord\0") && line.contains(&host.lxcpath().display().to_string())
    })
}

fn engine(host: &Host) -> (LxcEngine, UnboundedReceiver<Observed>) {
    let hook = Hook { helper: Some("/bin/true".into()), runtime_dir: host.runtime_dir() };
    let (sink, seen) = unbounded_channel();
    (
        LxcEngine::new(vec![Arc::from(host.lxcpath())], Arc::new(Direct::default()), hook, sink, Vec::new()),
        seen,
    )
}

async fn next(seen: &mut UnboundedReceiver<Observed>) -> Observation {
    timeout(SOON, seen.recv()).await.expect("nothing was observed").unwrap().what
}

/// Starts, watches, and powers a guest off from inside; both see all of it.
async fn both_see_a_life(
    host: &Host,
    engine: &LxcEngine,
    seen: &mut UnboundedReceiver<Observed>,
    viewer: &mut Viewer,
    guest: &Arc<Guest>,
) {
    let name = guest.name.clone();
    engine.start(guest).await.unwrap();
    engine.watch(guest.clone(), Epoch(1));
    assert!(matches!(next(seen).await, Observation::Running(_)));
    host.inside(name.as_str(), &["poweroff", "-f"]);
    assert_eq!(next(seen).await, Observation::InitExited(Some(WaitStatus(0x2))));
    assert_eq!(next(seen).await, Observation::Gone);
    for line in [
        "changed state to [STARTING]",
        "changed state to [RUNNING]",
        "exited with status [0]",
        "changed state to [STOPPED]",
    ] {
        viewer.sees(&format!("'{name}' {line}")).await;
    }
}

/// A start by somebody else is told on the FIFO only: the proof that the engine reads it.
async fn a_strangers_start_appears(host: &Host, seen: &mut UnboundedReceiver<Observed>, guest: &Guest) {
    assert!(host.lxc("lxc-start", guest.name.as_str(), &["-d"]).status.success());
    assert_eq!(next(seen).await, Observation::Appeared);
    host.lxc("lxc-stop", guest.name.as_str(), &["-k"]);
}

#[tokio::test]
async fn lxc_monitor_works_while_the_engine_has_the_fifo() {
    let host = Host::new();
    let (engine, mut seen) = engine(&host);
    let guest = host.new_guest("viewed", "");
    assert!(eventually(|| fifo(&host).exists()).await);
    let mut viewer = Viewer::new(&host).await;
    assert!(!monitord_runs(&host));
    both_see_a_life(&host, &engine, &mut seen, &mut viewer, &guest).await;
    // Its request to quit is for a lxc-monitord; the engine stays.
    host.lxc("lxc-monitor", guest.name.as_str(), &["-Q"]);
    both_see_a_life(&host, &engine, &mut seen, &mut Viewer::new(&host).await, &guest).await;
}

#[tokio::test]
async fn the_engine_is_a_client_of_a_running_monitord_and_takes_over_when_it_leaves() {
    let host = Host::new();
    let mut viewer = Viewer::new(&host).await;
    assert!(monitord_runs(&host));
    let (engine, mut seen) = engine(&host);
    let guest = host.new_guest("viewed", "");
    assert!(eventually(|| connections(host.lxcpath()) >= 2).await, "the engine did not connect");
    both_see_a_life(&host, &engine, &mut seen, &mut viewer, &guest).await;
    a_strangers_start_appears(&host, &mut seen, &guest).await;

    host.lxc("lxc-monitor", guest.name.as_str(), &["-Q"]);
    assert!(eventually(|| !monitord_runs(&host) && is_served(&host)).await, "nobody took over");
    let mut viewer = Viewer::new(&host).await;
    assert!(!monitord_runs(&host), "the engine did not take over");
    while let Ok(observed) = seen.try_recv() {
        assert_eq!(observed.what, Observation::Appeared, "late news of the stranger");
    }
    both_see_a_life(&host, &engine, &mut seen, &mut viewer, &guest).await;
    a_strangers_start_appears(&host, &mut seen, &guest).await;
}

#[tokio::test]
async fn a_fifo_that_is_removed_is_made_again_and_nothing_stays_unseen() {
    let host = Host::new();
    let (_engine, mut seen) = engine(&host);
    let guest = host.new_guest("blind", "");
    assert!(eventually(|| fifo(&host).exists()).await);
    for remove_all in [false, true] {
        a_strangers_start_appears(&host, &mut seen, &guest).await;
        for _ in ["running", "ended"] {
            assert_eq!(next(&mut seen).await, Observation::Appeared);
        }
        let folder = fifo(&host).parent().unwrap().to_owned();
        if remove_all {
            fs::remove_dir_all(folder).unwrap()
        } else {
            fs::remove_file(fifo(&host)).unwrap()
        }
        // The engine shares this thread: it cannot have noticed yet.
        assert!(host.lxc("lxc-start", guest.name.as_str(), &["-d"]).status.success());
        assert_eq!(next(&mut seen).await, Observation::Appeared);
        assert!(fifo(&host).exists());
        host.lxc("lxc-stop", guest.name.as_str(), &["-k"]);
        // Its end is told: the proof that the new one is read.
        assert_eq!(next(&mut seen).await, Observation::Appeared);
    }
}

#[tokio::test]
async fn nothing_is_made_for_an_lxcpath_that_is_none_until_it_is_one() {
    let host = Host::new();
    let (engine, _seen) = engine(&host);
    let paths: [Arc<Path>; 2] = ["none", "file"].map(|name| Arc::from(host.folder().join(name)));
    fs::write(&paths[1], "").unwrap();
    let known: Vec<Arc<Path>> = paths.iter().cloned().chain([Arc::from(host.lxcpath())]).collect();
    engine.set_paths(known.clone());
    let fifo_of =
        |path: &Path| Path::new("/run/lxc").join(path.strip_prefix("/").unwrap()).join("monitor-fifo");
    assert!(eventually(|| fifo(&host).exists()).await);
    assert!(paths.iter().all(|path| !fifo_of(path).parent().unwrap().exists()));
    fs::create_dir(&paths[0]).unwrap();
    engine.set_paths(known);
    assert!(eventually(|| fifo_of(&paths[0]).exists()).await);
    assert!(!fifo_of(&paths[1]).parent().unwrap().exists());
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let host = Host::new();
    let (_engine, mut seen) = engine(&host);
    let guest = host.new_guest("slow", "");
    assert!(eventually(|| fifo(&host).exists()).await);
    let viewer = Viewer::new(&host).await;
    let stop = |name: &str| {
        let done = Command::new("kill").args([name, &viewer.program.id().to_string()]).status().unwrap();
        assert!(done.success());
    };
    stop("-STOP");
    // More than its socket takes: records of a container that nobody watches.
    let mut record = [0; 264];
    record[4..4 + guest.name.as_str().len()].copy_from_slice(guest.name.as_str().as_bytes());
    record[260] = 2;
    let fifo = fifo(&host);
    let writer =
        tokio::task::spawn_blocking(move || (0..4000).for_each(|_| fs::write(&fifo, record).unwrap()));
    for _ in 0..4000 {
        assert_eq!(next(&mut seen).await, Observation::Appeared);
    }
    writer.await.unwrap();
    assert!(eventually(|| connections(host.lxcpath()) == 0).await, "the slow client is still held");
    stop("-CONT");
}

#[tokio::test]
async fn two_daemons_share_an_lxcpath_and_the_second_takes_over() {
    let host = Host::new();
    let guest = host.new_guest("shared", "");
    let (first, mut seen_by_first) = engine(&host);
    assert!(eventually(|| fifo(&host).exists()).await);
    let (_second, mut seen_by_second) = engine(&host);
    assert!(eventually(|| connections(host.lxcpath()) == 1).await, "the second is no client of the first");
    a_strangers_start_appears(&host, &mut seen_by_first, &guest).await;
    assert_eq!(next(&mut seen_by_first).await, Observation::Appeared, "once starting, once running");
    for _ in 0..2 {
        assert_eq!(next(&mut seen_by_second).await, Observation::Appeared);
    }
    first.set_paths(Vec::new());
    assert!(eventually(|| connections(host.lxcpath()) == 0 && is_served(&host)).await, "nobody took over");
    // Served by the second now: the proof that it reads the FIFO itself.
    let _viewer = Viewer::new(&host).await;
    assert!(!monitord_runs(&host));
    a_strangers_start_appears(&host, &mut seen_by_second, &guest).await;
    assert!(seen_by_first.try_recv().is_err());
}
