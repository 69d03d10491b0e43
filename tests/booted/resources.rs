//! What a guest may use of the host, and when that changes.

use super::machine::{Host, Machine, guests, write};

/// A host whose guest `web` runs, with these `[resources]`.
fn host(resources: &str) -> Machine {
    Machine::boot_with(|upper| {
        guests(upper, &[&["web", "lxc.start.auto = 1"]]);
        write(upper, "etc/guestd/guestd.toml", "[defaults.resources]\nIOWeight = 200\n");
        write(upper, "etc/guestd/guests/web.toml", &format!("[resources]\n{resources}\n"));
    })
}

/// Lines of shell that write them anew.
fn rewritten(resources: &str) -> String {
    format!("printf '[resources]\\n%s\\n' '{resources}' >/etc/guestd/guests/web.toml")
}

/// What systemd holds of the guest's limits, as `NAME=VALUE`.
fn shown(machine: &Machine) -> String {
    let properties = "MemoryMax,MemoryHigh,MemorySwapMax,CPUWeight,CPUQuotaPerSecUSec,TasksMax,IOWeight";
    let lines = machine.sh(&format!("systemctl show guest-web -p {properties} | sort"));
    lines.lines().collect::<Vec<_>>().join(" ")
}

/// Waits until systemd holds this.
#[track_caller]
fn until(machine: &Machine, property: &str, value: &str) {
    let lines = format!("systemctl show guest-web -p {property} | grep -qx {property}={value}");
    machine.wait(&format!("{property}={value}"), &lines);
}

#[test]
fn resources_are_limits_of_the_unit_and_change_while_it_runs() {
    let machine = host(
        "MemoryMax = \"512M\"\nMemoryHigh = \"400M\"\nMemorySwapMax = 0\nCPUWeight = 300\nCPUQuota = \"50%\"\n\
         TasksMax = 1000",
    );
    let expected = "CPUQuotaPerSecUSec=500ms CPUWeight=300 IOWeight=200 MemoryHigh=419430400 \
                    MemoryMax=536870912 MemorySwapMax=0 TasksMax=1000";
    assert_eq!(shown(&machine), expected);
    let said = machine.sh("guestctl cat web | tr -s ' ' | grep ^resources.MemoryMax");
    assert_eq!(said, "resources.MemoryMax = \"512M\" # /etc/guestd/guests/web.toml:2\n");

    // What is said no more is taken back.
    let init = machine.init("web");
    machine.sh(&format!("{}; guestctl reload", rewritten("MemoryMax = \"1G\"\nCPUWeight = \"idle\"")));
    until(&machine, "MemoryMax", "1073741824");
    let expected = "CPUQuotaPerSecUSec=infinity CPUWeight=idle IOWeight=200 MemoryHigh=infinity \
                    MemoryMax=1073741824 MemorySwapMax=infinity TasksMax=16384";
    assert_eq!(shown(&machine), expected);
    assert_eq!(machine.init("web"), init);

    // That is no changed configuration: a reboot from inside is carried out in the unit.
    let unit = machine.sh("systemctl show guest-web -p InvocationID");
    machine.sh("lxc-attach -n web -- reboot -f");
    let other = format!("guestctl list | grep -q '^web *up' && test \"$(lxc-info -n web -pH)\" != {init}");
    machine.wait("a new init", &other);
    assert_eq!(machine.sh("systemctl show guest-web -p InvocationID"), unit);
}

#[test]
fn a_guestd_that_was_away_catches_up() {
    let machine = host("MemoryMax = \"512M\"");
    machine.sh("systemctl stop guestd; systemctl set-property --runtime guest-web.service TasksMax=77");
    machine.sh(&format!("{}; systemctl start guestd", rewritten("MemoryMax = \"2G\"")));
    until(&machine, "MemoryMax", "2147483648");
    // What an administrator set by hand, and no setting names, stays until the guest starts anew.
    until(&machine, "TasksMax", "77");
    machine.sh("guestctl restart web");
    until(&machine, "TasksMax", "16384");
    until(&machine, "MemoryMax", "2147483648");
}

#[test]
fn a_guest_without_a_unit_is_told_about() {
    let machine = host("TasksMax = 500");
    machine.sh("guestctl stop web; lxc-start -n web");
    machine.wait(
        "a word about it",
        "journalctl -u guestd | grep -q 'web has no unit of its own: its .resources. count from its next start'",
    );
    machine.wait("the adopted guest", "guestctl list | grep -q '^web *up'");
    machine.sh("guestctl restart web");
    until(&machine, "TasksMax", "500");
}
