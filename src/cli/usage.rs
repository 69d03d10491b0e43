//! What a guest uses, as guestd tells it.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::{Serialize, Serializer};
use zbus::OwnedVariant;

/// What a guest uses, as far as the kernel counts. Scripts rely on its JSON: fields may be added, never renamed or taken
/// away.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UsageView {
    /// Memory that it has, caches among it, in bytes.
    pub memory: Option<u64>,
    /// The limit on that, in bytes; none where there is none.
    pub memory_limit: Option<u64>,
    /// Processor time that it has had since it was started, in seconds.
    #[serde(rename = "cpu_seconds", serialize_with = "seconds")]
    pub cpu: Option<Duration>,
    /// Its processes and threads.
    pub tasks: Option<u64>,
}

impl From<&HashMap<String, OwnedVariant>> for UsageView {
    fn from(numbers: &HashMap<String, OwnedVariant>) -> Self {
        let number = |key: &str| numbers.get(key).and_then(|value| value.downcast_ref::<u64>().ok());
        Self {
            memory: number("memory"),
            memory_limit: number("memory-limit"),
            cpu: number("cpu").map(Duration::from_micros),
            tasks: number("tasks"),
        }
    }
}

/// How much of one processor was had between two looks, in percent; none where the first knew less, or of another run.
pub fn percent(before: Option<Duration>, after: Option<Duration>, passed: Duration) -> Option<f64> {
    let had = after?.checked_sub(before?)?;
    (!passed.is_zero()).then(|| had.as_secs_f64() / passed.as_secs_f64() * 100.0)
}

/// When something was looked at, and what was seen.
#[derive(Debug, Clone)]
pub struct Look<T> {
    /// When.
    pub at: Instant,
    /// What.
    pub seen: T,
}

fn seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_some(&time.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_needs_two_looks_at_one_run() {
        let at = |millis| Some(Duration::from_millis(millis));
        let second = Duration::from_secs(1);
        assert_eq!(percent(at(1000), at(1500), second), Some(50.0));
        assert_eq!(percent(at(1000), at(3000), second), Some(200.0));
        // It was started again.
        assert_eq!(percent(at(1000), at(10), second), None);
        assert_eq!(percent(None, at(10), second), None);
        assert_eq!(percent(at(1), at(2), Duration::ZERO), None);
    }
}
