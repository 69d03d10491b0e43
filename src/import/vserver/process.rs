//! How a guest's processes are treated: nice, ionice, personality, badness, uts.

use crate::{
    import::{
        findings::{nearest, source},
        value::is_own_name,
    },
    model::native::Process,
};

use super::{number, reading::Reading};

/// Bits of a personality (`linux/personality.h`).
const FLAGS: [(&str, u64); 11] = [
    ("uname26", 0x002_0000),
    ("addr_no_randomize", 0x004_0000),
    ("fdpic_funcptrs", 0x008_0000),
    ("mmap_page_zero", 0x010_0000),
    ("addr_compat_layout", 0x020_0000),
    ("read_implies_exec", 0x040_0000),
    ("addr_limit_32bit", 0x080_0000),
    ("short_inode", 0x100_0000),
    ("whole_seconds", 0x200_0000),
    ("sticky_timeouts", 0x400_0000),
    ("addr_limit_3gb", 0x800_0000),
];

/// Domains that today's kernels have.
const DOMAINS: [(&str, u64); 4] =
    [("linux", 0), ("linux_32bit", 0x080_0000), ("linux32", 8), ("linux32_3gb", 0x800_0008)];

/// The domain of 32 bits.
const LINUX32: u64 = 8;
/// The bits of the domain itself.
const DOMAIN: u64 = 0xff;

/// What belongs to the processes.
pub(super) fn read(reading: &mut Reading<'_>) -> Process {
    let nice =
        reading.value("nice", "a number from -20 to 19, such as 5", |text| number::signed(text, -20..=19));
    let badness = reading.value("badness", "a number from -1000 to 1000, such as 500", |text| {
        number::signed(text, -1000..=1000)
    });
    Process {
        nice: nice.map(|nice| nice.value),
        oom_score_adjust: badness.map(|badness| badness.value),
        io_priority: io_priority(reading),
        personality: personality(reading),
        ..Process::default()
    }
}

/// util-vserver runs `ionice` with class 2 and level 0 where only one of them is said.
fn io_priority(reading: &mut Reading<'_>) -> Option<(u8, u8)> {
    let within = |bounds: std::ops::RangeInclusive<u64>| {
        move |text: &str| number::unsigned(text).filter(|number| bounds.contains(number))
    };
    let class = reading.value("ionice/class", "1 (real-time), 2 (best-effort) or 3 (idle)", within(1..=3));
    let level = reading.value("ionice/priority", "a number from 0 to 7", within(0..=7));
    if class.is_none() && level.is_none() {
        return None;
    }
    let byte =
        |number: Option<u64>, usual| number.and_then(|number| u8::try_from(number).ok()).unwrap_or(usual);
    let class = byte(class.map(|class| class.value), 2);
    // The idle class has no levels.
    Some((class, if class == 3 { 0 } else { byte(level.map(|level| level.value), 0) }))
}

fn personality(reading: &mut Reading<'_>) -> Option<u64> {
    let machine = machine(reading);
    let lines = reading.lines("personality");
    let mut personality = None;
    for (at, line) in lines.iter().enumerate() {
        let lower = line.text.to_ascii_lowercase();
        let word = lower.strip_prefix("per_").unwrap_or(&lower);
        let known: &[_] = if at == 0 { &DOMAINS } else { &FLAGS };
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, bits)) => personality = Some(personality.unwrap_or(0) | bits),
            None => {
                let what = if at == 0 { "an execution domain" } else { "a flag of personalities" };
                let near = nearest(word, known.iter().map(|(name, _)| *name));
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                reading.error(&line.origin, || {
                    format!(
                        "\"{}\" is not {what} of today's kernels{hint}; it is ignored",
                        source(&line.text)
                    )
                });
            }
        }
    }
    match (personality, machine) {
        (Some(said), Some(machine)) if said & DOMAIN == 0 => Some(said | machine),
        (said, machine) => said.or(machine),
    }
}

/// `uts/machine`: what `setarch` does is all that can be said of a machine.
fn machine(reading: &mut Reading<'_>) -> Option<u64> {
    let line = reading.scalar("uts/machine")?;
    let machine = line.text.as_str();
    let is_32_bits = matches!(machine, "i386" | "i486" | "i586" | "i686" | "armv7l" | "armv8l" | "armv6l")
        || matches!(machine, "ppc" | "s390" | "mips" | "sparc" | "parisc");
    if is_32_bits {
        return Some(LINUX32);
    }
    if !matches!(machine, "x86_64" | "aarch64" | "ppc64" | "ppc64le" | "s390x" | "riscv64" | "mips64") {
        reading.warning(&line.origin, || {
            format!(
                "the machine cannot be called \"{}\": today's kernels only show 64 or 32 bits; remove the file, or \
                 write i686",
                source(machine)
            )
        });
    }
    None
}

/// Host name and domain name.
pub(super) fn names(reading: &mut Reading<'_>) -> (Option<String>, Option<String>) {
    let name = |text: &str| is_own_name(text).then(|| text.to_owned());
    const WANTED: &str = "a name of at most 64 letters, digits, \"-\" and dots, such as web.example.org";
    let node = reading.value("uts/nodename", WANTED, name);
    let domain = reading.value("uts/domainname", WANTED, name);
    (node.map(|name| name.value), domain.map(|name| name.value))
}

/// `name`, which is only compared.
pub(super) fn called(reading: &mut Reading<'_>) {
    if let Some(line) = reading.scalar("name")
        && line.text != reading.name.as_str()
    {
        let name = reading.name;
        reading.warning(&line.origin, || {
            format!(
                "guestd calls the guest {name}, after its folder, and not \"{}\"; rename the folder or remove the file",
                source(&line.text)
            )
        });
    }
}
