//! A guest's network in real namespaces. Each test is in a network namespace of its own, which plays the host's, so that
//! the machine's own is never touched; guests are processes in further ones. Needs root.
#![allow(clippy::unwrap_used, reason = "it is all test")]

mod errors;
// Only a debug build lets steps fail.
#[cfg(debug_assertions)]
mod faults;
mod hardware;
mod host;
mod kinds;
#[cfg(debug_assertions)]
mod played;
