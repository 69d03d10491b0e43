//! Exit statuses (design section 4): what scripts and units decide by.

use std::process::ExitCode;

use crate::model::{JobState, Outcome};

/// The shell's convention for a program ended by SIGINT: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// How `autostart` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutostartExit {
    /// All done, or nothing to do: 0.
    Done,
    /// All selected guests failed, the request was wrong, or the daemon cannot be reached: 1.
    Failed,
    /// Some guests failed: 2.
    PartlyFailed,
    /// Ctrl-C ended the wait: 130.
    Interrupted,
}

impl AutostartExit {
    /// The exit status of a job that is over. `total` is how many guests it is about; a guest without a result has
    /// not come out as asked.
    pub fn of<'a>(state: JobState, total: u32, outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        let (mut good, mut all) = (0, 0);
        for outcome in outcomes {
            all += 1;
            good += u32::from(outcome.is_success());
        }
        let all = all.max(total);
        match state {
            JobState::Done if good == all => Self::Done,
            _ if good == 0 || good == all => Self::Failed,
            _ => Self::PartlyFailed,
        }
    }

    /// The number that the process exits with.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::PartlyFailed => 2,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

/// How `guestctl` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestctlExit {
    /// Done: 0.
    Done,
    /// Something failed or was refused: 1.
    Failed,
    /// The command line was wrong: 2.
    Usage,
    /// A guest that was named does not exist, and nothing else went wrong: 4.
    NoSuchGuest,
    /// Ctrl-C ended the wait: 130.
    Interrupted,
    /// What a command in a guest exited with, or 128 and the signal's number; for several guests 0, 1 or 2.
    Command(u8),
}

impl GuestctlExit {
    /// The number that the process exits with.
    pub fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoSuchGuest => 4,
            Self::Interrupted => INTERRUPTED,
            Self::Command(status) => status,
        }
    }

    /// The exit status of several guests' requests together: an interruption before a failure, a failure before an
    /// unknown name.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        [Self::Usage, Self::Interrupted, Self::Failed, Self::NoSuchGuest]
            .into_iter()
            .find(|exit| *exit == self || *exit == other)
            .unwrap_or(Self::Done)
    }
}

impl From<AutostartExit> for ExitCode {
    fn from(exit: AutostartExit) -> Self {
        exit.status().into()
    }
}

impl From<GuestctlExit> for ExitCode {
    fn from(exit: GuestctlExit) -> Self {
        exit.status().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn autostart_tells_all_some_and_none_apart() {
        use AutostartExit::{Done, Failed, PartlyFailed};
        let failed = || Outcome::Failed("no rootfs".into());
        for (state, total, outcomes, exit) in [
            (JobState::Done, 0, vec![], Done),
            (JobState::Done, 2, vec![Outcome::Done, Outcome::Already], Done),
            (JobState::Done, 1, vec![Outcome::Asked], Done),
            (JobState::Failed, 2, vec![Outcome::Done, failed()], PartlyFailed),
            (JobState::Failed, 2, vec![Outcome::Already, failed()], PartlyFailed),
            (JobState::Failed, 2, vec![failed(), failed()], Failed),
            (JobState::Failed, 1, vec![failed()], Failed),
            (JobState::Canceled, 2, vec![Outcome::Done, Outcome::Canceled], PartlyFailed),
            (JobState::Canceled, 2, vec![Outcome::Canceled, Outcome::Canceled], Failed),
            (JobState::Canceled, 3, vec![Outcome::Done], PartlyFailed),
            (JobState::Canceled, 1, vec![Outcome::Done], Failed),
            (JobState::Failed, 0, vec![], Failed),
        ] {
            assert_eq!(AutostartExit::of(state, total, &outcomes), exit, "{state} {total} {outcomes:?}");
        }
    }

    #[test]
    fn statuses_are_the_documented_numbers() {
        let autostart = [
            (AutostartExit::Done, 0),
            (AutostartExit::Failed, 1),
            (AutostartExit::PartlyFailed, 2),
            (AutostartExit::Interrupted, 130),
        ];
        assert!(autostart.iter().all(|(exit, status)| exit.status() == *status));
        let guestctl = [
            (GuestctlExit::Done, 0),
            (GuestctlExit::Failed, 1),
            (GuestctlExit::Usage, 2),
            (GuestctlExit::NoSuchGuest, 4),
            (GuestctlExit::Interrupted, 130),
        ];
        assert!(guestctl.iter().all(|(exit, status)| exit.status() == *status));
    }

    #[test]
    fn a_failure_outweighs_an_unknown_name() {
        use GuestctlExit::{Done, Failed, Interrupted, NoSuchGuest};
        for (one, other, both) in [
            (Done, Done, Done),
            (Done, NoSuchGuest, NoSuchGuest),
            (NoSuchGuest, Failed, Failed),
            (Failed, Done, Failed),
            (Interrupted, Failed, Interrupted),
        ] {
            assert_eq!(one.and(other), both);
            assert_eq!(other.and(one), both);
        }
    }
}
