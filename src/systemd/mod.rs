//! What the service manager, the journal and machined expect of a daemon.

pub mod console;
pub mod fdstore;
pub mod journal;
pub mod machined;
pub mod message;
pub mod notify;
pub mod queue;
