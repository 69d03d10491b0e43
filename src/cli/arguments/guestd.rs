//! The arguments of `guestd`.

use clap::Parser;

use super::Places;

/// Starts, supervises and stops the guests of this host.
///
/// Runs in the foreground, as a service manager wants it. Guests outlive it. GUESTD_LOG filters what it logs
/// ("debug", "guestd=debug,zbus=warn", …).
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "guestd", version)]
pub struct Guestd {
    /// Where settings are read from, and state is kept.
    #[command(flatten)]
    pub places: Places,
}
