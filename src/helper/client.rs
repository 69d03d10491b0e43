//! `guest-helper`: reports what a guest did, and passes the decision on in an exit status.
//!
//! It stands between a guest's `reboot -f` and its new init, so it is synchronous and does little. When the daemon is
//! away or hangs, it decides by the stored policy and leaves the request in the spool; all of that within two
//! seconds, which are spent like this: the daemon has `PATIENCE`, or where a script may have to be run
//! `PATIENCE_BEFORE_SCRIPT` and the script `SCRIPT_WITHIN`; the rest is for the files.

use std::{
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::stat::{Mode, umask};

use super::{
    conversation::{self, Silence},
    dialect::{self, Call, CommandLine, Outcome, Report},
    in_full,
    listener::SOCKET_NAME,
    policy::{self, StoredPolicy, Verdict},
    script,
    spool::{self, Spooled},
    vshelper,
    wire::{About, Answer, Decision, Event, Reply, Request},
};
use crate::{
    launch::HookEnd,
    model::{GuestName, Limit, RebootAction, Timestamp},
};

/// How long the daemon may take to answer, or to say that it is at it.
const PATIENCE: Duration = Duration::from_millis(1750);
/// The same, when a script would have to be run in its place.
const PATIENCE_BEFORE_SCRIPT: Duration = Duration::from_millis(400);
/// How long a script may run.
const SCRIPT_WITHIN: Duration = Duration::from_millis(1500);

const HELP: &str = "\
Reports what a guest did to guestd, and exits with guestd's decision.

Usage: guest-helper [--runtime-dir DIR] --guest NAME EVENT
       guest-helper [--runtime-dir DIR] lxc-hook [NAME SECTION TYPE]
       guest-helper [--runtime-dir DIR] [--vservers DIR] vshelper EVENT XID
       vshelper EVENT XID

Events of a guest: reboot (or restart), declined, halt, poweroff, stop.
Events of vshelper: restart, halt, poweroff, swsusp, oom, startup, shutdown, netup, netdown.

Options:
      --guest NAME        the guest
      --runtime-dir DIR   guestd's runtime directory (/run/guestd)
      --vservers DIR      where util-vserver's guests are (/etc/vservers)
  -h, --help              show this help
  -V, --version           show the version

Exit status: 0 restart, 1 stop, 2 unknown or error; as an LXC hook 1 cancels the
guest's reboot and 0 does not; as vshelper 0 handled, 1 not.
";

/// The whole program.
pub fn main() -> ExitCode {
    let started = Instant::now();
    let mask = umask(Mode::from_bits_truncate(0o077));
    let mut words = std::env::args_os();
    let line = CommandLine {
        program: words.next().unwrap_or_default(),
        arguments: words.collect(),
        environment: std::env::vars_os().collect(),
    };
    match dialect::parse(&line) {
        Ok(Call::Help) => show(HELP),
        Ok(Call::Version) => show(concat!("guest-helper ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Call::Nothing(reason)) => {
            say(&format!("nothing to report: {reason}"));
            ExitCode::SUCCESS
        }
        Ok(Call::Report(report)) => {
            let outcome = report_to_daemon(&report, started);
            say(&in_words(&report.about, &outcome));
            ExitCode::from(report.status(&outcome))
        }
        Ok(Call::Vshelper(called)) => ExitCode::from(vshelper::run(&called, started, mask)),
        Err(misuse) => {
            say(&in_full(&misuse.error));
            ExitCode::from(misuse.dialect.misuse_status())
        }
    }
}

fn show(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One line on standard error. That nobody reads it must change nothing, so this never panics, unlike `eprintln!`.
fn say(line: &str) {
    write_line("guest-helper", line);
}

/// The same, by whoever says it.
pub(super) fn write_line(who: &str, line: &str) {
    let printable: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    // In one piece: LXC's log takes what one read gives it as one line.
    let _ = std::io::stderr().write_all(format!("{who}: {printable}\n").as_bytes());
}

/// What became of a report, for people.
pub(super) fn in_words(about: &About, outcome: &Outcome) -> String {
    let subject = match about {
        About::Guest { guest, event } => format!("{} of {guest}", event.as_str()),
        About::Context { id, event, .. } => format!("{} of context {id}", event.as_str()),
    };
    match outcome {
        Outcome::Answered(Answer { decision, reason, anew }) => {
            let anew = if *anew { ", anew by guestd" } else { "" };
            format!("{subject}: {}{anew}: {reason}", decision.as_str())
        }
        Outcome::UnknownId(reason) | Outcome::Failed(reason) => format!("{subject}: {reason}"),
    }
}

/// Asks the daemon, and decides in its place if it is silent.
pub(super) fn report_to_daemon(report: &Report, started: Instant) -> Outcome {
    let policy = match &report.about {
        About::Guest { guest, .. } => stored_policy(&report.runtime_dir, guest),
        About::Context { .. } => None,
    };
    let scripted = policy.as_ref().is_some_and(|policy| matches!(policy.action, RebootAction::Script(_)));
    let patience = if scripted { PATIENCE_BEFORE_SCRIPT } else { PATIENCE };
    let request = Request { about: report.about.clone(), progress: true };
    let socket = report.runtime_dir.join(SOCKET_NAME);
    match conversation::ask(&socket, &request.encode(), patience.saturating_sub(started.elapsed())) {
        Ok(Reply::Answer(answer)) => Outcome::Answered(answer),
        Ok(Reply::Unknown(reason)) => Outcome::UnknownId(reason),
        Ok(Reply::Refused(reason)) => Outcome::Failed(format!("guestd refuses it: {reason}")),
        Ok(Reply::Progress(_)) => Outcome::Failed("guestd did not come to an end".into()),
        Err(silence @ Silence::Denied) => Outcome::Failed(in_full(&silence)),
        Err(silence) => {
            say(&in_full(&silence));
            match &report.about {
                About::Guest { guest, event } => {
                    let alone = Alone { runtime_dir: &report.runtime_dir, guest, event: *event };
                    Outcome::Answered(alone.answer(policy.as_ref()))
                }
                About::Context { id, .. } => Outcome::Failed(format!("nothing is known of the id {id}")),
            }
        }
    }
}

/// The policy, or none if it cannot be used: then the guest is one that nobody knows.
fn stored_policy(runtime_dir: &Path, guest: &GuestName) -> Option<StoredPolicy> {
    policy::read(runtime_dir, guest).unwrap_or_else(|error| {
        say(&in_full(&error));
        None
    })
}

/// A report that has to do without the daemon.
struct Alone<'a> {
    runtime_dir: &'a Path,
    guest: &'a GuestName,
    event: Event,
}

impl Alone<'_> {
    /// Decides, and leaves the request in the spool.
    fn answer(&self, policy: Option<&StoredPolicy>) -> Answer {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let pending = spool::pending(self.runtime_dir, self.guest);
        let (answer, tripped) = match policy::decide(policy, &pending, self.event, now) {
            Verdict::Decided(answer) => (answer, None),
            Verdict::Tripped(answer, limit) => (answer, Some(limit)),
            Verdict::Script(path) => (self.ask_script(&path), None),
        };
        self.leave(now, &answer, tripped);
        answer
    }

    /// A script that does not come to an end in the little time that it has here does not keep a guest down.
    fn ask_script(&self, path: &Path) -> Answer {
        let shown = path.display();
        let (decision, reason) = match script::run(path, self.guest, self.event, SCRIPT_WITHIN) {
            HookEnd::Exited(status) if status.success() => (Decision::Restart, format!("{shown} agreed")),
            HookEnd::Exited(_) => (Decision::Stop, format!("{shown} declined")),
            HookEnd::TimedOut => {
                (Decision::Restart, format!("{shown} did not finish within {SCRIPT_WITHIN:?}"))
            }
            HookEnd::Failed(error) => (Decision::Stop, format!("{shown} could not be run: {error}")),
        };
        Answer { decision, reason, anew: false }
    }

    fn leave(&self, at: Timestamp, answer: &Answer, tripped: Option<Limit>) {
        let request = Spooled {
            guest: self.guest.clone(),
            event: self.event,
            at,
            decision: answer.decision,
            reason: answer.reason.clone(),
            tripped,
        };
        match spool::leave(self.runtime_dir, request) {
            Ok(0) => {}
            Ok(dropped) => say(&format!("the spool is full; dropped {dropped} of its oldest requests")),
            Err(error) => say(&format!("guestd will not hear of this: {}", in_full(&error))),
        }
    }
}
