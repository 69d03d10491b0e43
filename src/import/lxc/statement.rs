//! What the lines of one file say, as types. A file is read to statements once, however many containers include it.

use crate::{
    import::{LIST_MAX, Text, findings::Findings},
    model::{
        GroupName,
        name::{clipped, shown},
    },
};

use super::{
    key::{self, Key, Standing},
    line, number,
    number::Signal,
};

/// One thing that a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// Read another file, or every `*.conf` of a folder, in this place.
    Include(Box<str>),
    /// `lxc.start.auto`.
    Auto(bool),
    /// `lxc.start.order`.
    Order(i32),
    /// `lxc.start.delay`, in seconds.
    Delay(u32),
    /// More groups; none when no name of them can be used.
    Groups(Vec<GroupName>),
    /// Forget the groups so far.
    NoGroups,
    /// `lxc.signal.halt`.
    Halt(Option<i32>),
    /// `lxc.signal.reboot`.
    Reboot(Option<i32>),
    /// `lxc.signal.stop`.
    Stop(Option<i32>),
    /// `lxc.hook.version`.
    HookVersion(u8),
    /// `lxc.ephemeral`.
    Ephemeral(bool),
    /// `lxc.rootfs.path`.
    Rootfs(Option<Box<str>>),
    /// `lxc.log.file`.
    LogFile(Option<Box<str>>),
    /// Something of the console.
    Console,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The container's own configuration.
    Own,
    /// An included file.
    Included,
}

/// Reads a file to statements, each with its line.
pub fn read(text: &Text, place: Place, findings: &mut Findings) -> Vec<(u32, Statement)> {
    let mut statements = Vec::new();
    let mut cgroup_noted = place == Place::Included;
    line::for_each(text, findings, |findings, number, key, value| {
        if let Some(key) = known(key, number, &mut cgroup_noted, findings)
            && let Some(statement) = statement(&Field { line: number, key, value }, findings)
        {
            statements.push((number, statement));
        }
    });
    statements
}

/// The key that guestd acts on, whatever its generation; findings for keys that LXC would refuse.
fn known(name: &str, line: u32, cgroup_noted: &mut bool, findings: &mut Findings) -> Option<Key> {
    match key::standing(name) {
        Standing::Current => Key::parse(name),
        Standing::CgroupV1 => {
            // What is included belongs to LXC or to the distribution, which keep it in step with LXC's version.
            if !std::mem::replace(cgroup_noted, true) {
                findings.note(line, || {
                    "LXC 7.0 and newer refuse a container with lxc.cgroup keys; write lxc.cgroup2 for the unified \
                     hierarchy"
                        .into()
                });
            }
            None
        }
        Standing::Renamed(new) => {
            findings.warning(line, || {
                format!(
                    "{} is the old name of {new}: LXC 3.0 and newer refuse the whole container; write {new} \
                     (lxc-update-config does it)",
                    shown(name)
                )
            });
            Key::parse(&new)
        }
        Standing::Dropped => {
            findings.warning(line, || {
                format!("{name} is gone: LXC 3.0 and newer refuse the whole container; remove the line")
            });
            None
        }
        Standing::Unknown => {
            findings.warning(line, || unknown(name));
            None
        }
    }
}

fn unknown(name: &str) -> String {
    let hint = key::nearest(name).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("unknown key {}: an LXC that does not know it refuses the whole container{hint}", shown(name))
}

/// The text of one assignment, for reading and for messages.
struct Field<'l> {
    line: u32,
    key: Key,
    value: &'l str,
}

impl Field<'_> {
    /// What comes of a value that is none of those allowed, as LXC 5.0 has it.
    fn consequence(&self) -> &'static str {
        let begins_with_digit = self.value.starts_with(|c: char| c.is_ascii_digit());
        match (self.key, number::unsigned(self.value)) {
            (Key::HookVersion, None) => "LXC leaves the line out",
            (Key::Halt | Key::Reboot | Key::Stop, Some(number))
                if begins_with_digit && i32::try_from(number).is_ok() =>
            {
                "LXC takes the number, and the kernel has no such signal"
            }
            _ => "LXC refuses the whole container",
        }
    }
}

fn key_name(key: Key) -> &'static str {
    match key {
        Key::Include => "lxc.include",
        Key::Auto => "lxc.start.auto",
        Key::Order => "lxc.start.order",
        Key::Delay => "lxc.start.delay",
        Key::Group => "lxc.group",
        Key::Halt => "lxc.signal.halt",
        Key::Reboot => "lxc.signal.reboot",
        Key::Stop => "lxc.signal.stop",
        Key::HookVersion => "lxc.hook.version",
        Key::Ephemeral => "lxc.ephemeral",
        Key::Rootfs => "lxc.rootfs.path",
        Key::LogFile => "lxc.log.file",
        Key::Console => "lxc.console",
    }
}

