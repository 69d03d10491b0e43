//! Jobs: what was asked for, and how each guest came out of it.

use std::fmt;

/// What a bulk request does to the selected guests (`autostart`, D-Bus `Autostart` and `Plan`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Bring them up.
    Start,
    /// Ask them to stop, kill them at the deadline.
    Shutdown,
    /// Kill them.
    Kill,
    /// Ask their inits to reboot.
    Reboot,
}

impl Action {
    /// The word on D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Shutdown => "shutdown",
            Self::Kill => "kill",
            Self::Reboot => "reboot",
        }
    }

    /// The action that a word on D-Bus means.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Start, Self::Shutdown, Self::Kill, Self::Reboot].into_iter().find(|a| a.as_str() == word)
    }

    /// Whether it takes guests down, which reverses every order.
    pub fn is_downward(self) -> bool {
        matches!(self, Self::Shutdown | Self::Kill)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a job does to one guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Bring it up.
    Start,
    /// Ask it to stop, kill it at the deadline.
    Stop,
    /// Stop, then start.
    Restart,
    /// Ask its init to reboot.
    Reboot,
    /// Kill it.
    Kill,
    /// Stop its processes where they are.
    Freeze,
    /// Let them go on.
    Thaw,
    /// Forget a failure.
    Reset,
    /// No automatic start or restart until released.
    Hold,
    /// End a hold.
    Release,
}

impl Verb {
    /// The word in messages, JSON and D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reboot => "reboot",
            Self::Kill => "kill",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::Reset => "reset",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Action> for Verb {
    fn from(action: Action) -> Self {
        match action {
            Action::Start => Self::Start,
            Action::Shutdown => Self::Stop,
            Action::Kill => Self::Kill,
            Action::Reboot => Self::Reboot,
        }
    }
}

/// The number of a job, unique within a boot of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct JobId(pub u32);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Some guests have no result yet.
    Running,
    /// Every guest came out as asked.
    Done,
    /// Some or all did not.
    Failed,
    /// Somebody cancelled it.
    Canceled,
}

impl JobState {
    /// The word in JSON and D-Bus.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Whether it has ended.
    pub fn is_over(self) -> bool {
        self != Self::Running
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How one guest came out of a job. On D-Bus and in JSON it is one string: `done`, `already`, `asked`,
/// `failed: REASON`, `canceled`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Outcome {
    /// As asked.
    Done,
    /// It was so before.
    Already,
    /// It was asked to stop, and nobody waits for it (`-t 0`).
    Asked,
    /// It did not come out as asked.
    Failed(String),
    /// The job was cancelled before this guest's turn.
    Canceled,
}

impl Outcome {
    /// Whether this counts as a success.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Done | Self::Already | Self::Asked)
    }

    /// Reads the string form, as a D-Bus client gets it.
    pub fn parse(text: &str) -> Self {
        match text {
            "done" => Self::Done,
            "already" => Self::Already,
            "asked" => Self::Asked,
            "canceled" => Self::Canceled,
            other => Self::Failed(other.strip_prefix("failed: ").unwrap_or(other).to_owned()),
        }
    }
}

impl From<String> for Outcome {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<Outcome> for String {
    fn from(outcome: Outcome) -> Self {
        outcome.to_string()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Already => f.write_str("already"),
            Self::Asked => f.write_str("asked"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
            Self::Canceled => f.write_str("canceled"),
        }
    }
}
