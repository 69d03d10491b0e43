//! A guest's transient unit: its name and its properties, as plain data (systemd.service(5), systemd.unit(5)).

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use zbus::{ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use super::{Launch, Program};
use crate::model::{Amount, GuestName, Resource, Resources, name::bus_label};

/// The slice of all guests, where machined's own machines are too.
pub const SLICE: &str = "machine.slice";
/// What the paths of units on PID 1's bus begin with (org.freedesktop.systemd1(5)).
const UNITS: &str = "/org/freedesktop/systemd1/unit/";
/// How much longer than the guest itself its unit may take to stop, for hooks and for the kill.
const GRACE: Duration = Duration::from_secs(30);
/// So many lines of a console are told in this time.
const CONSOLE_LINES: u32 = 1000;
const CONSOLE_INTERVAL: Duration = Duration::from_secs(10);
/// Whom a guest does not outlive at a shutdown. Behind it are the network, mounts, the bus and guestd: each name here
/// costs PID 1, and everybody who listens to it, two messages for every start and every stop of a guest.
const TARGET: &str = "guests.target";
/// Reached when the network is online. Nothing reaches it unless somebody wants it: systemd.special(7).
const ONLINE: &str = "network-online.target";
/// The first stops all guests in their order; until it is done, no guest's unit is stopped. Of systemd's default
/// dependencies the second is left: the others are the target's.
const BEFORE: [&str; 2] = ["guests-shutdown.service", SHUTDOWN];
const SHUTDOWN: &str = "shutdown.target";

/// What the unit of a guest has to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unit {
    /// One line for people.
    pub description: String,
    /// Where its files are. The mounts that these lie on are there before it starts, and until it has stopped.
    pub files: Vec<PathBuf>,
    /// What stops the guest. It is run as well, without `MAINPID` in its environment, when the guest has ended by itself.
    /// Without a `$`: systemd 252 escapes it once more at each reload.
    pub stop: Vec<OsString>,
    /// How long the guest itself may take to stop.
    pub stop_timeout: Duration,
    /// It starts only once the host's network is online.
    pub network_online: bool,
    /// How much of the host it may use.
    pub resources: Resources,
    /// What its main process writes is the guest's console, and goes to the journal.
    pub console: bool,
}

/// The object of a guest's unit on PID 1's bus.
pub fn path(guest: &GuestName) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(format!("{UNITS}{}", bus_label(&name(guest)))).into()
}

/// The name of a guest's unit. Every name of a guest is one of a unit as it stands (systemd.unit(5)).
pub fn name(guest: &GuestName) -> String {
    format!("guest-{guest}.service")
}

/// The guest's unit that a cgroup lies in, by its path below the hierarchy's root.
pub fn of_cgroup(path: &Path) -> Option<&str> {
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    parts.find(|part| *part == SLICE)?;
    parts.next().filter(|part| part.starts_with("guest-") && part.ends_with(".service"))
}

/// The cgroup of the guest's unit that a cgroup lies in.
pub fn cgroup_of(path: &Path) -> Option<&Path> {
    path.ancestors().take_while(|path| of_cgroup(path).is_some()).last()
}

/// Properties of `StartTransientUnit`.
pub type Properties = Vec<(String, OwnedVariant)>;

