//! Standard output and standard error themselves: full, and shared.

use std::{
    fs::File,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
};

const PROGRAMS: [&str; 3] =
    [env!("CARGO_BIN_EXE_autostart"), env!("CARGO_BIN_EXE_guestctl"), env!("CARGO_BIN_EXE_guestd")];

#[test]
fn help_that_cannot_be_written_is_an_error() {
    for program in PROGRAMS {
        for option in ["--help", "--version"] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let output = Command::new(program).arg(option).stdout(full).output().unwrap();
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{program} {option}: {told}");
            assert!(told.contains(": cannot write to standard output: "), "{told}");
        }
    }
}

#[test]
fn what_is_told_is_one_write_so_that_lines_of_several_programs_stay_whole() {
    for (program, arguments) in [
        (PROGRAMS[0], &["-a"][..]),
        (PROGRAMS[0], &["--bogus"]),
        (PROGRAMS[0], &["-?"]),
        (PROGRAMS[1], &["list"]),
        (PROGRAMS[1], &[]),
        (PROGRAMS[2], &["--bogus"]),
    ] {
        // Each write arrives by itself.
        let (stderr, writes) = UnixDatagram::pair().unwrap();
        let status = Command::new(program)
            .args(arguments)
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
            .stderr(Stdio::from(OwnedFd::from(stderr)))
            .status()
            .unwrap();
        assert!(!status.success());
        let mut buffer = [0; 8192];
        let length = writes.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"\n"), "{program} {arguments:?}");
        writes.set_nonblocking(true).unwrap();
        assert!(writes.recv(&mut buffer).is_err(), "{program} {arguments:?}: more than one write");
    }
}
