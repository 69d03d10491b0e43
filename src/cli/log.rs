//! `autostart -o FILE -l LEVEL`: a log of what was done.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::output::tell;

/// LXC's log priorities, ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Least.
    Trace,
    /// Details for developers.
    Debug,
    /// What was done.
    Info,
    /// Worth noticing.
    Notice,
    /// Perhaps not as meant.
    Warn,
    /// A guest failed.
    Error,
    /// As LXC names them; guestd logs nothing above an error.
    Crit,
    /// See `Crit`.
    Alert,
    /// See `Crit`.
    Fatal,
}

impl Priority {
    const ALL: [Self; 9] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warn,
        Self::Error,
        Self::Crit,
        Self::Alert,
        Self::Fatal,
    ];

    /// The word in the log and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Crit => "CRIT",
            Self::Alert => "ALERT",
            Self::Fatal => "FATAL",
        }
    }

    /// The priority that a word means, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str().eq_ignore_ascii_case(word))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The log could not be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {}: {source}", .path.display())]
pub struct LogError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// An open log, or none. What is logged is told elsewhere too, and has been done: a log that cannot be written any more
/// changes nothing of that.
#[derive(Debug)]
pub struct Log {
    file: Option<(PathBuf, File)>,
    least: Priority,
}

impl Log {
    /// Opens a log for appending, with the folders above it; no path, or `none`, logs nothing.
    ///
    /// # Errors
    /// [`LogError`] names the file.
    pub fn open(path: Option<&Path>, least: Priority) -> Result<Self, LogError> {
        let Some(path) = path.filter(|path| *path != Path::new("none")) else {
            return Ok(Self { file: None, least });
        };
        let error = |source| LogError { path: path.to_owned(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(error)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(error)?;
        Ok(Self { file: Some((path.to_owned(), file)), least })
    }

    /// Appends one line. When that fails, it is told on standard error, and nothing more is logged.
    pub fn write(&mut self, priority: Priority, message: &str) {
        let Some((path, file)) = self.file.as_mut().filter(|_| priority >= self.least) else { return };
        let line = line(SystemTime::now(), priority, message);
        if let Err(source) = file.write_all(line.as_bytes()) {
            tell("autostart", &LogError { path: path.clone(), source }.to_string());
            self.file = None;
        }
    }
}

fn line(at: SystemTime, priority: Priority, message: &str) -> String {
    format!("autostart {} {priority:<8} {message}\n", humantime::format_rfc3339_millis(at))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn priorities_are_read_in_any_case() {
        assert_eq!(Priority::parse("debug"), Some(Priority::Debug));
        assert_eq!(Priority::parse("WARN"), Some(Priority::Warn));
        assert_eq!(Priority::parse("loud"), None);
        assert!(Priority::Error > Priority::Info);
    }

    #[test]
    fn a_line_holds_time_priority_and_message() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!(
            line(at, Priority::Info, "web: done"),
            "autostart 2023-11-14T22:13:20.123Z INFO     web: done\n"
        );
    }

    #[test]
    fn the_log_is_appended_above_the_least_priority() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/log");
        for message in ["one", "two"] {
            let mut log = Log::open(Some(&path), Priority::Notice).unwrap();
            log.write(Priority::Info, "left out");
            log.write(Priority::Error, message);
        }
        let text = fs::read_to_string(&path).unwrap();
        let messages: Vec<_> = text.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(messages, ["one", "two"]);
    }

    #[test]
    fn none_is_no_log_and_a_bad_path_is_named() {
        let mut log = Log::open(Some(Path::new("none")), Priority::Trace).unwrap();
        log.write(Priority::Error, "nowhere");
        assert!(!Path::new("none").exists());
        let error = Log::open(Some(Path::new("/proc/none/log")), Priority::Info).unwrap_err();
        assert!(error.to_string().starts_with("cannot write the log /proc/none/log: "), "{error}");
    }
}
