//! The life of a guest: runs of its init, one after the other, until one is not followed by another.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use nix::sys::{
    signal::{self, SigSet},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, Signal, kill_process_group, setpgid},
};

use super::{
    cgroup::Group,
    console::Console,
    control::{Control, Wish},
    halt, inside,
    launch::{Launch, Launched, launch, reap},
    mounts,
    namespace::{self, Child, Fork},
    network::{self, Away},
    program, root,
    say::say,
    spec::{Ended, FILE_MAX, Outcome, Place, Spec, Told},
    steps::{self, Stage},
    trouble::{Doing, Run, RunError},
    vshelper::{self, Happening},
};
use crate::{
    engine::identified,
    helper::{record, vshelper::called::MONITOR},
    launch::memory::KernelLog,
    model::{Deed, Step, WaitStatus},
};

/// How often what is left in the console is read at most, each time as much as a page.
const LAST_READS: usize = 64;
/// How long behind its limit a stop may still have its end: who stops a guest may give it more than its settings do.
const BELATED: Duration = Duration::from_secs(600);
/// How long the steps of a stop may go on when the guest has ended.
const LAST_STEPS: Duration = Duration::from_secs(60);

/// A monitor at work.
pub struct Monitor {
    place: Place,
    /// Held for as long as it lives.
    _lock: File,
    control: Control,
    signals: SignalFd,
    group: Group,
    /// It asks the guest something just now.
    asking: Option<Child>,
    /// Until when a reboot of the guest is none, since it was asked to shut down.
    stopping: Option<Instant>,
    /// A kill of the guest was asked for.
    is_killed: bool,
    /// Told once, when the first init runs.
    started: Option<Box<dyn FnOnce()>>,
}

/// One run: what it was told, and what it has done to the root.
struct Course<'a> {
    spec: &'a Spec,
    root: &'a Path,
    mounted: &'a mut Vec<OwnedFd>,
    /// The monitor is in the guest's network namespace.
    away: Option<Away>,
}

/// What was so when a run began.
#[derive(Debug, Clone, Copy)]
struct Before {
    moment: Instant,
    /// How many of the guest's processes were killed for want of memory; none where nobody counts them.
    kills: Option<u64>,
}

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    End,
}