/// Everything that systemd is to know; `mounts` are those that the guest's files lie on. All of it is understood by systemd 252 and newer: a single unknown property
/// would refuse the whole unit.
///
/// The program is the unit's main process for as long as the guest runs. So PID 1 has one program less to fork and to wait
/// for, and no file to look for its number in; that the guest runs is seen by others.
///
/// # Errors
/// When a word holds a NUL, which the bus cannot carry.
pub fn properties(launch: &Launch, mounts: &BTreeSet<PathBuf>) -> zbus::Result<Properties> {
    let Launch { program, unit, .. } = launch;
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let output = if unit.console { "journal" } else { "null" };
    let online: &[&str] = if unit.network_online { &[ONLINE] } else { &[] };
    let mounts: Vec<String> = mounts.iter().map(|path| path.display().to_string()).collect();
    let values: Vec<(&str, Variant<'static>)> = vec![
        ("Description", unit.description.clone().into()),
        ("Documentation", texts(&["man:guestd(8)"]).into()),
        ("Slice", SLICE.into()),
        ("DefaultDependencies", false.into()),
        ("Conflicts", texts(&[SHUTDOWN]).into()),
        ("After", texts(&[&[TARGET], online].concat()).into()),
        ("Wants", texts(&[&[TARGET], online].concat()).into()),
        ("Before", texts(&BEFORE).into()),
        ("RequiresMountsFor", mounts.into()),
        ("CollectMode", "inactive-or-failed".into()),
        // Whether it could be executed shows at once, and costs PID 1 less than to wait for it.
        ("Type", "simple".into()),
        // How a guest ends is told by its engine; to PID 1 any end is well.
        ("ExecStartEx", Variant::new(vec![verbatim(&program.argv, &["ignore-failure"])])),
        ("ExecStop", Variant::new(vec![command(&unit.stop, true)])),
        ("Environment", environment(program).into()),
        ("TimeoutStartUSec", micros(program.timeout).into()),
        ("TimeoutStopUSec", micros(unit.stop_timeout.saturating_add(GRACE)).into()),
        // LXC makes cgroups of its own in the unit's; only its monitor is asked to end, and the rest is killed.
        ("Delegate", true.into()),
        ("KillMode", "mixed".into()),
        // One process that used up the memory is the guest's own affair.
        ("OOMPolicy", "continue".into()),
        // LXC's words are in its log, and its console elsewhere.
        ("StandardOutput", output.into()),
        ("StandardError", output.into()),
    ];
    let mut owned = owned(values)?;
    if unit.console {
        owned.extend(console(&launch.guest)?);
    }
    // Said in any case: systemd's own default is made for services.
    let tasks = (Resource::TasksMax, Resource::TasksMax.usual());
    let resources: Resources = std::iter::once(tasks).chain(unit.resources.iter()).collect();
    owned.extend(limits(&resources).map(|(name, value)| (name.to_owned(), value.into())));
    Ok(owned)
}

/// Lines of a console are told as guestd tells those of LXC containers, and as many of them.
fn console(guest: &GuestName) -> zbus::Result<Properties> {
    let fields = [format!("GUEST={guest}"), "GUEST_CONSOLE=1".to_owned()].map(String::into_bytes).to_vec();
    owned(vec![
        ("SyslogIdentifier", format!("guest-{guest}").into()),
        ("LogExtraFields", fields.into()),
        ("LogRateLimitIntervalUSec", micros(CONSOLE_INTERVAL).into()),
        ("LogRateLimitBurst", CONSOLE_LINES.into()),
    ])
}

/// Properties as they are sent.
pub(super) fn owned(values: Vec<(&str, Variant<'static>)>) -> zbus::Result<Properties> {
    values.into_iter().map(|(name, value)| Ok((name.to_owned(), value.try_into_owned()?))).collect()
}

/// Resources as properties of a unit, each of type `t`.
pub fn limits(resources: &Resources) -> impl Iterator<Item = (&'static str, u64)> {
    resources.iter().map(|(resource, amount)| (property(resource), number(amount)))
}

fn property(resource: Resource) -> &'static str {
    match resource {
        Resource::CpuQuota => "CPUQuotaPerSecUSec",
        other => other.key(),
    }
}

fn number(amount: Amount) -> u64 {
    match amount {
        Amount::Infinity => u64::MAX,
        Amount::Bytes(number) | Amount::Number(number) => number,
        // Microseconds of a second.
        Amount::Processor(hundredths) => u64::from(hundredths) * 100,
        Amount::Idle => 0,
    }
}

/// A command line: the program, all words with it first, and whether its failure is ignored.
fn command(argv: &[OsString], ignore_failure: bool) -> (String, Vec<String>, bool) {
    let words: Vec<String> = argv.iter().map(|word| text(word)).collect();
    (words.first().cloned().unwrap_or_default(), words, ignore_failure)
}

