//! What `guest-helper` answers by when the daemon is away: one file a guest, `RUNTIME_DIR/policy/NAME.json`.
//!
//! The daemon writes it at each start of a guest and whenever something in it changes; so a reboot is answered with
//! the same rules as by the daemon itself, the loop guard included.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{
    record::{self, RecordError},
    spool::Spooled,
    wire::{Answer, Decision, Event},
};
use crate::model::{Follows, GuestName, Limit, ProcessId, RebootAction, Timestamp};

/// The most reboots a policy remembers; a loop guard that allows more never trips while the daemon is away.
const RECENT_MAX: usize = 4096;
/// Why a guest stays down whose own helper is against its reboot.
pub const DECLINED: &str = "its own helper declined";
/// The largest policy file, in bytes: `RECENT_MAX` moments of at most 21 bytes, and the rest with a long path.
const FILE_MAX: u64 = 128 * 1024;

/// What the daemon leaves for the time it is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// The form of the file: [`StoredPolicy::VERSION`].
    pub version: u32,
    /// Whose it is.
    pub guest: GuestName,
    /// How its reboot is answered.
    pub action: RebootAction,
    /// The loop guard.
    pub limit: Limit,
    /// When it last rebooted from inside and was started again; spooled requests not yet drained are not among them.
    pub recent: Vec<Timestamp>,
    /// When it was last started again after failures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Timestamp>,
    /// How many new inits followed its first one.
    #[serde(default)]
    pub restarts: u32,
    /// What the configuration it was started with amounts to, for the daemon that comes back.
    pub started_fingerprint: u64,
    /// It is being stopped: a reboot just now is the stop's doing.
    pub stopping: bool,
    /// What is to follow its end, while it is on its way down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follows: Option<Follows>,
    /// The init that was ready: the next daemon does not wait for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<i32>,
    /// Nobody wants it up any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unwanted: bool,
    /// It is held: whoever stops stays down.
    pub held: bool,
    /// Who keeps its run going, once that is known: what another one keeps is another run, of which nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<ProcessId>,
    /// Who kept the run before it going, which is over and dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<ProcessId>,
}

impl StoredPolicy {
    /// The form of the file this version writes and reads.
    pub const VERSION: u32 = 1;
}

/// Why a policy could not be stored or used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file could not be written, read or removed.
    #[error("the stored policy of guest {guest} cannot be used")]
    File {
        /// Whose.
        guest: GuestName,
        /// The file and the reason.
        #[source]
        source: RecordError,
    },
    /// It was written by another version.
    #[error(
        "the stored policy of guest {guest} has the form {found}; this version reads {}",
        StoredPolicy::VERSION
    )]
    Version {
        /// Whose.
        guest: GuestName,
        /// The form found.
        found: u32,
    },
    /// It names another guest than its file.
    #[error("the stored policy of guest {guest} is that of {found}")]
    OtherGuest {
        /// Whose it should be.
        guest: GuestName,
        /// Whose it is.
        found: GuestName,
    },
}

fn folder(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("policy")
}

fn file_name(guest: &GuestName) -> String {
    format!("{guest}.json")
}

/// Stores a policy, whole. Of `recent` only as much is kept as the limit can need, the newest.
///
/// # Errors
/// [`PolicyError::File`].
pub fn write(runtime_dir: &Path, policy: &StoredPolicy) -> Result<(), PolicyError> {
    let mut stored = policy.clone();
    stored.recent.sort_unstable();
    let needed = usize::try_from(policy.limit.count).unwrap_or(usize::MAX).min(RECENT_MAX);
    stored.recent.drain(..stored.recent.len().saturating_sub(needed));
    record::write(&folder(runtime_dir), &file_name(&policy.guest), &stored, FILE_MAX)
        .map_err(|source| PolicyError::File { guest: policy.guest.clone(), source })
}

/// Reads the policy of a guest; none if none is stored.
///
/// # Errors
/// [`PolicyError`].
pub fn read(runtime_dir: &Path, guest: &GuestName) -> Result<Option<StoredPolicy>, PolicyError> {
    let path = folder(runtime_dir).join(file_name(guest));
    let found: Option<StoredPolicy> =
        record::read(&path, FILE_MAX).map_err(|source| PolicyError::File { guest: guest.clone(), source })?;
    match found {
        Some(policy) if policy.version != StoredPolicy::VERSION => {
            Err(PolicyError::Version { guest: guest.clone(), found: policy.version })
        }
        Some(policy) if policy.guest != *guest => {
            Err(PolicyError::OtherGuest { guest: guest.clone(), found: policy.guest })
        }
        usable => Ok(usable),
    }
}

