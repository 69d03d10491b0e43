//! What is reported of a watched container, and when: pure, over what was seen.

use std::time::Duration;

use tokio::time::Instant;

use super::record::{News, State};
use crate::model::WaitStatus;

/// How long to wait for an init's status while its monitor still works: it tells it right after waiting for it.
const STATUS_WAIT: Duration = Duration::from_secs(2);
/// How long once nothing more can come, but records may still be on their way.
pub(super) const LAST_WAIT: Duration = Duration::from_millis(500);
/// The death of a PID namespace's init that LXC, and only it, answers with a reboot: by SIGHUP.
const REBOOT: WaitStatus = WaitStatus(1);

/// Something that was seen of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its init ended; with the status, where the kernel still had it.
    Ended(Option<WaitStatus>),
    /// A record tells how its init ended.
    Exit(WaitStatus),
    /// A record tells that a new start begins: what earlier records said is over.
    Starting,
    /// There is another init.
    Next,
    Frozen,
    Thawed,
    /// Its monitor ended.
    MonitorOver,
    /// The deadline passed; with the status that the init's pidfd tells, where that is certain.
    TimeUp(Option<WaitStatus>),
}

impl Seen {
    /// What news mean here.
    pub(super) fn of(news: News) -> Option<Self> {
        match news {
            News::Exit(status) => Some(Self::Exit(status)),
            News::State(State::Starting) => Some(Self::Starting),
            News::Thawed => Some(Self::Thawed),
            News::State(_) => None,
        }
    }
}

/// What to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    Frozen,
    Thawed,
    /// The init is dead.
    Ended(Option<WaitStatus>),
    /// The other init runs now.
    Next,
    Gone,
}

/// A watched container.
#[derive(Debug)]
pub(super) struct Run {
    init: Phase,
    frozen: bool,
    next: bool,
    monitor_over: bool,
    /// How the current init ended, when a record came before its end was seen.
    exit: Option<WaitStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Alive,
    /// Dead; its status is waited for until then.
    Dying(Instant),
    /// Dead, and reported so.
    Dead,
}

impl Run {
    pub(super) fn new() -> Self {
        Self { init: Phase::Alive, frozen: false, next: false, monitor_over: false, exit: None }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.init == Phase::Alive
    }

    pub(super) fn is_monitor_over(&self) -> bool {
        self.monitor_over
    }

