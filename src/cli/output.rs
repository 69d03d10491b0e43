//! Standard output and standard error, written so that a closed pipe is no accident.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{error::Error, render::plain};

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

/// Tells something on standard error, under the program's name. Nobody is left to complain to if that fails.
pub fn tell(program: &str, message: &str) {
    let _ = writeln!(io::stderr().lock(), "{program}: {}", plain(message));
}

/// Writes text to standard error as it is.
pub fn tell_whole(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
