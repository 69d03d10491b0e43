//! A native guest's first process, and what it is told of itself.

use std::collections::BTreeMap;

use crate::{
    import::{
        Effective, LIST_MAX, Sourced, hook,
        layer::{list, or, quoted, row, take},
        toml::{Document, Field},
        value,
    },
    model::{
        Diagnostic,
        end::{SignalName, signal_number},
        native::{Init, InitProgram},
    },
};

/// The keys.
pub(super) const KEYS: [&str; 9] = [
    "init",
    "halt-signal",
    "halt-command",
    "reboot-signal",
    "directory",
    "user",
    "environment",
    "hostname",
    "domainname",
];

/// User and group, and further groups.
pub type User = (u32, u32, Vec<u32>);

/// What one source says of the init.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InitLayer {
    /// `init`.
    pub program: Option<Sourced<Vec<String>>>,
    /// `halt-signal`.
    pub halt_signal: Option<Sourced<i32>>,
    /// `halt-command`.
    pub halt_command: Option<Sourced<Vec<String>>>,
    /// `reboot-signal`.
    pub reboot_signal: Option<Sourced<i32>>,
    /// `directory`.
    pub directory: Option<Sourced<String>>,
    /// `user`.
    pub user: Option<Sourced<User>>,
    /// `[environment]`.
    pub environment: BTreeMap<String, Sourced<String>>,
    /// `hostname`.
    pub hostname: Option<Sourced<String>>,
    /// `domainname`.
    pub domainname: Option<Sourced<String>>,
}

impl InitLayer {
    /// Reads one of the [`KEYS`].
    pub(super) fn read<'t>(&mut self, document: &mut Document<'t>, field: &Field<'_, 't>) {
        const HOST: &str = "a name of letters, digits, \"-\", \"_\" and \".\", at most 64 characters";
        match field.key {
            "init" => self.program = command(document, field, "[\"/sbin/init\"]"),
            "halt-signal" => self.halt_signal = signal(document, field, "\"SIGRTMIN+3\""),
            "halt-command" => self.halt_command = command(document, field, "[\"/sbin/poweroff\"]"),
            "reboot-signal" => self.reboot_signal = signal(document, field, "\"SIGINT\""),
            "directory" => {
                const WANTED: &str = "an absolute path inside the guest, without \"..\"";
                self.directory = document.text(field, WANTED, "\"/\"", inside);
            }
            "user" => {
                const WANTED: &str = "the numbers of a user and a group, such as \"1000:1000\", perhaps with further groups behind \
                     commas";
                self.user = document.text(field, WANTED, "\"0:0\"", user);
            }
            "environment" => self.environment(document, field),
            "hostname" => self.hostname = document.text(field, HOST, "\"web\"", own_name),
            _ => self.domainname = document.text(field, HOST, "\"example.org\"", own_name),
        }
    }

    fn environment<'t>(&mut self, document: &mut Document<'t>, section: &Field<'_, 't>) {
        document.section(section, |document, field| {
            if !is_variable(field.key) {
                document.error(field, || format!("{} is no name of a variable: {VARIABLE}", field.name()));
            } else if self.environment.len() >= LIST_MAX {
                document.error(field, || format!("there are more than {LIST_MAX} variables; remove some"));
            } else {
                const WANTED: &str = "a text without NUL characters";
                let text = |text: &str| (!text.contains('\0')).then(|| text.to_owned());
                let value = document.text(field, WANTED, "\"value\"", text);
                self.environment.extend(value.map(|value| (field.key.to_owned(), value)));
            }
        });
    }

    /// Lays another source over this one: what it says wins.
    pub(super) fn lay(&mut self, over: Self) {
        take(&mut self.program, over.program);
        take(&mut self.halt_signal, over.halt_signal);
        take(&mut self.halt_command, over.halt_command);
        take(&mut self.reboot_signal, over.reboot_signal);
        take(&mut self.directory, over.directory);
        take(&mut self.user, over.user);
        self.environment.extend(over.environment);
        take(&mut self.hostname, over.hostname);
        take(&mut self.domainname, over.domainname);
    }

    /// The setting, with the built-in defaults beneath.
    pub(super) fn settled(&self) -> Init {
        fn said<T: Clone>(written: &Option<Sourced<T>>) -> Option<T> {
            written.as_ref().map(|written| written.value.clone())
        }
        let usual = Init::default();
        Init {
            program: said(&self.program).map_or(usual.program, InitProgram::Exec),
            halt_signal: said(&self.halt_signal),
            halt_command: said(&self.halt_command),
            reboot_signal: said(&self.reboot_signal),
            directory: or(&self.directory, usual.directory),
            user: or(&self.user, usual.user),
        }
    }

    /// A signal that is never sent.
    pub(super) fn idle(&self) -> Option<Diagnostic> {
        let (signal, command) = (self.halt_signal.as_ref()?, self.halt_command.as_ref()?);
        let message = format!(
            "halt-signal has no effect beside halt-command ({}), which counts; remove one of them",
            command.origin
        );
        Some(Diagnostic::warning(signal.origin.clone(), message))
    }

    /// Every value in force; what is not written and has no one default is left out.
    pub(super) fn rows(&self) -> Vec<Effective> {
        let init = self.settled();
        let program = match &init.program {
            InitProgram::Exec(argv) | InitProgram::Once(argv) => list(argv),
        };
        let signal = |key, written: &Option<Sourced<i32>>| {
            written.as_ref().map(|signal| row(key, quoted(SignalName(signal.value)), Some(signal)))
        };
        let text = |key, written: &Option<Sourced<String>>| {
            written.as_ref().map(|text| row(key, quoted(&text.value), Some(text)))
        };
        let command = self.halt_command.as_ref();
        let mut rows = vec![row("init", program, &self.program)];
        rows.extend(signal("halt-signal", &self.halt_signal));
        rows.extend(command.map(|command| row("halt-command", list(&command.value), Some(command))));
        rows.extend(signal("reboot-signal", &self.reboot_signal));
        rows.push(row("directory", quoted(&init.directory), &self.directory));
        rows.push(row("user", quoted(shown(&init.user)), &self.user));
        rows.extend(text("hostname", &self.hostname));
        rows.extend(text("domainname", &self.domainname));
        rows.extend(self.environment.iter().map(|(name, value)| {
            let key = format!("environment.{name}");
            row(key, quoted(&value.value), Some(value))
        }));
        rows
    }
}

