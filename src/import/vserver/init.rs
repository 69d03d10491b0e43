//! `apps/init`: what is process 1, how it is asked to stop, and what is done before.

use crate::{
    import::findings::{nearest, source},
    model::{
        Deed, Place, Step,
        end::signal_number,
        native::{Init, InitProgram},
    },
};

use super::{number, reading::Reading, tree::Line};

/// The most arguments of a command.
const ARGUMENTS: usize = 64;

/// How a guest is started and stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Sysv,
    Plain,
    Minit,
    Openrc,
    Arch,
}

impl Style {
    const WORDS: [(&str, Self); 6] = [
        ("sysv", Self::Sysv),
        ("plain", Self::Plain),
        ("minit", Self::Minit),
        ("gentoo", Self::Openrc),
        ("openrc", Self::Openrc),
        ("arch", Self::Arch),
    ];

    /// Whether its process 1 is an init that is asked to stop by a signal.
    const fn has_init(self) -> bool {
        matches!(self, Self::Plain | Self::Minit)
    }
}

/// What `apps/init` says.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) init: Init,
    pub(super) environment: Vec<(String, String)>,
    /// Before the init, on the host.
    pub(super) prepare: Vec<Step>,
    /// When the init runs, before other scripts.
    pub(super) started: Vec<Step>,
    /// What asks it to stop.
    pub(super) stop: Vec<Step>,
    /// Whether it then ends by itself, which takes time.
    pub(super) ends_by_itself: bool,
    /// Signals and seconds, for what is left then.
    pub(super) killseq: Vec<(i32, u64)>,
}

/// Reads it; none where nobody knows how to start the guest.
pub(super) fn read(reading: &mut Reading<'_>) -> Option<Said> {
    let style = style(reading)?;
    let levels = [level(reading, "start"), level(reading, "stop")];
    let start = command(reading, "start").unwrap_or_else(|| start(style, levels[0].as_deref()));
    let said_stop = command(reading, "stop");
    if style.has_init() && said_stop.is_some() {
        let origin = reading.guest.origin("apps/init/cmd.stop");
        reading.warning(&origin, || {
            "this has no effect with the styles plain and minit, whose init is asked by SIGINT; remove it"
                .into()
        });
    }
    let stop = said_stop.unwrap_or_else(|| stop(style, levels[1].as_deref(), levels[0].as_deref()));
    let mut environment = environment(reading);
    if style == Style::Sysv {
        // Required by Debian's scripts.
        let level = levels[0].clone().unwrap_or_else(|| "3".to_owned());
        environment.extend([("PREVLEVEL".to_owned(), "N".to_owned()), ("RUNLEVEL".to_owned(), level)]);
    }
    let (started, stopped) = syncs(reading);
    let mut steps = vec![ask(style, &stop)];
    steps.extend(stopped);
    let has_init = style.has_init();
    let init = Init {
        program: if has_init { InitProgram::Exec(start) } else { InitProgram::Once(start) },
        halt_signal: has_init.then_some(2),
        halt_command: (!has_init).then_some(stop),
        reboot_signal: has_init.then_some(2),
        ..Init::default()
    };
    Some(Said {
        init,
        environment,
        prepare: prepare(reading, style),
        started,
        stop: steps,
        ends_by_itself: has_init,
        killseq: killseq(reading),
    })
}

fn style(reading: &mut Reading<'_>) -> Option<Style> {
    let Some(line) = reading.scalar("apps/init/style") else { return Some(Style::Sysv) };
    let known = Style::WORDS.iter().find(|(word, _)| *word == line.text).map(|(_, style)| *style);
    if known.is_none() {
        let near = nearest(&line.text, Style::WORDS.map(|(word, _)| word));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        reading.error(&line.origin, || {
            format!(
                "\"{}\" is not a style of init{hint}; the guest is refused; write sysv, plain, minit, gentoo, openrc or \
                 arch",
                source(&line.text)
            )
        });
    }
    known
}

/// A runlevel: one word.
fn level(reading: &mut Reading<'_>, which: &str) -> Option<String> {
    let word = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (text.len() <= 32 && !text.starts_with('-') && text.bytes().all(plain)).then(|| text.to_owned())
    };
    const WANTED: &str = "a runlevel, such as 3 or default";
    let said = reading.value(&format!("apps/init/runlevel.{which}"), WANTED, word);
    let old = if which == "start" { reading.value("apps/init/runlevel", WANTED, word) } else { None };
    said.or(old).map(|level| level.value)
}

/// The arguments of a command, one a line.
fn command(reading: &mut Reading<'_>, which: &str) -> Option<Vec<String>> {
    let lines = reading.lines(&format!("apps/init/cmd.{which}"));
    let first = lines.first()?;
    if !first.text.starts_with('/') {
        reading.error(&first.origin, || {
            format!(
                "\"{}\" is not an absolute path; the command is ignored, write it in full",
                source(&first.text)
            )
        });
        return None;
    }
    if lines.len() > ARGUMENTS || lines.iter().any(|line| line.text.contains('\0')) {
        reading.error(&first.origin, || {
            format!("a command has at most {ARGUMENTS} arguments, and none has NUL characters; it is ignored")
        });
        return None;
    }
    Some(lines.into_iter().map(|line: Line| line.text).collect())
}

/// Runs the first of some programs that is there: which one a guest has shows when its root is mounted.
fn first_of(programs: &str, set: &str, arguments: &[&str]) -> Vec<String> {
    let script = format!(
        "{set}for i in {programs}; do [ ! -x \"$i\" ] || exec \"$i\" \"$@\"; done; \
         echo \"none of these is there: {programs}\" >&2; exit 127"
    );
    let words = ["/bin/sh", "-c", &script, "sh"].into_iter().chain(arguments.iter().copied());
    words.map(str::to_owned).collect()
}

