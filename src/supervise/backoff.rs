//! Starts after failures: how soon, how often, and when to give up (`[restart]`). Pure arithmetic over what is
//! remembered; which ends are failures is decided in `recover`.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use super::state::{Phase, Retries, Run, Service, Stage};
use crate::{
    engine::Epoch,
    model::{GuestName, Instant, Now, Restart},
};

/// Of a delay, up to one part in so many is left out at random, so that guests which failed together do not come back
/// together.
const JITTER: u32 = 4;

/// When the next start is due, counting it; none when the limit is used up.
pub(super) fn next(
    retries: &mut Retries,
    restart: &Restart,
    who: (&GuestName, Epoch),
    now: Now,
) -> Option<Instant> {
    retries.at.retain(|at| now.instant.since(at.instant) < restart.limit.window);
    if retries.at.len() >= restart.limit.count as usize {
        return None;
    }
    retries.at.push_back(now);
    let delay = delay(restart, retries.streak);
    retries.streak = retries.streak.saturating_add(1);
    Some(now.instant.plus(delay - jitter(delay, who)))
}

/// What counts of the failures that an earlier daemon has seen: those that the limit still needs.
pub(super) fn recalled(failures: impl Iterator<Item = Now>, restart: &Restart, now: Instant) -> Retries {
    let at: VecDeque<Now> = failures.filter(|at| now.since(at.instant) < restart.limit.window).collect();
    Retries { streak: u32::try_from(at.len()).unwrap_or(u32::MAX), at }
}

/// Doubled with each failure that follows another one.
fn delay(restart: &Restart, streak: u32) -> Duration {
    let factor = 1_u32.checked_shl(streak).unwrap_or(u32::MAX);
    restart.delay.saturating_mul(factor).min(restart.max_delay)
}

/// Differs from guest to guest and from run to run, and is the same for the same run.
fn jitter(delay: Duration, who: (&GuestName, Epoch)) -> Duration {
    const STEPS: u32 = 1024;
    let mut hasher = DefaultHasher::new();
    who.hash(&mut hasher);
    let share = u32::try_from(hasher.finish() % u64::from(STEPS)).unwrap_or(0);
    (delay / JITTER / STEPS) * share
}

/// Whether a run has been ready for so long that what failed before it counts no more: for as long as the longest delay
/// between two starts, and a second at least.
pub(super) fn is_stable(phase: &Phase, restart: &Restart, now: Instant) -> bool {
    let (Phase::Up(run) | Phase::Frozen(run)) = phase else { return false };
    match run {
        Run { service: Service { stage: Stage::Ready { since, ill: 0 }, .. }, .. } => {
            now.since(*since) >= restart.max_delay.max(Duration::from_secs(1))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limit, RestartPolicy};

    fn restart(count: u32) -> Restart {
        Restart {
            policy: RestartPolicy::OnFailure,
            delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
            limit: Limit { count, window: Duration::from_secs(60) },
        }
    }

    fn at(millis: u64) -> Instant {
        Instant(Duration::from_millis(millis))
    }

    fn now(millis: u64) -> Now {
        Now { instant: at(millis), ..Now::default() }
    }

    #[test]
    fn delays_double_up_to_the_longest_less_a_quarter_at_most() {
        let (name, mut retries) = (GuestName::new("web").unwrap(), Retries::default());
        for (n, full) in [100, 200, 400, 800, 1600, 2000, 2000].into_iter().enumerate() {
            let next = next(&mut retries, &restart(9), (&name, Epoch(n as u64)), now(0)).unwrap();
            assert!(next <= at(full) && next > at(full * 3 / 4 - 1), "{n}: {next:?}");
        }
    }

    #[test]
    fn a_huge_streak_and_no_delay_are_fine() {
        let name = GuestName::new("web").unwrap();
        let mut retries = Retries { streak: u32::MAX, ..Retries::default() };
        let longest = next(&mut retries, &restart(1), (&name, Epoch(1)), now(0)).unwrap();
        assert!(longest > at(1499) && longest <= at(2000));
        let at_once = Restart { delay: Duration::ZERO, ..restart(1) };
        assert_eq!(next(&mut Retries::default(), &at_once, (&name, Epoch(1)), now(7)), Some(at(7)));
    }

    #[test]
    fn the_limit_counts_within_its_window() {
        let (name, mut retries) = (GuestName::new("web").unwrap(), Retries::default());
        let mut tries = |millis| next(&mut retries, &restart(2), (&name, Epoch(1)), now(millis)).is_some();
        assert!(tries(0) && tries(30_000) && !tries(59_999));
        // The first one lies a window back.
        assert!(tries(60_000) && !tries(60_001));
    }

    #[test]
    fn guests_that_fail_together_come_back_apart() {
        let moments: std::collections::BTreeSet<_> = (0..100)
            .map(|n| GuestName::new(&format!("g{n}")).unwrap())
            .map(|name| next(&mut Retries::default(), &restart(2), (&name, Epoch(1)), now(0)).unwrap())
            .collect();
        assert!(moments.len() > 80, "{} different moments", moments.len());
    }
}
