//! How many lines one guest may tell, so that it neither fills the journal nor hides what others say. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// So many lines may be told at once, as at a boot.
const BURST: u32 = 1000;
/// So many more each interval.
const LINES: u32 = 200;
const INTERVAL: Duration = Duration::from_secs(10);

/// One guest's pace.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the interval began.
    since: Instant,
    left: u32,
    left_out: u64,
    /// Output was gone before it was read.
    overwritten: bool,
    /// When the two above are to be told.
    due: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, left: BURST, left_out: 0, overwritten: false, due: None }
    }

    /// Whether one more line may be told; one that may not is counted.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        self.go_on(now);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.left_out += 1;
                self.due.get_or_insert(self.since + INTERVAL);
                return false;
            }
        }
        true
    }

    /// Notes that output is gone.
    pub(super) fn overwritten(&mut self, now: Instant) {
        self.go_on(now);
        self.overwritten = true;
        self.due.get_or_insert(self.since + INTERVAL);
    }

    /// When [`Pace::report`] has something to tell.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What was left out since the last report.
    pub(super) fn report(&mut self) -> Option<String> {
        self.due.take()?;
        let left_out = std::mem::take(&mut self.left_out);
        let overwritten = std::mem::take(&mut self.overwritten);
        let seconds = INTERVAL.as_secs();
        Some(match (left_out, overwritten) {
            (0, _) => "output on its console was overwritten before it was read".to_owned(),
            (_, true) => format!(
                "lines of its console were left out ({left_out}), and more was overwritten before it was read"
            ),
            (_, false) => format!(
                "lines of its console were left out ({left_out}): it wrote more than {LINES} in {seconds} s"
            ),
        })
    }

    fn go_on(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / INTERVAL.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed > 0 {
            self.left = LINES.saturating_mul(passed).saturating_add(self.left).min(BURST);
            self.since += INTERVAL * passed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_tells_so_much_each_interval_and_what_was_left_out_once() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let (mut told, mut reports) = (0, Vec::new());
        for millisecond in 0..100_000 {
            let now = begin + Duration::from_millis(millisecond);
            for _ in 0..3 {
                told += u32::from(pace.admits(now));
            }
            if pace.due().is_some_and(|due| due <= now) {
                reports.extend(pace.report());
            }
        }
        assert_eq!(told, BURST + 9 * LINES);
        assert_eq!(reports.len(), 9, "{reports:?}");
        assert_eq!(reports[0], "lines of its console were left out (29000): it wrote more than 200 in 10 s");
        assert!(pace.report().is_some() && pace.report().is_none());
        // One that is quiet for long may tell as much again as at its boot, and not more.
        let later = begin + Duration::from_secs(1_000_000);
        assert_eq!((0..2 * BURST).filter(|_| pace.admits(later)).count(), BURST as usize);
    }

    #[test]
    fn what_was_overwritten_is_told_with_it() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.overwritten(now);
        assert_eq!(pace.due(), Some(now + INTERVAL));
        assert_eq!(
            pace.report().as_deref(),
            Some("output on its console was overwritten before it was read")
        );
        assert!(!(0..=BURST).map(|_| pace.admits(now)).fold(true, |_, last| last));
        pace.overwritten(now);
        let words = "lines of its console were left out (1), and more was overwritten before it was read";
        assert_eq!(pace.report().as_deref(), Some(words));
    }
}