const SYSV: &str = "/etc/init.d/rc /etc/rc.d/rc";

fn start(style: Style, level: Option<&str>) -> Vec<String> {
    let plain = |words: &[&str]| words.iter().copied().chain(level).map(str::to_owned).collect();
    match style {
        Style::Sysv => first_of(SYSV, "", &[level.unwrap_or("3")]),
        Style::Plain => plain(&["/sbin/init"]),
        Style::Minit => plain(&["/sbin/minit-start"]),
        Style::Openrc => first_of(
            "/lib/rcscripts/sh/init-vserver.sh /lib/rc/sh/init-vserver.sh /sbin/openrc /sbin/rc",
            "",
            &[level.unwrap_or("default")],
        ),
        Style::Arch => vec!["/etc/rc.multi".to_owned()],
    }
}

fn stop(style: Style, level: Option<&str>, from: Option<&str>) -> Vec<String> {
    match style {
        Style::Sysv => {
            let (level, from) = (level.unwrap_or("6"), from.unwrap_or("3"));
            first_of(SYSV, &format!("export PREVLEVEL={from} RUNLEVEL={level}; "), &[level])
        }
        Style::Openrc => {
            first_of("/sbin/openrc /sbin/rc", "export RUNLEVEL=0; ", &[level.unwrap_or("shutdown")])
        }
        Style::Arch => vec!["/etc/rc.shutdown".to_owned()],
        Style::Plain | Style::Minit => Vec::new(),
    }
}

/// The step that asks the guest to stop.
fn ask(style: Style, stop: &[String]) -> Step {
    let (name, what) = if style.has_init() {
        ("signal init", Deed::Signal(2))
    } else {
        ("cmd.stop", Deed::Inside { argv: stop.to_vec() })
    };
    Step { name: name.to_owned(), what, must_succeed: false }
}

/// What is done in the guest's root before its init.
fn prepare(reading: &mut Reading<'_>, style: Style) -> Vec<Step> {
    let step = |name: &str, what| Step { name: name.to_owned(), what, must_succeed: false };
    let path = str::to_owned;
    let mut steps = match style {
        Style::Sysv => vec![
            step("empty /var/run", Deed::Empty(path("/var/run"))),
            step("empty /var/lock", Deed::Empty(path("/var/lock"))),
        ],
        Style::Plain => vec![
            step("remove /.autofsck", Deed::Remove(path("/.autofsck"))),
            step("remove /forcefsck", Deed::Remove(path("/forcefsck"))),
            step("create /fastboot", Deed::Create(path("/fastboot"))),
        ],
        Style::Minit | Style::Openrc | Style::Arch => Vec::new(),
    };
    steps.extend(host(reading, "prepare", true));
    steps
}

/// A command of the host, in the guest's root.
fn host(reading: &mut Reading<'_>, which: &str, must_succeed: bool) -> Option<Step> {
    let argv = command(reading, which)?;
    let what = Deed::Run { argv, directory: Place::Root, success: Vec::new() };
    Some(Step { name: format!("cmd.{which}"), what, must_succeed })
}

/// The commands that wait, of which `sync` says whether they count.
fn syncs(reading: &mut Reading<'_>) -> (Vec<Step>, Vec<Step>) {
    if !reading.has("apps/init/sync") {
        for which in ["start-sync", "stop-sync"] {
            let path = format!("apps/init/cmd.{which}");
            if reading.has(&path) {
                reading.note(&reading.guest.origin(&path), || {
                    "this only counts where apps/init/sync is there; make that, or remove this".into()
                });
            }
        }
        return (Vec::new(), Vec::new());
    }
    let started = host(reading, "start-sync", true);
    (started.into_iter().collect(), host(reading, "stop-sync", false).into_iter().collect())
}

/// That of the guest, or of `.defaults`.
fn environment(reading: &mut Reading<'_>) -> Vec<(String, String)> {
    const FILE: &str = "apps/init/environment";
    let lines = if reading.has(FILE) { reading.lines(FILE) } else { reading.defaults.lines(FILE) };
    let mut all = Vec::new();
    for line in lines {
        let pair = line.text.split_once('=').filter(|(name, value)| {
            let is_start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            is_start
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !value.contains('\0')
        });
        match pair {
            Some((name, value)) if all.len() < 256 => all.push((name.to_owned(), value.to_owned())),
            Some(_) => {
                reading.error(&line.origin, || "there are more than 256 variables; remove some".into())
            }
            None => reading.wrong(&line, "NAME=VALUE, such as LANG=C.UTF-8"),
        }
    }
    all
}

/// Signal, seconds, signal and so on, each in a line of its own, or several in one.
fn killseq(reading: &mut Reading<'_>) -> Vec<(i32, u64)> {
    const WANTED: &str = "a signal and seconds by turns, such as 15, 5 and 9 in three lines";
    let usual = vec![(15, 5), (9, 0)];
    let lines = reading.lines("apps/init/killseq");
    let words: Vec<(&str, &Line)> = lines
        .iter()
        .flat_map(|line| line.text.split_ascii_whitespace().map(move |word| (word, line)))
        .collect();
    let mut sequence: Vec<(i32, u64)> = Vec::new();
    for pair in words.chunks(2).take(16) {
        let &[(signal, line), ..] = pair else { continue };
        let number = signal_number(signal).filter(|number| (1..=64).contains(number));
        let seconds = pair
            .get(1)
            .map_or(Some(0), |(word, _)| number::unsigned(word).filter(|seconds| *seconds <= 3600));
        let (Some(number), Some(seconds)) = (number, seconds) else {
            reading.wrong(line, WANTED);
            return usual;
        };
        sequence.push((number, seconds));
    }
    if sequence.is_empty() { usual } else { sequence }
}
