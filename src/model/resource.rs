//! `[resources]`: how much of the host a guest may use, by systemd's names (systemd.resource-control(5)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// Memory that it never gets beyond: what would is killed.
    MemoryMax,
    /// Memory beyond which it is slowed down.
    MemoryHigh,
    /// Swap space.
    MemorySwapMax,
    /// Its share of the processors beside others'.
    CpuWeight,
    /// Its most of the processors.
    CpuQuota,
    /// Processes and threads.
    TasksMax,
    /// Its share of the disks beside others'.
    IoWeight,
}

impl Resource {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::MemoryMax,
        Self::MemoryHigh,
        Self::MemorySwapMax,
        Self::CpuWeight,
        Self::CpuQuota,
        Self::TasksMax,
        Self::IoWeight,
    ];

    /// Its key in `[resources]`, which is systemd's name for it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::MemoryMax => "MemoryMax",
            Self::MemoryHigh => "MemoryHigh",
            Self::MemorySwapMax => "MemorySwapMax",
            Self::CpuWeight => "CPUWeight",
            Self::CpuQuota => "CPUQuota",
            Self::TasksMax => "TasksMax",
            Self::IoWeight => "IOWeight",
        }
    }

    /// The setting with its section.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::MemoryMax => "resources.MemoryMax",
            Self::MemoryHigh => "resources.MemoryHigh",
            Self::MemorySwapMax => "resources.MemorySwapMax",
            Self::CpuWeight => "resources.CPUWeight",
            Self::CpuQuota => "resources.CPUQuota",
            Self::TasksMax => "resources.TasksMax",
            Self::IoWeight => "resources.IOWeight",
        }
    }

    /// What a guest has where nothing is said. As many tasks as machined gives its machines.
    pub const fn usual(self) -> Amount {
        match self {
            Self::MemoryMax | Self::MemoryHigh | Self::MemorySwapMax | Self::CpuQuota => Amount::Infinity,
            Self::CpuWeight | Self::IoWeight => Amount::Number(100),
            Self::TasksMax => Amount::Number(16384),
        }
    }
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amount {
    /// As much as there is.
    Infinity,
    /// So many bytes.
    Bytes(u64),
    /// So many tasks, or such a weight.
    Number(u64),
    /// So many hundredths of a percent of one processor.
    Processor(u32),
    /// Only what nobody else wants.
    Idle,
}

impl fmt::Display for Amount {
    /// As systemd writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Infinity => f.pad("infinity"),
            Self::Idle => f.pad("idle"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Processor(hundredths) => match (hundredths / 100, hundredths % 100) {
                (percent, 0) => write!(f, "{percent}%"),
                (percent, rest) if rest % 10 == 0 => write!(f, "{percent}.{}%", rest / 10),
                (percent, rest) => write!(f, "{percent}.{rest:02}%"),
            },
            Self::Bytes(bytes) => {
                let units = [(60, "E"), (50, "P"), (40, "T"), (30, "G"), (20, "M"), (10, "K")];
                let exact = |(shift, _): &&(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
                match units.iter().find(exact) {
                    Some((shift, unit)) => write!(f, "{}{unit}", bytes >> shift),
                    None => write!(f, "{bytes}"),
                }
            }
        }
    }
}

/// What a guest may use; of what is not said, the [usual](Resource::usual) amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources([Option<Amount>; Resource::ALL.len()]);

impl Resources {
    /// What is said of a resource.
    pub fn get(&self, resource: Resource) -> Option<Amount> {
        self.0[resource as usize]
    }

    /// Everything that is said.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, Amount)> {
        Resource::ALL.into_iter().filter_map(|resource| Some((resource, self.get(resource)?)))
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What must be set on a guest that runs with what was said `before`, so that it has what is said here.
    pub fn changes(&self, before: &Self) -> Self {
        let changed =
            Resource::ALL.into_iter().filter(|resource| before.get(*resource) != self.get(*resource));
        changed.map(|resource| (resource, self.get(resource).unwrap_or(resource.usual()))).collect()
    }
}

impl FromIterator<(Resource, Amount)> for Resources {
    /// The last amount of a resource counts.
    fn from_iter<T: IntoIterator<Item = (Resource, Amount)>>(amounts: T) -> Self {
        let mut resources = Self::default();
        for (resource, amount) in amounts {
            resources.0[resource as usize] = Some(amount);
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_systemd_writes_them() {
        for (amount, text) in [
            (Amount::Infinity, "infinity"),
            (Amount::Idle, "idle"),
            (Amount::Number(100), "100"),
            (Amount::Processor(5000), "50%"),
            (Amount::Processor(1250), "12.5%"),
            (Amount::Processor(1), "0.01%"),
            (Amount::Bytes(512 << 20), "512M"),
            (Amount::Bytes(1536 << 20), "1536M"),
            (Amount::Bytes(1 << 60), "1E"),
            (Amount::Bytes(1000), "1000"),
            (Amount::Bytes(0), "0"),
        ] {
            assert_eq!(amount.to_string(), text);
        }
    }

    #[test]
    fn what_is_said_no_more_is_as_usual_again() {
        let tasks = |number| (Resource::TasksMax, Amount::Number(number));
        let memory = |amount| (Resource::MemoryMax, amount);
        let said = |amounts: &[(Resource, Amount)]| amounts.iter().copied().collect::<Resources>();
        let before = said(&[tasks(5), memory(Amount::Bytes(1))]);
        assert_eq!(before.changes(&before), Resources::default());
        let more = said(&[tasks(6), memory(Amount::Bytes(1))]);
        assert_eq!(more.changes(&before), said(&[tasks(6)]));
        let usual = said(&[tasks(16384), memory(Amount::Infinity)]);
        assert_eq!(Resources::default().changes(&before), usual);
    }

    #[test]
    fn settings_are_keys_in_their_section() {
        for (at, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(resource as usize, at);
            assert_eq!(resource.setting(), format!("resources.{}", resource.key()));
        }
    }
}