/// Moves the policy of a guest aside if it cannot be used, so that nothing of another version is lost.
///
/// # Errors
/// [`PolicyError::File`] when that cannot be done.
pub fn make_room(runtime_dir: &Path, guest: &GuestName) -> Result<(), PolicyError> {
    if read(runtime_dir, guest).is_ok() {
        return Ok(());
    }
    let aside = record::set_aside(&folder(runtime_dir).join(file_name(guest)));
    aside.map(drop).map_err(|source| PolicyError::File { guest: guest.clone(), source })
}

/// Forgets the policy of a guest; one that was never stored is as good.
///
/// # Errors
/// [`PolicyError::File`].
pub fn remove(runtime_dir: &Path, guest: &GuestName) -> Result<(), PolicyError> {
    record::remove(&folder(runtime_dir).join(file_name(guest)))
        .map_err(|source| PolicyError::File { guest: guest.clone(), source })
}

/// What a stored policy says to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer.
    Decided(Answer),
    /// The answer of the loop guard, with the limit that is used up.
    Tripped(Answer, Limit),
    /// This program decides: exit status 0 is restart, anything else stop.
    Script(PathBuf),
}

/// Decides without the daemon. `spooled` are the requests of this guest that were answered in the same way before.
///
/// An unknown guest's reboot is none of ours: nobody here has a say over it.
pub fn decide(policy: Option<&StoredPolicy>, spooled: &[Spooled], event: Event, now: Timestamp) -> Verdict {
    let decided = |decision, reason: String| Verdict::Decided(Answer { decision, reason, anew: false });
    match (event, policy) {
        (_, None) => {
            decided(Decision::Ignore, "no policy is stored for it: guestd does not know it to run".into())
        }
        (Event::Halt, _) => decided(Decision::Stop, "it halted".into()),
        (Event::Poweroff, _) => decided(Decision::Stop, "it powered off".into()),
        (Event::Stop, _) => decided(Decision::Stop, "it ended".into()),
        (Event::Declined, _) => decided(Decision::Stop, DECLINED.into()),
        (Event::Reboot, Some(policy)) => decide_reboot(policy, spooled, now),
    }
}

fn decide_reboot(policy: &StoredPolicy, spooled: &[Spooled], now: Timestamp) -> Verdict {
    let decided = |decision, reason: String| Verdict::Decided(Answer { decision, reason, anew: false });
    if policy.stopping {
        return decided(Decision::Stop, "it is being stopped".into());
    }
    if policy.held {
        return decided(Decision::Stop, "it is held".into());
    }
    if policy.action == RebootAction::Stop {
        return decided(Decision::Stop, "its reboot action is stop".into());
    }
    if reboots_within(policy, spooled, now) >= u64::from(policy.limit.count) {
        let reason = format!("its reboot limit of {} is used up", policy.limit);
        return Verdict::Tripped(Answer { decision: Decision::Stop, reason, anew: false }, policy.limit);
    }
    match &policy.action {
        RebootAction::Script(path) => Verdict::Script(path.clone()),
        RebootAction::Restart => decided(Decision::Restart, "its reboot action is restart".into()),
        RebootAction::Stop => decided(Decision::Stop, "its reboot action is stop".into()),
    }
}

/// How many reboots of this guest within the limit's window were carried out. A clock that was set makes moments of
/// the future: they count like those as far in the past.
fn reboots_within(policy: &StoredPolicy, spooled: &[Spooled], now: Timestamp) -> u64 {
    let window = policy.limit.window.as_micros();
    let recently = |at: Timestamp| u128::from(at.0.abs_diff(now.0)) < window;
    let carried_out = |request: &&Spooled| {
        request.guest == policy.guest
            && request.event == Event::Reboot
            && request.decision == Decision::Restart
            && recently(request.at)
    };
    let remembered = policy.recent.iter().filter(|at| recently(**at)).count();
    (remembered + spooled.iter().filter(carried_out).count()) as u64
}

#[cfg(test)]
mod tests;