/// A command line whose words are taken as they stand, with more flags of systemd's (`ExecStartEx`).
pub(super) fn verbatim(argv: &[OsString], flags: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let (program, words, _) = command(argv, false);
    (program, words, [flags, &["no-env-expand"]].concat().into_iter().map(str::to_owned).collect())
}

pub(super) fn environment(program: &Program) -> Vec<String> {
    program.environment.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect()
}

fn text(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_recognised_by_their_cgroup() {
        for (path, unit) in [
            ("/machine.slice/guest-web.service/lxc.payload.web", Some("guest-web.service")),
            ("machine.slice/guest-a.b-c.service", Some("guest-a.b-c.service")),
            ("machine.slice/machine-web.scope", None),
            ("system.slice/guest-web.service", None),
            ("lxc.payload.web", None),
        ] {
            assert_eq!(of_cgroup(Path::new(path)), unit, "{path}");
            let own = cgroup_of(Path::new(path)).and_then(|path| path.file_name()?.to_str());
            assert_eq!(own, unit, "{path}");
        }
        assert_eq!(name(&GuestName::new("a.b-c").unwrap()), "guest-a.b-c.service");
    }

    #[test]
    fn a_command_line_names_its_program_twice() {
        let argv = ["/usr/bin/lxc-start", "-n", "web"].map(OsString::from);
        let words = argv.iter().map(|word| word.to_str().unwrap().to_owned()).collect();
        assert_eq!(command(&argv, true), ("/usr/bin/lxc-start".into(), words, true));
    }

    fn launch(unit: Unit) -> Launch {
        let program = Program { argv: Vec::new(), environment: Vec::new(), timeout: Duration::ZERO };
        Launch { guest: GuestName::new("web").unwrap(), program, unit }
    }

    fn tasks_and_memory(resources: Resources) -> Vec<(String, OwnedVariant)> {
        let mut all = properties(&launch(Unit { resources, ..Unit::default() }), &BTreeSet::new()).unwrap();
        all.retain(|(name, _)| name == "TasksMax" || name.starts_with("Memory"));
        all
    }

    #[test]
    fn tasks_are_always_bounded_and_the_rest_as_the_settings_say() {
        let said = |name: &str, number: u64| (name.to_owned(), OwnedVariant::from(number));
        assert_eq!(tasks_and_memory(Resources::default()), [said("TasksMax", 16384)]);
        let resources =
            [(Resource::TasksMax, Amount::Infinity), (Resource::MemoryMax, Amount::Bytes(512 << 20))];
        let expected = [said("MemoryMax", 512 << 20), said("TasksMax", u64::MAX)];
        assert_eq!(tasks_and_memory(resources.into_iter().collect()), expected);
    }

    #[test]
    fn the_network_is_wanted_by_those_who_ask() {
        let texts = |network_online, key: &str| {
            let unit = Unit { network_online, ..Unit::default() };
            let all = properties(&launch(unit), &BTreeSet::new())
                .unwrap()
                .into_iter()
                .find(|(name, _)| name == key)
                .unwrap();
            Vec::<String>::try_from(all.1).unwrap()
        };
        for key in ["After", "Wants"] {
            assert_eq!(texts(true, key), [TARGET, ONLINE]);
            assert_eq!(texts(false, key), [TARGET]);
        }
    }

    #[test]
    fn amounts_are_numbers_of_the_bus() {
        let resources: Resources = [
            (Resource::CpuWeight, Amount::Idle),
            (Resource::CpuQuota, Amount::Processor(5000)),
            (Resource::IoWeight, Amount::Number(200)),
        ]
        .into_iter()
        .collect();
        let expected = [("CPUWeight", 0), ("CPUQuotaPerSecUSec", 500_000), ("IOWeight", 200)];
        assert_eq!(limits(&resources).collect::<Vec<_>>(), expected);
    }
}
