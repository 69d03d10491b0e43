//! Guests as systemd-machined's machines.

use std::{fs, path::Path};

use nix::sys::stat::{Mode, SFlag, mknod};

use super::machine::{Host, Machine, guests, write};

/// Boots a host with these containers, whose guestd tells all of its own doings.
fn boot(names: &[&str], prepare: impl FnOnce(&Path)) -> Machine {
    Machine::boot_with(|upper| {
        // Their end is a matter of moments.
        let containers: Vec<_> = names.iter().map(|name| [*name, "lxc.signal.halt = SIGKILL"]).collect();
        guests(upper, &containers.iter().map(|words| &words[..]).collect::<Vec<_>>());
        let debug = "[Service]\nEnvironment=GUESTD_LOG=guestd=debug\n";
        write(upper, "etc/systemd/system/guestd.service.d/debug.conf", debug);
        prepare(upper);
    })
}

impl Machine {
    /// Waits until machined has a guest with its unit and with the init that it has now.
    #[track_caller]
    pub fn has_machine(&self, guest: &str) {
        let wanted = format!("Leader={}|Service=guestd|Unit=guest-{guest}.service|", self.init(guest));
        let shown = format!("machinectl show {guest} -p Unit -p Leader -p Service | sort | tr '\\n' '|'");
        self.wait(&wanted, &format!("[ \"$({shown})\" = '{wanted}' ]"));
    }
}

#[test]
fn machinectl_lists_guests_in_units_with_the_init_they_have() {
    let machine = boot(&["web", "odd_name", "other", "taken", "late"], |_| {});
    machine.sh("
        lxc-start other
        systemd-run -q --unit=somebody sleep infinity
        busctl -q call org.freedesktop.machine1 /org/freedesktop/machine1 org.freedesktop.machine1.Manager \\
            RegisterMachine sayssus taken 0 somebody container $(systemctl show -P MainPID somebody) ''
        guestctl start web odd_name taken");
    machine.has_machine("web");
    let first = machine.init("web");
    machine.sh("lxc-attach web -- reboot -f");
    machine.wait(
        "new init",
        &format!("guestctl status --json web | grep '\"init_pid\":[0-9]' | grep -v ':{first},'"),
    );
    machine.has_machine("web");
    assert_eq!(machine.sh("systemctl show -P NRestarts -P ActiveState guest-web"), "0\nactive\n");

    let of_guestd = "journalctl -b -t guestd -o cat";
    let refused = "is not registered with machined";
    machine.wait("refusals", &format!("[ $({of_guestd} | grep -c '{refused}') = 2 ]"));
    let told = machine.sh(of_guestd);
    assert!(told.contains(&format!("taken {refused}: somebody has a machine of this name")), "{told}");
    assert!(told.contains(&format!("odd_name {refused}: its name is none that a host could have")), "{told}");
    assert_eq!(machine.sh("machinectl list --no-legend | cut -d' ' -f1 | sort | xargs"), "taken web\n");

    // Nor is somebody's machine taken from it at the end.
    machine.sh("guestctl kill taken");
    assert_eq!(machine.sh("machinectl list --no-legend | cut -d' ' -f1 | sort | xargs"), "taken web\n");

    // Registered by the guestd before: it is left as it is.
    machine.sh("systemctl restart guestd; guestctl start late");
    machine.has_machine("late");
    machine.has_machine("web");
    let told = machine.sh("journalctl -b -u systemd-machined -o cat");
    assert_eq!(told.matches("New machine web.").count(), 2, "{told}");
}

#[test]
fn machinectl_terminate_is_a_stop_that_stays() {
    let machine = boot(&["web"], |_| {});
    machine.sh("guestctl start web");
    machine.has_machine("web");
    machine.sh("machinectl terminate web");
    machine.wait(
        "end of the unit",
        "! systemctl is-active -q guest-web && [ -z \"$(machinectl list --no-legend)\" ]",
    );
    let said = machine.sh("guestctl list --json");
    for part in [r#""phase":"down""#, r#""intent":"down""#, r#""reason":"stopped by request""#] {
        assert!(said.contains(part), "{part} is missing: {said}");
    }
}

#[test]
fn without_machined_guests_run_all_the_same() {
    // As it is where systemd-container is not installed.
    let machine = boot(&["a", "b"], |upper| {
        let services = upper.join("usr/share/dbus-1/system-services");
        fs::create_dir_all(&services).expect("folders");
        whiteout(&services.join("org.freedesktop.machine1.service"));
    });
    machine.sh("guestctl start a; guestctl start b");
    machine.wait("line", "journalctl -b -t guestd -o cat | grep -q machined");
    let told = machine.sh("journalctl -b -t guestd -o cat | grep machined");
    assert_eq!(told, "systemd-machined is not installed: machinectl shows no guests\n");
}

/// Hides a file of the folders below.
fn whiteout(path: &Path) {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), 0).expect("a whiteout");
}
