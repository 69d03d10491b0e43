//! Resources as the files of cgroups have them.

use crate::model::{Amount, Resource};

fn number(amount: Amount) -> String {
    match amount {
        Amount::Infinity => "max".to_owned(),
        Amount::Bytes(number) | Amount::Number(number) => number.to_string(),
        // So much of each tenth of a second, in microseconds: a hundredth of a percent is ten of them.
        Amount::Processor(hundredths) => (u64::from(hundredths) * 10).to_string(),
        Amount::Idle => "1".to_owned(),
    }
}

/// The period of processor quotas, in microseconds: the kernel's usual one.
const PERIOD: &str = "100000";

/// The file of v2, and what is written there.
pub(super) fn v2(resource: Resource, amount: Amount) -> Option<(&'static str, String)> {
    let value = number(amount);
    Some(match resource {
        Resource::MemoryMax => ("memory.max", value),
        Resource::MemoryHigh => ("memory.high", value),
        Resource::MemorySwapMax => ("memory.swap.max", value),
        Resource::CpuWeight if amount == Amount::Idle => ("cpu.idle", value),
        Resource::CpuWeight => ("cpu.weight", value),
        Resource::CpuQuota => ("cpu.max", format!("{value} {PERIOD}")),
        Resource::TasksMax => ("pids.max", value),
        Resource::IoWeight => ("io.weight", value),
    })
}

/// The nearest of v1; none where there is none (as systemd has it, systemd.resource-control(5)).
pub(super) fn v1(resource: Resource, amount: Amount) -> Option<(&'static str, String)> {
    let value = number(amount);
    let or_none = if amount == Amount::Infinity { "-1".to_owned() } else { value.clone() };
    match (resource, amount) {
        (Resource::MemoryMax, _) => Some(("memory.limit_in_bytes", or_none)),
        (Resource::MemoryHigh, _) => Some(("memory.soft_limit_in_bytes", or_none)),
        (Resource::MemorySwapMax, _) => None,
        (Resource::CpuWeight, Amount::Idle) => Some(("cpu.shares", "2".to_owned())),
        // The usual weight is 100 there and 1024 here.
        (Resource::CpuWeight, Amount::Number(weight)) => {
            Some(("cpu.shares", (weight * 1024 / 100).max(2).to_string()))
        }
        (Resource::CpuWeight, _) => None,
        (Resource::CpuQuota, _) => Some(("cpu.cfs_quota_us", or_none)),
        (Resource::TasksMax, _) => Some(("pids.max", value)),
        (Resource::IoWeight, _) => Some(("blkio.weight", value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file, and what is written to it.
    type Setting = (&'static str, &'static str);

    /// Each resource with an amount, and what is written for it to v2 and to v1.
    const WRITTEN: [(Resource, Amount, Setting, Option<Setting>); 12] = [
        (
            Resource::MemoryMax,
            Amount::Bytes(16 << 20),
            ("memory.max", "16777216"),
            Some(("memory.limit_in_bytes", "16777216")),
        ),
        (Resource::MemoryMax, Amount::Infinity, ("memory.max", "max"), Some(("memory.limit_in_bytes", "-1"))),
        (
            Resource::MemoryHigh,
            Amount::Bytes(1024),
            ("memory.high", "1024"),
            Some(("memory.soft_limit_in_bytes", "1024")),
        ),
        (Resource::MemorySwapMax, Amount::Bytes(0), ("memory.swap.max", "0"), None),
        (Resource::CpuWeight, Amount::Number(100), ("cpu.weight", "100"), Some(("cpu.shares", "1024"))),
        (Resource::CpuWeight, Amount::Number(1), ("cpu.weight", "1"), Some(("cpu.shares", "10"))),
        (Resource::CpuWeight, Amount::Idle, ("cpu.idle", "1"), Some(("cpu.shares", "2"))),
        (
            Resource::CpuQuota,
            Amount::Processor(15_000),
            ("cpu.max", "150000 100000"),
            Some(("cpu.cfs_quota_us", "150000")),
        ),
        (Resource::CpuQuota, Amount::Infinity, ("cpu.max", "max 100000"), Some(("cpu.cfs_quota_us", "-1"))),
        (Resource::TasksMax, Amount::Number(50), ("pids.max", "50"), Some(("pids.max", "50"))),
        (Resource::TasksMax, Amount::Infinity, ("pids.max", "max"), Some(("pids.max", "max"))),
        (Resource::IoWeight, Amount::Number(300), ("io.weight", "300"), Some(("blkio.weight", "300"))),
    ];

    #[test]
    fn every_resource_has_its_file() {
        let owned = |(file, value): Setting| (file, value.to_owned());
        for (resource, amount, of_v2, of_v1) in WRITTEN {
            assert_eq!(v2(resource, amount), Some(owned(of_v2)), "{resource:?} {amount:?}");
            assert_eq!(v1(resource, amount), of_v1.map(owned), "{resource:?} {amount:?}");
        }
    }
}
