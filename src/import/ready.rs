//! `[ready]` and `[health]`: when a guest serves, and whether it still does.

use std::time::Duration;

use crate::model::{Condition, Diagnostic, Health, HealthAction, OnTimeout, Probe, Ready};

use super::{
    Effective, Sourced,
    layer::{or, quoted, row, take, time},
    probe::{self, Choice},
    toml::{Document, Field},
};

/// The keys of `[ready]`.
pub(super) const READY: [&str; 8] =
    ["when", "tcp", "exec", "socket", "file", "timeout", "on-timeout", "interval"];
/// The keys of `[health]`.
pub(super) const HEALTH: [&str; 8] =
    ["tcp", "exec", "socket", "file", "interval", "timeout", "threshold", "action"];

/// What one source says in `[ready]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadyLayer {
    /// `when`, `tcp`, `exec`, `socket` and `file`, which are one choice.
    pub when: Option<Sourced<Condition>>,
    /// `timeout`.
    pub timeout: Option<Sourced<Duration>>,
    /// `on-timeout`.
    pub on_timeout: Option<Sourced<OnTimeout>>,
    /// `interval`.
    pub interval: Option<Sourced<Duration>>,
}

impl ReadyLayer {
    /// Reads the section.
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, section: &Field<'_, 't>) {
        const WHEN: &str =
            "\"started\" or \"notify\" (a probe has a key of its own: tcp, exec, socket or file)";
        let mut choice = Choice::open();
        document.section(section, |document, field| match field.key {
            "when" => {
                let when = document.text(field, WHEN, "\"notify\"", |text| {
                    [Condition::Started, Condition::Notify].into_iter().find(|when| when.to_string() == text)
                });
                choice.is(document, field, when);
            }
            key if probe::KEYS.contains(&key) => {
                let probe = probe::read(document, field);
                choice.is(document, field, probe.map(|probe| probe.map(Condition::Probe)));
            }
            "timeout" => self.timeout = document.patience(field),
            "on-timeout" => self.on_timeout = document.one_of(field, &OnTimeout::ALL),
            "interval" => self.interval = interval(document, field),
            _ => document.unknown(field, &READY),
        });
        self.when = choice.made();
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.when, over.when);
        take(&mut self.timeout, over.timeout);
        take(&mut self.on_timeout, over.on_timeout);
        take(&mut self.interval, over.interval);
    }

    /// The setting, with the built-in defaults beneath.
    pub fn settled(&self) -> Ready {
        let Ready { when, timeout, on_timeout, interval } = Ready::default();
        Ready {
            when: or(&self.when, when),
            timeout: or(&self.timeout, timeout),
            on_timeout: or(&self.on_timeout, on_timeout),
            interval: or(&self.interval, interval),
        }
    }

    /// Every value in force.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let ready = self.settled();
        let (key, value) = match &ready.when {
            Condition::Started | Condition::Notify => ("when", quoted(&ready.when)),
            Condition::Probe(probe) => (probe.key(), probe::shown(probe)),
        };
        vec![
            row(format!("ready.{key}"), value, &self.when),
            row("ready.timeout", time(ready.timeout), &self.timeout),
            row("ready.on-timeout", quoted(ready.on_timeout), &self.on_timeout),
            row("ready.interval", time(ready.interval), &self.interval),
        ]
    }
}

/// What one source says in `[health]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthLayer {
    /// `tcp`, `exec`, `socket` and `file`, which are one choice.
    pub probe: Option<Sourced<Probe>>,
    /// `interval`.
    pub interval: Option<Sourced<Duration>>,
    /// `timeout`.
    pub timeout: Option<Sourced<Duration>>,
    /// `threshold`.
    pub threshold: Option<Sourced<u32>>,
    /// `action`.
    pub action: Option<Sourced<HealthAction>>,
}

impl HealthLayer {
    /// Reads the section.
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, section: &Field<'_, 't>) {
        let mut choice = Choice::open();
        document.section(section, |document, field| match field.key {
            key if probe::KEYS.contains(&key) => {
                let probe = probe::read(document, field);
                choice.is(document, field, probe);
            }
            "interval" => self.interval = interval(document, field),
            "timeout" => self.timeout = document.patience(field),
            "threshold" => self.threshold = document.count(field, "3"),
            "action" => self.action = document.one_of(field, &HealthAction::ALL),
            _ => document.unknown(field, &HEALTH),
        });
        self.probe = choice.made();
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.probe, over.probe);
        take(&mut self.interval, over.interval);
        take(&mut self.timeout, over.timeout);
        take(&mut self.threshold, over.threshold);
        take(&mut self.action, over.action);
    }

    /// The setting, with the built-in defaults beneath; none where nothing is to be asked.
    pub fn settled(&self) -> Option<Health> {
        let Health { probe, interval, timeout, threshold, action } =
            Health::new(self.probe.as_ref()?.value.clone());
        Some(Health {
            probe,
            interval: or(&self.interval, interval),
            timeout: or(&self.timeout, timeout),
            threshold: or(&self.threshold, threshold),
            action: or(&self.action, action),
        })
    }

    /// Every value in force: none without a probe.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let Some(health) = self.settled() else { return Vec::new() };
        vec![
            row(format!("health.{}", health.probe.key()), probe::shown(&health.probe), &self.probe),
            row("health.interval", time(health.interval), &self.interval),
            row("health.timeout", time(health.timeout), &self.timeout),
            row("health.threshold", health.threshold.to_string(), &self.threshold),
            row("health.action", quoted(health.action), &self.action),
        ]
    }

    /// What says how a guest is asked where nothing says what.
    pub(super) fn idle(&self) -> Option<Diagnostic> {
        if self.probe.is_some() {
            return None;
        }
        let places = [
            self.interval.as_ref().map(|written| ("interval", &written.origin)),
            self.timeout.as_ref().map(|written| ("timeout", &written.origin)),
            self.threshold.as_ref().map(|written| ("threshold", &written.origin)),
            self.action.as_ref().map(|written| ("action", &written.origin)),
        ];
        let (key, origin) = places.into_iter().flatten().next()?;
        let message = format!(
            "health.{key} has no effect: nothing is asked; write tcp, exec, socket or file in [health]"
        );
        Some(Diagnostic::warning(origin.clone(), message))
    }
}

/// How often something is asked.
fn interval<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Duration>> {
    document.duration_where(field, |duration| duration >= Ready::SHORTEST, "at least 10ms", "\"1s\"")
}
