//! The package's own tests, as autopkgtest runs them on a testbed.

use std::fs;

use super::machine::{Host, Machine, write};

#[test]
fn they_pass() {
    let mut machine = Machine::boot_with(|upper| {
        for file in ["debian/tests/container", "debian/tests/reboot", "scripts/make-guest"] {
            let text = fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).expect(file);
            write(upper, &format!("source/{file}"), &text);
        }
        write(upper, "etc/tmpfiles.d/test.conf", "f /tmp/autopkgtest-reboot 0755 - - - #!/bin/sh\n");
    });
    let run = |machine: &Machine, name: &str| {
        machine.sh(&format!("chmod +x /source/scripts/* /source/debian/tests/*; cd /source; {name} 2>&1"));
    };
    run(&machine, "debian/tests/container");
    run(&machine, "debian/tests/reboot");
    machine.reboot();
    run(&machine, "AUTOPKGTEST_REBOOT_MARK=up debian/tests/reboot");
}