/// The signals by which a monitor is asked to stop its guest, taken as files from now on.
///
/// # Errors
/// When the kernel refuses.
pub fn take_signals() -> Run<SignalFd> {
    let asked: SigSet = [signal::SIGTERM, signal::SIGINT, signal::SIGHUP].into_iter().collect();
    asked.thread_block().doing("take its signals")?;
    SignalFd::with_flags(&asked, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("take its signals")
}

impl Monitor {
    /// A monitor of the guest with these files.
    pub fn new(
        place: Place,
        (lock, control): (File, Control),
        signals: SignalFd,
        group: Group,
        started: Box<dyn FnOnce()>,
    ) -> Self {
        Self {
            place,
            _lock: lock,
            control,
            signals,
            group,
            asking: None,
            stopping: None,
            is_killed: false,
            started: Some(started),
        }
    }

    /// Runs the guest to its last end.
    pub fn live(&mut self) -> Outcome {
        let outcome = loop {
            match self.run() {
                Ok((_, Next::Again)) => {}
                Ok((ended, Next::End)) => break Outcome::Ended(ended),
                Err(error) => break Outcome::Failed(error.trouble()),
            }
        };
        self.group.remove();
        outcome
    }

    /// One run, with everything around it.
    fn run(&mut self) -> Run<(Ended, Next)> {
        let mut spec = read(&self.place)?;
        mounts::retain_present(&mut spec.native.mounts);
        let mut mounted = Vec::new();
        // What a run before has left, when its monitor was killed.
        network::disconnect(&self.place);
        let result = root::prepare(&spec, &self.place).and_then(|root| {
            let away =
                (network::kind(&spec) == network::Kind::Before).then(network::leave_host).transpose()?;
            let mut course = Course { spec: &spec, root: &root, mounted: &mut mounted, away };
            let end = self.run_course(&mut course)?;
            Ok((root, end))
        });
        network::disconnect(&self.place);
        root::clear(&spec, &self.place, &mut mounted);
        let (root, end) = result?;
        let mut course = Course { spec: &spec, root: &root, mounted: &mut mounted, away: None };
        // As all steps of a stop: that one fails is told, and changes nothing.
        let _ = self.stage(&mut course, None).carry_out(&spec.native.lifecycle.removed);
        Ok(end)
    }

    fn run_course(&mut self, course: &mut Course<'_>) -> Run<(Ended, Next)> {
        let Course { spec, root, .. } = *course;
        let lifecycle = &spec.native.lifecycle;
        self.stage(course, None).carry_out(&lifecycle.before)?;
        let before = Before { moment: Instant::now(), kills: self.group.memory_kills() };
        let has_own = network::kind(spec) == network::Kind::OfInit;
        let plan = Launch { spec, place: &self.place, group: &self.group, root, network: has_own };
        let mut connect = |pid| if has_own { network::connect(spec, &self.place, pid, None) } else { Ok(()) };
        let launched = launch(&plan, &mut connect)?;
        let status = match self.accompany(course, &launched) {
            Ok(status) => status,
            Err(error) => {
                let _ = steps::signal(&launched.init, libc::SIGKILL);
                reap(&launched.init);
                self.asked();
                vshelper::tell(spec, Happening::Shutdown, course.away.as_ref());
                return Err(error);
            }
        };
        let is_stopping = self.stopping.is_some_and(|until| Instant::now() < until);
        let out_of_memory = status.signal() == Some(libc::SIGKILL) && self.is_starved(&launched.init, before);
        let ended = Ended { status, out_of_memory, monitor: identified(std::process::id().cast_signed()) };
        self.control.tell(Told::Ended(ended));
        self.asked();
        let next = match status.is_reboot() && is_stopping {
            true => Next::End,
            false => decide(spec, status, course.away.as_ref()),
        };
        let was_asked = self.stopping.take().is_some();
        if !was_asked && (status.is_reboot() || status.is_halt()) {
            // What a stop begins with, as where the helper of Linux-VServer stopped a guest that had asked for it.
            let _ = self.stage(course, None).carry_out(on_host(&lifecycle.stop));
        }
        if out_of_memory {
            vshelper::tell(spec, Happening::Oom, course.away.as_ref());
        }
        vshelper::tell(spec, Happening::Shutdown, course.away.as_ref());
        // That one fails is told, and changes nothing of how it ended.
        let _ = self.stage(course, None).carry_out(&lifecycle.ended);
        Ok((ended, next))
    }

    /// Whether it was for want of memory that an init was killed: not where nobody in the guest was during the run. Else the
    /// kernel's log is certain of whom it killed; where it cannot be read, it was the init, unless a kill was asked for.
    fn is_starved(&self, init: &Child, before: Before) -> bool {
        let kills = self.group.memory_kills();
        if kills.is_some() && kills == before.kills {
            return false;
        }
        let logged = KernelLog::whole().has_killed(init.pid, before.moment.elapsed());
        logged.unwrap_or(!self.is_killed && kills > before.kills)
    }

    /// From the first moment of an init to its last.
    fn accompany(&mut self, course: &mut Course<'_>, launched: &Launched) -> Run<WaitStatus> {
        let Launched { init, terminal, .. } = launched;
        self.stage(course, Some(init)).trace("init", &Ok(()));
        self.control.tell(Told::Running(init.pid));
        if let Some(started) = self.started.take() {
            started();
        }
        vshelper::tell(course.spec, Happening::Startup, course.away.as_ref());
        let after = &course.spec.native.lifecycle.after;
        self.stage(course, Some(init)).carry_out(after)?;
        let terminal = terminal.try_clone().doing("read its console")?;
        let console = Console::new(terminal, &self.place.console()).doing("read its console")?;
        self.watch(course, init, console)
    }

    fn stage<'a>(&'a self, course: &'a mut Course<'_>, init: Option<&'a Child>) -> Stage<'a> {
        let Course { spec, root, mounted, away } = course;
        Stage { spec, root, mounted, away: away.as_ref(), place: &self.place, group: &self.group, init }
    }

    /// Serves everybody until the init has ended.
    fn watch(&mut self, course: &mut Course<'_>, init: &Child, mut console: Console) -> Run<WaitStatus> {
        let mut buffer = [0; 4096];
        loop {
            let (ended, asked, written, heard) = self.wait(init, &console)?;
            if written && let Some(text) = console.read(&mut buffer) {
                self.control.show(text);
            }
            if ended {
                // What it wrote last: more than a terminal holds is of somebody outside who has it open.
                for _ in 0..LAST_READS {
                    let Some(text) = console.read(&mut buffer).filter(|text| !text.is_empty()) else { break };
                    self.control.show(text);
                }
                return Ok(WaitStatus(reap(init)));
            }
            let mut wishes = Vec::new();
            if asked {
                while let Ok(Some(_)) = self.signals.read_signal() {
                    wishes.push(Wish::Stop);
                }
            }
            // The last first: who has gone is taken out of the list.
            for at in heard.into_iter().rev() {
                match at.checked_sub(1) {
                    None => self.control.accept(),
                    Some(client) => wishes.extend(self.control.hear(client, Told::Running(init.pid))),
                }
            }
            for wish in wishes {
                self.grant(course, init, &mut console, wish);
            }
        }
    }

    fn grant(&mut self, course: &mut Course<'_>, init: &Child, console: &mut Console, wish: Wish) {
        match wish {
            Wish::Typed(text) => console.write(&text),
            Wish::Size(rows, columns) => console.resize(rows, columns),
            Wish::Kill => {
                self.is_killed = true;
                drop(steps::signal(init, libc::SIGKILL));
            }
            Wish::Stop => {
                self.stopping = Some(Instant::now() + course.spec.stop_timeout + BELATED);
                self.ask(course, init, true);
            }
            Wish::Reboot => self.ask(course, init, false),
        }
    }

    /// Asks the guest to shut down or to reboot, in a process of its own: that may take as long as the guest's steps do, and
    /// everybody else is served meanwhile. What goes wrong with it is told; guestd sees that the guest goes on, and kills it in
    /// time.
    fn ask(&mut self, course: &mut Course<'_>, init: &Child, halt: bool) {
        if self.asking.as_ref().is_some_and(|asking| !steps::wait_for(asking, Duration::ZERO)) {
            return;
        }
        self.asked();
        // SAFETY: a monitor has one thread.
        match unsafe { namespace::fork(None, None) } {
            Ok(Fork::Parent(asking)) => self.asking = Some(asking),
            Ok(Fork::Child) => {
                let _ = inside::die_with_parent();
                let _ = setpgid(None, None);
                let asked = halt::ask(&mut self.stage(course, Some(init)), halt);
                std::process::exit(i32::from(asked.is_err()))
            }
            Err(error) => say(&format!("cannot ask it: {error}")),
        }
    }

    /// Waits for the end of what asks the guest, if anything does.
    fn asked(&mut self) {
        if let Some(asking) = self.asking.take() {
            if !steps::wait_for(&asking, LAST_STEPS) {
                say("the steps of its stop did not end, and were killed");
                // Not waited for yet, it still has its number, and its group with what it runs.
                let _ = Pid::from_raw(asking.pid).map(|group| kill_process_group(group, Signal::KILL));
                let _ = steps::signal(&asking, libc::SIGKILL);
            }
            reap(&asking);
        }
    }

    /// Waits until something happens: the init ended, a signal, output, and which of the control's files.
    fn wait(&self, init: &Child, console: &Console) -> Run<(bool, bool, bool, Vec<usize>)> {
        let first = [init.pidfd.as_fd(), self.signals.as_fd(), console.as_fd()];
        let files: Vec<_> = first.into_iter().chain(self.control.files()).collect();
        let mut polled: Vec<PollFd<'_>> = files.iter().map(|file| PollFd::new(file, PollFlags::IN)).collect();
        loop {
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.doing("wait for its guest")?,
            };
            break;
        }
        let ready: Vec<bool> = polled.iter().map(|file| !file.revents().is_empty()).collect();
        let heard = (3..ready.len()).filter(|at| ready[*at]).map(|at| at - 3).collect();
        Ok((ready[0], ready[1], ready[2], heard))
    }
}

