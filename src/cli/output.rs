//! Standard output and standard error, written so that a closed pipe is no accident.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{
    error::Error,
    render::{Style, plain},
};

/// Writes to standard output. A reader that has left (`guestctl list | head`) is no error.
///
/// # Errors
/// [`Error::Output`].
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output { source }),
        _ => Ok(()),
    }
}

/// Writes JSON to standard output: on one line, or indented on a terminal.
///
/// # Errors
/// [`Error::Output`].
pub fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = match io::stdout().is_terminal() {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    let text = text.map_err(|error| Error::Output { source: error.into() })?;
    print(&format!("{text}\n"))
}

/// Prints what clap has to say in place of a parsed command line: help goes to standard output, what is wrong to
/// standard error.
///
/// # Errors
/// [`Error::Output`].
pub fn print_said(said: &clap::Error) -> Result<(), Error> {
    let (text, to_stderr) = (said.render(), said.use_stderr());
    let coloured = if to_stderr { Style::colours(&io::stderr()) } else { Style::colours(&io::stdout()) };
    let text = if coloured { text.ansi().to_string() } else { text.to_string() };
    match to_stderr {
        true => tell_whole(&text),
        false => print(&text)?,
    }
    Ok(())
}

/// Tells something on standard error, under the program's name.
pub fn tell(program: &str, message: &str) {
    tell_whole(&format!("{program}: {}\n", plain(message)));
}

/// Writes text to standard error as it is, at once: others may write there too, and lines stay whole. Nobody is left to
/// complain to if that fails.
pub fn tell_whole(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
