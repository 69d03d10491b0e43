//! What is to be done: commands to the shell, carried out in order for each guest.

use std::path::PathBuf;

use super::event::HelperId;
use crate::{
    engine::{Epoch, Request},
    helper::wire::Answer,
    model::GuestName,
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
    /// Look whether it runs.
    Probe,
    /// Run the reboot script.
    RunScript(HelperId, PathBuf),
    /// Answer a helper request.
    Answer(HelperId, Answer),
    /// Say something about it in the journal.
    Log(Level, String),
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
