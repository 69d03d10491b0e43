//! The daemon's own settings: `guestd.toml` and its drop-ins.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::{Diagnostic, GroupName, Order, Origin, Pressure};

use super::{
    Layer, Sourced, Text,
    layer::{or, take},
    lxc::DEFAULT_LXCPATH,
    overlay,
    toml::{Document, Field, decode},
    vserver,
};

const TOP: [&str; 8] =
    ["order", "max-starting", "pressure", "launcher", "boot-groups", "lxc", "vserver", "defaults"];

/// Which launcher is to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LauncherChoice {
    /// systemd where it is PID 1, else direct.
    #[default]
    Auto,
    /// systemd's transient services.
    Systemd,
    /// Detached processes.
    Direct,
}

impl LauncherChoice {
    /// The word in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Systemd => "systemd",
            Self::Direct => "direct",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Auto, Self::Systemd, Self::Direct].into_iter().find(|choice| choice.as_str() == word)
    }
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How `start.order` is read.
    pub order: Order,
    /// Whether `order` was written down, rather than left to the default.
    pub order_is_written: bool,
    /// At most so many guests are being started at once; at least 1.
    pub max_starting: u32,
    /// Beyond which strain of the host no new starts begin.
    pub pressure: Pressure,
    /// The launcher asked for.
    pub launcher: LauncherChoice,
    /// What `autostart --boot` brings up; none is the null group.
    pub boot_groups: Vec<Option<GroupName>>,
    /// The folders with LXC containers: absolute, each once, without slashes at the end.
    pub lxc_paths: Vec<Arc<Path>>,
    /// Where `lxc_paths` was written; none when it is the built-in default, which need not exist.
    pub lxc_paths_origin: Option<Origin>,
    /// The folder with util-vserver's configurations.
    pub vserver_path: Arc<Path>,
    /// Where `vserver_path` was written; none when it is the built-in default, which need not exist.
    pub vserver_path_origin: Option<Origin>,
    /// What is told of a vserver's own reboots and halts; none is `/sbin/vshelper` where that is, else guestd's own helper.
    pub vserver_helper: Option<PathBuf>,
    /// For guests that do not say.
    pub defaults: Layer,
}

/// What the files say so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    order: Option<Sourced<Order>>,
    max_starting: Option<Sourced<u32>>,
    /// `[pressure]`; `Some` of no percentage is false.
    memory: Option<Sourced<Option<u8>>>,
    io: Option<Sourced<Option<u8>>>,
    launcher: Option<Sourced<LauncherChoice>>,
    boot_groups: Option<Sourced<Vec<Option<GroupName>>>>,
    lxc_paths: Option<Sourced<Vec<PathBuf>>>,
    vserver_path: Option<Sourced<PathBuf>>,
    vserver_helper: Option<Sourced<PathBuf>>,
    defaults: Layer,
    diagnostics: Vec<Diagnostic>,
}

impl Written {
    /// Reads one more file; what it says wins over the files before it.
    pub fn read(&mut self, file: impl Into<Arc<Path>>, text: &Text) {
        let file = file.into();
        let text = decode(&file, text, &mut self.diagnostics);
        let (mut document, table) = Document::parse(file, &text);
        for field in Document::fields("", &table) {
            self.top(&mut document, &field);
        }
        self.diagnostics.extend(document.finish());
    }

