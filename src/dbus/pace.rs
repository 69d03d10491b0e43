//! How often a job's results are signalled.
//!
//! `Results` is one property, sent whole. For a job over a thousand guests, a thousand signals of up to a thousand
//! results would be most of what the bus does. So a large job's results are signalled now and then, and at its end;
//! everything else about it at once.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::model::{JobId, status::JobStatus};

/// The results of a job over more guests than this are paced.
const LARGE: u32 = 32;
/// The least time between two signals with a large job's results, except the last.
const PACE: Duration = Duration::from_millis(250);

/// What readers of signals know of the results of large jobs.
#[derive(Debug, Default)]
pub(super) struct Pace(BTreeMap<JobId, Told>);

#[derive(Debug)]
struct Told {
    /// With the results that were last signalled.
    moment: Arc<JobStatus>,
    at: Instant,
    /// There are newer ones.
    is_behind: bool,
}

impl Pace {
    /// Two moments whose difference is what is to be signalled now that a job has changed.
    pub(super) fn told(
        &mut self,
        old: &Arc<JobStatus>,
        new: &Arc<JobStatus>,
        now: Instant,
    ) -> [Arc<JobStatus>; 2] {
        if new.total <= LARGE {
            return [old.clone(), new.clone()];
        }
        let first = Told { moment: old.clone(), at: now.checked_sub(PACE).unwrap_or(now), is_behind: false };
        let told = self.0.entry(new.id).or_insert(first);
        if new.state.is_over() || now >= told.at + PACE {
            let before = Arc::new(JobStatus { results: told.moment.results.clone(), ..bare(old) });
            if new.state.is_over() {
                self.forget(new.id);
            } else {
                *told = Told { moment: new.clone(), at: now, is_behind: false };
            }
            return [before, new.clone()];
        }
        told.is_behind |= told.moment.results.len() != new.results.len();
        [old, new].map(|moment| Arc::new(bare(moment)))
    }

    /// A job is forgotten.
    pub(super) fn forget(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// Returns when results have been held back for long enough.
    pub(super) async fn due(&self) {
        match self.0.values().filter(|told| told.is_behind).map(|told| told.at + PACE).min() {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// What was told and what is, of the jobs whose time has come.
    pub(super) fn held_back(
        &mut self,
        jobs: &BTreeMap<JobId, Arc<JobStatus>>,
        now: Instant,
    ) -> Vec<(Arc<JobStatus>, Arc<JobStatus>)> {
        let due = self.0.iter_mut().filter(|(_, told)| told.is_behind && now >= told.at + PACE);
        due.filter_map(|(id, told)| {
            let newest = jobs.get(id)?;
            let before = JobStatus { results: told.moment.results.clone(), ..bare(newest) };
            *told = Told { moment: newest.clone(), at: now, is_behind: false };
            Some((Arc::new(before), newest.clone()))
        })
        .collect()
    }
}

/// A job without its results.
fn bare(job: &JobStatus) -> JobStatus {
    JobStatus {
        id: job.id,
        verb: job.verb,
        state: job.state,
        done: job.done,
        total: job.total,
        status: job.status.clone(),
        guests: job.guests.clone(),
        results: BTreeMap::new(),
        started: job.started,
        ended: job.ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GuestName, JobState, Outcome, Timestamp, Verb};

    fn job(done: u32, total: u32, state: JobState) -> Arc<JobStatus> {
        let name = |n: u32| GuestName::new(&format!("g{n}")).unwrap();
        Arc::new(JobStatus {
            id: JobId(1),
            verb: Verb::Start,
            state,
            done,
            total,
            status: String::new(),
            guests: Arc::new([]),
            results: (0..done).map(|n| (name(n), Outcome::Done)).collect(),
            started: Timestamp(0),
            ended: None,
        })
    }

    /// How many results are signalled; none where they are not.
    fn signalled([old, new]: [Arc<JobStatus>; 2]) -> Option<usize> {
        (old.results != new.results).then_some(new.results.len())
    }

    #[tokio::test]
    async fn a_large_jobs_results_are_told_now_and_then_and_at_its_end() {
        let running = |done| job(done, 100, JobState::Running);
        let mut pace = Pace::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(signalled(pace.told(&running(0), &running(1), at(0))), Some(1));
        for done in 2..50 {
            let millis = u64::from(done);
            assert_eq!(signalled(pace.told(&running(done - 1), &running(done), at(millis))), None);
        }
        assert_eq!(signalled(pace.told(&running(49), &running(50), at(250))), Some(50));
        assert_eq!(signalled(pace.told(&running(50), &running(51), at(251))), None);
        pace.due().await;
        let jobs = BTreeMap::from([(JobId(1), running(51))]);
        assert_eq!(pace.held_back(&jobs, at(499)).len(), 0);
        let held_back = pace.held_back(&jobs, at(500));
        assert_eq!((held_back[0].0.results.len(), held_back[0].1.results.len()), (50, 51));
        let end = pace.told(&running(51), &job(100, 100, JobState::Done), at(501));
        assert_eq!((signalled(end.clone()), end[0].results.len()), (Some(100), 51));
        assert!(pace.0.is_empty());
    }

    #[test]
    fn a_small_jobs_results_are_told_at_once() {
        let mut pace = Pace::default();
        for done in 1..5 {
            let [old, new] = [done - 1, done].map(|done| job(done, 5, JobState::Running));
            assert_eq!(signalled(pace.told(&old, &new, Instant::now())), Some(done as usize));
        }
    }
}
