//! Many guests at once: the memory of their monitors, and how fast all are started.

use std::{fs, path::Path};

use crate::{
    MONITOR, busybox,
    ground::Natives,
    host::{self, Host},
    measured::{Bench, processor_time, proportional_megabytes, timed},
    report::{Report, Unit, median},
};

/// Guests whose monitors' memory is measured.
const AT_REST: usize = 50;
/// Guests that are started together, and how often.
const STARTED: usize = 200;
const ROUNDS: usize = 6;
/// What all guests run.
const INIT: &str = "/bin/sleep";
/// Groups of guests.
const PLAIN: &str = "plain";
const USERS: &str = "users";

/// Native guests of a guestd, beside as many containers of LXC.
struct Both {
    ours: Bench,
    theirs: Host,
    // Whatever is left of them ends after the daemon, which might start it again.
    _natives: Natives,
}

impl Both {
    /// Half of ours are in the group `plain`, half in the group `users`: with users of their own.
    fn define(count: usize) -> Self {
        let (natives, mut ours, theirs) = (Natives::named(2 * count), Bench::new(), Host::new(""));
        let root = ours.host.at("root");
        busybox::make_root(&root);
        for (number, name) in natives.0.iter().enumerate() {
            let users = number >= count;
            let guest = format!(
                "engine = \"native\"\nroot = \"{}\"\ninit = [\"{INIT}\", \"1000000\"]\nuser-namespace = {users}\n\
                 [start]\nauto = true\ngroup = [\"{}\"]\n",
                root.display(),
                if users { USERS } else { PLAIN },
            );
            fs::write(ours.host.at(format!("etc/guests/{name}.toml")), guest).expect("a guest");
        }
        for number in 0..count {
            let init = format!("lxc.init.cmd = {INIT} 1000000");
            theirs.guest(&format!("theirs{number:03}"), &["lxc.start.auto = 1", &init]);
        }
        ours.host.start_daemon_with(&[("GUESTD_GUEST_RUN", MONITOR)]);
        Self { ours, theirs, _natives: natives }
    }

    fn start_ours(&self, group: &str) -> f64 {
        timed(self.ours.host.command(env!("CARGO_BIN_EXE_autostart")).args(["-g", group]))
    }

    fn start_theirs(&self) -> f64 {
        timed(self.theirs.command("lxc-autostart").arg("-P").arg(self.theirs.lxcpath()).arg("-a"))
    }

    fn kill_both(&self) {
        self.ours.host.autostart_ok(&["-k", "-a"]);
        timed(self.theirs.command("lxc-autostart").arg("-P").arg(self.theirs.lxcpath()).args(["-k", "-a"]));
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill_both();
        }
    }
}

/// Monitors by the beginning of their command lines.
fn monitors(begin: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_one = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").starts_with(begin)
    };
    pids.filter(is_one).collect()
}

/// The mean of so many monitors' memory, in kilobytes.
fn memory_of(begin: &str, count: usize) -> f64 {
    let pids = monitors(begin);
    assert_eq!(pids.len(), count, "processes that begin with {begin}");
    pids.iter().map(|pid| proportional_megabytes(*pid)).sum::<f64>() * 1000.0 / count as f64
}

/// The memory of monitors whose guests do nothing, with all of both kinds running.
pub fn memory(report: &mut Report) {
    let both = Both::define(AT_REST);
    both.start_ours(PLAIN);
    both.start_theirs();
    let run = |path: &Path| fs::canonicalize(path).expect("a folder").display().to_string();
    let runtime = both.ours.host.at("run").display().to_string();
    let ours = [runtime, run(&both.ours.host.at("run"))]
        .iter()
        .map(|folder| format!("{} {folder}", MONITOR))
        .find(|begin| !monitors(begin).is_empty())
        .expect("monitors of ours");
    let ours = memory_of(&ours, AT_REST);
    let theirs = memory_of(&format!("[lxc monitor] {}", both.theirs.lxcpath().display()), AT_REST);
    let what = format!("a monitor's memory (PSS), {AT_REST} running (LXC's monitor)");
    report.compared(what, Unit::Kilobytes, (ours, theirs), (1.0, "1"));
}

/// `autostart` beside `lxc-autostart -a`.
pub fn autostart(report: &mut Report) {
    let both = Both::define(STARTED);
    let (mut took, mut spent) = ([const { Vec::new() }; 3], [const { Vec::new() }; 2]);
    for round in 0..ROUNDS {
        // Each is first as often as the others.
        for at in (0..3).map(|at| (at + round) % 3) {
            let Some(group) = [PLAIN, USERS].get(at) else {
                took[at].push(both.start_theirs());
                continue;
            };
            let daemon = both.ours.host.daemon_pid();
            let before = processor_time(daemon);
            took[at].push(both.start_ours(group));
            spent[at].push((processor_time(daemon) - before) / STARTED as f64);
        }
        assert_eq!(both.ours.host.in_phase("up").len(), 2 * STARTED, "all of ours run");
        both.kill_both();
        host::wait_for("the last of them to end", || both.ours.host.in_phase("up").is_empty().then_some(()));
    }
    let [plain, users, theirs] = &mut took;
    report.ratio(
        format!("`autostart -g GROUP`, {STARTED} native guests (`lxc-autostart -a`)"),
        plain,
        theirs,
        (1.5, "1.5"),
    );
    report.ratio("the same, users of their own (`lxc-autostart -a`)", users, theirs, (1.5, "1.5"));
    for (what, spent) in
        ["the daemon's own time for each of them", "the same, users of their own"].iter().zip(&mut spent)
    {
        report.amount(*what, Unit::Milliseconds, median(spent), 2.0);
    }
}
