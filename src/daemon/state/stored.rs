//! One guest's file in the state directory.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    helper::record::{self, RecordError},
    model::{GuestName, Hold, Now, PastEnd, Timestamp},
    supervise::{recollection::Recollection, state::Retries},
};

/// The largest file, in bytes: 16 ends with words of any length that occurs, a thousand moments.
const FILE_MAX: u64 = 256 * 1024;
/// The longest words of an end that are kept, in characters.
const WORDS_MAX: usize = 1024;
/// The most moments of each kind that are kept.
const MOMENTS_MAX: usize = 1024;

/// What is kept of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGuest {
    /// The form of the file: [`StoredGuest::VERSION`].
    pub version: u32,
    /// Whose it is.
    pub guest: GuestName,
    /// In which boot of the host it was written (`boot`). In another one `was_up` is what `wanted_up` says, and nothing is
    /// counted yet.
    pub boot: String,
    /// It is wanted up; a stop of the host does not change that.
    pub wanted_up: bool,
    /// It was wanted up when the host last went down: `auto = "last-state"` goes by this for as long as the boot lasts.
    pub was_up: bool,
    /// Its hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// How often it was started again in this boot.
    #[serde(default)]
    pub restarts: u32,
    /// Its starts after failures in this boot.
    #[serde(default)]
    pub retries: Vec<Timestamp>,
    /// How many of them came one after the other.
    #[serde(default)]
    pub streak: u32,
    /// Its own reboots in this boot.
    #[serde(default)]
    pub reboots: Vec<Timestamp>,
    /// Its last ends, newest last.
    #[serde(default)]
    pub history: Arc<[PastEnd]>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It could not be read, or holds something else.
    #[error("what is kept of guest {guest} cannot be used")]
    File {
        /// Whose.
        guest: GuestName,
        /// The file and the reason.
        #[source]
        source: RecordError,
    },
    /// It was written by another version.
    #[error(
        "what is kept of guest {guest} has the form {found}; this version reads {}",
        StoredGuest::VERSION
    )]
    Version {
        /// Whose.
        guest: GuestName,
        /// The form found.
        found: u32,
    },
    /// It names another guest than its file.
    #[error("what is kept of guest {guest} is that of {found}")]
    OtherGuest {
        /// Whose it should be.
        guest: GuestName,
        /// Whose it is.
        found: GuestName,
    },
}

/// What every version of the file says.
#[derive(Deserialize)]
struct Form {
    version: u32,
}

impl StoredGuest {
    /// The form of the file this version writes and reads.
    pub const VERSION: u32 = 1;

    /// What is to be kept of a guest, in this boot.
    pub fn new(guest: &GuestName, boot: &str, what: &Recollection, now: Now) -> Self {
        let shortened = |end: &PastEnd| PastEnd { how: end.how.chars().take(WORDS_MAX).collect(), ..*end };
        Self {
            version: Self::VERSION,
            guest: guest.clone(),
            boot: boot.to_owned(),
            wanted_up: what.is_wanted,
            was_up: what.was_up,
            hold: what.hold.clone(),
            restarts: what.restarts,
            retries: newest(what.retries.at.iter().map(|at| at.wall)),
            streak: what.retries.streak,
            reboots: newest(what.reboots.iter().map(|at| now.wall_of(*at))),
            history: what.history.iter().map(shortened).collect(),
        }
    }

    /// What is to be given back to the guest in this boot; in one that nobody knows it counts as another one.
    pub fn recollection(self, boot: Option<&str>, now: Now) -> Recollection {
        let known = Recollection {
            is_wanted: self.wanted_up,
            was_up: self.wanted_up,
            hold: self.hold,
            history: self.history,
            ..Recollection::default()
        };
        if boot != Some(&*self.boot) {
            return known;
        }
        let tried = |wall: Timestamp| Now { instant: now.instant_of(wall), wall };
        let retries = Retries { at: self.retries.into_iter().map(tried).collect(), streak: self.streak };
        let reboots = self.reboots.into_iter().map(|at| now.instant_of(at)).collect();
        Recollection { was_up: self.was_up, restarts: self.restarts, retries, reboots, ..known }
    }
}

/// The newest of some moments, in their order.
fn newest(moments: impl DoubleEndedIterator<Item = Timestamp>) -> Vec<Timestamp> {
    let mut newest: Vec<_> = moments.rev().take(MOMENTS_MAX).collect();
    newest.reverse();
    newest
}

/// The name of a guest's file.
pub fn file_name(guest: &GuestName) -> String {
    format!("{guest}.json")
}

/// Reads what is kept of a guest; none if nothing is.
///
/// # Errors
/// [`Unusable`].
pub fn read(folder: &Path, guest: &GuestName) -> Result<Option<StoredGuest>, Unusable> {
    let path = folder.join(file_name(guest));
    let failed = |source| Unusable::File { guest: guest.clone(), source };
    let Some(bytes) = record::read_bytes(&path, FILE_MAX).map_err(failed)? else { return Ok(None) };
    // The form first: a newer one may hold anything else.
    let Form { version } = record::decode(&path, &bytes).map_err(failed)?;
    if version != StoredGuest::VERSION {
        return Err(Unusable::Version { guest: guest.clone(), found: version });
    }
    match record::decode::<StoredGuest>(&path, &bytes).map_err(failed)? {
        stored if stored.guest != *guest => {
            Err(Unusable::OtherGuest { guest: guest.clone(), found: stored.guest })
        }
        usable => Ok(Some(usable)),
    }
}

/// Writes what is kept of a guest, whole.
///
/// # Errors
/// [`RecordError`] with the file.
pub fn write(folder: &Path, stored: &StoredGuest) -> Result<(), RecordError> {
    record::write(folder, &file_name(&stored.guest), stored, FILE_MAX)
}
