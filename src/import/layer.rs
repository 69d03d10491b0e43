//! What one source says of a guest, and how sources are laid over one another.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use crate::model::{
    Amount, Auto, Diagnostic, EngineSpec, Groups, Guest, GuestName, Limit, Origin, Owner, Reboot,
    RebootAction, Resource, Resources, Start, Stop,
};

use super::{
    Effective,
    hook::{self, HooksLayer},
    ready::{HealthLayer, ReadyLayer},
    restart::RestartLayer,
};

/// A value and the place where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The place.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// Puts both together.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// Another value from the same place.
    pub fn map<U>(self, other: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced::new(other(self.value), self.origin)
    }
}

/// The settings that one source gives a guest; what it does not mention is none. Lists replace, they do not append.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layer {
    /// `start.auto`.
    pub auto: Option<Sourced<Auto>>,
    /// `start.order`.
    pub order: Option<Sourced<i32>>,
    /// `start.delay`.
    pub delay: Option<Sourced<Duration>>,
    /// `start.group`.
    pub groups: Option<Sourced<Groups>>,
    /// `start.after`.
    pub after: Option<Sourced<Vec<GuestName>>>,
    /// `start.wants`.
    pub wants: Option<Sourced<Vec<GuestName>>>,
    /// `start.requires`.
    pub requires: Option<Sourced<Vec<GuestName>>>,
    /// `start.timeout`.
    pub start_timeout: Option<Sourced<Duration>>,
    /// `start.network-online`.
    pub network_online: Option<Sourced<bool>>,
    /// `[ready]`.
    pub ready: ReadyLayer,
    /// `[restart]`.
    pub restart: RestartLayer,
    /// `[health]`.
    pub health: HealthLayer,
    /// `reboot.action`.
    pub reboot_action: Option<Sourced<RebootAction>>,
    /// `reboot.limit`.
    pub reboot_limit: Option<Sourced<Limit>>,
    /// `stop.timeout`.
    pub stop_timeout: Option<Sourced<Duration>>,
    /// `[hooks]`.
    pub hooks: HooksLayer,
    /// `owner`.
    pub owner: Option<Sourced<Owner>>,
    /// `[resources]`.
    pub resources: BTreeMap<Resource, Sourced<Amount>>,
}

impl Layer {
    /// Lays another source over this one: what it says wins.
    pub fn lay(&mut self, over: Self) {
        take(&mut self.auto, over.auto);
        take(&mut self.order, over.order);
        take(&mut self.delay, over.delay);
        // A list of which no name can be used leaves the names that are there.
        let is_named = |groups: &Option<Sourced<Groups>>| {
            groups.as_ref().is_some_and(|groups| !groups.value.names().is_empty())
        };
        let is_refused = over.groups.as_ref().is_some_and(|groups| groups.value == Groups::In(Vec::new()));
        if !(is_refused && is_named(&self.groups)) {
            take(&mut self.groups, over.groups);
        }
        take(&mut self.after, over.after);
        take(&mut self.wants, over.wants);
        take(&mut self.requires, over.requires);
        take(&mut self.start_timeout, over.start_timeout);
        take(&mut self.network_online, over.network_online);
        self.ready.lay(over.ready);
        self.restart.lay(over.restart);
        self.health.lay(over.health);
        take(&mut self.reboot_action, over.reboot_action);
        take(&mut self.reboot_limit, over.reboot_limit);
        take(&mut self.stop_timeout, over.stop_timeout);
        self.hooks.extend(over.hooks);
        take(&mut self.owner, over.owner);
        self.resources.extend(over.resources);
    }

    /// The guest with these settings, and the built-in defaults beneath.
    pub fn guest(&self, name: GuestName, engine: EngineSpec, fingerprint: u64) -> Guest {
        Guest {
            name,
            engine,
            start: self.start(),
            ready: self.ready.settled(),
            restart: self.restart.settled(),
            health: self.health.settled(),
            reboot: self.reboot(),
            stop: self.stop(),
            hooks: hook::settled(&self.hooks),
            owner: or(&self.owner, Owner::default()),
            resources: self.resources(),
            fingerprint,
        }
    }

    /// `[start]`.
    pub fn start(&self) -> Start {
        let start = Start::default();
        Start {
            auto: or(&self.auto, start.auto),
            order: or(&self.order, start.order),
            delay: or(&self.delay, start.delay),
            groups: or(&self.groups, start.groups),
            after: or(&self.after, start.after),
            wants: or(&self.wants, start.wants),
            requires: or(&self.requires, start.requires),
            timeout: or(&self.start_timeout, start.timeout),
            network_online: or(&self.network_online, start.network_online),
        }
    }

    /// `[reboot]`.
    pub fn reboot(&self) -> Reboot {
        let Reboot { action, limit } = Reboot::default();
        Reboot { action: or(&self.reboot_action, action), limit: or(&self.reboot_limit, limit) }
    }

    /// `[stop]`.
    pub fn stop(&self) -> Stop {
        Stop { timeout: or(&self.stop_timeout, Stop::default().timeout) }
    }

    /// What it says of resources.
    pub fn resources(&self) -> Resources {
        self.resources.iter().map(|(resource, amount)| (*resource, amount.value)).collect()
    }

