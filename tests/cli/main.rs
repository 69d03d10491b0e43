//! The two clients against a guestd that plays a part, on a bus of their own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod autostart;
mod fake;
mod guestctl;
mod offline;
mod program;
mod streams;
