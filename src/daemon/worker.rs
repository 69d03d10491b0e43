//! Carries out effects: at most one at a time for each guest, in order, each in a task of its own.
//!
//! The manager never waits for a guest; what comes of an effect comes back as a [`Report`]. A kill does not queue: it
//! interrupts what is under way for its guest. A request to stop interrupts other requests, which may take long.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::AbortHandle};

use super::means::Means;
use crate::{
    engine::{EngineError, Epoch, ErrorKind, Request, lxc, native},
    helper::{script, wire},
    kill_point::KillPoint,
    launch::HookEnd,
    model::{Guest, GuestName, HookStage, Resources},
    supervise::event::{Event, HelperId},
    systemd::message,
};

/// An effect that takes time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Start the guest, then watch it.
    Start(Epoch),
    /// Ask it for something.
    Request(Epoch, Request),
    /// End it.
    Kill(Epoch),
    /// Watch what runs already.
    Watch(Epoch),
    /// Give it these amounts of the host.
    Adjust(Resources),
    /// Run its hooks of this stage, for this reason.
    Hook(HookStage, Box<str>),
    /// Look at it.
    Probe,
}

impl Work {
    /// Whether it makes other work of the same guest vain. A thaw is none: a guest must go on to stop. Neither are hooks
    /// that clear up behind a run.
    fn overrides(&self, other: &Self) -> bool {
        match self {
            Self::Kill(_) => !matches!(other, Self::Hook(HookStage::PostStop | HookStage::OnFailure, _)),
            // Hooks of its start need not come to their end before it is asked.
            Self::Request(_, Request::Stop | Request::Hint) => match other {
                Self::Request(_, request) => *request != Request::Thaw,
                other => matches!(other, Self::Hook(HookStage::PostStart, _)),
            },
            Self::Start(_)
            | Self::Request(..)
            | Self::Watch(_)
            | Self::Adjust(_)
            | Self::Hook(..)
            | Self::Probe => false,
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Whom it was about.
    pub guest: GuestName,
    /// What happened; none for what decides nothing.
    pub event: Option<Event>,
    /// Which piece of work it is the end of; none for scripts, which have no place in the queue.
    serial: Option<u64>,
}

/// The workers of all guests.
pub struct Workers {
    means: Means,
    reports: mpsc::UnboundedSender<Report>,
    busy: HashMap<GuestName, Busy>,
    last_serial: u64,
}

struct Busy {
    serial: u64,
    work: Work,
    under_way: AbortHandle,
    queue: VecDeque<(Arc<Guest>, Work)>,
}

impl Report {
    /// What is found out about a guest by nobody's work.
    pub fn unasked(guest: &GuestName, event: Event) -> Self {
        Self { guest: guest.clone(), event: Some(event), serial: None }
    }
}

impl Workers {
    /// Workers that report to `reports`.
    pub fn new(means: Means, reports: mpsc::UnboundedSender<Report>) -> Self {
        Self { means, reports, busy: HashMap::new(), last_serial: 0 }
    }

    /// Whether nothing is under way.
    pub fn are_idle(&self) -> bool {
        self.busy.is_empty()
    }

    /// Takes on a piece of work.
    pub fn give(&mut self, guest: Arc<Guest>, work: Work) {
        let name = guest.name.clone();
        let Some(busy) = self.busy.get_mut(&name) else { return self.begin(guest, work, VecDeque::new()) };
        let mut overridden = Vec::new();
        busy.queue.retain(|(_, queued)| {
            let stays = !work.overrides(queued);
            overridden.extend((!stays).then(|| queued.clone()));
            stays
        });
        let is_override = work.overrides(&busy.work);
        busy.queue.push_back((guest, work));
        let next = is_override.then(|| {
            busy.under_way.abort();
            overridden.push(busy.work.clone());
            std::mem::take(&mut busy.queue)
        });
        for work in overridden {
            self.tell_overridden(&name, work);
        }
        if let Some(queue) = next {
            self.begin_first(queue);
        }
    }

    fn begin_first(&mut self, mut queue: VecDeque<(Arc<Guest>, Work)>) {
        if let Some((guest, work)) = queue.pop_front() {
            self.begin(guest, work, queue);
        }
    }

    /// Whoever waits for a request that will not be answered any more is told.
    fn tell_overridden(&self, guest: &GuestName, work: Work) {
        let Work::Request(epoch, request @ (Request::Reboot | Request::Freeze)) = work else { return };
        let operation = if request == Request::Reboot { "reboot it" } else { "freeze it" };
        let reason = "it is being stopped".to_owned();
        let error = EngineError { operation, kind: ErrorKind::Busy, reason };
        let event = Event::RequestReturned(epoch, request, Err(error));
        let _ = self.reports.send(Report::unasked(guest, event));
    }

    fn begin(&mut self, guest: Arc<Guest>, work: Work, queue: VecDeque<(Arc<Guest>, Work)>) {
        self.last_serial += 1;
        let serial = self.last_serial;
        let name = guest.name.clone();
        let (means, reports, own) = (self.means.clone(), self.reports.clone(), work.clone());
        let task = tokio::spawn(async move {
            let name = guest.name.clone();
            let event = means.carry_out(guest, work).await;
            // Without a receiver the daemon is ending, and nobody needs to know.
            let _ = reports.send(Report { guest: name, event, serial: Some(serial) });
        });
        self.busy.insert(name, Busy { serial, work: own, under_way: task.abort_handle(), queue });
    }

    /// Takes a report, and begins what was queued behind it. None for interrupted work, and for what decides nothing.
    pub fn finished(&mut self, report: Report) -> Option<(GuestName, Event)> {
        if let Some(serial) = report.serial {
            if self.busy.get(&report.guest).is_none_or(|busy| busy.serial != serial) {
                return None;
            }
            if let Some(done) = self.busy.remove(&report.guest) {
                self.begin_first(done.queue);
            }
        }
        report.event.map(|event| (report.guest, event))
    }

    /// Reads what a guest last wrote on its console, before a kill takes that away: a few kilobytes, in memory.
    pub fn keep_last_words(&self, guest: &GuestName) {
        let mut lines = lxc::last_lines(&self.means.runtime_dir, guest);
        if lines.is_empty() {
            lines = native::last_lines(&self.means.runtime_dir, guest);
        }
        let _ = self.reports.send(Report::unasked(guest, Event::LastWords(lines)));
    }

    /// Runs a guest's reboot script, as `guest-helper` does where no daemon is.
    pub fn run_script(&self, guest: &GuestName, id: HelperId, script: &Path, timeout: Duration) {
        let (reports, guest, launcher) = (self.reports.clone(), guest.clone(), self.means.launcher.clone());
        let script = script.to_owned();
        tokio::spawn(async move {
            let shown = script.display();
            KillPoint::ScriptBegins.pass();
            let end = match script::program(&script, &guest, wire::Event::Reboot, timeout) {
                Ok(program) => launcher.run_hook(&guest, &program).await,
                Err(error) => HookEnd::Failed(error),
            };
            let code = match end {
                HookEnd::Exited(status) => Some(status.code().unwrap_or(1)),
                HookEnd::Failed(error) => {
                    message::warn(&guest, format_args!("{guest}: cannot run {shown}: {error}"));
                    None
                }
                HookEnd::TimedOut => {
                    message::warn(
                        &guest,
                        format_args!("{guest}: {shown} took longer than {timeout:?}: killed"),
                    );
                    None
                }
            };
            KillPoint::ScriptEnded.pass();
            let event = Event::ScriptEnded(id, code);
            let _ = reports.send(Report::unasked(&guest, event));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_asked_to_stop_without_waiting_for_the_hooks_of_its_start() {
        let hook = |stage| Work::Hook(stage, "".into());
        for request in [Request::Stop, Request::Hint] {
            let asked = Work::Request(Epoch(1), request);
            assert!(asked.overrides(&hook(HookStage::PostStart)));
            assert!(asked.overrides(&Work::Request(Epoch(1), Request::Freeze)));
            let thaw = Work::Request(Epoch(1), Request::Thaw);
            for stays in [hook(HookStage::PreStop), hook(HookStage::PostStop), thaw] {
                assert!(!asked.overrides(&stays), "{stays:?}");
            }
        }
    }
}
