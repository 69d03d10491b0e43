//! Ended jobs: how long readers find them.

use std::{collections::VecDeque, time::Duration};

use crate::model::{Instant, JobId};

/// So many are kept in any case.
const LAST: usize = 64;
/// So long every one is kept: whoever asked for many finds the result of each.
const FOR: Duration = Duration::from_secs(60);
/// But never more than so many, whoever asks for how many: some four megabytes.
const MOST: usize = 1024;
/// Nor with more guests than this, all together, beyond the last ones.
const MOST_GUESTS: usize = 16 * MOST;

/// The ended jobs that are kept, in the order in which they ended.
#[derive(Debug, Default)]
pub struct Ended {
    jobs: VecDeque<Entry>,
    guests: usize,
}

#[derive(Debug)]
struct Entry {
    id: JobId,
    at: Instant,
    guests: usize,
}

impl Ended {
    /// A job about so many guests has ended.
    pub fn add(&mut self, id: JobId, guests: usize, at: Instant) {
        self.guests += guests;
        self.jobs.push_back(Entry { id, at, guests });
    }

    /// Takes out a job that is to be forgotten, until there is none.
    pub fn forget(&mut self, now: Instant) -> Option<JobId> {
        let first = self.jobs.front()?;
        let is_crowded = self.jobs.len() > MOST || self.guests > MOST_GUESTS;
        if self.jobs.len() <= LAST || (now.since(first.at) < FOR && !is_crowded) {
            return None;
        }
        let Entry { id, guests, .. } = self.jobs.pop_front()?;
        self.guests -= guests;
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The jobs that are kept after so many ended, one a millisecond, each about so many guests.
    fn kept(count: u32, guests: usize, later: Duration) -> Vec<u32> {
        let mut ended = Ended::default();
        let moment = |id: u32| Instant(Duration::from_millis(id.into()));
        for id in 1..=count {
            ended.add(JobId(id), guests, moment(id));
        }
        while ended.forget(moment(count).plus(later)).is_some() {}
        ended.jobs.iter().map(|entry| entry.id.0).collect()
    }

    #[test]
    fn all_of_a_minute_are_kept_and_the_last_ones_for_ever() {
        let soon = FOR - Duration::from_millis(300);
        assert_eq!(kept(200, 3, soon), Vec::from_iter(1..=200));
        assert_eq!(kept(200, 3, FOR - Duration::from_millis(100)), Vec::from_iter(101..=200));
        assert_eq!(kept(200, 3, FOR), Vec::from_iter(137..=200));
        assert_eq!(kept(64, 3, FOR * 99), Vec::from_iter(1..=64));
    }

    #[test]
    fn there_is_an_end_to_their_number_and_to_that_of_their_guests() {
        assert_eq!(kept(2000, 1, Duration::ZERO).len(), MOST);
        assert_eq!(kept(1000, MOST_GUESTS / 100, Duration::ZERO).len(), 100);
        assert_eq!(kept(1000, MOST_GUESTS, Duration::ZERO).len(), LAST);
    }
}
