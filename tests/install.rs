//! `make install` and `make uninstall`, into a folder whose name holds a blank.

mod executable;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Some of what is installed with the prefix /opt.
const INSTALLED: [&str; 19] = [
    "opt/sbin/guestd",
    "opt/bin/autostart",
    "opt/bin/guestctl",
    "opt/lib/guestd/guest-helper",
    "opt/lib/guestd/guest-run",
    "opt/share/man/man8/autostart.8",
    "opt/share/man/man8/vshelper.8",
    "opt/share/man/man1/guestctl-stop.1",
    "opt/share/man/man5/org.guestd1.5",
    "opt/share/man/man5/guestd-vserver.5",
    "opt/share/man/man8/guest@.service.8",
    "opt/share/man/man8/guest-run.8",
    "opt/share/man/man8/guests-shutdown.service.8",
    "opt/share/bash-completion/completions/guestctl",
    "usr/share/dbus-1/system.d/org.guestd1.conf",
    "usr/share/dbus-1/interfaces/org.guestd1.Job.xml",
    "usr/lib/systemd/catalog/guestd.catalog",
    "opt/share/doc/guestd/examples/failed-guests",
    "opt/share/doc/guestd/examples/vservers/web/scripts/initialize",
];

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Puts the programs where a release build leaves them.
fn built(target: &Path) {
    fs::create_dir_all(target.join("release")).expect("a folder");
    for program in [
        env!("CARGO_BIN_EXE_guestd"),
        env!("CARGO_BIN_EXE_autostart"),
        env!("CARGO_BIN_EXE_guestctl"),
        env!("CARGO_BIN_EXE_guest-helper"),
        env!("CARGO_BIN_EXE_guest-run"),
    ] {
        let name = Path::new(program).file_name().expect("a name");
        executable::copy(program, &target.join("release").join(name));
    }
}

#[test]
fn the_package_of_vshelper_links_it_and_tells_kernels_that_know_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(source.join(path)).expect(path);
    assert_eq!(read("debian/guestd-vshelper.links"), "usr/lib/guestd/guest-helper sbin/vshelper\n");
    let listed = read("debian/guestd-vshelper.install");
    let [path, "usr/lib/sysctl.d"] = listed.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{listed}")
    };
    let lines = read(path);
    let settings: Vec<_> = lines.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(settings, ["-kernel.vshelper = /sbin/vshelper"]);
    // It is what reads the file at the boot; this kernel has no such setting, or has that one.
    let sysctl =
        Command::new("/lib/systemd/systemd-sysctl").arg(source.join(path)).output().expect("systemd");
    assert!(sysctl.status.success() && sysctl.stderr.is_empty(), "{sysctl:?}");
}

#[test]
fn everything_comes_into_its_place_and_goes_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (target, host) = (folder.path().join("what is built"), folder.path().join("a host"));
    built(&target);
    // What a split word would hit.
    let bystander = folder.path().join("a");
    fs::write(&bystander, "").expect("a file");
    let make = |goal: &str, reload: &str| {
        let output = Command::new("make")
            .args([goal, "PREFIX=/opt", reload])
            .arg(format!("DESTDIR={}", host.display()))
            .env("CARGO_TARGET_DIR", &target)
            .env_remove("MAKEFLAGS")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("make");
        assert!(output.status.success(), "{goal}: {}", String::from_utf8_lossy(&output.stderr));
    };

    make("install", "RELOAD=notify");
    for file in INSTALLED {
        assert!(host.join(file).is_file(), "{file} of {:#?}", files(&host));
    }
    assert!(host.join("etc/guestd/guests").is_dir());
    let unit = |name: &str| fs::read_to_string(host.join("lib/systemd/system").join(name)).expect("the unit");
    let guestd = unit("guestd.service");
    assert!(
        guestd.contains("ExecStart=/opt/sbin/guestd") && !guestd.contains("/usr/sbin/guestd"),
        "{guestd}"
    );
    for line in ["GUESTD_HELPER=/opt/lib/guestd/guest-helper", "GUESTD_GUEST_RUN=/opt/lib/guestd/guest-run"] {
        assert!(guestd.contains(&format!("Environment={line}\n")), "{guestd}");
    }
    assert!(guestd.contains("Type=notify\n") && guestd.contains("ExecReload=/usr/bin/busctl"), "{guestd}");
    assert!(unit("autostart.service").contains("ExecStart=/opt/bin/autostart --boot"));
    make("install", "RELOAD=notify-reload");
    let guestd = unit("guestd.service");
    assert!(guestd.contains("Type=notify-reload\n") && !guestd.contains("ExecReload"), "{guestd}");

    make("uninstall", "RELOAD=notify");
    assert_eq!(files(&host), [host.join("etc/default/guestd")], "settings stay");
    assert!(host.join("etc/guestd/guests").is_dir(), "settings stay");
    assert!(bystander.exists());
}
