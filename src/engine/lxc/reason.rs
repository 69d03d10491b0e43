//! Why a start failed, in LXC's own words: from its log and from what `lxc-start` said.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// The most that is read of a log, in bytes: from where it stood before the start.
const READ_MAX: u64 = 64 * 1024;
/// The longest reason, in characters.
const REASON_MAX: usize = 400;
/// What LXC says when it cannot read a configuration, or cannot use what it says. Seen with LXC 5.0.2.
const MISCONFIGURED: [&str; 3] =
    ["Failed to parse config file", "Failed to load config for", "Failed to read seccomp policy"];
/// What it says when it cannot use the root file system; the errors that came before say why.
const ROOTFS: [&str; 3] =
    ["Failed to handle rootfs pinning", "Failed to setup rootfs", "Failed to prepare rootfs storage"];
/// How many of LXC's messages make a reason: the first is the cause, the next ones say what it was part of.
const MESSAGES: usize = 2;

use crate::engine::ErrorKind;

/// What LXC says after every failure, whatever the cause.
const ALWAYS: [&str; 9] = [
    "An error occurred in another process",
    "Received container state",
    "Failed to receive the container state",
    "The container failed to start",
    "To get more details",
    "Additional information can be obtained",
    "Failed to spawn container",
    "Failed to create lxc_container",
    "Failed to initialize container",
];

/// Where LXC logs a start to.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Its length before the start.
    from: u64,
    /// Made for this one start, and removed after it.
    own: bool,
}

impl Log {
    /// The container's own log (`lxc.log.file`), which keeps what earlier starts wrote.
    pub(super) fn of_container(path: &Path) -> Self {
        let from = path.metadata().map_or(0, |metadata| metadata.len());
        Self { path: path.to_owned(), from, own: false }
    }

    /// A log for this start alone. Without one LXC would keep its reasons to itself.
    pub(super) fn of_start(path: PathBuf) -> Self {
        Self { path, from: 0, own: true }
    }

    /// What `lxc-start` has to be told of it.
    pub(super) fn option(&self) -> Option<&Path> {
        self.own.then_some(&self.path)
    }

