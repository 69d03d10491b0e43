//! Where log lines go: to the journal when systemd runs the daemon, else to standard error.

use std::{
    fmt::{self, Debug},
    io,
};

use tracing::field::Field;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    EnvFilter, Layer, fmt::format::Writer, layer::SubscriberExt, util::SubscriberInitExt,
};

use super::queue::{Flush, Queue};

/// So many lines wait for a journal that is busy.
const LINES: usize = 1024;

/// Begins to log. `GUESTD_LOG` filters as `tracing`'s `EnvFilter` says; the default is everything of note but the
/// bus library's own doings. What is returned is to be kept to the end.
pub fn init() -> Option<Flush> {
    let filter = || {
        EnvFilter::try_from_env("GUESTD_LOG")
            .unwrap_or_else(|_| EnvFilter::new("info,zbus=warn,tracing=warn"))
    };
    // systemd sets this where standard error is the journal (systemd.exec(5)).
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| queue().ok());
    match journal {
        Some((queue, flush)) => {
            tracing_subscriber::registry().with(queue.with_filter(filter())).init();
            Some(flush)
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .fmt_fields(tracing_subscriber::fmt::format::debug_fn(plainly))
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            tracing_subscriber::registry().with(lines.with_filter(filter())).init();
            None
        }
    }
}

/// The way to the journal. Its socket blocks while journald is busy or stuck, so it is only written to from a queue.
fn queue() -> io::Result<(Queue, Flush)> {
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    // Without the prefix GUEST and MESSAGE_ID are the fields that journalctl(1) knows.
    let journal = tracing_journald::layer()?.with_field_prefix(None).with_priority_mappings(priorities);
    Queue::before(journal.with_syslog_identifier("guestd".into()), LINES)
}

/// A field on a plain line. What the journal has in fields of their own, the text of a plain line says.
fn plainly(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(line, "{value:?}"),
        "guest" | "guest_job" | "message_id" | "object_systemd_unit" => Ok(()),
        name => write!(line, " {name}={value:?}"),
    }
}