fn command<'t>(
    document: &mut Document<'t>,
    field: &Field<'_, 't>,
    example: &str,
) -> Option<Sourced<Vec<String>>> {
    let argv = hook::argv(document, field, example)?;
    Some(document.sourced(field, argv.into_words()))
}

fn signal<'t>(document: &mut Document<'t>, field: &Field<'_, 't>, example: &str) -> Option<Sourced<i32>> {
    const WANTED: &str = "a signal such as \"SIGTERM\", \"SIGRTMIN+3\" or 15";
    document.word(field, WANTED, example, |text| signal_number(text).filter(|_| !text.starts_with('+')))
}

/// An absolute path inside the guest.
pub(in crate::import) fn inside(text: &str) -> Option<String> {
    value::path(text)?.into_os_string().into_string().ok()
}

/// A name that a host can have.
pub(in crate::import) fn own_name(text: &str) -> Option<String> {
    value::is_own_name(text).then(|| text.to_owned())
}

fn user(text: &str) -> Option<User> {
    /// What the kernel takes for "leave it as it is".
    const NOBODY: u32 = u32::MAX;
    /// The kernel's NGROUPS_MAX is far more than anybody means.
    const MOST: usize = 64;
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse().ok()).flatten().filter(|number| *number != NOBODY)
    };
    let (user, groups) = text.split_once(':')?;
    let mut groups = groups.split(',').map(number);
    let group = groups.next()??;
    let further = groups.collect::<Option<Vec<u32>>>()?;
    (further.len() <= MOST).then_some((number(user)?, group, further))
}

fn shown((user, group, further): &User) -> String {
    let further: String = further.iter().map(|group| format!(",{group}")).collect();
    format!("{user}:{group}{further}")
}

/// What a variable is named.
pub(in crate::import) const VARIABLE: &str =
    "it has letters, digits, \"_\", \".\" and \"-\", and does not begin with a digit";

/// Whether a variable of the environment can be named so.
pub(in crate::import) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
