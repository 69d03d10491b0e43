//! guestd on a host that systemd boots, beside `lxc-autostart` on the same host: what `make bench` prints of it.

#[path = "../tests/bus/mod.rs"]
mod bus;
#[path = "../tests/busybox/mod.rs"]
mod busybox;
#[path = "../tests/debian/mod.rs"]
mod debian;
#[path = "../tests/booted/machine.rs"]
#[allow(dead_code, reason = "its other parts are for tests")]
mod machine;
#[allow(dead_code, reason = "its other parts are for other benchmarks")]
mod report;

use machine::{Host, Machine, guests};
use report::{Report, Unit, median};

/// Containers, and how often they are started.
const GUESTS: usize = 50;
const ROUNDS: usize = 7;
const COLD_STARTS: usize = 10;

fn main() {
    // `cargo bench` says so; anything else only wants to know that it builds.
    if !std::env::args().any(|word| word == "--bench") {
        println!("measures only for \"cargo bench\"");
        return;
    }
    if !measure() {
        std::process::exit(1);
    }
}

/// Measures and prints; whether every target is met. The host is gone when this returns.
fn measure() -> bool {
    let mut report = Report::default();
    let machine = host();
    starts(&machine, &mut report);
    let (mut own, mut whole): (Vec<f64>, Vec<f64>) = (0..COLD_STARTS).map(|_| ready(&machine)).unzip();
    let what = format!("from its start to READY, {GUESTS} guests to adopt");
    report.amount(what, Unit::Milliseconds, median(&mut own), 30.0);
    println!("from PID 1's fork to READY, with the sandbox: {:.1} ms", median(&mut whole));
    report.print()
}

fn host() -> Machine {
    Machine::boot_with(|upper| {
        for number in 0..GUESTS {
            guests(upper, &[&[&format!("g{number:02}"), "lxc.start.auto = 1", "lxc.group = bench"]]);
        }
        machine::write(upper, "etc/guestd/guestd.toml", "order = \"lowest-first\"\n");
    })
}

/// Starts all guests, by turns with `lxc-autostart`; they are up in the end.
fn starts(machine: &Machine, report: &mut Report) {
    let (mut ours, mut theirs, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = cpu(machine);
        ours.push(timed(machine, "autostart -q -a"));
        spent.push((cpu(machine) - before) / GUESTS as f64);
        machine.sh(
            "autostart -q -k -a; until [ -z \"$(systemctl list-units --no-legend 'guest-*')\" ]; do :; done",
        );
        machine.sh("systemctl stop guestd");
        theirs.push(timed(machine, "lxc-autostart -a"));
        machine.sh("lxc-autostart -k -a; systemctl start guestd");
    }
    report.ratio(
        format!("`autostart -a` on a booted host, {GUESTS} down"),
        &mut ours,
        &mut theirs,
        (1.2, "1.2"),
    );
    report.amount(
        "the daemon's own time for each guest started",
        Unit::Milliseconds,
        median(&mut spent),
        2.0,
    );
    machine.sh("autostart -q -a");
}

/// How long a command takes in the host, in milliseconds.
fn timed(machine: &Machine, command: &str) -> f64 {
    let lines = format!("began=$EPOCHREALTIME; {command} >/dev/null; echo $began $EPOCHREALTIME");
    let told = machine.ok(&["bash", "-euc", &lines]);
    let (began, ended) = told.trim().split_once(' ').expect("two moments");
    let seconds = |text: &str| text.parse::<f64>().expect("a moment");
    (seconds(ended) - seconds(began)) * 1000.0
}

/// The time that the daemon itself has used, in milliseconds.
fn cpu(machine: &Machine) -> f64 {
    number(machine, "CPUUsageNSec") / 1e6
}

/// Starts the daemon anew: from its own start to its READY, and from PID 1's fork to that, in milliseconds. What lies
/// between the two is the sandbox, which PID 1 makes before it executes the daemon.
fn ready(machine: &Machine) -> (f64, f64) {
    machine.sh("systemctl restart guestd");
    let of = |moment: &str| number(machine, moment) / 1000.0;
    let whole = of("ActiveEnterTimestampMonotonic") - of("ExecMainStartTimestampMonotonic");
    let told =
        "journalctl -b -u guestd -o cat | sed -n 's/^ready; .* after \\([0-9]*\\) ms$/\\1/p' | tail -n 1";
    machine.wait("its word", &format!("[ $({told} | wc -l) = 1 ]"));
    (machine.sh(told).trim().parse().expect("milliseconds"), whole)
}

fn number(machine: &Machine, property: &str) -> f64 {
    let told = machine.ok(&["systemctl", "show", "guestd", "--value", "-p", property]);
    told.trim().parse().expect("a number")
}
