//! The native engine and its monitor, with real guests: starting, watching, asking, and what is left of it.
// Support functions of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used)]

#[path = "../busybox/mod.rs"]
mod busybox;
#[path = "../debian/mod.rs"]
mod debian;
#[path = "../native_host/mod.rs"]
mod native_host;

#[allow(dead_code)]
#[path = "../helper/played.rs"]
mod played;

mod attack;
mod failure;
mod isolation;
mod life;
mod network;
mod settings;
mod systems;
mod vshelper;