    fn top<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        match field.key {
            "order" => {
                take(&mut self.order, document.one_of(field, &[Order::HighestFirst, Order::LowestFirst]));
            }
            "max-starting" => {
                take(&mut self.max_starting, document.count(field, "4"));
            }
            "pressure" => document.section(field, |document, field| match field.key {
                "memory" => take(&mut self.memory, percentage(document, field)),
                "io" => take(&mut self.io, percentage(document, field)),
                _ => document.unknown(field, &["memory", "io"]),
            }),
            "launcher" => {
                const WANTED: &str = "\"auto\", \"systemd\" or \"direct\"";
                let launcher = document.text(field, WANTED, "\"auto\"", LauncherChoice::parse);
                take(&mut self.launcher, launcher);
            }
            "boot-groups" => take(&mut self.boot_groups, boot_groups(document, field)),
            "lxc" => self.lxc(document, field),
            "vserver" => document.section(field, |document, field| match field.key {
                "path" => take(&mut self.vserver_path, path(document, field, "\"/etc/vservers\"")),
                "helper" => take(&mut self.vserver_helper, path(document, field, "\"/sbin/vshelper\"")),
                _ => document.unknown(field, &["path", "helper"]),
            }),
            "defaults" => {
                if let Some(table) = document.table(field) {
                    self.defaults.lay(overlay::defaults(document, table));
                }
            }
            _ => document.unknown(field, &TOP),
        }
    }

    fn lxc<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        let Some(table) = document.table(field) else { return };
        for field in Document::fields("lxc.", table) {
            match field.key {
                "path" => {
                    let paths = some(document, &field, "at least one path", "[\"/var/lib/lxc\"]", absolute);
                    take(&mut self.lxc_paths, paths);
                }
                _ => document.unknown(&field, &["path"]),
            }
        }
    }

    /// The settings in force, and everything found wrong. `processors` gives `max-starting` where it is not written;
    /// `lxcpath` is what LXC's own settings say.
    pub fn settle(self, processors: u32, lxcpath: Option<Sourced<String>>) -> (Settings, Vec<Diagnostic>) {
        let Self { lxc_paths, mut diagnostics, .. } = self;
        let from_lxc = lxcpath.and_then(|path| match absolute(&path.value) {
            Ok(value) => Some(Sourced::new(vec![value], path.origin)),
            Err(error) => {
                diagnostics.push(Diagnostic::error(path.origin, format!("lxc.lxcpath is ignored: {error}")));
                None
            }
        });
        let lxc_paths = lxc_paths.or(from_lxc);
        let lxc_paths_origin = lxc_paths.as_ref().map(|paths| paths.origin.clone());
        let paths = lxc_paths.map_or_else(|| vec![PathBuf::from(DEFAULT_LXCPATH)], |paths| paths.value);
        let mut distinct: Vec<Arc<Path>> = Vec::new();
        for path in paths {
            if !distinct.iter().any(|known| **known == *path) {
                distinct.push(path.into());
            }
        }
        let Pressure { memory, io } = Pressure::default();
        let settings = Settings {
            order_is_written: self.order.is_some(),
            order: or(&self.order, Order::default()),
            max_starting: or(&self.max_starting, processors.saturating_mul(2).max(1)),
            pressure: Pressure { memory: or(&self.memory, memory), io: or(&self.io, io) },
            launcher: or(&self.launcher, LauncherChoice::default()),
            boot_groups: self.boot_groups.map_or_else(default_boot_groups, |groups| groups.value),
            lxc_paths: distinct,
            lxc_paths_origin,
            vserver_path_origin: self.vserver_path.as_ref().map(|path| path.origin.clone()),
            vserver_path: or(&self.vserver_path, PathBuf::from(vserver::DEFAULT_PATH)).into(),
            vserver_helper: self.vserver_helper.map(|path| path.value),
            defaults: self.defaults,
        };
        (settings, diagnostics)
    }
}

/// LXC's own choice: the group `onboot`, and then the guests in no group.
fn default_boot_groups() -> Vec<Option<GroupName>> {
    vec![Some(GroupName::new("onboot").expect("\"onboot\" is a valid group name")), None]
}

fn boot_groups<'t>(
    document: &mut Document<'t>,
    field: &Field<'_, 't>,
) -> Option<Sourced<Vec<Option<GroupName>>>> {
    const WANTED: &str = "at least one group; \"\" is the null group";
    let group = |text: &str| if text.is_empty() { Ok(None) } else { GroupName::new(text).map(Some) };
    some(document, field, WANTED, "[\"onboot\", \"\"]", group)
}

/// A percentage of pressure; false is none.
fn percentage<'t>(document: &mut Document<'t>, field: &Field<'_, 't>) -> Option<Sourced<Option<u8>>> {
    const WANTED: &str = "a whole number of percent from 1 to 100, or false";
    if field.value.get_ref().as_bool() == Some(false) {
        return Some(document.sourced(field, None));
    }
    match document.integer::<u8>(field, WANTED, "40")? {
        percentage if (1..=100).contains(&percentage.value) => Some(percentage.map(Some)),
        _ => document.wrong(field, WANTED, "40"),
    }
}

/// A list that has to say something: an empty one is reported and left out.
fn some<'t, T, E: Display>(
    document: &mut Document<'t>,
    field: &Field<'_, 't>,
    wanted: &str,
    example: &str,
    read: impl Fn(&str) -> Result<T, E>,
) -> Option<Sourced<Vec<T>>> {
    let list = document.list(field, example, read)?;
    if list.value.is_empty() {
        return document.wrong(field, wanted, example);
    }
    Some(list)
}

/// One absolute path.
fn path<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, example: &str) -> Option<Sourced<PathBuf>> {
    document.text(field, "an absolute path", example, |text| absolute(text).ok())
}

/// An absolute path without slashes at its end: LXC names its sockets after the path as it is written.
fn absolute(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(format!(
            "\"{}\" is not an absolute path; write it from the root, such as \"/var/lib/lxc\"",
            crate::model::name::shown(text)
        ));
    }
    let trimmed = text.trim_end_matches('/');
    Ok(PathBuf::from(if trimmed.is_empty() { "/" } else { trimmed }))
}

#[cfg(test)]
mod tests;
