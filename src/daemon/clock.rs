//! The one place where the daemon asks what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Instant, Now, Timestamp};

/// Both clocks. The monotonic one counts from the host's boot, so that moments of an earlier daemon's life can be told.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: tokio::time::Instant,
    uptime: Duration,
}

impl Clock {
    /// Reads how long the host has been up.
    pub fn start() -> Self {
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let uptime = Duration::try_from(uptime).unwrap_or(Duration::ZERO);
        Self { origin: tokio::time::Instant::now(), uptime }
    }

    /// The time.
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now {
            instant: Instant(self.uptime + self.origin.elapsed()),
            wall: Timestamp(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)),
        }
    }

    /// The moment for tokio's timers.
    pub fn at(&self, instant: Instant) -> tokio::time::Instant {
        self.origin + instant.0.saturating_sub(self.uptime)
    }
}
