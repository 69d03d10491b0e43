//! Running a program inside a container that runs, and its console.

use std::{ffi::OsString, path::Path};

use super::{socket, spec};
use crate::model::{Guest, GuestName};

/// What `lxc-console` takes for no escape at all: a prefix that is no letter. Whoever sits before it has one of its own.
const NO_ESCAPE: &str = "^]";

/// The command line by which a program runs inside a guest, as its root and with a fresh environment; its exit status is
/// that of the program, 128 and the signal's number where one has ended it, or 126 or 127 where it cannot be run
/// (lxc-attach(1)).
pub fn attach(guest: &Guest, command: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
    let mut line = entered(&spec(guest).lxcpath, &guest.name, &[]);
    line.push("--".into());
    line.extend(command.into_iter().map(Into::into));
    line
}

/// The same with this environment, for whom knows only its name and its lxcpath. Without a command it is the shell of the
/// guest's root. On a terminal LXC gives it another one in the guest, and passes on what is typed and shown.
pub fn enter(
    lxcpath: &Path,
    name: &GuestName,
    environment: &[(&str, &str)],
    command: &[String],
) -> Vec<OsString> {
    let mut line = entered(lxcpath, name, environment);
    if !command.is_empty() {
        line.push("--".into());
        line.extend(command.iter().map(Into::into));
    }
    line
}

fn entered(lxcpath: &Path, name: &GuestName, environment: &[(&str, &str)]) -> Vec<OsString> {
    let mut line = named("lxc-attach", lxcpath, name);
    line.push("--clear-env".into());
    line.extend(environment.iter().flat_map(|(key, value)| ["-v".into(), format!("{key}={value}").into()]));
    line
}

/// The command line that connects a terminal to a container's console until it is ended.
pub fn enter_console(lxcpath: &Path, name: &GuestName) -> Vec<OsString> {
    let mut line = named("lxc-console", lxcpath, name);
    line.extend(["-t", "0", "-e", NO_ESCAPE].map(Into::into));
    line
}

fn named(program: &str, lxcpath: &Path, name: &GuestName) -> Vec<OsString> {
    vec![program.into(), "-P".into(), socket::trimmed(lxcpath).into(), "-n".into(), name.as_str().into()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EngineSpec, LxcSpec};

    #[test]
    fn options_of_the_program_are_its_own() {
        let spec = LxcSpec::new(Path::new("/var/lib/lxc/").into());
        let guest = Guest::new(GuestName::new("web").unwrap(), EngineSpec::Lxc(spec));
        let line = attach(&guest, ["/bin/test", "-e", "/run/x y"]);
        let expected = ["lxc-attach", "-P", "/var/lib/lxc", "-n", "web", "--clear-env", "--"];
        assert_eq!(line, [&expected[..], &["/bin/test", "-e", "/run/x y"]].concat());
    }

    #[test]
    fn without_a_command_it_is_the_shell() {
        let (path, name) = (Path::new("/srv/lxc"), GuestName::new("web").unwrap());
        let line = enter(path, &name, &[("TERM", "xterm")], &[]);
        let expected = ["lxc-attach", "-P", "/srv/lxc", "-n", "web", "--clear-env", "-v", "TERM=xterm"];
        assert_eq!(line, expected);
        let line = enter(path, &name, &[], &["-x".to_owned()]);
        assert_eq!(line[5..], ["--clear-env", "--", "-x"]);
    }
}
