//! `cgroup` and `cpuset`: control files of the guest's cgroup, as far as guestd sets them.

use crate::{
    import::{Layer, Sourced, findings::source},
    model::{Amount, Resource},
};

use super::{files::is_leftover, number, reading::Reading, tree::Line};

/// Control files of cgroup v1, and what there is instead.
const OLD: [(&str, &str); 10] = [
    ("memory.limit_in_bytes", "memory.max"),
    ("memory.soft_limit_in_bytes", "memory.high"),
    ("memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("cpu.shares", "cpu.weight"),
    ("cpu.cfs_quota_us", "cpu.max"),
    ("cpu.cfs_period_us", "cpu.max"),
    ("blkio.weight", "io.weight"),
    ("cpuset.cpu_exclusive", "cpuset.cpus.partition"),
    ("cpuset.mem_exclusive", "cpuset.cpus.partition"),
    ("devices.allow", "devices = [\"/dev/...\"] in its guestd.toml"),
];

/// Controllers of cgroup v2 (the kernel's admin-guide/cgroup-v2).
const CONTROLLERS: [&str; 9] =
    ["cgroup.", "cpu.", "cpuset.", "hugetlb.", "io.", "memory.", "misc.", "pids.", "rdma."];

/// The processors of the guest, as in `0-3,5`.
pub(super) fn read(reading: &mut Reading<'_>, layer: &mut Layer) -> Option<String> {
    const WANTED: &str = "processors, such as 0-3,5";
    let mut processors = reading.value("cpuset/cpus", WANTED, processors);
    let files: Vec<String> = reading.guest.names("cgroup").map(str::to_owned).collect();
    for file in files.iter().filter(|file| *file != "name" && !is_leftover(file)) {
        let path = format!("cgroup/{file}");
        let (wanted, resource, amount): (_, _, fn(&str) -> Option<Amount>) = match file.as_str() {
            "cpuset.cpus" => {
                processors = reading.value(&path, WANTED, self::processors).or(processors);
                continue;
            }
            "memory.max" => ("bytes, or max", Resource::MemoryMax, memory),
            "memory.high" => ("bytes, or max", Resource::MemoryHigh, memory),
            "memory.swap.max" => ("bytes, or max", Resource::MemorySwapMax, swap),
            "cpu.weight" => ("a number from 1 to 10000", Resource::CpuWeight, weight),
            "io.weight" => ("a number from 1 to 10000", Resource::IoWeight, weight),
            "cpu.max" => ("a quota and a period, such as 50000 100000", Resource::CpuQuota, quota),
            "pids.max" => ("a number, or max", Resource::TasksMax, tasks),
            other => {
                unset(reading, &path, other);
                continue;
            }
        };
        if let Some(amount) = reading.value(&path, wanted, amount) {
            layer.resources.insert(resource, amount);
        }
    }
    processors.map(|processors: Sourced<String>| processors.value)
}

fn unset(reading: &mut Reading<'_>, path: &str, file: &str) {
    let origin =
        reading.guest.first(path).map_or_else(|| reading.guest.origin(path), |line: Line| line.origin);
    if let Some((_, new)) = OLD.iter().find(|(old, _)| *old == file) {
        reading.error(&origin, || format!("{file} is a control file of cgroup v1 and is refused; use {new}"));
    } else if CONTROLLERS.iter().any(|controller| file.starts_with(controller)) && !is_old(file) {
        reading.warning(&origin, || {
            format!(
                "guestd does not set {}; set it on the guest's unit (systemctl set-property)",
                source(file)
            )
        });
    } else {
        reading.error(&origin, || {
            format!("\"{}\" is no control file of cgroup v2 and is refused; remove it", source(file))
        });
    }
}

/// Names that only v1 has, below controllers that both have.
fn is_old(file: &str) -> bool {
    let ends =
        ["_in_bytes", "_us", "_kb", "swappiness", "rt_runtime_us", "memory_migrate", "sched_load_balance"];
    ends.iter().any(|end| file.ends_with(end)) || file.starts_with("memory.kmem.")
}

/// Ranges of numbers, as the kernel writes them.
fn processors(text: &str) -> Option<String> {
    /// The most that Linux counts.
    const MOST: u64 = 8191;
    let number = |text: &str| number::unsigned(text).filter(|number| *number <= MOST);
    let is_range = |part: &str| match part.split_once('-') {
        Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
        None => number(part).is_some(),
    };
    (text.len() <= 1024 && text.split(',').all(is_range)).then(|| text.to_owned())
}

fn swap(text: &str) -> Option<Amount> {
    if text == "max" { Some(Amount::Infinity) } else { number::scaled(text).map(Amount::Bytes) }
}

fn memory(text: &str) -> Option<Amount> {
    swap(text).filter(|amount| *amount != Amount::Bytes(0))
}

fn weight(text: &str) -> Option<Amount> {
    number::unsigned(text).filter(|weight| (1..=10_000).contains(weight)).map(Amount::Number)
}

fn tasks(text: &str) -> Option<Amount> {
    let number = || number::unsigned(text).filter(|tasks| *tasks > 0).map(Amount::Number);
    if text == "max" { Some(Amount::Infinity) } else { number() }
}

/// `QUOTA PERIOD` in microseconds; a period of a tenth of a second where none is said.
fn quota(text: &str) -> Option<Amount> {
    let mut words = text.split_ascii_whitespace();
    let (quota, period) = (words.next()?, words.next().unwrap_or("100000"));
    let period = number::unsigned(period).filter(|period| *period > 0)?;
    if words.next().is_some() {
        return None;
    }
    if quota == "max" {
        return Some(Amount::Infinity);
    }
    let part = number::unsigned(quota)?.checked_mul(10_000)? / period;
    let part = u32::try_from(part).ok().filter(|part| *part > 0 && i32::try_from(*part).is_ok())?;
    Some(Amount::Processor(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_kernel() {
        for (text, expected) in [
            ("50000 100000", Some(Amount::Processor(5000))),
            ("200000", Some(Amount::Processor(20_000))),
            ("max 100000", Some(Amount::Infinity)),
            ("0 100000", None),
            ("1 0", None),
            ("1 2 3", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(quota(text), expected, "{text:?}");
        }
        for (text, is_list) in [
            ("0-3,5", true),
            ("0", true),
            ("3-1", false),
            ("", false),
            ("0,", false),
            ("a", false),
            ("9000", false),
        ] {
            assert_eq!(processors(text).is_some(), is_list, "{text:?}");
        }
    }
}
