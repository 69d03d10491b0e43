//! Everything else that a person does with guests.

fn main() -> std::process::ExitCode {
    guestd::cli::guestctl()
}
