//! A host's folders, and what is told of them.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::daemon::load::{Directories, load};

/// A host's root.
struct Host(tempfile::TempDir);

impl Host {
    /// As Debian's package of LXC leaves it: `lxc.service` is enabled.
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for unit in ["lxc.service", "lxc@.service", "lxc-net.service"] {
            host.write(&format!("lib/systemd/system/{unit}"));
        }
        host.enable("lxc.service").enable("lxc-net.service")
    }

    fn write(&self, path: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn link(self, path: &str, to: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    fn enable(self, unit: &str) -> Self {
        let template = unit.split_once('@').map_or(unit, |_| "lxc@.service");
        let path = format!("etc/systemd/system/multi-user.target.wants/{unit}");
        self.link(&path, &format!("/lib/systemd/system/{template}"))
    }

    /// What is told where `db` and `web` start by themselves, and `lab` does not.
    fn said(&self) -> Vec<String> {
        let at = |name: &str| Some(self.0.path().join(name));
        self.write("guestd/guestd.toml");
        let lxcpath = self.0.path().join("lxc");
        for (guest, auto) in [("db", 1), ("lab", 0), ("web", 1)] {
            fs::create_dir_all(lxcpath.join(guest)).unwrap();
            fs::write(lxcpath.join(guest).join("config"), format!("lxc.start.auto = {auto}\n")).unwrap();
        }
        let settings = format!("[lxc]\npath = [{lxcpath:?}]\n");
        fs::write(self.0.path().join("guestd/guestd.toml"), settings).unwrap();
        let guests = load(&Directories::new(at("guestd"), at("run"), at("state"))).guests;
        let elsewhere = Rivals::look(self.0.path(), Some("/nonexistent".into()));
        assert_eq!(elsewhere.diagnostics(&guests), [], "other containers");
        let found = Rivals::look(self.0.path(), Some(lxcpath)).diagnostics(&guests);
        let root = format!("{}/", self.0.path().display());
        found.iter().map(|found| found.to_string().replace(&root, "/")).collect()
    }
}

#[test]
fn lxcs_service_is_told_with_what_mends_it() {
    let said = Host::new().said();
    assert_eq!(
        said,
        [
            "/etc/systemd/system/multi-user.target.wants/lxc.service: warning: lxc.service starts and stops db, \
          lab, web beside guestd, at boot and at shutdown; \"systemctl disable lxc\" leaves them to guestd"
        ]
    );
}

#[test]
fn what_keeps_lxcs_service_from_the_containers_is_seen() {
    for folder in ["lib/systemd/system", "etc/systemd/system", "usr/lib/systemd/system"] {
        let host = Host::new();
        host.write(&format!("{folder}/lxc.service.d/guestd.conf"));
        assert_eq!(host.said(), [""; 0], "{folder}");
    }
    let masked = Host::new().link("etc/systemd/system/lxc.service", "/dev/null");
    assert_eq!(masked.said(), [""; 0]);
    let no_drop_in = Host::new().link("etc/systemd/system/lxc.service.d/guestd.conf", "/dev/null");
    no_drop_in.write("lib/systemd/system/lxc.service.d/guestd.conf");
    assert_eq!(no_drop_in.said().len(), 1);
    let removed = Host::new();
    fs::remove_file(removed.0.path().join("lib/systemd/system/lxc.service")).unwrap();
    assert_eq!(removed.said(), [""; 0], "LXC's package is gone");
}

#[test]
fn instances_are_told_for_guests_that_start_by_themselves() {
    let host = Host::new().enable("lxc@web.service").enable("lxc@lab.service").enable("lxc@other.service");
    host.write("lib/systemd/system/lxc.service.d/guestd.conf");
    assert_eq!(
        host.said(),
        [
            "/etc/systemd/system/multi-user.target.wants/lxc@web.service: warning: lxc@web.service starts web at \
          boot beside guestd, out of order and without its unit; \"systemctl disable lxc@web\" leaves it to guestd"
        ]
    );
    let masked = host.link("etc/systemd/system/lxc@web.service", "/dev/null");
    assert_eq!(masked.said(), [""; 0]);
}

#[test]
fn a_host_without_systemd_or_with_strange_folders_says_nothing() {
    let nothing = Host(tempfile::tempdir().unwrap());
    assert_eq!(nothing.said(), [""; 0]);
    for path in
        ["etc/systemd/system", "lib/systemd/system/multi-user.target.wants", "run/systemd/system/x.wants"]
    {
        let host = Host(tempfile::tempdir().unwrap());
        host.write(path);
        assert_eq!(host.said(), [""; 0], "{path} is a file");
    }
    let closed = Host::new();
    let folder = closed.0.path().join("etc/systemd/system");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    let said = closed.said();
    // Root reads everything.
    assert_eq!(said.len(), usize::from(nix::unistd::geteuid().is_root()));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
}
