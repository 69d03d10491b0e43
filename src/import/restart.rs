//! `[restart]`: what follows when a guest has ended by itself.

use std::time::Duration;

use crate::model::{Diagnostic, Limit, Restart, RestartPolicy};

use super::{
    Effective, Sourced,
    layer::{or, quoted, row, take, time},
    toml::{Document, Field},
};

/// The keys.
pub(super) const KEYS: [&str; 4] = ["policy", "delay", "max-delay", "limit"];

/// What one source says in `[restart]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestartLayer {
    /// `policy`.
    pub policy: Option<Sourced<RestartPolicy>>,
    /// `delay`.
    pub delay: Option<Sourced<Duration>>,
    /// `max-delay`.
    pub max_delay: Option<Sourced<Duration>>,
    /// `limit`.
    pub limit: Option<Sourced<Limit>>,
}

impl RestartLayer {
    /// Reads the section.
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, section: &Field<'_, 't>) {
        document.section(section, |document, field| match field.key {
            "policy" => self.policy = document.one_of(field, &RestartPolicy::ALL),
            "delay" => self.delay = document.duration(field),
            "max-delay" => self.max_delay = document.patience(field),
            "limit" => self.limit = document.limit(field, "\"5/5m\""),
            _ => document.unknown(field, &KEYS),
        });
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.policy, over.policy);
        take(&mut self.delay, over.delay);
        take(&mut self.max_delay, over.max_delay);
        take(&mut self.limit, over.limit);
    }

    /// The setting, with the built-in defaults beneath.
    pub fn settled(&self) -> Restart {
        let Restart { policy, delay, max_delay, limit } = Restart::default();
        Restart {
            policy: or(&self.policy, policy),
            delay: or(&self.delay, delay),
            max_delay: or(&self.max_delay, max_delay),
            limit: or(&self.limit, limit),
        }
    }

    /// Every value in force.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let restart = self.settled();
        vec![
            row("restart.policy", quoted(restart.policy), &self.policy),
            row("restart.delay", time(restart.delay), &self.delay),
            row("restart.max-delay", time(restart.max_delay), &self.max_delay),
            row("restart.limit", quoted(restart.limit), &self.limit),
        ]
    }

    /// A first delay that is longer than the longest.
    pub(super) fn too_long(&self) -> Option<Diagnostic> {
        let Restart { delay, max_delay, .. } = self.settled();
        if delay <= max_delay {
            return None;
        }
        let origin = |written: &Option<Sourced<_>>| written.as_ref().map(|written| written.origin.clone());
        let [delay, max_delay] = [delay, max_delay].map(time);
        let message = format!(
            "restart.delay {delay} is longer than restart.max-delay {max_delay}, which counts; raise max-delay"
        );
        let origin = origin(&self.delay).or_else(|| origin(&self.max_delay))?;
        Some(Diagnostic::warning(origin, message))
    }
}
