//! How a native guest's processes are treated beside others.

use std::collections::BTreeMap;

use crate::{
    import::{
        Effective, Sourced,
        layer::{quoted, row, take},
        toml::{Document, Field},
    },
    model::native::{LimitKind, Process, ResourceLimit, Scheduler},
};

use super::sysctl::{self, SysctlLayer};

/// The keys.
pub(super) const KEYS: [&str; 9] =
    ["limits", "nice", "scheduler", "io", "oom-score-adjust", "personality", "umask", "processors", "sysctl"];

/// The keys of `[limits]`.
pub(super) const LIMITS: [&str; LimitKind::ALL.len()] = {
    let mut keys = [""; LimitKind::ALL.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = LimitKind::ALL[at].key();
        at += 1;
    }
    keys
};

/// What one source says of the guest's processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessLayer {
    /// `[limits]`.
    pub limits: BTreeMap<LimitKind, Sourced<ResourceLimit>>,
    /// `nice`.
    pub nice: Option<Sourced<i32>>,
    /// `scheduler`.
    pub scheduler: Option<Sourced<Scheduler>>,
    /// `io`.
    pub io: Option<Sourced<(u8, u8)>>,
    /// `oom-score-adjust`.
    pub oom_score_adjust: Option<Sourced<i32>>,
    /// `personality`.
    pub personality: Option<Sourced<u64>>,
    /// `umask`.
    pub umask: Option<Sourced<u32>>,
    /// `processors`.
    pub processors: Option<Sourced<String>>,
    /// `[sysctl]`.
    pub sysctl: SysctlLayer,
}

impl ProcessLayer {
    /// Reads one of the [`KEYS`].
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        match field.key {
            "limits" => document.section(field, |document, field| self.limit(document, field)),
            "nice" => {
                const WANTED: &str = "a whole number from -20 to 19";
                self.nice = within(document, field, NICE, WANTED, "10");
            }
            "scheduler" => {
                const WANTED: &str =
                    "\"other\", \"batch\", \"idle\", or \"fifo:\" or \"rr:\" and a priority from 1 to 99";
                self.scheduler = document.text(field, WANTED, "\"batch\"", scheduler);
            }
            "io" => {
                const WANTED: &str =
                    "\"realtime:\" or \"best-effort:\" and a level from 0 (first) to 7, or \"idle\"";
                self.io = document.text(field, WANTED, "\"best-effort:4\"", io);
            }
            "oom-score-adjust" => {
                const WANTED: &str = "a whole number from -1000 to 1000";
                self.oom_score_adjust = within(document, field, OOM_SCORE, WANTED, "100");
            }
            "personality" => {
                const WANTED: &str = "\"linux\", \"linux32\" or a number of personality(2)";
                self.personality = document.word(field, WANTED, "\"linux32\"", personality);
            }
            "umask" => {
                const WANTED: &str = "a text of octal digits, from \"0000\" to \"0777\"";
                self.umask = document.text(field, WANTED, "\"0022\"", umask);
            }
            "processors" => {
                const WANTED: &str = "numbers of processors and ranges of them, such as \"0-3,5\"";
                self.processors = document
                    .word(field, WANTED, "\"0-3\"", |text| is_processors(text).then(|| text.to_owned()));
            }
            _ => sysctl::read(document, field, "", &mut self.sysctl),
        }
    }

    fn limit<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        const WANTED: &str = "a whole number, \"unlimited\", or two of these as \"SOFT:HARD\", the first not above the \
                              second";
        let Some(kind) = LimitKind::ALL.into_iter().find(|kind| kind.key() == field.key) else {
            return document.unknown(field, &LIMITS);
        };
        let limit = document.word(field, WANTED, "1024", |text| limit(kind, text));
        self.limits.extend(limit.map(|limit| (kind, limit)));
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        self.limits.extend(over.limits);
        take(&mut self.nice, over.nice);
        take(&mut self.scheduler, over.scheduler);
        take(&mut self.io, over.io);
        take(&mut self.oom_score_adjust, over.oom_score_adjust);
        take(&mut self.personality, over.personality);
        take(&mut self.umask, over.umask);
        take(&mut self.processors, over.processors);
        self.sysctl.extend(over.sysctl);
    }

    /// The setting.
    pub(super) fn settled(&self) -> Process {
        fn said<T: Clone>(written: &Option<Sourced<T>>) -> Option<T> {
            written.as_ref().map(|written| written.value.clone())
        }
        Process {
            limits: self.limits.values().map(|limit| limit.value.clone()).collect(),
            nice: said(&self.nice),
            scheduler: said(&self.scheduler),
            io_priority: said(&self.io),
            oom_score_adjust: said(&self.oom_score_adjust),
            personality: said(&self.personality),
            umask: said(&self.umask),
            processors: said(&self.processors),
            sysctl: self.sysctl.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect(),
        }
    }

    /// Every value that is written: without one, all of these are as the host has them.
    pub(super) fn rows(&self) -> Vec<Effective> {
        fn said<T>(
            key: &'static str,
            said: &Option<Sourced<T>>,
            shown: impl Fn(&T) -> String,
        ) -> Option<Effective> {
            said.as_ref().map(|said| row(key, shown(&said.value), Some(said)))
        }
        let limit = |(kind, limit): (&LimitKind, &Sourced<_>)| {
            row(format!("limits.{}", kind.key()), quoted(&limit.value), Some(limit))
        };
        let rows = [
            said("nice", &self.nice, ToString::to_string),
            said("scheduler", &self.scheduler, |scheduler| quoted(scheduler)),
            said("io", &self.io, |io| quoted(shown_io(*io))),
            said("oom-score-adjust", &self.oom_score_adjust, ToString::to_string),
            said("personality", &self.personality, ToString::to_string),
            said("umask", &self.umask, |umask| quoted(format!("{umask:04o}"))),
            said("processors", &self.processors, |list| quoted(list)),
        ];
        self.limits
            .iter()
            .map(limit)
            .chain(rows.into_iter().flatten())
            .chain(sysctl::rows(&self.sysctl))
            .collect()
    }
}

