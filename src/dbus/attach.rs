//! What `Attach` and `Usage` carry.

use std::{collections::HashMap, os::fd};

use zbus::OwnedFd;

use super::{
    errors::Error,
    options::{Options, boolean, invalid, string, unknown},
};
use crate::{
    daemon::handle::{SessionEnd, SessionWish},
    model::{GuestName, Usage},
};

/// The most words of a command, and the most bytes of all of them: far below what the kernel takes (execve(2)).
const WORDS_MAX: usize = 1024;
const BYTES_MAX: usize = 64 * 1024;
/// The longest name of a kind of terminal.
const TERM_MAX: usize = 64;

/// What `Attach` is asked for.
#[derive(Debug)]
pub struct AttachRequest {
    command: Vec<String>,
    console: bool,
    term: Option<String>,
    stdio: [fd::OwnedFd; 3],
}

impl AttachRequest {
    /// Reads the arguments of `Attach`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the argument or option that cannot be used.
    pub fn parse(command: Vec<String>, options: &Options, stdio: Vec<OwnedFd>) -> Result<Self, Error> {
        let (words, bytes) = (command.len(), command.iter().map(String::len).sum::<usize>());
        if words > WORDS_MAX || bytes > BYTES_MAX {
            return Err(invalid(format!(
                "argument \"command\" has {words} words with {bytes} bytes; at most {WORDS_MAX} with {BYTES_MAX} are taken"
            )));
        }
        if command.first().is_some_and(String::is_empty) {
            return Err(invalid("argument \"command\" names no program".into()));
        }
        let (mut console, mut term) = (false, None);
        for (key, value) in options {
            match key.as_str() {
                "console" => console = boolean(key, value)?,
                "term" => term = Some(terminal(string(key, value)?)?),
                _ => return Err(unknown(key, "console and term")),
            }
        }
        if console && words > 0 {
            return Err(invalid("option \"console\" cannot be used with argument \"command\"".into()));
        }
        let count = stdio.len();
        let stdio: Vec<fd::OwnedFd> = stdio.into_iter().map(Into::into).collect();
        let stdio = stdio.try_into().map_err(|_| {
            invalid(format!(
                "argument \"stdio\" must have input, output and errors; it has {count} descriptors"
            ))
        })?;
        Ok(Self { command, console, term, stdio })
    }

    /// The same in this guest, as this user's wish.
    pub fn by(self, guest: GuestName, uid: u32) -> SessionWish {
        let Self { command, console, term, stdio } = self;
        SessionWish { guest, console, command, term, uid, stdio }
    }
}

/// The name of a kind of terminal (term(7)).
fn terminal(text: &str) -> Result<String, Error> {
    let is_usual = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    if text.is_empty() || text.len() > TERM_MAX || !text.chars().all(is_usual) {
        return Err(invalid(format!(
            "option \"term\" must be at most {TERM_MAX} letters, digits, '+', '-', '.' and '_'"
        )));
    }
    Ok(text.to_owned())
}

/// How a session ended, as a word and a number.
pub fn end(end: SessionEnd) -> (&'static str, i32) {
    match end {
        SessionEnd::Exited(status) => ("exited", status),
        SessionEnd::Killed(signal) => ("killed", signal),
    }
}

/// What a guest uses, by what it is.
pub type Numbers = HashMap<&'static str, zbus::OwnedVariant>;

/// What a guest uses: what the kernel does not count is left out.
pub fn numbers(usage: &Usage) -> Numbers {
    let cpu = usage.cpu.map(super::value::micros);
    let all = [
        ("memory", usage.memory),
        ("memory-limit", usage.memory_limit),
        ("cpu", cpu),
        ("tasks", usage.tasks),
    ];
    all.into_iter().filter_map(|(key, number)| Some((key, number?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Duration};

    use zbus::Variant;

    use super::*;

    fn streams(count: usize) -> Vec<OwnedFd> {
        let null = || fd::OwnedFd::from(File::open("/dev/null").unwrap());
        (0..count).map(|_| OwnedFd::from(null())).collect()
    }

    fn refused(command: &[&str], options: &[(&str, Variant<'static>)], count: usize) -> String {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.try_to_owned().unwrap()));
        AttachRequest::parse(command, &options.collect(), streams(count)).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let long = "x".repeat(BYTES_MAX);
        for (said, part) in [
            (refused(&["a", &long], &[], 3), "\"command\" has 2 words with 65537 bytes"),
            (refused(&["a"; WORDS_MAX + 1], &[], 3), "\"command\" has 1025 words"),
            (refused(&[""], &[], 3), "\"command\" names no program"),
            (refused(&[], &[("tty", true.into())], 3), "\"tty\" is unknown; known: console and term"),
            (refused(&[], &[("term", "x y".into())], 3), "\"term\" must be at most 64 letters"),
            (refused(&["a"], &[("console", true.into())], 3), "\"console\" cannot be used with"),
            (refused(&[], &[], 2), "\"stdio\" must have input, output and errors; it has 2"),
        ] {
            assert!(said.contains(part), "{said}");
        }
        let options = [("term".to_owned(), Variant::from("screen.xterm-256color").try_into().unwrap())];
        let request = AttachRequest::parse(vec!["a".into()], &options.into(), streams(3)).unwrap();
        assert_eq!(request.term.as_deref(), Some("screen.xterm-256color"));
    }

    #[test]
    fn what_is_not_counted_is_not_told() {
        let usage = Usage { memory: Some(1), cpu: Some(Duration::from_millis(2)), ..Usage::default() };
        let mut told: Vec<_> =
            numbers(&usage).into_iter().map(|(key, value)| (key, u64::try_from(value))).collect();
        told.sort_by_key(|(key, _)| *key);
        assert_eq!(told, [("cpu", Ok(2000)), ("memory", Ok(1))]);
    }
}
