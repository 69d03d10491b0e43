//! Running a program inside a container that runs.

use std::ffi::OsString;

use super::{socket, spec};
use crate::model::Guest;

/// The command line by which a program runs inside a guest, as its root and with a fresh environment; its exit status is
/// that of the program, or 126 or 127 where that cannot be run (lxc-attach(1)).
pub fn attach(guest: &Guest, command: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec!["lxc-attach".into(), "-P".into()];
    line.push(socket::trimmed(&spec(guest).lxcpath).into());
    line.extend(["-n", guest.name.as_str(), "--clear-env", "--"].map(Into::into));
    line.extend(command.into_iter().map(Into::into));
    line
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::{EngineSpec, GuestName, LxcSpec};

    #[test]
    fn options_of_the_program_are_its_own() {
        let spec = LxcSpec::new(Path::new("/var/lib/lxc/").into());
        let guest = Guest::new(GuestName::new("web").unwrap(), EngineSpec::Lxc(spec));
        let line = attach(&guest, ["/bin/test", "-e", "/run/x y"]);
        let expected = ["lxc-attach", "-P", "/var/lib/lxc", "-n", "web", "--clear-env", "--"];
        assert_eq!(line, [&expected[..], &["/bin/test", "-e", "/run/x y"]].concat());
    }
}
