//! The machine's part for what follows an end that nobody asked for, and a start that failed: the decision table, which
//! guestd.toml(5) has too (`tests/manual.rs` compares them).
//!
//! | how it ended | `never` | `on-failure` | `always` |
//! | --- | --- | --- | --- |
//! | asked: stopped or killed by an operator, also overdue | down | down | down |
//! | stopped with the host | down | down | down |
//! | halted or powered off from inside | down | down | again |
//! | rebooted from inside (`[reboot]` has allowed it) | new init | new init | new init |
//! | rebooted from inside, refused by `[reboot]` | down | down | down |
//! | rebooted from inside, and no new init came | failed | again | again |
//! | its init exited with status 0 | down | down | again |
//! | its init exited with another status, or was killed | failed | again | again |
//! | killed for want of memory | failed | again | again |
//! | its health was bad, and `[health] action` is `restart` | failed | again | again |
//! | it ended, and guestd was there and does not know how | failed | again | again |
//! | it ended while guestd was away, and nobody knows how | down | down | again |
//! | it could not be started, or was not ready and `on-timeout` is `fail` | failed | again | again |
//! | it could not be started: something of it is missing, wrong or forbidden | failed | failed | failed |
//!
//! *Again* is `backing-off` until its delay is over, then a new start; one more than `[restart] limit` allows is
//! `failed`. A loop of reboots is counted by `[reboot] limit`, apart from these, and ends in `failed` too. While somebody wants the guest down, also when its turn to stop has not come, every end is *down*: nothing is started against
//! a wish. An ephemeral guest is gone when it ends, and a guest of a cluster manager is the cluster's to start: both are
//! treated as under `never`.

use std::time::Duration;

use super::{
    backoff,
    effect::{Level, Topic},
    event::Grant,
    machine::Turn,
    state::{Failure, Intent, Next, Phase, Then},
};
use crate::{
    engine::{EngineError, ErrorKind},
    model::{End, Guest, Owner, RestartPolicy},
};

/// What is to be done about an end or a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Down,
    Failed,
    Again,
}

/// The table above.
fn verdict(policy: RestartPolicy, why: &Failure) -> Verdict {
    use {RestartPolicy::*, Verdict::*};
    match (why, policy) {
        (Failure::Ended(End::Asked { .. } | End::Overdue | End::HostStop | End::GuestReboot { .. }), _) => {
            Down
        }
        (Failure::Ended(End::GuestHalt | End::CleanExit | End::Unknown), Always) => Again,
        (Failure::Ended(End::GuestHalt | End::CleanExit | End::Unknown), Never | OnFailure) => Down,
        (Failure::Ended(End::Crash(_) | End::OutOfMemory | End::Ill { .. }), Never) => Failed,
        (Failure::Ended(End::Crash(_) | End::OutOfMemory | End::Ill { .. }), OnFailure | Always) => Again,
        (Failure::Start(_) | Failure::NoNewInit | Failure::Vanished | Failure::NotReady { .. }, Never) => {
            Failed
        }
        (
            Failure::Start(_) | Failure::NoNewInit | Failure::Vanished | Failure::NotReady { .. },
            OnFailure | Always,
        ) => Again,
        (
            Failure::RebootLoop(_)
            | Failure::Stuck(_)
            | Failure::Broken(_)
            | Failure::Earlier(_)
            | Failure::RestartLimit { .. }
            | Failure::Required(_),
            _,
        ) => Failed,
    }
}

/// The policy that counts for a guest.
pub(super) fn policy(guest: &Guest) -> RestartPolicy {
    if guest.is_ephemeral() || guest.owner == Owner::Cluster {
        RestartPolicy::Never
    } else {
        guest.restart.policy
    }
}

/// What a failed start amounts to: what would fail again and again is not tried again.
pub(super) fn failed_start(error: &EngineError) -> Failure {
    match error.kind {
        ErrorKind::Missing | ErrorKind::Denied | ErrorKind::Misconfigured => {
            Failure::Broken(error.to_string())
        }
        ErrorKind::Busy | ErrorKind::TimedOut | ErrorKind::Unavailable | ErrorKind::Failed => {
            Failure::Start(error.to_string())
        }
    }
}

impl Turn<'_> {
    /// Nothing of it is left, or it could not be started; the table says what follows.
    pub(super) fn recover(&mut self, why: Failure) -> Phase {
        let is_unwanted = self.state.intent == Intent::Down;
        match (verdict(policy(self.guest), &why), why) {
            (Verdict::Down, Failure::Ended(end)) => self.ended(Then::Stay(end)),
            (_, Failure::Ended(end)) if is_unwanted => self.ended(Then::Stay(end)),
            (_, Failure::Vanished) if is_unwanted => self.ended(Then::Stay(End::Unknown)),
            (Verdict::Again, why) if !is_unwanted => self.back_off(why),
            (_, why) => self.ended(Then::Fail(why)),
        }
    }

    fn back_off(&mut self, why: Failure) -> Phase {
        let (guest, now) = (self.guest, self.now.instant);
        let who = (&guest.name, self.state.epoch);
        match backoff::next(&mut self.state.retries, &guest.restart, who, self.now) {
            Some(at) => {
                let (pause, wall) = (at.since(now), self.now.wall_in(at.since(now)));
                let shown = humantime::format_duration(Duration::from_millis(
                    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                ));
                self.tell(
                    Topic::Retry,
                    Level::Warning,
                    format!("has failed: {why}; it is started again in {shown}"),
                );
                let next = if pause.is_zero() { Next::Due(String::new()) } else { Next::At { at, wall } };
                Phase::BackingOff { why, next }
            }
            None => {
                let limit = guest.restart.limit;
                self.ended(Then::Fail(Failure::RestartLimit { limit, last: Box::new(why) }))
            }
        }
    }

    /// Its pause is over, and the fleet has looked what is in the way.
    pub(super) fn retried(&mut self, phase: Phase, grant: Grant) -> Phase {
        match (phase, grant) {
            (Phase::BackingOff { .. }, Grant::Now) => {
                self.state.restarts += 1;
                self.begin()
            }
            (Phase::BackingOff { why, .. }, Grant::Waits(what)) => {
                Phase::BackingOff { why, next: Next::Due(what) }
            }
            (Phase::BackingOff { .. }, Grant::Never(reason)) => {
                self.ended(Then::Fail(Failure::Required(reason)))
            }
            (phase, _) => phase,
        }
    }
}
