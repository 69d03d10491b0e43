//! The vocabulary: names, guests, their settings, what a guest is doing and why, and diagnostics.
//!
//! Pure: plain data and parsing. No room below this one is seen from here.

pub mod capability;
pub mod diagnostic;
pub mod end;
pub mod guest;
pub mod hold;
pub mod hook;
pub mod job;
pub mod lifecycle;
pub mod name;
pub mod native;
pub mod network;
pub mod path;
pub mod process;
pub mod readiness;
pub mod request;
pub mod resource;
pub mod restart;
pub mod selection;
pub mod setting;
pub mod status;
pub mod time;
pub mod usage;

pub use capability::{Capabilities, Capability};
pub use diagnostic::{Diagnostic, Origin, Severity};
pub use end::{End, Follows, PastEnd, WaitStatus};
pub use guest::{EngineKind, EngineSpec, Guest, LxcSpec};
pub use hold::{Hold, HoldWish};
pub use hook::{Argv, ArgvError, HookStage, Hooks};
pub use job::{Action, JobId, JobState, Outcome, Verb};
pub use lifecycle::{Deed, Lifecycle, Mount, Place, Step};
pub use name::{GroupName, GuestName, LinkName, NameError};
pub use native::NativeSpec;
pub use network::{Link, LinkKind, Links, Network};
pub use process::ProcessId;
pub use readiness::{Condition, Health, HealthAction, OnTimeout, Probe, Ready};
pub use request::{Outlook, PlannedStep, Rejection, StopWait};
pub use resource::{Amount, Resource, Resources};
pub use restart::{Restart, RestartPolicy};
pub use selection::Selection;
pub use setting::{Auto, Groups, Limit, Order, Owner, Pressure, Reboot, RebootAction, Start, Stop};
pub use time::{Instant, Now, Timestamp};
pub use usage::Usage;
