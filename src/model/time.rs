//! Time as data. The pure rooms are handed the time; they never ask a clock.

use std::time::Duration;

/// A moment on the monotonic clock, as the time since the host's boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub Duration);

impl Now {
    /// The monotonic moment of a wall-clock time in the past; the future counts as now.
    pub fn instant_of(&self, wall: Timestamp) -> Instant {
        Instant(self.instant.0.saturating_sub(Duration::from_micros(self.wall.0.saturating_sub(wall.0))))
    }

    /// The wall-clock time after so long, if the clock is not set meanwhile.
    pub fn wall_in(&self, after: Duration) -> Timestamp {
        Timestamp(self.wall.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }

    /// The wall-clock time of a monotonic moment in the past.
    pub fn wall_of(&self, instant: Instant) -> Timestamp {
        let ago = u64::try_from(self.instant.since(instant).as_micros()).unwrap_or(u64::MAX);
        Timestamp(self.wall.0.saturating_sub(ago))
    }
}

impl Instant {
    /// The moment `after` later; saturates.
    #[must_use]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(after))
    }

    /// The time from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A moment of wall-clock time, in microseconds since 1970-01-01 UTC. For showing, not for deciding, except where people
/// mean the wall clock: when a hold ends.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp(pub u64);

/// Both clocks, read once for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// The monotonic clock: for deadlines and delays.
    pub instant: Instant,
    /// The wall clock: for what people see.
    pub wall: Timestamp,
}
