//! The order of start and stop, with the table of util-vserver.

use super::*;
use crate::model::Place;

const STAGES: [&str; 7] =
    ["initialize", "prepre-start", "pre-start", "post-start", "pre-stop", "post-stop", "postpost-stop"];

const SCRIPTS: [&str; 7] = [
    "scripts/initialize",
    "scripts/prepre-start",
    "scripts/pre-start",
    "scripts/post-start",
    "scripts/pre-stop",
    "scripts/post-stop",
    "scripts/postpost-stop",
];

/// The lifecycle of a guest that has everything.
fn full() -> crate::model::Lifecycle {
    let mut entries = vec![
        ("fstab", text("/dev/vg/web / ext4 defaults 0 1\n/srv/data /data none bind 0 0\n")),
        ("fstab.remote", text("nfs:/x /remote nfs defaults 0 0\n")),
        ("apps/init/cmd.prepare", text("/usr/local/sbin/prepare\nweb\n")),
        ("apps/init/cmd.start-sync", text("/usr/local/sbin/wait\n")),
        ("apps/init/cmd.stop-sync", text("/usr/local/sbin/wait-stop\n")),
        ("apps/init/sync", text("")),
        ("interfaces/0/ip", text("192.0.2.10/24\n")),
        ("interfaces/0/dev", text("eth0\n")),
        ("interfaces/0/gw", text("192.0.2.1\n")),
    ];
    entries.extend(SCRIPTS.iter().map(|script| (*script, program())));
    entries.push(("scripts/pre-start.d/20-b", program()));
    entries.push(("scripts/pre-start.d/10-a", program()));
    let config = read(entries);
    assert_eq!(said(&config), [""; 0]);
    spec(&config).lifecycle
}

#[test]
fn every_step_is_where_util_vserver_has_it() {
    let lifecycle = full();
    assert_eq!(
        names(&lifecycle.before),
        [
            "initialize",
            "fsck",
            "mount /",
            "prepre-start",
            "network",
            "mount /data",
            "mount /remote",
            "empty /var/run",
            "empty /var/lock",
            "cmd.prepare",
            "pre-start",
            "pre-start.d/10-a",
            "pre-start.d/20-b",
        ]
    );
    assert_eq!(names(&lifecycle.after), ["cmd.start-sync", "post-start"]);
    assert_eq!(names(&lifecycle.stop), ["pre-stop", "cmd.stop", "cmd.stop-sync", "wait", "killseq"]);
    assert_eq!(names(&lifecycle.ended), ["post-stop"]);
    assert_eq!(names(&lifecycle.removed), ["postpost-stop"]);
}

#[test]
fn a_start_fails_with_its_scripts_and_a_stop_goes_on() {
    let lifecycle = full();
    let must: Vec<_> =
        lifecycle.before.iter().filter(|step| step.must_succeed).map(|step| step.name.as_str()).collect();
    assert_eq!(
        must,
        [
            "initialize",
            "fsck",
            "mount /",
            "prepre-start",
            "cmd.prepare",
            "pre-start",
            "pre-start.d/10-a",
            "pre-start.d/20-b"
        ]
    );
    assert!(lifecycle.after.iter().all(|step| step.must_succeed));
    assert!(lifecycle.stop.iter().chain(&lifecycle.ended).all(|step| !step.must_succeed));
}

#[test]
fn plain_guests_are_prepared_and_asked_by_a_signal() {
    let lifecycle = spec(&of(&[("apps/init/style", "plain\n")])).lifecycle;
    assert_eq!(
        names(&lifecycle.before),
        ["network", "remove /.autofsck", "remove /forcefsck", "create /fastboot"]
    );
    assert_eq!(names(&lifecycle.stop), ["signal init", "wait", "killseq"]);
    assert_eq!(lifecycle.stop[0].what, Deed::Signal(2));
}

#[test]
fn scripts_get_their_stage_and_the_guest_in_the_right_folder() {
    let entries = STAGES.map(|stage| (format!("scripts/{stage}"), program()));
    let config = read(entries.iter().map(|(path, what)| (path.as_str(), what.clone())).collect());
    let lifecycle = spec(&config).lifecycle;
    let all =
        [lifecycle.before, lifecycle.after, lifecycle.stop, lifecycle.ended, lifecycle.removed].concat();
    for stage in STAGES {
        let step = all.iter().find(|step| step.name == stage).expect(stage);
        let folder = PathBuf::from("/etc/vservers/web");
        let is_before = matches!(stage, "initialize" | "prepre-start");
        let expected = Deed::Run {
            argv: vec![format!("/etc/vservers/web/scripts/{stage}"), stage.to_owned(), "web".to_owned()],
            directory: if is_before { Place::Folder(folder) } else { Place::Root },
            success: Vec::new(),
        };
        assert_eq!(step.what, expected, "{stage}");
    }
}

#[test]
fn defaults_run_where_the_guest_has_no_script_or_asks_for_them() {
    let defaults = || vec![("scripts/pre-start", program()), ("scripts/post-start.d/1", program())];
    let steps = |entries| {
        let lifecycle = spec(&read_both(entries, defaults())).lifecycle;
        let all = lifecycle.before.iter().chain(&lifecycle.after);
        let scripts = all.filter(|step| step.name.contains("-start")).map(|step| step.name.clone());
        scripts.collect::<Vec<_>>()
    };
    assert_eq!(steps(vec![]), [".defaults pre-start", ".defaults post-start.d/1"]);
    assert_eq!(
        steps(vec![("scripts/pre-start.d/x", program())]),
        ["pre-start.d/x", ".defaults post-start.d/1"]
    );
    assert_eq!(
        steps(vec![("scripts/pre-start", text("DONT_SKIP_DEFAULTS=1\n"))]),
        ["pre-start", ".defaults pre-start", ".defaults post-start.d/1"]
    );
    // A leftover is no script.
    assert_eq!(
        steps(vec![("scripts/pre-start.d/x~", program())]),
        [".defaults pre-start", ".defaults post-start.d/1"]
    );
}

#[test]
fn scripts_for_the_shell_are_run_by_it() {
    let config = read(vec![
        ("scripts/pre-start", text("vdir=/elsewhere\n")),
        ("scripts/post-stop", link("/usr/local/sbin/x", Kind::Program)),
        ("scripts/pre-stop", link("/usr/local/share/y", Kind::File)),
    ]);
    let lifecycle = spec(&config).lifecycle;
    let argv = |step: &Step| match &step.what {
        Deed::Run { argv, .. } => argv.join(" "),
        other => panic!("{other:?}"),
    };
    let of = "/etc/vservers/web/scripts";
    assert_eq!(argv(lifecycle.before.last().unwrap()), format!("/bin/sh {of}/pre-start pre-start web"));
    assert_eq!(argv(&lifecycle.stop[0]), format!("/bin/sh {of}/pre-stop pre-stop web"));
    assert_eq!(argv(&lifecycle.ended[0]), format!("{of}/post-stop post-stop web"));
    let found = said(&config);
    assert!(found.iter().all(|found| found.contains("warning: the script is not executable")), "{found:?}");
    assert_eq!(found.len(), 2);
}
