//! What is to be done: commands to the shell, carried out in order for each guest.

use std::path::PathBuf;

use super::event::{Checking, HelperId};
use crate::{
    engine::{Epoch, Request},
    helper::wire::Answer,
    model::{GuestName, HookStage, JobId},
};

/// Something to be done about one guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start it; watch it once it runs.
    Start(Epoch),
    /// Ask it for something.
    Request(Epoch, Request),
    /// End it; interrupts a start or a request that is under way.
    Kill(Epoch),
    /// Watch a run that others started.
    Watch(Epoch),
    /// Keep what it last wrote on its console: it is about to be killed.
    KeepLastWords,
    /// Look whether it runs.
    Probe,
    /// From now on check this of it, and nothing else; none ends all checks.
    Check(Option<Checking>),
    /// Run its hooks of this stage; with what led there, in words.
    Hook(HookStage, String),
    /// Run the reboot script.
    RunScript(HelperId, PathBuf),
    /// Answer a helper request.
    Answer(HelperId, Answer),
    /// Say something about it in the journal.
    Log(Line),
}

/// A line for the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// What it tells of.
    pub topic: Topic,
    /// The job in which it happened, where there was one.
    pub job: Option<JobId>,
    /// In words. Of a guest's line these follow its name.
    pub text: String,
}

/// What a line tells of: what somebody may wait for, or look for later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A guest runs: it was started, or was found running.
    Up,
    /// A guest has ended, and stays down.
    Down,
    /// A guest has failed.
    Failed,
    /// A guest has rebooted, and is up again.
    Rebooted,
    /// A guest is ready: it serves.
    Ready,
    /// A guest is up, and does not serve: it was not ready in time, or its health is bad.
    Ill,
    /// A guest will be started again by itself.
    Retry,
    /// A guest's reboot is not carried out.
    RebootRefused,
    /// A job has begun.
    JobBegun,
    /// A job is over.
    JobEnded,
    /// Anything else.
    Other,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something went wrong.
    Warning,
    /// Something happened.
    Info,
}

/// Something to be done, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Whom it is about.
    pub guest: GuestName,
    /// What.
    pub effect: Effect,
}
