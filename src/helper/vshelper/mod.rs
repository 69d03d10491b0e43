//! `vshelper`: util-vserver's helper, for guests that guestd runs.
//!
//! `called` is the call, `course` what it comes to (both pure), `known` which guest it is about, `folders` its files. The order
//! is that of util-vserver's script; vshelper(8) has it with the exit statuses.
//!
//! Called by guest-run, it decides nothing alone: 0 leaves a reboot to guestd, which guest-run asks next, and anything else
//! declines it. So a helper of another make, which knows nothing of guestd, has the same say, and a reboot counts once. Called by
//! anybody else, it tells guestd.

pub mod called;
mod course;
mod folders;
mod known;
mod log;
#[cfg(test)]
mod tests;

use std::{fs::File, os::unix::process::CommandExt, path::Path, process::Command, time::Instant};

use nix::sys::stat::{Mode, umask};

use self::{
    called::{Asked, Called},
    course::{Course, Role},
    folders::Folders,
    known::Known,
    log::Log,
};
use super::{
    client,
    dialect::{Dialect, Report, UsageError},
    in_full,
    wire::{About, ContextEvent, Event},
};
use crate::model::name::clipped;

/// Handled, disabled, or nothing to do; for guest-run: a reboot may go on.
const HANDLED: u8 = 0;
/// Bad arguments, an unknown guest or event, a missing method; for guest-run: the guest stays down.
const FAILED: u8 = 1;
/// How much of the arguments is logged, in characters.
const SHOWN: usize = 200;

/// Does what was asked for; the exit status. `mask` is the caller's umask, for what is run instead.
pub fn run(called: &Called, started: Instant, mask: Mode) -> u8 {
    let log = Log::default();
    let known = find(called);
    let folders = Folders::new(called.vservers.as_deref(), known.as_ref(), &log);
    if !log::is_at_terminal() {
        if let Ok(null) = File::open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(&null);
        }
        if let Some(file) = folders.logfile() {
            log.take(&file);
        }
    }
    let words: Vec<_> = called.words.iter().map(|word| word.to_string_lossy()).collect();
    log.say(&format!("called with {}", clipped(&words.join(" "), SHOWN)));
    if let Err(error @ UsageError::Arguments(_)) = &called.asked {
        log.say(&in_full(error));
        return FAILED;
    }
    if course::is_disabled(&folders) {
        log.say("it is disabled");
        return HANDLED;
    }
    folders.trace_if_wanted();
    match called.asked {
        Ok(asked) => Call { called, asked, known: known.as_ref(), log: &log, mask, started }.run(&folders),
        Err(ref error) => {
            log.say(&in_full(error));
            FAILED
        }
    }
}

/// Whom a call is about: the guest whose monitor calls, else who has the context.
fn find(called: &Called) -> Option<Known> {
    if let Some(guest) = &called.monitored {
        return known::named(&called.runtime_dir, guest);
    }
    match called.asked {
        // The number of a network context is one of its own kind.
        Ok(Asked { event: ContextEvent::Netup | ContextEvent::Netdown, .. }) | Err(_) => None,
        Ok(Asked { id, .. }) => known::of_context(&called.runtime_dir, id),
    }
}

/// A call that is understood.
struct Call<'a> {
    called: &'a Called,
    asked: Asked,
    known: Option<&'a Known>,
    log: &'a Log,
    mask: Mode,
    started: Instant,
}

impl Call<'_> {
    fn run(&self, folders: &Folders<'_>) -> u8 {
        let Asked { event, id } = self.asked;
        if let Some(Course::Run { program, role }) = course::of_all(event, folders) {
            return self.instead(&program, role);
        }
        let Some(known) = self.known else { return self.unknown() };
        if known.context != id {
            let Known { guest, context, .. } = known;
            self.log.say(&format!("{guest} has the context {context}, not {id}"));
            return self.unless_gone(FAILED);
        }
        match course::of_guest(event, folders) {
            Course::Nothing(why) => {
                self.log.say(&why);
                HANDLED
            }
            Course::Run { program, role } => self.instead(&program, role),
            Course::Tell(event) => self.tell(known, event),
            Course::Fail(why) => {
                self.log.say(&why);
                FAILED
            }
        }
    }

    /// Nobody is known to have the context. guestd is asked, so that this is told as it sees it.
    fn unknown(&self) -> u8 {
        let Asked { event, id } = self.asked;
        if let Some(guest) = &self.called.monitored {
            self.log.say(&format!("{guest} is no guest with a context"));
            return self.unless_gone(FAILED);
        }
        self.report(About::Context { id, event, environment: self.called.environment.clone() })
    }

    /// A context that is gone needs no guest.
    fn unless_gone(&self, status: u8) -> u8 {
        if self.asked.event == ContextEvent::Shutdown { HANDLED } else { status }
    }

    /// Becomes another program.
    fn instead(&self, program: &Path, role: Role) -> u8 {
        self.log.say(&format!("running {}", program.display()));
        let mut command = Command::new(program);
        command.args(&self.called.words);
        if role == Role::Delegate {
            command.arg0(self.asked.event.as_str());
        }
        if let (Role::Method, Some(known)) = (role, self.known) {
            command.env("VSERVER", &known.folder);
        }
        umask(self.mask);
        let error = command.exec();
        self.log.say(&format!("cannot run {}: {error}", program.display()));
        FAILED
    }

    fn tell(&self, known: &Known, event: Event) -> u8 {
        let Known { guest, context, .. } = known;
        if self.called.monitored.is_some() {
            let (what, status) = match event {
                Event::Reboot => ("guestd decides about its reboot", HANDLED),
                Event::Declined => ("its reboot is declined", FAILED),
                Event::Halt | Event::Poweroff | Event::Stop => ("it ends", HANDLED),
            };
            self.log.say(&format!("{guest} (context {context}): {what}"));
            return status;
        }
        self.report(About::Guest { guest: guest.clone(), event })
    }

    /// Tells guestd, or decides in its place and leaves word.
    fn report(&self, about: About) -> u8 {
        let report =
            Report { dialect: Dialect::Vshelper, runtime_dir: self.called.runtime_dir.clone(), about };
        let outcome = client::report_to_daemon(&report, self.started);
        self.log.say(&client::in_words(&report.about, &outcome));
        report.status(&outcome)
    }
}
