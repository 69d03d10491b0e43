//! guestd starts, supervises and stops the guests of a Linux host.
//!
//! One task, the [`daemon::manager`], takes one thing that happened at a time (something an engine saw, an effect that
//! came to its end, a request, a deadline), lets [`supervise::fleet`] decide, hands the effects to workers, and publishes
//! a snapshot. It is the only writer and never waits for a guest. Deciding is pure: time and news are handed in, effects
//! come out.
//!
//! | room | what | may do input and output |
//! | --- | --- | --- |
//! | [`model`] | names, guests, settings, jobs, snapshots: what all others speak | no |
//! | [`import`] | text in, guests and diagnostics with file and line out | no |
//! | [`plan`] | who is started or stopped, in which waves, and why | no |
//! | [`supervise`] | what follows from what happens: one guest's machine, all guests and jobs | no |
//! | [`helper`] | a guest's own requests: packets (pure), the socket, `guest-helper`, policy and spool | yes |
//! | [`engine`] | one trait, and [`engine::lxc`]: effects on single guests, observations of them | yes |
//! | [`guest_run`] | the monitor of one native guest: namespaces, cgroups, init, console | yes |
//! | [`launch`] | how a guest's first process comes to life; its cgroups | yes |
//! | [`checks`] | readiness and health: probes, and what guests say themselves | yes |
//! | [`network`] | a native guest's interfaces: set up, and undone by what was written down | yes |
//! | [`daemon`] | the composition root: load, manager, workers, store, watcher | yes |
//! | [`dbus`] | translation of the daemon's [handle](daemon::handle) to D-Bus and back, and who may act | yes |
//! | [`systemd`] | readiness and journal | yes |
//! | [`terminal`] | this program's terminal, raw and given back | yes |
//! | [`kill_point`] | where a test kills the daemon; nothing in a release build | yes |
//! | [`cli`] | `autostart` and `guestctl`, over [`dbus::proxy`] and the pure rooms | yes |
//!
//! `tests/architecture.rs` holds the walls up. Start reading with [`supervise::state`] and [`supervise::machine`], then
//! [`daemon::manager`]; `ARCHITECTURE.md` draws how a request and a reboot flow through the rooms.
#![warn(missing_docs)]

pub mod checks;
pub mod cli;
pub mod daemon;
pub mod dbus;
pub mod engine;
pub mod guest_run;
pub mod helper;
pub mod import;
pub mod kill_point;
pub mod launch;
pub mod model;
pub mod network;
pub mod plan;
pub mod supervise;
pub mod systemd;
pub mod terminal;
