//! `linux.resources`: what has a name in `[resources]`.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use crate::{
    import::{Sourced, native::process},
    model::{Amount, Resource},
};

use super::Reader;

impl Reader<'_> {
    pub(super) fn resources(&mut self, said: &LinuxResources) {
        if let Some(memory) = said.memory() {
            self.memory(memory);
        }
        if let Some(cpu) = said.cpu() {
            self.cpu(cpu);
        }
        if let Some(pids) = said.pids() {
            let amount = u64::try_from(pids.limit()).ok().filter(|limit| *limit > 0);
            self.is(Resource::TasksMax, amount.map_or(Amount::Infinity, Amount::Number));
        }
        if let Some(weight) = said.block_io().as_ref().and_then(|io| io.weight()).filter(|weight| *weight > 0)
        {
            match weight {
                10..=1000 => self.is(Resource::IoWeight, Amount::Number(io_weight(weight))),
                _ => self.wrong("linux.resources.blockIO.weight", weight, "a whole number from 10 to 1000"),
            }
        }
    }

    fn is(&mut self, resource: Resource, amount: Amount) {
        self.layer.resources.insert(resource, Sourced::new(amount, self.origin()));
    }

    /// In OCI's `swap` is the memory too; zero is "not said", and less is no limit.
    fn memory(&mut self, said: &LinuxMemory) {
        let limit = said.limit().filter(|limit| *limit != 0);
        if let Some(limit) = limit {
            self.is(Resource::MemoryMax, bytes(limit));
        }
        match (said.swap().filter(|swap| *swap != 0), limit) {
            (None, _) => {}
            (Some(both), Some(limit)) if limit > 0 && both >= limit => {
                self.is(Resource::MemorySwapMax, bytes(both - limit));
            }
            (Some(both), _) if both < 0 => self.is(Resource::MemorySwapMax, Amount::Infinity),
            (Some(both), _) => {
                const WANTED: &str = "memory and swap together, so not below linux.resources.memory.limit";
                self.wrong("linux.resources.memory.swap", both, WANTED);
            }
        }
    }

    fn cpu(&mut self, said: &LinuxCpu) {
        if let Some(shares) = said.shares().filter(|shares| *shares != 0) {
            self.is(Resource::CpuWeight, Amount::Number(cpu_weight(shares)));
        }
        if said.idle().is_some_and(|idle| idle > 0) {
            self.is(Resource::CpuWeight, Amount::Idle);
        }
        match said.quota() {
            None | Some(0) => {}
            Some(quota) if quota < 0 => self.is(Resource::CpuQuota, Amount::Infinity),
            Some(quota) => match hundredths(quota, said.period()) {
                Some(hundredths) => self.is(Resource::CpuQuota, Amount::Processor(hundredths)),
                None => {
                    self.wrong("linux.resources.cpu.quota", quota, "a part of linux.resources.cpu.period")
                }
            },
        }
        match said.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
            Some(cpus) if process::is_processors(cpus) => {
                self.native.process.processors = self.said(cpus.clone());
            }
            Some(cpus) => self.wrong("linux.resources.cpu.cpus", cpus, "processors such as \"0-3,5\""),
            None => {}
        }
    }
}

fn bytes(said: i64) -> Amount {
    u64::try_from(said).map_or(Amount::Infinity, Amount::Bytes)
}

/// Hundredths of a percent of one processor; at least one, since systemd knows no less.
fn hundredths(quota: i64, period: Option<u64>) -> Option<u32> {
    /// The kernel's, in microseconds.
    const USUAL: u64 = 100_000;
    let period = period.filter(|period| *period != 0).unwrap_or(USUAL);
    let parts = u128::try_from(quota).ok()? * 10_000 / u128::from(period);
    // systemd counts in an int.
    u32::try_from(parts.max(1)).ok().filter(|parts| i32::try_from(*parts).is_ok())
}

/// The weight of cgroup v2 for shares of v1, as runc 1.3.2 and crun 1.23 and newer have it: the usual 1024 are the usual 100,
/// and the ends meet.
fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss, reason = "it is below 2^18")]
    let power = (shares as f64).log2();
    let exponent = (power * power + 125.0 * power) / 612.0 - 7.0 / 34.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to 10000")]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight.clamp(1, 10_000)
}

/// The weight of cgroup v2 for one of v1, from 10 to 1000, as runc has it.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_other_runtimes() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert!((3..262_144).all(|shares| cpu_weight(shares) <= cpu_weight(shares + 1)));
        assert_eq!([10, 100, 1000].map(io_weight), [1, 910, 10_000]);
    }

    #[test]
    fn quotas_are_parts_of_their_period() {
        for (quota, period, expected) in [
            (50_000, None, Some(5000)),
            (150_000, Some(100_000), Some(15_000)),
            (1, Some(1_000_000), Some(1)),
            (i64::MAX, Some(1), None),
            (50_000, Some(0), Some(5000)),
        ] {
            assert_eq!(hundredths(quota, period), expected, "{quota}/{period:?}");
        }
    }
}
