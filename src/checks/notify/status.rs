//! How often what a guest says of itself is told: each status once, and at most one a second. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two that are told.
const PAUSE: Duration = Duration::from_secs(1);

/// What a guest said last.
#[derive(Debug, Default)]
pub(super) struct Status {
    told: Option<String>,
    /// Said since, and not told yet.
    newest: Option<String>,
    /// When the next one may be told.
    next: Option<Instant>,
}

impl Status {
    /// Takes what a guest says; what is to be told now.
    pub(super) fn said(&mut self, status: String, now: Instant) -> Option<String> {
        self.newest = Some(status).filter(|status| self.told.as_ref() != Some(status));
        self.take(now)
    }

    /// When something is to be told that was said too soon.
    pub(super) fn due(&self) -> Option<Instant> {
        self.newest.as_ref().and(self.next)
    }

    /// What is to be told now.
    pub(super) fn take(&mut self, now: Instant) -> Option<String> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let status = self.newest.take()?;
        self.next = Some(now + PAUSE);
        self.told = Some(status.clone());
        Some(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_told_once_and_one_a_second() {
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let told = |text: &str| Some(text.to_owned());
        let mut status = Status::default();
        assert_eq!(status.said("a".into(), at(0)), told("a"));
        assert_eq!(status.due(), None);
        assert_eq!(status.said("b".into(), at(10)), None);
        assert_eq!(status.said("c".into(), at(20)), None);
        assert_eq!(status.due(), Some(at(1000)));
        assert_eq!(status.take(at(999)), None);
        assert_eq!(status.take(at(1000)), told("c"));
        assert_eq!(status.said("c".into(), at(5000)), None, "it is known");
        // It has taken it back.
        assert_eq!((status.said("d".into(), at(5000)), status.said("e".into(), at(5001))), (told("d"), None));
        assert_eq!((status.said("d".into(), at(5002)), status.due()), (None, None));
    }
}