    fn read(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        // Rotated meanwhile: all of it is new.
        let from = if file.metadata()?.len() < self.from { 0 } else { self.from };
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(READ_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The reason why the start failed; none when LXC gave none.
    pub(super) fn reason(&self, stderr: &str) -> Option<String> {
        reason(&self.read().unwrap_or_default(), stderr)
    }

    /// What kind of failure that was, and the reason.
    pub(super) fn failure(&self, stderr: &str) -> (ErrorKind, Option<String>) {
        let log = self.read().unwrap_or_default();
        let trouble = Trouble::told(&log, stderr);
        let reason = reason(&log, stderr).map(|reason| match trouble.words() {
            "" => reason,
            words => bounded(&format!("{words}: {reason}")),
        });
        (trouble.kind(), reason)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.own {
            // LXC makes it when it has something to say, or never.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What trying again would not change, as far as LXC's messages tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Configuration,
    RootfsUnusable,
    RootfsMissing,
    /// It may go by, for all that is known.
    Other,
}

impl Trouble {
    fn told(log: &str, stderr: &str) -> Self {
        let messages =
            log.lines().filter_map(message_of_log).chain(stderr.lines().filter_map(message_of_stderr));
        let messages: Vec<&str> = messages.filter(|message| !is_always_said(message)).collect();
        let says =
            |words: &[&str]| messages.iter().any(|message| words.iter().any(|words| message.contains(words)));
        if says(&MISCONFIGURED) {
            return Self::Configuration;
        }
        if !says(&ROOTFS) {
            return Self::Other;
        }
        let errors = messages.iter().filter_map(|message| Some(message.split_once(" - ")?.0));
        let known = errors.map(|error| match error {
            "No such file or directory" => Self::RootfsMissing,
            // It is no folder, is no absolute path, or is of a type that LXC does not know.
            "Not a directory" | "Bad file descriptor" | "Invalid argument" => Self::RootfsUnusable,
            _ => Self::Other,
        });
        known.into_iter().find(|trouble| *trouble != Self::Other).unwrap_or(Self::Other)
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::Configuration | Self::RootfsUnusable => ErrorKind::Misconfigured,
            Self::RootfsMissing => ErrorKind::Missing,
            Self::Other => ErrorKind::Failed,
        }
    }

    /// What LXC's own words do not say clearly.
    fn words(self) -> &'static str {
        match self {
            Self::Configuration => "its configuration is wrong",
            Self::RootfsUnusable => "its root file system cannot be used",
            Self::RootfsMissing => "its root file system is not there",
            Self::Other => "",
        }
    }
}

/// The reason in what one of LXC's programs said.
pub(super) fn of_stderr(stderr: &str) -> Option<String> {
    reason("", stderr)
}

/// Picks the telling messages: from the log, else from standard error.
fn reason(log: &str, stderr: &str) -> Option<String> {
    let logged = log.lines().filter_map(message_of_log).collect::<Vec<_>>();
    let said = stderr.lines().filter_map(message_of_stderr).collect::<Vec<_>>();
    let telling = |messages: &[&str]| {
        let picked = messages.iter().copied().filter(|message| !is_always_said(message));
        picked.take(MESSAGES).map(str::to_owned).collect::<Vec<_>>()
    };
    let all = [telling(&logged), telling(&said)];
    let picked = all.into_iter().find(|picked| !picked.is_empty());
    let text = match picked {
        Some(picked) => picked.join("; "),
        None => logged.first().or(said.first()).map(|message| (*message).to_owned())?,
    };
    Some(bounded(&text))
}

/// `lxc-start NAME DATE ERROR    PART - FILE:FUNCTION:LINE - MESSAGE`; other levels are not reasons.
fn message_of_log(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once(" - ")?;
    head.split_ascii_whitespace()
        .any(|word| matches!(word, "ERROR" | "CRIT" | "FATAL" | "ALERT"))
        .then_some(())?;
    rest.split_once(" - ").map(|(_, message)| message.trim())
}

/// `lxc-start: NAME: FILE: FUNCTION: LINE MESSAGE`, or a line in another form, taken whole.
fn message_of_stderr(line: &str) -> Option<&str> {
    let line = line.trim();
    let mut parts = line.splitn(5, ": ");
    let message = match (parts.next(), parts.nth(2), parts.next()) {
        (Some(program), Some(_), Some(rest)) if program.starts_with("lxc-") => rest
            .split_once(' ')
            .filter(|(number, _)| number.parse::<u32>().is_ok())
            .map_or(rest, |(_, text)| text),
        _ => line,
    };
    (!message.is_empty()).then_some(message)
}

fn is_always_said(message: &str) -> bool {
    // A message can begin with the error's text: "No such file or directory - Failed to …".
    ALWAYS.iter().any(|always| message.starts_with(always) || message.contains(&format!(" - {always}")))
}

fn bounded(text: &str) -> String {
    let mut out: String =
        text.chars().take(REASON_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(REASON_MAX).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOK: &str = "\
lxc-start f1 20261121032650.685 ERROR    conf - ../src/lxc/conf.c:run_buffer:322 - Script exited with status 1
lxc-start f1 20261121032650.685 WARN     conf - ../src/lxc/conf.c:run_buffer:9 - no matter
lxc-start f1 20261121032650.685 ERROR    start - ../src/lxc/start.c:lxc_init:844 - Failed to run lxc.hook.pre-start for container \"f1\"
lxc-start f1 20261121032650.685 ERROR    start - ../src/lxc/start.c:__lxc_start:2027 - Failed to initialize container \"f1\"
lxc-start f1 20261121032650.685 ERROR    lxccontainer - ../src/lxc/lxccontainer.c:wait_on_daemonized_start:870 - No such file or directory - Failed to receive the container state
";

    #[test]
    fn the_cause_comes_first_and_the_refrain_not_at_all() {
        assert_eq!(
            reason(HOOK, "lxc-start: f1: a.c: main: 306 The container failed to start").unwrap(),
            "Script exited with status 1; Failed to run lxc.hook.pre-start for container \"f1\""
        );
        let log = "lxc-start f 1 ERROR    start - s.c:start:2197 - No such file or directory - Failed to exec \"/nope\"\n";
        assert_eq!(reason(log, "").unwrap(), "No such file or directory - Failed to exec \"/nope\"");
    }

    #[test]
    fn without_a_log_standard_error_has_to_do() {
        let stderr = "lxc-start: f3: ../src/confile.c: set: 164 Invalid argument - Unsupported config key \"lxc.x: y\"\n\
            Failed to load config for f3\n";
        assert_eq!(
            reason("", stderr).unwrap(),
            "Invalid argument - Unsupported config key \"lxc.x: y\"; Failed to load config for f3"
        );
        assert_eq!(
            reason("", "lxc-start: c: l.c: main: 306 The container failed to start").unwrap(),
            "The container failed to start"
        );
        assert_eq!(reason("", " \n"), None);
        let flood = reason("", &"x\u{1b}".repeat(5000)).unwrap();
        assert!(flood.chars().count() <= REASON_MAX + 1 && !flood.contains('\u{1b}'), "{flood}");
    }

    /// LXC's messages of a start as its log has them, and what they tell of.
    #[rustfmt::skip]
    const TROUBLES: [(&[&str], Trouble); 9] = [
        (&["Invalid network type x", "Failed to parse config file \"/c\" at line \"x\""], Trouble::Configuration),
        (&["No such file or directory - Failed to open seccomp policy file /s", "Failed to read seccomp policy"], Trouble::Configuration),
        (&["No such file or directory - Failed to open \"/r\"", "Failed to handle rootfs pinning for container \"f\""], Trouble::RootfsMissing),
        (&["No such file or directory - Failed to mount \"/r\" on \"/m\"", "Failed to setup rootfs"], Trouble::RootfsMissing),
        (&["Failed to mount rootfs \"/r\"", "Invalid argument - Failed to prepare rootfs storage"], Trouble::RootfsUnusable),
        (&["Not a directory - Failed to open \"/r\"", "Failed to setup rootfs"], Trouble::RootfsUnusable),
        (&["Input/output error - Failed to mount \"/r\"", "Failed to setup rootfs"], Trouble::Other),
        (&["No such file or directory - Failed to exec \"/i\""], Trouble::Other),
        (&["No such file or directory - Failed to attach \"v\" to bridge \"b\"", "Failed to create the network"], Trouble::Other),
    ];

    #[test]
    fn what_would_fail_again_and_again_is_known() {
        let line = |message: &&str| format!("lxc-start f 1 ERROR    conf - c.c:f:1 - {message}\n");
        for (messages, trouble) in TROUBLES {
            let after = "No such file or directory - Failed to receive the container state";
            let log: String = messages.iter().chain(&[after]).map(line).collect();
            assert_eq!(Trouble::told(&log, ""), trouble, "{messages:?}");
        }
        assert_eq!(Trouble::told(HOOK, ""), Trouble::Other);
        assert_eq!(Trouble::told("", "Failed to load config for f3\n"), Trouble::Configuration);
    }

    #[test]
    fn only_what_this_start_wrote_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.log");
        std::fs::write(&path, HOOK).unwrap();
        let log = Log::of_container(&path);
        assert_eq!(log.reason(""), None);
        let more = "lxc-start f 1 ERROR    start - s.c:start:1 - it is new\n";
        std::fs::write(&path, format!("{HOOK}{more}")).unwrap();
        assert_eq!(log.reason("").unwrap(), "it is new");
        std::fs::write(&path, more).unwrap();
        assert_eq!(log.reason("").unwrap(), "it is new");
        drop(log);
        assert!(path.exists());
        drop(Log::of_start(path.clone()));
        assert!(!path.exists());
    }
}
