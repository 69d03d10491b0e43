//! What guests write on their consoles, on its way into the journal: as entries of their own, not of guestd.

use std::{fmt::Debug, io, os::unix::net::UnixDatagram};

use tracing::{Event, Subscriber, field::Field, field::Visit};
use tracing_subscriber::{Layer, layer::Context};

/// Where journald takes entries (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Writes events as they are, all at level "info". The layer of `tracing-journald` says of each that guestd says it.
#[derive(Debug)]
pub struct Console(UnixDatagram);

impl Console {
    /// Makes the way.
    ///
    /// # Errors
    /// When there can be no socket.
    pub fn new() -> io::Result<Self> {
        UnixDatagram::unbound().map(Self)
    }
}

impl<S: Subscriber> Layer<S> for Console {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry("PRIORITY=6\n".to_owned());
        event.record(&mut entry);
        // Nobody is left to tell that nobody can be told.
        let _ = self.0.send_to(entry.0.as_bytes(), JOURNAL);
    }
}

/// An entry: a line for each field. No value has more than one line.
struct Entry(String);

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = value.replace('\n', " ");
        self.0 += &format!("{}={value}\n", field.name().to_ascii_uppercase());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
