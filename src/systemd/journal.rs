//! Where log lines go: to the journal when systemd runs the daemon, else to standard error.

use std::fmt::{self, Debug};

use tracing::field::Field;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::format::Writer, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Begins to log. `GUESTD_LOG` filters as `tracing`'s `EnvFilter` says; the default is everything of note but the
/// bus library's own doings.
pub fn init() {
    let filter = || {
        EnvFilter::try_from_env("GUESTD_LOG")
            .unwrap_or_else(|_| EnvFilter::new("info,zbus=warn,tracing=warn"))
    };
    // systemd sets this where standard error is the journal (systemd.exec(5)).
    let journal = std::env::var_os("JOURNAL_STREAM").and_then(|_| tracing_journald::layer().ok());
    match journal {
        Some(journal) => {
            // Without the prefix GUEST and MESSAGE_ID are the fields that journalctl(1) knows.
            let journal = journal.with_field_prefix(None).with_syslog_identifier("guestd".into());
            tracing_subscriber::registry().with(journal.with_filter(filter())).init();
        }
        None => {
            let lines = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .fmt_fields(tracing_subscriber::fmt::format::debug_fn(plainly))
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            tracing_subscriber::registry().with(lines.with_filter(filter())).init();
        }
    }
}

/// A field on a plain line. The journal has the guest as a field of its own; in a plain line the text names it.
fn plainly(line: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(line, "{value:?}"),
        "guest" => Ok(()),
        name => write!(line, " {name}={value:?}"),
    }
}
