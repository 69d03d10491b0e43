//! Where log lines go: to the journal when systemd runs the daemon, else to standard error.

use std::{
    fmt::{self, Debug},
    io,
};

use tracing::field::Field;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt::format::Writer,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{
    console::Console,
    message::CONSOLE,
    queue::{Flush, Queue},
};

/// So many lines wait for a journal that is busy, and so many of guests' consoles: of these there may come many at once.
const LINES: usize = 1024;
const CONSOLE_LINES: usize = 4096;

/// Begins to log. `GUESTD_LOG` filters as `tracing`'s `EnvFilter` says; the default is everything of note but the
/// bus library's own doings, and guests' consoles in the journal only. What is returned is to be kept to the end.
pub fn init() -> Vec<Flush> {
    let filter = |rest: &str| {
        EnvFilter::try_from_env("GUESTD_LOG")
            .unwrap_or_else(|_| EnvFilter::new(format!("info,zbus=warn,tracing=warn{rest}")))
    };
    // systemd sets this where standard error is the journal (systemd.exec(5)).
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| queues().ok());
    match journal {
        Some([(queue, flush), (consoles, flush_consoles)]) => {
            let is_console = filter_fn(|line| line.target() == CONSOLE);
            let queue = queue.with_filter(filter("").and(is_console.clone().not()));
            let consoles = consoles.with_filter(filter("").and(is_console));
            tracing_subscriber::registry().with(queue).with(consoles).init();
            vec![flush_consoles, flush]
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .fmt_fields(tracing_subscriber::fmt::format::debug_fn(plainly))
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            tracing_subscriber::registry().with(lines.with_filter(filter(",console=off"))).init();
            Vec::new()
        }
    }
}

/// The ways to the journal: guestd's, and that of guests' consoles. Its socket blocks while journald is busy or stuck, so
/// it is only written to from queues; from two, so that no guest is in the way of what guestd says.
fn queues() -> io::Result<[(Queue, Flush); 2]> {
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    // Without the prefix GUEST and MESSAGE_ID are the fields that journalctl(1) knows.
    let journal = tracing_journald::layer()?.with_field_prefix(None).with_priority_mappings(priorities);
    let journal = journal.with_syslog_identifier("guestd".into());
    Ok([
        Queue::before(journal, LINES, "lines")?,
        Queue::before(Console::new()?, CONSOLE_LINES, "lines of consoles")?,
    ])
}

/// A field on a plain line. What the journal has in fields of their own, the text of a plain line says.
fn plainly(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(line, "{value:?}"),
        "guest" | "guest_job" | "guest_console" | "message_id" | "object_systemd_unit" => Ok(()),
        name => write!(line, " {name}={value:?}"),
    }
}