/// The steps on the host that come before everything inside.
fn on_host(steps: &[Step]) -> &[Step] {
    let inside = steps.iter().position(|step| !matches!(step.what, Deed::Run { .. }));
    &steps[..inside.unwrap_or(steps.len())]
}

/// Reads what there is to know.
///
/// # Errors
/// When the file is missing or is no [`Spec`].
pub fn read(place: &Place) -> Run<Spec> {
    let found = record::read(&place.spec(), FILE_MAX)?;
    found.ok_or_else(|| RunError::Configuration(format!("{} does not exist", place.spec().display())))
}

/// Asks what follows the end of an init. Only a reboot can be followed by another run; a halt is told, and is one.
fn decide(spec: &Spec, status: WaitStatus, away: Option<&Away>) -> Next {
    match status {
        // Whatever its own helper is, guestd has the last word, and counts.
        status if status.is_reboot() && vshelper::agrees(spec, away) => ask(spec, "reboot", away),
        status if status.is_reboot() => {
            ask(spec, "declined", away);
            Next::End
        }
        status if status.is_halt() => {
            vshelper::tell(spec, Happening::Halt, away);
            ask(spec, "halt", away);
            Next::End
        }
        _ => Next::End,
    }
}

/// Tells guestd; what it makes of a reboot.
fn ask(spec: &Spec, event: &str, away: Option<&Away>) -> Next {
    let Some((program, arguments)) = spec.helper.split_first() else { return Next::Again };
    let mut command = program::command(program);
    command.args(arguments).arg(event).env_clear().env(MONITOR, std::process::id().to_string());
    network::on_host(&mut command, away);
    // It ends by itself: where guestd is silent within two seconds, else with guestd's own limit, such as that of a script.
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.code() == Some(1) => Next::End,
        Ok(_) => Next::Again,
        Err(error) => {
            say(&format!("cannot tell guestd of its {event}: {error}"));
            Next::Again
        }
    }
}
