//! The settings of a guest, as types. Text becomes these once, in `import`.

use std::{fmt, path::PathBuf, time::Duration};

use super::name::{GroupName, GuestName};

/// Which way `start.order` is read (design section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The higher, the earlier: LXC 1.0 and its documentation.
    #[default]
    HighestFirst,
    /// The lower, the earlier: what LXC itself has done since 1.1.
    LowestFirst,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HighestFirst => "highest-first",
            Self::LowestFirst => "lowest-first",
        })
    }
}

/// `[pressure]`: how far the host may be strained for new starts to begin.
///
/// Each is a percentage from 1 to 100, compared with `some avg10` of `/proc/pressure/memory` and `/proc/pressure/io`: the
/// share of the last ten seconds in which something waited. None never holds a start back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Of memory.
    pub memory: Option<u8>,
    /// Of disks.
    pub io: Option<u8>,
}

impl Pressure {
    /// No limits.
    pub const NONE: Self = Self { memory: None, io: None };
}

impl Default for Pressure {
    fn default() -> Self {
        Self { memory: Some(40), io: None }
    }
}

/// The groups of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Groups {
    /// None: it is in the null group.
    #[default]
    Null,
    /// These, in the order written. Where none of the names written can be used, it is in groups that nobody can name:
    /// whoever wrote them did not mean the null group.
    In(Vec<GroupName>),
}

impl Groups {
    /// Their names.
    pub fn names(&self) -> &[GroupName] {
        match self {
            Self::Null => &[],
            Self::In(names) => names,
        }
    }
}

/// Whether boot and bulk starts bring a guest up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Auto {
    /// No: somebody starts it by hand.
    #[default]
    No,
    /// Yes.
    Yes,
    /// If it was up when the host went down.
    LastState,
}

impl Auto {
    /// The word of [`Auto::LastState`] in settings, JSON and D-Bus; the others are false and true.
    pub const LAST_STATE: &str = "last-state";

    /// Whether a bulk request may take it without being asked for everybody; `was_up` says whether it was wanted up when
    /// the host last went down.
    pub fn is_candidate(self, was_up: bool) -> bool {
        match self {
            Self::No => false,
            Self::Yes => true,
            Self::LastState => was_up,
        }
    }
}

impl From<bool> for Auto {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl fmt::Display for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::No => "false",
            Self::Yes => "true",
            Self::LastState => Self::LAST_STATE,
        })
    }
}

/// In JSON: true, false or "last-state" (design section 8).
impl serde::Serialize for Auto {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::No => serializer.serialize_bool(false),
            Self::Yes => serializer.serialize_bool(true),
            Self::LastState => serializer.serialize_str(Self::LAST_STATE),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Auto {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// What JSON says.
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "true, false or \"last-state\"")]
        enum Said {
            Bool(bool),
            Word(LastState),
        }
        #[derive(serde::Deserialize)]
        enum LastState {
            #[serde(rename = "last-state")]
            LastState,
        }
        Ok(match Said::deserialize(deserializer)? {
            Said::Bool(yes) => yes.into(),
            Said::Word(LastState::LastState) => Self::LastState,
        })
    }
}

/// Who decides when a guest is started and stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// guestd: at boot, at shutdown and when asked.
    #[default]
    Guestd,
    /// A cluster's manager: boot, shutdown and bulk requests leave it alone.
    Cluster,
}

impl Owner {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Guestd, Self::Cluster];

    /// The word in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Guestd => "guestd",
            Self::Cluster => "cluster",
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// `[start]`: when and with whom a guest is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Brought up by boot and by a bulk start (`lxc.start.auto`).
    pub auto: Auto,
    /// Rank inside a group (`lxc.start.order`).
    pub order: i32,
    /// Least time from this guest's start to the start of anything later (`lxc.start.delay`).
    pub delay: Duration,
    /// Its groups (`lxc.group`).
    pub groups: Groups,
    /// Wait for these if they are to run.
    pub after: Vec<GuestName>,
    /// Start these too; go on without them.
    pub wants: Vec<GuestName>,
    /// Start these too, wait for them, and fail if they fail.
    pub requires: Vec<GuestName>,
    /// Longest time from the request to the running guest.
    pub timeout: Duration,
    /// Only once the host's network is online.
    pub network_online: bool,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            auto: Auto::No,
            order: 0,
            delay: Duration::ZERO,
            groups: Groups::Null,
            after: Vec::new(),
            wants: Vec::new(),
            requires: Vec::new(),
            timeout: Duration::from_secs(90),
            network_online: false,
        }
    }
}

/// "So many within so long", written `5/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Limit {
    /// How many are carried out within the window; one more trips the limit.
    pub count: u32,
    /// The window.
    pub window: Duration,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, humantime::format_duration(self.window))
    }
}

/// What happens when a guest asks to reboot.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebootAction {
    /// Carry it out.
    #[default]
    Restart,
    /// Leave the guest down.
    Stop,
    /// Run this program; exit status 0 is restart, anything else stop.
    Script(PathBuf),
}

impl fmt::Display for RebootAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.pad("restart"),
            Self::Stop => f.pad("stop"),
            Self::Script(path) => write!(f, "{}", path.display()),
        }
    }
}

/// `[reboot]`: how a guest's own reboot is answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reboot {
    /// The answer.
    pub action: RebootAction,
    /// The loop guard: `count` reboots within `window` are carried out, the next one trips it.
    pub limit: Limit,
}

impl Default for Reboot {
    fn default() -> Self {
        Self { action: RebootAction::Restart, limit: Limit { count: 5, window: Duration::from_secs(60) } }
    }
}

/// `[stop]`: how long a guest may take to stop or reboot before it is killed or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// From the request to the end of the guest.
    pub timeout: Duration,
}

impl Default for Stop {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_true_false_or_last_state() {
        for (auto, json) in [(Auto::No, "false"), (Auto::Yes, "true"), (Auto::LastState, "\"last-state\"")] {
            assert_eq!(serde_json::to_string(&auto).unwrap(), json);
            assert_eq!(serde_json::from_str::<Auto>(json).unwrap(), auto);
        }
        for wrong in ["1", "null", "\"true\"", "\"\""] {
            let error = serde_json::from_str::<Auto>(wrong).unwrap_err().to_string();
            assert!(error.contains("true, false or \"last-state\""), "{error}");
        }
    }
}
