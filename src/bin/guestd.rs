//! The daemon. See `guestd --help`.

fn main() -> std::process::ExitCode {
    guestd::cli::guestd()
}