/// Reads a value. An empty one resets, as in LXC.
fn statement(field: &Field<'_>, findings: &mut Findings) -> Option<Statement> {
    let text = |value: &str| (!value.is_empty()).then(|| Box::from(value));
    let flag = |text: &str| number::unsigned(text).filter(|number| *number <= 1).map(|number| number == 1);
    let version = |text: &str| flag(text).map(u8::from);
    Some(match field.key {
        Key::Include => Statement::Include(text(field.value)?),
        Key::Auto => Statement::Auto(scalar(field, findings, "0 or 1", flag)?),
        Key::Order => {
            Statement::Order(scalar(field, findings, "a whole number such as 10 or -1", number::signed)?)
        }
        Key::Delay => {
            Statement::Delay(scalar(field, findings, "a whole number of seconds", number::unsigned)?)
        }
        Key::Group if field.value.is_empty() => Statement::NoGroups,
        Key::Group => Statement::Groups(groups(field, findings)?),
        Key::Halt => Statement::Halt(signal(field, findings)?),
        Key::Reboot => Statement::Reboot(signal(field, findings)?),
        Key::Stop => Statement::Stop(signal(field, findings)?),
        Key::HookVersion => Statement::HookVersion(scalar(field, findings, "0 or 1", version)?),
        Key::Ephemeral => Statement::Ephemeral(scalar(field, findings, "0 or 1", flag)?),
        Key::Rootfs => Statement::Rootfs(text(field.value)),
        Key::LogFile => Statement::LogFile(text(field.value)),
        // Also one that takes something back: its console is the affair of whoever wrote it.
        Key::Console => Statement::Console,
    })
}

/// Reads a value of one piece. Of one with a comment behind it the value itself is clear, and used, unless LXC goes on
/// without it.
fn scalar<T: Default>(
    field: &Field<'_>,
    findings: &mut Findings,
    wanted: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    if field.value.is_empty() {
        return Some(T::default());
    }
    if let Some(value) = read(field.value) {
        return Some(value);
    }
    let Field { line, key, value } = *field;
    let (name, consequence) = (key_name(key), field.consequence());
    let before_comment = value.split_once('#').and_then(|(value, _)| read(value.trim_end()));
    findings.error(line, || match before_comment {
        Some(_) => {
            format!("{name} is followed by a comment: {consequence}; put the comment on a line of its own")
        }
        None => format!(
            "{name} must be {wanted}, not \"{}\": {consequence}; mend the value or remove the line",
            shown(value)
        ),
    });
    before_comment.filter(|_| key != Key::HookVersion)
}

/// Reads a signal; none within is "not set".
fn signal(field: &Field<'_>, findings: &mut Findings) -> Option<Option<i32>> {
    const WANTED: &str = "a signal such as SIGPWR, SIGRTMIN+3 or 15";
    // A signal has no default of its own type: not set is what an empty value means.
    let read = |text: &str| number::signal(text).map(Some);
    Some(match scalar(field, findings, WANTED, read)? {
        None => None,
        Some(Signal::Number(number)) => number,
        Some(Signal::Misspelt(number)) => {
            findings.error(field.line, || {
                format!(
                    "{} is \"{}\", a spelling for which LXC refuses the whole container; write {}",
                    key_name(field.key),
                    shown(field.value),
                    crate::model::end::SignalName(number)
                )
            });
            Some(number)
        }
    })
}

/// Reads a list of groups: LXC's documentation has commas, LXC itself splits at blanks only. Nothing but blanks names
/// none, and takes none away.
fn groups(field: &Field<'_>, findings: &mut Findings) -> Option<Vec<GroupName>> {
    let Field { line, value, .. } = *field;
    if value.trim_matches([' ', '\t']).is_empty() {
        return None;
    }
    if value.contains(',') {
        findings.warning(line, || {
            format!(
                "lxc.group has a comma, which LXC takes as part of a name; here it separates; write \"{}\"",
                clipped(&words(value).collect::<Vec<_>>().join(" "), 200)
            )
        });
    }
    if words(value).any(|word| word.starts_with('#')) {
        findings.warning(line, || {
            "lxc.group has a \"#\", which begins no comment there: it and what follows are group names; put the \
             comment on a line of its own"
                .into()
        });
    }
    let mut groups = Vec::new();
    if words(value).nth(LIST_MAX).is_some() {
        findings.error(line, || format!("lxc.group names more than {LIST_MAX} groups; the rest is ignored"));
    }
    for word in words(value).take(LIST_MAX) {
        match GroupName::new(word) {
            Ok(group) => groups.push(group),
            Err(error) => {
                findings.error(line, || format!("a group of lxc.group is ignored: {error}; rename the group"))
            }
        }
    }
    Some(groups)
}

fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', '\t', ',']).filter(|word| !word.is_empty())
}