    /// When to give up waiting for a status.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.init {
            Phase::Dying(until) => Some(until),
            Phase::Alive | Phase::Dead => None,
        }
    }

    /// Takes in what was seen, and says what to report, in order.
    pub(super) fn handle(&mut self, seen: Seen, now: Instant) -> Vec<Report> {
        let mut reports = Vec::new();
        match seen {
            Seen::Ended(status) => {
                self.exit = status.or(self.exit);
                self.init = Phase::Dying(now + STATUS_WAIT);
                self.frozen = false;
            }
            Seen::Exit(status) => self.exit = Some(status),
            // Once the init is known to be dead, the status is its own.
            Seen::Starting if self.is_alive() => self.exit = None,
            Seen::Starting => {}
            Seen::Next => self.next = true,
            Seen::Frozen => self.freeze(true, &mut reports),
            Seen::Thawed => self.freeze(false, &mut reports),
            Seen::MonitorOver => self.monitor_over = true,
            Seen::TimeUp(status) => {
                let guess = self.exit.or(status).or(self.next.then_some(REBOOT));
                self.init = Phase::Dead;
                reports.push(Report::Ended(guess));
            }
        }
        self.settle(now, &mut reports);
        reports
    }

    fn freeze(&mut self, frozen: bool, reports: &mut Vec<Report>) {
        if self.is_alive() && frozen != self.frozen {
            self.frozen = frozen;
            reports.push(if frozen { Report::Frozen } else { Report::Thawed });
        }
    }

    fn settle(&mut self, now: Instant, reports: &mut Vec<Report>) {
        if let Phase::Dying(until) = self.init {
            if let Some(status) = self.exit {
                self.init = Phase::Dead;
                reports.push(Report::Ended(Some(status)));
            } else if self.next || self.monitor_over {
                self.init = Phase::Dying(until.min(now + LAST_WAIT));
            }
        }
        if self.init != Phase::Dead {
            return;
        }
        if self.next {
            *self = Self { monitor_over: self.monitor_over, ..Self::new() };
            reports.push(Report::Next);
        } else if self.monitor_over {
            reports.push(Report::Gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALT: WaitStatus = WaitStatus(2);

    fn reports(run: &mut Run, seen: &[Seen]) -> Vec<Report> {
        let now = Instant::now();
        seen.iter().flat_map(|seen| run.handle(*seen, now)).collect()
    }

    #[test]
    fn a_reboot_in_place_is_an_end_and_a_new_init_in_any_order_of_sight() {
        for seen in [
            [Seen::Ended(None), Seen::Exit(REBOOT), Seen::Starting, Seen::Next],
            [Seen::Ended(None), Seen::Next, Seen::Exit(REBOOT), Seen::Starting],
            [Seen::Ended(Some(REBOOT)), Seen::Exit(REBOOT), Seen::Starting, Seen::Next],
            [Seen::Exit(REBOOT), Seen::Next, Seen::Ended(None), Seen::Starting],
            [Seen::Ended(Some(REBOOT)), Seen::Next, Seen::Exit(REBOOT), Seen::Starting],
        ] {
            let mut run = Run::new();
            assert_eq!(reports(&mut run, &seen), [Report::Ended(Some(REBOOT)), Report::Next], "{seen:?}");
            let rest = reports(&mut run, &[Seen::Ended(None), Seen::Exit(HALT), Seen::MonitorOver]);
            assert_eq!(rest, [Report::Ended(Some(HALT)), Report::Gone], "after {seen:?}");
        }
    }

    #[test]
    fn the_end_comes_with_the_monitors_whatever_came_before() {
        for seen in [
            [Seen::Ended(None), Seen::Exit(HALT), Seen::MonitorOver],
            [Seen::MonitorOver, Seen::Ended(None), Seen::Exit(HALT)],
            [Seen::Exit(HALT), Seen::MonitorOver, Seen::Ended(None)],
        ] {
            assert_eq!(
                reports(&mut Run::new(), &seen),
                [Report::Ended(Some(HALT)), Report::Gone],
                "{seen:?}"
            );
        }
    }

    #[test]
    fn without_a_record_the_wait_is_bounded_and_the_status_what_is_certain() {
        let now = Instant::now();
        let mut run = Run::new();
        assert_eq!(reports(&mut run, &[Seen::Ended(None)]), []);
        assert!(run.deadline().is_some_and(|until| until > now + LAST_WAIT));
        assert_eq!(run.handle(Seen::MonitorOver, now), []);
        assert_eq!(run.deadline(), Some(now + LAST_WAIT));
        assert_eq!(run.handle(Seen::TimeUp(None), now), [Report::Ended(None), Report::Gone]);
        let seen = [Seen::Ended(None), Seen::Next, Seen::TimeUp(None)];
        assert_eq!(reports(&mut Run::new(), &seen), [Report::Ended(Some(REBOOT)), Report::Next]);
        let seen = [Seen::Ended(None), Seen::TimeUp(Some(WaitStatus(0x300)))];
        assert_eq!(reports(&mut Run::new(), &seen), [Report::Ended(Some(WaitStatus(0x300)))]);
    }

    #[test]
    fn freezing_is_told_once_and_ends_with_the_init() {
        let mut run = Run::new();
        let seen = [Seen::Thawed, Seen::Frozen, Seen::Frozen, Seen::Thawed, Seen::Thawed, Seen::Frozen];
        assert_eq!(reports(&mut run, &seen), [Report::Frozen, Report::Thawed, Report::Frozen]);
        let seen = [Seen::Ended(Some(REBOOT)), Seen::Thawed, Seen::Next, Seen::Frozen];
        assert_eq!(reports(&mut run, &seen), [Report::Ended(Some(REBOOT)), Report::Next, Report::Frozen]);
    }
}
