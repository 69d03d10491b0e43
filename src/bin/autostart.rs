//! The boot and bulk client; takes lxc-autostart's options.

fn main() -> std::process::ExitCode {
    guestd::cli::autostart()
}
