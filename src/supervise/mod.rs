//! Supervision: what is wanted of each guest, what is, and what follows from what happens. Pure: time and news are
//! handed in, effects come out.
//!
//! - `state`: one guest's intent and phase, with the data inside the phase.
//! - `event`, `effect`: what happens to a guest, and what is to be done about it.
//! - `machine`: one guest: `(state, event, now) → effects`, exhaustive over phases. `ladder` is its part for the
//!   way down, `observe` that for what is seen and reported, `look` that for what a look
//!   shows, `serve` that for readiness and health, `recall` that for what was decided without the daemon; `reboot` decides
//!   what follows a guest's own reboot, `recover` what follows any other end, with the pauses of `backoff`; `hook` says
//!   whose hooks are due.
//! - `admission`: accept, already so, or deny with a reason.
//! - `job`: one requested operation over several guests, working through a plan, with an `entry` for each; `verdict`
//!   tells how a guest came out, `progress` how far it is, `cancel` takes turns back.
//! - `restore`: what is stored of jobs, and how the next daemon goes on with them; `resume` tells what became of a guest
//!   whose turn it finds begun.
//! - `told`: what the journal is told of jobs, and in which job a guest's line was.
//! - `fleet`: all guests and all jobs: the one thing that the manager loop owns. `define` is its part for what is defined,
//!   `request` the one that plans, `hold` the one for holds, `recollection` that for what outlives the daemon and the boot,
//!   with each guest's `history`, `retry` the one that starts guests again by itself, `pressure` the one that holds starts
//!   back while the host is hard pressed, `ended` says how long ended jobs are kept.
//! - `status`: what readers see of it.
//!
//! The machine never sees a job, and a job only ever looks at a guest's state: after each event the fleet lets every
//! job look again. So a guest that somebody else starts, stops or reboots moves a job along just the same.

pub mod admission;
mod backoff;
mod cancel;
mod define;
pub mod effect;
mod ended;
mod entry;
pub mod event;
mod failure;
pub mod fleet;
mod hindrance;
mod history;
mod hold;
mod hook;
pub mod job;
mod ladder;
mod look;
pub mod machine;
mod observe;
pub mod pressure;
mod progress;
mod publish;
pub mod reboot;
mod recall;
pub mod recollection;
mod recover;
mod request;
pub mod restore;
mod resume;
mod retry;
mod serve;
pub mod state;
pub mod status;
pub mod told;
mod verdict;

#[cfg(test)]
mod tests;
