//! What the service manager and the journal expect of a daemon.

pub mod journal;
pub mod message;
pub mod notify;
pub mod queue;
