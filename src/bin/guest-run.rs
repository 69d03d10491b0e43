//! The monitor of one native guest. See `guest-run(8)`.

use std::process::ExitCode;

fn main() -> ExitCode {
    guestd::guest_run::main()
}
