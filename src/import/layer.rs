//! What one source says of a guest, and how sources are laid over one another.

use std::{collections::BTreeMap, time::Duration};

use crate::model::{
    Amount, Auto, Groups, GuestName, Limit, Origin, Reboot, RebootAction, Resource, Resources, Start, Stop,
};

use super::Effective;

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
    /// `reboot.action`.
    pub reboot_action: Option<Sourced<RebootAction>>,
    /// `reboot.limit`.
    pub reboot_limit: Option<Sourced<Limit>>,
    /// `stop.timeout`.
    pub stop_timeout: Option<Sourced<Duration>>,
    /// `[resources]`.
    pub resources: BTreeMap<Resource, Sourced<Amount>>,
}

impl Layer {
    /// Lays another source over this one: what it says wins.
    pub fn lay(&mut self, over: Self) {
        fn take<T>(under: &mut Option<T>, over: Option<T>) {
            if over.is_some() {
                *under = over;
            }
        }
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
        take(&mut self.reboot_action, over.reboot_action);
        take(&mut self.reboot_limit, over.reboot_limit);
        take(&mut self.stop_timeout, over.stop_timeout);
        self.resources.extend(over.resources);
    }

    /// The settings, with the built-in defaults beneath.
    pub fn settings(self) -> (Start, Reboot, Stop) {
        let (start, reboot, stop) = (Start::default(), Reboot::default(), Stop::default());
        let start = Start {
            auto: or(self.auto, start.auto),
            order: or(self.order, start.order),
            delay: or(self.delay, start.delay),
            groups: or(self.groups, start.groups),
            after: or(self.after, start.after),
            wants: or(self.wants, start.wants),
            requires: or(self.requires, start.requires),
            timeout: or(self.start_timeout, start.timeout),
            network_online: or(self.network_online, start.network_online),
        };
        let reboot = Reboot {
            action: or(self.reboot_action, reboot.action),
            limit: or(self.reboot_limit, reboot.limit),
        };
        (start, reboot, Stop { timeout: or(self.stop_timeout, stop.timeout) })
    }

    /// What it says of resources.
    pub fn resources(&self) -> Resources {
        self.resources.iter().map(|(resource, amount)| (*resource, amount.value)).collect()
    }

    /// Every setting in force, with the place it came from.
    pub fn effective(&self) -> Vec<Effective> {
        let (start, reboot, stop) = self.clone().settings();
        let row =
            |key, value: String, origin: Option<&Origin>| Effective { key, value, origin: origin.cloned() };
        let mut rows = vec![
            row("start.auto", auto(start.auto), origin(&self.auto)),
            row("start.order", start.order.to_string(), origin(&self.order)),
            row("start.delay", time(start.delay), origin(&self.delay)),
            row("start.group", groups(&start.groups), origin(&self.groups)),
            row("start.after", list(&start.after), origin(&self.after)),
            row("start.wants", list(&start.wants), origin(&self.wants)),
            row("start.requires", list(&start.requires), origin(&self.requires)),
            row("start.timeout", time(start.timeout), origin(&self.start_timeout)),
            row("start.network-online", start.network_online.to_string(), origin(&self.network_online)),
            row("reboot.action", quoted(reboot.action), origin(&self.reboot_action)),
            row("reboot.limit", quoted(reboot.limit), origin(&self.reboot_limit)),
            row("stop.timeout", time(stop.timeout), origin(&self.stop_timeout)),
        ];
        rows.extend(Resource::ALL.into_iter().map(|resource| {
            let written = self.resources.get(&resource);
            let in_force = written.map_or(resource.usual(), |written| written.value);
            row(resource.setting(), amount(in_force), written.map(|written| &written.origin))
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

fn or<T>(written: Option<Sourced<T>>, default: T) -> T {
    written.map_or(default, |sourced| sourced.value)
}

fn origin<T>(written: &Option<Sourced<T>>) -> Option<&Origin> {
    written.as_ref().map(|sourced| &sourced.origin)
}

/// Text as TOML writes it.
fn quoted(text: impl ToString) -> String {
    ::toml::Value::String(text.to_string()).to_string()
}

fn auto(auto: Auto) -> String {
    if auto == Auto::LastState { quoted(auto) } else { auto.to_string() }
}

fn amount(amount: Amount) -> String {
    if let Amount::Number(number) = amount { number.to_string() } else { quoted(amount) }
}

fn time(duration: Duration) -> String {
    quoted(humantime::format_duration(duration))
}

fn groups(groups: &Groups) -> String {
    match groups {
        Groups::In(names) if names.is_empty() => "none that can be used".into(),
        groups => list(groups.names()),
    }
}

fn list(names: &[impl ToString]) -> String {
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
        let shown: Vec<_> = layer.effective().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "start.auto = true  # /f:1",
                "start.order = 7  # /f:9",
                "start.delay = \"0s\"  # default",
                "start.group = []  # default",
                "start.after = []  # default",
                "start.wants = []  # default",
                "start.requires = []  # default",
                "start.timeout = \"1m 30s\"  # default",
                "start.network-online = false  # default",
                "reboot.action = \"stop\"  # /f:10",
                "reboot.limit = \"5/1m\"  # default",
                "stop.timeout = \"1m\"  # default",
                "resources.MemoryMax = \"infinity\"  # default",
                "resources.MemoryHigh = \"infinity\"  # default",
                "resources.MemorySwapMax = \"infinity\"  # default",
                "resources.CPUWeight = 100  # default",
                "resources.CPUQuota = \"infinity\"  # default",
                "resources.TasksMax = 8  # /f:11",
                "resources.IOWeight = 9  # /f:3",
            ]
        );
    }
}
