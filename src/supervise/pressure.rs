//! The fleet's part for how hard pressed the host is (`[pressure]`): while it is too hard, no more guests begin to start.
//!
//! What the kernel says is handed in, and asked for only while somebody wants to start: at rest nobody looks.

use std::time::Duration;

use super::{
    entry::Slots,
    fleet::{Fleet, Rules},
};
use crate::model::{Instant, Now, Pressure};

/// For how long a look counts, and so how soon the next one comes while starts are held back. The kernel itself works the
/// shares out every two seconds.
const COUNTS: Duration = Duration::from_secs(1);
/// What is waited for until somebody has looked; that is at once, and nobody gets to see it.
const A_LOOK: &str = "a look at how hard pressed the host is";

/// What a look at the host shows: of the last ten seconds, the share in which something waited, in percent. None is where the kernel
/// does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Strain {
    /// For memory.
    pub memory: Option<f32>,
    /// For disks.
    pub io: Option<f32>,
}

/// The share in a file of `/proc/pressure`: `some avg10=1.23 …` (the kernel's Documentation/accounting/psi.rst).
pub fn some_avg10(text: &str) -> Option<f32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let share = some.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    share.parse().ok().filter(|share| (0.0..=100.0).contains(share))
}

/// Lets guests begin to start, or holds them back.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Until when the last look counts; none before the first.
    fresh_until: Option<Instant>,
    /// What was too much at the last look.
    above: Option<Above>,
    /// Somebody would begin to start, but for this.
    is_wanted: bool,
    /// What those who wait for their turn are shown to wait for.
    shown: Option<String>,
}

/// What is waited for, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Above {
    what: String,
    /// The same, and how it stands.
    whole: String,
}

impl Gate {
    /// Whether guests may begin to start as far as is known now.
    pub(super) fn is_open(&self, limits: Pressure, now: Instant) -> bool {
        limits == Pressure::NONE || (self.is_fresh(now) && self.above.is_none())
    }

    /// What is waited for, and how it stands.
    fn whole(&self) -> &str {
        self.above.as_ref().map_or(A_LOOK, |above| &above.whole)
    }

    /// What is waited for; the same for as long as it is.
    pub(super) fn what(&self) -> &str {
        self.above.as_ref().map_or(A_LOOK, |above| &above.what)
    }

    /// How many more may begin to start.
    pub(super) fn slots(&self, rules: &Rules, starting: usize, now: Instant) -> Slots<'_> {
        let pressure = (!self.is_open(rules.pressure, now)).then(|| self.whole());
        Slots { free: rules.max_starting.saturating_sub(starting), pressure, is_wanted: false }
    }

    /// Whether somebody would begin to start, but for this.
    pub(super) fn wish(&mut self, is_wanted: bool) {
        self.is_wanted |= is_wanted;
    }

    /// Everybody is asked anew.
    pub(super) fn forget_wish(&mut self) {
        self.is_wanted = false;
    }

    /// When to look again: only while somebody waits for it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.fresh_until.filter(|_| self.is_wanted)
    }

    /// What keeps somebody waiting.
    fn holding(&self) -> Option<&Above> {
        self.above.as_ref().filter(|_| self.is_wanted)
    }

    fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_some_and(|until| now < until)
    }
}

impl Fleet {
    /// Whether it cannot go on without a look at how hard pressed the host is: [`Fleet::press`].
    pub fn wants_look(&self, now: Now) -> bool {
        self.pressure.is_wanted && !self.pressure.is_fresh(now.instant)
    }

    /// What a look at the host shows. Whoever waited for it begins to start, or goes on waiting.
    pub fn press(&mut self, strain: Strain, now: Now) {
        self.pressure.fresh_until = Some(now.instant.plus(COUNTS));
        self.pressure.above = above(self.rules.pressure, strain);
        self.advance(now);
    }

    /// What keeps guests from beginning to start, and how it stands; none while it keeps nobody.
    pub fn held_back(&self) -> Option<&str> {
        self.pressure.holding().map(|above| &*above.whole)
    }

    /// What that waits for; the same for as long as it does.
    pub(super) fn held_back_for(&self) -> Option<&str> {
        self.pressure.holding().map(|above| &*above.what)
    }

    /// Has everybody shown anew who waits for a turn to start, where what they wait for is another than before.
    pub(super) fn show_waiting(&mut self) {
        let waits_for = self.held_back_for();
        if waits_for != self.pressure.shown.as_deref() {
            self.pressure.shown = waits_for.map(str::to_owned);
            let jobs = self.jobs.values();
            let waiting = jobs.flat_map(|job| job.guests().filter(|name| job.keeps_waiting(name)));
            self.changed.extend(waiting.cloned());
        }
    }
}

/// Which limit is passed, memory first.
fn above(limits: Pressure, strain: Strain) -> Option<Above> {
    let pairs = [("memory", limits.memory, strain.memory), ("I/O", limits.io, strain.io)];
    pairs.into_iter().find_map(|(of, limit, share)| {
        let (limit, share) = (limit?, share?);
        (share > f32::from(limit)).then(|| {
            let what = format!("the host's {of} pressure to fall to {limit} %");
            // Rounded up, so that it never looks as if the limit were kept.
            let whole = format!("{what} (it is {} %)", share.ceil());
            Above { what, whole }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        let text = "some avg10=57.25 avg60=3.00 avg300=0.10 total=123\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=4\n";
        assert_eq!(some_avg10(text), Some(57.25));
        for (text, share) in [
            ("some avg10=0.00 total=1\n", Some(0.0)),
            ("full avg10=9.00\nsome avg60=1.00 avg10=100.00", Some(100.0)),
            ("some avg10=100.01\n", None),
            ("some avg10=-1\n", None),
            ("some avg10=NaN\n", None),
            ("some avg10=\n", None),
            ("some avg60=1.00\n", None),
            ("full avg10=1.00\n", None),
            ("", None),
        ] {
            assert_eq!(some_avg10(text), share, "{text}");
        }
    }

    #[test]
    fn a_limit_is_passed_above_it_and_told_with_how_it_stands() {
        let limits = Pressure { memory: Some(40), io: Some(20) };
        let words = |memory, io| above(limits, Strain { memory, io }).map(|above| above.whole);
        assert_eq!(words(Some(40.0), Some(20.0)), None);
        assert_eq!(words(None, None), None);
        let memory = "the host's memory pressure to fall to 40 % (it is 41 %)";
        assert_eq!(words(Some(40.01), Some(99.0)).as_deref(), Some(memory));
        let io = "the host's I/O pressure to fall to 20 % (it is 100 %)";
        assert_eq!(words(None, Some(100.0)).as_deref(), Some(io));
        let off = Pressure { memory: None, io: None };
        assert_eq!(above(off, Strain { memory: Some(100.0), io: Some(100.0) }), None);
    }
}
