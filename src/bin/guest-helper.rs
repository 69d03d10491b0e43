//! Reports what a guest did to guestd: LXC's hook, vshelper, or by hand. See `guest-helper(8)`.

use std::process::ExitCode;

fn main() -> ExitCode {
    guestd::helper::client::main()
}
