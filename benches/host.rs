//! guestd beside the real tools of LXC, on real containers, in one run: what `make bench` prints.
//!
//! Ours and theirs take turns within each round, so that what else the machine does hits both alike; medians are
//! compared. Theirs runs containers in an lxcpath of its own, of which guestd knows nothing.

#[path = "../tests/host/mod.rs"]
mod host;
mod measured;
mod report;
mod shapes;

use std::{
    fs,
    hint::black_box,
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use guestd::{
    model::{Action, Order},
    plan,
};
use host::Host;
use measured::{Bench, milliseconds, proportional_megabytes, timed, wakeups_in};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use report::{Part, Report, Unit, median};

/// Containers that are started and stopped, and how often.
const REAL: usize = 50;
const START_ROUNDS: usize = 7;
/// `lxc-autostart -s` takes two seconds for each container.
const STOP_ROUNDS: usize = 3;
const REBOOTS: u64 = 200;
/// Containers that are defined only, and how often they are listed.
const DEFINED: usize = 1000;
const LISTINGS: usize = 15;
/// How long nothing is to happen.
const IDLE: Duration = Duration::from_secs(10);
const PLANNINGS: usize = 10;

/// What is measured, each by its name: `cargo bench --bench host -- NAME ...` measures these only.
const PARTS: [Part; 4] = [
    ("real", fifty_real_containers),
    ("reboots", reboots),
    ("defined", a_thousand_defined),
    ("planning", planning),
];

fn main() {
    report::run(&PARTS);
}

fn autostart(host: &Host, arguments: &[&str]) -> f64 {
    timed(host.command(env!("CARGO_BIN_EXE_autostart")).args(arguments))
}

fn lxc_autostart(host: &Host, arguments: &[&str]) -> f64 {
    timed(host.command("lxc-autostart").arg("-P").arg(host.lxcpath()).args(arguments))
}

fn fifty_real_containers(report: &mut Report) {
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    for number in 0..REAL {
        ours.host.guest(&format!("ours{number:02}"), &["lxc.start.auto = 1"]);
        theirs.guest(&format!("theirs{number:02}"), &["lxc.start.auto = 1"]);
    }
    ours.host.start_daemon();
    let mut starts = [const { Vec::new() }; 2];
    let mut stops = [const { Vec::new() }; 2];
    for round in 0..START_ROUNDS {
        starts[0].push(autostart(&ours.host, &["-a"]));
        starts[1].push(lxc_autostart(&theirs, &["-a"]));
        let stop = if round < STOP_ROUNDS { "-s" } else { "-k" };
        let took = [autostart(&ours.host, &[stop, "-a"]), lxc_autostart(&theirs, &[stop, "-a"])];
        if stop == "-s" {
            stops.iter_mut().zip(took).for_each(|(stops, took)| stops.push(took));
        }
    }
    let [ours, theirs] = &mut stops;
    let what = format!("`autostart -s -a`, {REAL} running");
    report.ratio(what, ours, theirs, (1.0 / 20.0, "1/20"));
    let [ours, theirs] = &mut starts;
    report.ratio(format!("`autostart -a`, {REAL} down"), ours, theirs, (1.0, "1"));
}

/// Its init says when it is there and when it reboots; the latter is the last thing before the call. The call is a
/// child's, as with any init: one that makes it itself is now and then seen to exit with status 0.
const REBOOTING_INIT: &str = "\
#!/bin/sh
echo up >/told
read word </wanted
echo reboot >/told
/bin/reboot -f
exec sleep 1000
";

/// A container whose init reboots at a word.
struct Rebooting {
    root: PathBuf,
    told: fs::File,
}

impl Rebooting {
    /// Defines it. The FIFOs stand in the root filesystem that it shares with nobody else.
    fn define(host: &Host, name: &str) -> Self {
        host.guest(name, &["lxc.init.cmd = /bin/rebooting"]);
        let root = host.lxcpath().join(".root");
        fs::write(root.join("bin/rebooting"), REBOOTING_INIT).expect("its init");
        host::open_to_all(&root.join("bin/rebooting"));
        for fifo in ["told", "wanted"] {
            nix::unistd::mkfifo(&root.join(fifo), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        }
        // For reading and writing: then it never ends, and opening it never waits.
        let told = fs::File::options().read(true).write(true).open(root.join("told")).expect("the FIFO");
        Self { root, told }
    }

    fn hear(&self, expected: &str) -> Instant {
        use std::io::Read;
        let mut fds = [PollFd::new(self.told.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, PollTimeout::from(10_000u16)).expect("a poll");
        let at = Instant::now();
        assert_eq!(ready, 1, "waited in vain for \"{expected}\"");
        let mut buffer = [0; 64];
        let length = (&self.told).read(&mut buffer).expect("a word");
        assert_eq!(String::from_utf8_lossy(&buffer[..length]).trim(), expected);
        at
    }

    fn reboot(&self) -> f64 {
        fs::write(self.root.join("wanted"), "reboot\n").expect("the word");
        let began = self.hear("reboot");
        milliseconds(self.hear("up") - began)
    }
}

fn reboots(report: &mut Report) {
    let (mut ours, theirs) = (Bench::new(), Host::new(""));
    let (our, their) = (Rebooting::define(&ours.host, "ours"), Rebooting::define(&theirs, "theirs"));
    ours.host.start_daemon();
    ours.host.guestctl_ok(&["start", "ours"]);
    assert!(theirs.lxc("lxc-start", "theirs").status().expect("lxc-start").success());
    our.hear("up");
    their.hear("up");
    let mut took = [const { Vec::new() }; 2];
    for round in 0..REBOOTS {
        for (guest, took) in [&our, &their].into_iter().zip(&mut took) {
            took.push(guest.reboot());
            // What the daemon and the monitor still do about this one is not to weigh on the next one. The pauses
            // differ, lest one side always meets the same beat of the kernel's.
            std::thread::sleep(Duration::from_millis(20 + round * 7 % 13));
        }
    }
    // A helper that fails would be measured too, were it not for this.
    host::wait_for("the daemon to have decided all of them and LXC to have rebooted in place", || {
        let log = ours.host.log();
        let count = |words: &str| log.matches(words).count() as u64;
        (count("decision: restart") == REBOOTS && count("has rebooted") == REBOOTS).then_some(())
    });
    let [ours, theirs] = &mut took;
    report.ratio("`reboot -f` inside, to the new init", ours, theirs, (1.2, "1.2"));
}

fn a_thousand_defined(report: &mut Report) {
    let mut bench = Bench::new();
    for number in 0..DEFINED {
        let order = format!("lxc.start.order = {}", number % 10);
        let group = format!("lxc.group = onboot tier{}", number % 7);
        let lines = ["lxc.start.auto = 1", "lxc.start.delay = 2", &order, &group];
        bench.host.guest(&format!("guest{number:04}"), &lines[..if number % 4 == 0 { 4 } else { 3 }]);
    }
    bench.host.start_daemon();
    let host = &bench.host;
    let mut plans = [const { Vec::new() }; 2];
    let mut lists = [const { Vec::new() }; 2];
    for _ in 0..LISTINGS {
        plans[0].push(autostart(host, &["-L", "-a"]));
        plans[1].push(lxc_autostart(host, &["-L", "-a"]));
        lists[0].push(timed(host.command(env!("CARGO_BIN_EXE_guestctl")).arg("list")));
        lists[1].push(timed(host.command("lxc-ls").arg("-P").arg(host.lxcpath()).arg("--fancy")));
    }
    let [ours, theirs] = &mut plans;
    report.ratio(format!("`autostart -L -a`, {DEFINED} defined"), ours, theirs, (1.0 / 5.0, "1/5"));
    let [ours, theirs] = &mut lists;
    let what = format!("`guestctl list` (`lxc-ls --fancy`), {DEFINED} defined");
    report.ratio(what, ours, theirs, (1.0 / 4.0, "1/4"));
    let pss = proportional_megabytes(host.daemon_pid());
    report.amount(format!("the daemon's memory (PSS), {DEFINED} defined"), Unit::Megabytes, pss, 12.0);
    let wakeups = wakeups_in(host.daemon_pid(), IDLE);
    let what = format!("wake-ups of the daemon in {} s without anything to do", IDLE.as_secs());
    report.amount(what, Unit::Times, wakeups as f64, 0.0);
}

/// The slowest of all shapes; `benches/plan.rs` has each.
fn planning(report: &mut Report) {
    let slowest = shapes::all().into_iter().map(|(shape, guests)| {
        let selection = shapes::selection(shape);
        let mut took: Vec<f64> = (0..PLANNINGS)
            .map(|_| {
                let began = Instant::now();
                let made = plan::autostart(
                    black_box(&guests),
                    &selection,
                    Action::Start,
                    Order::HighestFirst,
                    plan::Standing::free(&|_| false),
                );
                let took = milliseconds(began.elapsed());
                drop(black_box(made));
                took
            })
            .collect();
        (median(&mut took), shape)
    });
    let (took, shape) = slowest.max_by(|one, other| one.0.total_cmp(&other.0)).expect("there are shapes");
    report.amount(format!("planning 10,000 guests (slowest: {shape})"), Unit::Milliseconds, took, 50.0);
}