    /// Settings that cannot do what they were written for, which only shows in all sources together.
    pub fn findings(&self) -> impl Iterator<Item = Diagnostic> {
        self.restart.too_long().into_iter().chain(self.health.idle())
    }

    /// Every setting in force, with the place it came from.
    pub fn effective(&self) -> Vec<Effective> {
        let (start, reboot, stop) = (self.start(), self.reboot(), self.stop());
        let mut rows = vec![
            row("start.auto", auto(start.auto), &self.auto),
            row("start.order", start.order.to_string(), &self.order),
            row("start.delay", time(start.delay), &self.delay),
            row("start.group", groups(&start.groups), &self.groups),
            row("start.after", list(&start.after), &self.after),
            row("start.wants", list(&start.wants), &self.wants),
            row("start.requires", list(&start.requires), &self.requires),
            row("start.timeout", time(start.timeout), &self.start_timeout),
            row("start.network-online", start.network_online.to_string(), &self.network_online),
        ];
        rows.extend(self.ready.rows());
        rows.extend(self.restart.rows());
        rows.extend(self.health.rows());
        rows.extend([
            row("reboot.action", quoted(reboot.action), &self.reboot_action),
            row("reboot.limit", quoted(reboot.limit), &self.reboot_limit),
            row("stop.timeout", time(stop.timeout), &self.stop_timeout),
        ]);
        rows.extend(hook::rows(&self.hooks));
        rows.push(row("owner", quoted(or(&self.owner, Owner::default())), &self.owner));
        rows.extend(Resource::ALL.into_iter().map(|resource| {
            let written = self.resources.get(&resource);
            let in_force = written.map_or(resource.usual(), |written| written.value);
            row(resource.setting(), amount(in_force), written)
        }));
        rows
    }

    /// The guests that this one depends on, by the setting that names them.
    pub fn dependencies(&self) -> impl Iterator<Item = (&'static str, &Sourced<Vec<GuestName>>)> {
        [("after", &self.after), ("wants", &self.wants), ("requires", &self.requires)]
            .into_iter()
            .filter_map(|(key, names)| names.as_ref().map(|names| (key, names)))
    }
}

/// Takes over what the upper layer says, if it says something.
pub(super) fn take<T>(under: &mut Option<T>, over: Option<T>) {
    if over.is_some() {
        *under = over;
    }
}

/// What is written, or else this.
pub(super) fn or<T: Clone>(written: &Option<Sourced<T>>, default: T) -> T {
    written.as_ref().map_or(default, |sourced| sourced.value.clone())
}

/// A value in force.
pub(super) fn row<'s, T: 's>(
    key: impl Into<Cow<'static, str>>,
    value: String,
    written: impl Into<Option<&'s Sourced<T>>>,
) -> Effective {
    Effective { key: key.into(), value, origin: written.into().map(|written| written.origin.clone()) }
}

/// Text as TOML writes it.
pub(super) fn quoted(text: impl ToString) -> String {
    ::toml::Value::String(text.to_string()).to_string()
}

fn auto(auto: Auto) -> String {
    if auto == Auto::LastState { quoted(auto) } else { auto.to_string() }
}

fn amount(amount: Amount) -> String {
    if let Amount::Number(number) = amount { number.to_string() } else { quoted(amount) }
}

/// A duration as TOML writes it.
pub(super) fn time(duration: Duration) -> String {
    quoted(humantime::format_duration(duration))
}

fn groups(groups: &Groups) -> String {
    match groups {
        Groups::In(names) if names.is_empty() => "none that can be used".into(),
        groups => list(groups.names()),
    }
}

/// A list of texts as TOML writes it.
pub(super) fn list(names: &[impl ToString]) -> String {
    format!("[{}]", names.iter().map(|name| quoted(name.to_string())).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn at<T>(value: T, line: u32) -> Option<Sourced<T>> {
        Some(Sourced::new(value, Origin::line(Path::new("/f"), line)))
    }

    #[test]
    fn the_upper_layer_wins_setting_by_setting() {
        let resources = |amounts: &[(Resource, u64)], line| {
            amounts.iter().map(|(of, most)| (*of, at(Amount::Number(*most), line).unwrap())).collect()
        };
        let mut layer = Layer {
            auto: at(Auto::Yes, 1),
            order: at(5, 2),
            resources: resources(&[(Resource::TasksMax, 9), (Resource::IoWeight, 9)], 3),
            ..Layer::default()
        };
        layer.lay(Layer {
            order: at(7, 9),
            reboot_action: at(RebootAction::Stop, 10),
            resources: resources(&[(Resource::TasksMax, 8)], 11),
            ..Layer::default()
        });
        let written = layer.effective().into_iter().filter(|row| row.origin.is_some());
        let shown: Vec<_> = written.map(|row| row.to_string()).collect();
        assert_eq!(
            shown,
            [
                "start.auto = true  # /f:1",
                "start.order = 7  # /f:9",
                "reboot.action = \"stop\"  # /f:10",
                "resources.TasksMax = 8  # /f:11",
                "resources.IOWeight = 9  # /f:3",
            ]
        );
    }
}
