//! How fast guestd sees to its guests: a crash to the new init, many stops together, a new daemon among many guests, and
//! the core alone with a thousand of them.

#[path = "../tests/host/mod.rs"]
mod host;
mod measured;
mod report;

use std::{
    collections::BTreeSet,
    fs,
    hint::black_box,
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use guestd::{
    engine::{Epoch, Init, Observation, Probe},
    model::{
        self, EngineSpec, Guest, GuestName, Limit, LxcSpec, Now, Order, Pressure, Restart, Timestamp,
        WaitStatus,
    },
    supervise::{
        effect::Effect,
        event::{Event, Found},
        fleet::{Fleet, Rules},
    },
};
use host::Host;
use measured::{Bench, milliseconds, proportional_megabytes, timed, wakeups_in};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use report::{Part, Report, Unit, median};

const CRASHES: u64 = 100;
/// Containers that are stopped together, and that a new daemon finds.
const MANY: usize = 200;
const DAEMONS: usize = 5;
const IDLE: Duration = Duration::from_secs(10);
/// Guests of the fleet that is measured without an engine, and how often each of them crashes.
const FLEET: usize = 1000;
const ROUNDS: usize = 20;

/// What is measured, each by its name: `cargo bench --bench supervision -- NAME ...` measures these only.
const PARTS: [Part; 3] = [("crashes", crashes), ("many", many), ("fleet", fleet)];

fn main() {
    report::run(&PARTS);
}

/// A container whose init says when it is there.
struct Told {
    fifo: fs::File,
}

impl Told {
    fn define(host: &Host, name: &str) -> Self {
        host.guest(name, &["lxc.init.cmd = /bin/telling"]);
        let root: PathBuf = host.lxcpath().join(".root");
        fs::write(root.join("bin/telling"), "#!/bin/sh\necho up >/told\nexec sleep 100000\n")
            .expect("its init");
        host::open_to_all(&root.join("bin/telling"));
        nix::unistd::mkfifo(&root.join("told"), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        // For reading and writing: then it never ends, and opening it never waits.
        let fifo = fs::File::options().read(true).write(true).open(root.join("told")).expect("the FIFO");
        Self { fifo }
    }

    fn hear(&self) -> Instant {
        use std::io::Read;
        let mut fds = [PollFd::new(self.fifo.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(10_000u16)).expect("a poll");
        let at = Instant::now();
        assert_eq!(ready, 1, "its init does not come");
        let length = (&self.fifo).read(&mut [0; 64]).expect("a word");
        assert_eq!(length, 3);
        at
    }
}

fn kill(pid: i64) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("a kill");
}

/// From the death of an init to the next one, beside a plain `lxc-start`.
fn crashes(report: &mut Report) {
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    ours.host.settings("[defaults.restart]\ndelay = 0\nlimit = \"100000/1s\"\n");
    let (our, their) = (Told::define(&ours.host, "ours"), Told::define(&theirs, "theirs"));
    ours.host.start_daemon();
    ours.host.guestctl_ok(&["start", "ours"]);
    our.hear();
    let mut took = [const { Vec::new() }; 2];
    for _ in 0..CRASHES {
        let init = host::wait_for("its init", || ours.host.lxc_init_pid("ours"));
        let began = Instant::now();
        kill(init);
        took[0].push(milliseconds(our.hear() - began));
        let began = Instant::now();
        assert!(theirs.lxc("lxc-start", "theirs").status().expect("lxc-start").success());
        took[1].push(milliseconds(their.hear() - began));
        assert!(theirs.lxc("lxc-stop", "theirs").arg("-k").status().expect("lxc-stop").success());
    }
    let [ours, theirs] = &mut took;
    report.ratio("a killed init to the next one (`lxc-start`)", ours, theirs, (2.0, "2"));
}

/// Two hundred containers: a new daemon finds them, nothing happens, and all are stopped.
fn many(report: &mut Report) {
    let mut bench = Bench::new();
    for number in 0..MANY {
        bench.host.guest(&format!("guest{number:03}"), &["lxc.start.auto = 1"]);
    }
    bench.host.guest("alone", &[]);
    bench.host.start_daemon();
    bench.host.autostart_ok(&["-a"]);
    let mut adopted = Vec::new();
    for _ in 0..DAEMONS {
        bench.host.kill_daemon();
        let began = Instant::now();
        bench.host.start_daemon();
        adopted.push(milliseconds(began.elapsed()));
        assert_eq!(bench.host.in_phase("up").len(), MANY, "all are adopted");
    }
    report.amount(
        format!("a new daemon to READY, {MANY} running and adopted"),
        Unit::Milliseconds,
        median(&mut adopted),
        150.0,
    );
    let wakeups = wakeups_in(bench.host.daemon_pid(), IDLE);
    let what = format!("wake-ups in {} s, {MANY} running", IDLE.as_secs());
    report.amount(what, Unit::Times, wakeups as f64, 0.0);
    let pss = proportional_megabytes(bench.host.daemon_pid());
    report.amount(format!("the daemon's memory (PSS), {MANY} running"), Unit::Megabytes, pss, 12.0);
    bench.host.guestctl_ok(&["start", "alone"]);
    let alone = timed(bench.host.command(env!("CARGO_BIN_EXE_guestctl")).args(["stop", "alone"]));
    let all = timed(bench.host.command(env!("CARGO_BIN_EXE_autostart")).args(["-s", "-a"]));
    let what = format!("`autostart -s -a`, {MANY} running (one stops in {alone:.0} ms)");
    report.amount(what, Unit::Milliseconds, all, alone * 1.5 + 1000.0);
}

fn now(number: u64) -> Now {
    let instant = model::Instant(Duration::from_millis(1000 + number));
    Now { instant, wall: Timestamp(1_000_000_000_000_000 + number * 1000) }
}

fn guest(number: usize) -> Arc<Guest> {
    let engine = EngineSpec::Lxc(LxcSpec {
        rootfs: Some("dir:/var/lib/lxc/guest/rootfs".into()),
        ..LxcSpec::new(Arc::from(std::path::Path::new("/var/lib/lxc")))
    });
    let name = GuestName::new(&format!("guest{number:04}")).expect("a name");
    let limit = Limit { count: 1_000_000, window: Duration::from_secs(1) };
    let restart = Restart { delay: Duration::ZERO, limit, ..Restart::default() };
    Arc::new(Guest { restart, ..Guest::new(name, engine) })
}

/// A thousand guests that are up.
fn thousand() -> Fleet {
    let rules = Rules {
        order: Order::HighestFirst,
        max_starting: FLEET,
        pressure: Pressure::NONE,
        boot_groups: vec![None],
    };
    let mut fleet = Fleet::new(rules.clone(), BTreeSet::new());
    let guests: Vec<Arc<Guest>> = (0..FLEET).map(guest).collect();
    fleet.load(rules, guests.iter().map(|guest| (guest.name.clone(), guest.clone())).collect(), now(0));
    for (number, guest) in guests.iter().enumerate() {
        let init = Init { pid: 1000 + number as i32, since: Timestamp(7), keeper: None };
        let found = Found::State { probe: Probe::Up(init), remembered: None };
        fleet.happened(&guest.name, Event::Probed(found), now(0));
    }
    fleet.take_tasks();
    fleet.publish(&Arc::default());
    fleet
}

/// The core alone: every guest crashes again and again, while a thousand are up.
fn fleet(report: &mut Report) {
    let before = proportional_megabytes(std::process::id());
    let fleets: Vec<Fleet> = (0..10).map(|_| thousand()).collect();
    let each = (proportional_megabytes(std::process::id()) - before) / 10.0 / FLEET as f64;
    report.amount("memory of the core for each guest, of 1000", Unit::Kilobytes, each * 1000.0, 12.0);
    drop(black_box(fleets));

    let mut fleet = thousand();
    let names: Vec<GuestName> = (0..FLEET).map(|number| guest(number).name.clone()).collect();
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        for (number, name) in names.iter().enumerate() {
            let at = now((round * FLEET + number) as u64);
            let epoch = fleet.state(name).expect("it is known").epoch;
            let seen = |fleet: &mut Fleet, epoch: Epoch, what| fleet.observed(name, Some(epoch), what, at);
            seen(&mut fleet, epoch, Observation::InitExited(Some(WaitStatus(9))));
            let began = Instant::now();
            seen(&mut fleet, epoch, Observation::Gone);
            let tasks = fleet.take_tasks();
            fleet.publish(&Arc::default());
            took.push(milliseconds(began.elapsed()));
            let starts = tasks.iter().filter(|task| matches!(task.effect, Effect::Start(_))).count();
            assert_eq!(starts, 1, "it is started again at once");
            let init = Init { pid: 5000 + number as i32, since: Timestamp(7), keeper: None };
            seen(&mut fleet, Epoch(epoch.0 + 1), Observation::Running(init));
            fleet.take_tasks();
        }
    }
    took.sort_by(f64::total_cmp);
    let slow = took[took.len() * 99 / 100];
    report.amount(
        "an event to its effect and to readers, of 1000 guests, 99th percentile",
        Unit::Milliseconds,
        slow,
        1.0,
    );
}