/// What setpriority(2) takes.
pub(in crate::import) const NICE: std::ops::RangeInclusive<i32> = -20..=19;
/// What `oom_score_adj` takes.
pub(in crate::import) const OOM_SCORE: std::ops::RangeInclusive<i32> = -1000..=1000;

fn within<'t>(
    document: &mut Document<'t>,
    field: &Field<'_, 't>,
    allowed: std::ops::RangeInclusive<i32>,
    wanted: &str,
    example: &str,
) -> Option<Sourced<i32>> {
    let number = document.integer::<i32>(field, wanted, example)?;
    if allowed.contains(&number.value) { Some(number) } else { document.wrong(field, wanted, example) }
}

fn limit(kind: LimitKind, text: &str) -> Option<ResourceLimit> {
    let one = |text: &str| match text {
        "unlimited" | "infinity" => Some(None),
        // The largest number is the kernel's "unlimited".
        text => number(text).filter(|number| *number < u64::MAX).map(Some),
    };
    let (soft, hard) = text.split_once(':').unwrap_or((text, text));
    let (soft, hard) = (one(soft)?, one(hard)?);
    fits(soft, hard).then_some(ResourceLimit { kind, soft, hard })
}

/// Whether the soft limit is not above the hard one; none is no limit.
pub(in crate::import) fn fits(soft: Option<u64>, hard: Option<u64>) -> bool {
    hard.is_none_or(|hard| soft.is_some_and(|soft| soft <= hard))
}

/// Digits alone: Rust's reader would take a sign.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn scheduler(text: &str) -> Option<Scheduler> {
    let real_time = |text| number(text).filter(|priority| (1..=99).contains(priority));
    match text.split_once(':') {
        None => [Scheduler::Other, Scheduler::Batch, Scheduler::Idle]
            .into_iter()
            .find(|scheduler| scheduler.to_string() == text),
        Some(("fifo", priority)) => real_time(priority).map(Scheduler::Fifo),
        Some(("rr", priority)) => real_time(priority).map(Scheduler::RoundRobin),
        Some(_) => None,
    }
}

/// The classes of ioprio_set(2), by number from 1, as ionice(1) names them.
const IO_CLASSES: [&str; 3] = ["realtime", "best-effort", "idle"];

fn io(text: &str) -> Option<(u8, u8)> {
    /// What ionice(1) takes where nothing is said.
    const USUAL: u8 = 4;
    let (class, level) = match text.split_once(':') {
        Some((class, level)) => (class, Some(number(level).filter(|level| *level <= 7)?)),
        None => (text, None),
    };
    match (IO_CLASSES.iter().position(|known| *known == class)?, level) {
        (2, None) => Some((3, 0)),
        (2, Some(_)) => None,
        (at, level) => Some((if at == 0 { 1 } else { 2 }, level.unwrap_or(USUAL))),
    }
}

fn shown_io((class, level): (u8, u8)) -> String {
    let name = IO_CLASSES.get(usize::from(class).saturating_sub(1)).unwrap_or(&"none");
    if class == 3 { (*name).to_owned() } else { format!("{name}:{level}") }
}

/// PER_LINUX32 of linux/personality.h.
pub(in crate::import) const LINUX32: u64 = 8;

fn personality(text: &str) -> Option<u64> {
    match text {
        "linux" => Some(0),
        "linux32" => Some(LINUX32),
        // All ones asks the kernel, and sets nothing.
        text => number::<u32>(text).filter(|number| *number != u32::MAX).map(u64::from),
    }
}

fn umask(text: &str) -> Option<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mask = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mask.filter(|mask| *mask <= 0o777)
}

/// Whether these are processors as the kernel lists them (cpuset(7), "List format").
pub(in crate::import) fn is_processors(text: &str) -> bool {
    /// The most that Linux can be built for.
    const MOST: u32 = 8192;
    let one = |text: &str| (!text.is_empty()).then(|| number(text)).flatten().filter(|at: &u32| *at < MOST);
    text.len() <= 4096
        && text.split(',').all(|part| match part.split_once('-') {
            None => one(part).is_some(),
            Some((first, last)) => one(first).zip(one(last)).is_some_and(|(first, last)| first <= last),
        })
}
