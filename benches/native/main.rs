//! The native engine beside LXC, crun, runc and systemd-nspawn, with real guests on one busybox root, in one run.
//!
//! All take turns within each round, so that what else the machine does hits all alike; medians are compared. Every guest's init
//! is the same small program (`init.c`), whose first instruction reads the clock.

#[path = "../../tests/busybox/mod.rs"]
mod busybox;
#[path = "../../tests/host/mod.rs"]
mod host;
#[path = "../measured/mod.rs"]
mod measured;
#[path = "../report/mod.rs"]
mod report;

mod ground;
mod many;
mod reboots;
mod starters;
mod starts;

use report::{Part, Report};

/// The monitor as it was built.
const MONITOR: &str = env!("CARGO_BIN_EXE_guest-run");

/// What is measured, each by its name: `cargo bench --bench native -- NAME ...` measures these only.
const PARTS: [Part; 5] = [
    ("starts", |report| beside_load(report, starts::measure)),
    ("reboots", |report| beside_load(report, reboots::measure)),
    ("crashes", |report| beside_load(report, reboots::crashes)),
    ("memory", |report| beside_load(report, many::memory)),
    ("autostart", |report| beside_load(report, many::autostart)),
];

fn main() {
    report::run(&PARTS);
}

/// Says how busy the machine is with whatever else it does, since that changes what is measured.
fn beside_load(report: &mut Report, measure: fn(&mut Report)) {
    let load = || std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let before = load();
    measure(report);
    eprintln!("load before and after: {} {}", before.trim(), load().trim());
}
