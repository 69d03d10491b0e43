//! The D-Bus room, from outside: over a connection between two peers, over a private bus with the shipped policy, and
//! with a real polkit.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

#[path = "../bus/mod.rs"]
mod bus;
mod flood;
mod host;
mod introspection;
mod manager;
mod pair;
mod peer;
mod polkit;
mod private_bus;
