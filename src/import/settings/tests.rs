//! `guestd.toml`, key by key.

use super::*;
use crate::{
    import::excerpt,
    model::{Auto, Condition, RestartPolicy},
};

fn settle(files: &[&str], lxcpath: Option<&str>) -> (Settings, Vec<String>) {
    let mut written = Written::default();
    for (number, text) in files.iter().enumerate() {
        written.read(PathBuf::from(format!("/s{number}")), &excerpt::of(text.as_bytes()));
    }
    let lxcpath = lxcpath.map(|path| Sourced::new(path.to_owned(), Origin::line(Path::new("/lxc.conf"), 1)));
    let (settings, diagnostics) = written.settle(3, lxcpath);
    (settings, diagnostics.iter().map(ToString::to_string).collect())
}

fn paths(settings: &Settings) -> Vec<&str> {
    settings.lxc_paths.iter().map(|path| path.to_str().unwrap()).collect()
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let (settings, found) = settle(&[], None);
    assert_eq!(found, [""; 0]);
    assert_eq!((settings.order, settings.order_is_written), (Order::HighestFirst, false));
    assert_eq!((settings.max_starting, settings.launcher), (6, LauncherChoice::Auto));
    assert_eq!(settings.pressure, Pressure { memory: Some(40), io: None });
    assert_eq!(settings.boot_groups, [Some(GroupName::new("onboot").unwrap()), None]);
    assert_eq!((paths(&settings), &settings.lxc_paths_origin), (vec!["/var/lib/lxc"], &None));
}

#[test]
fn every_setting_is_read_and_later_files_win() {
    let (settings, found) = settle(
        &[
            "order = \"highest-first\"\nmax-starting = 4\nlauncher = \"systemd\"\nboot-groups = [\"\", \"a\"]\n\
             [lxc]\npath = [\"/a/\", \"/b\", \"/a\"]\n[defaults.start]\norder = 1\ndelay = 2\n",
            "order = \"lowest-first\"\nlauncher = \"direct\"\n[defaults]\nstart.order = 5\n",
        ],
        Some("/from/lxc"),
    );
    assert_eq!(found, [""; 0]);
    assert_eq!((settings.order, settings.order_is_written), (Order::LowestFirst, true));
    assert_eq!((settings.max_starting, settings.launcher), (4, LauncherChoice::Direct));
    assert_eq!(settings.boot_groups, [None, Some(GroupName::new("a").unwrap())]);
    assert_eq!(paths(&settings), ["/a", "/b"]);
    assert_eq!(settings.lxc_paths_origin.unwrap().to_string(), "/s0:6");
    let start = settings.defaults.start();
    assert_eq!((start.order, start.delay.as_secs()), (5, 2));
}

#[test]
fn the_lxcpath_comes_from_lxc_where_it_is_not_written() {
    let (settings, found) = settle(&[], Some("/srv/lxc"));
    assert_eq!((found, paths(&settings)), (vec![], vec!["/srv/lxc"]));
    let (settings, found) = settle(&[], Some("relative"));
    assert_eq!(paths(&settings), ["/var/lib/lxc"]);
    assert!(found[0].starts_with("/lxc.conf:1: error: lxc.lxcpath is ignored"), "{found:?}");
}

#[test]
fn a_list_of_lxcpaths_without_a_path_leaves_what_is_below() {
    for (list, parts) in [
        ("[]", &["lxc.path must be at least one path, not []; write path = [\"/var/lib/lxc\"]"][..]),
        (
            "[\"relative\"]",
            &["an element of lxc.path is ignored", "lxc.path is ignored, since nothing in it"],
        ),
    ] {
        let text = format!("[lxc]\npath = {list}\n");
        for (files, lxcpath, wanted) in [
            (vec![&*text], None, "/var/lib/lxc"),
            (vec![&*text], Some("/srv/lxc"), "/srv/lxc"),
            (vec!["[lxc]\npath = \"/a\"\n", &*text], Some("/srv/lxc"), "/a"),
        ] {
            let (settings, found) = settle(&files, lxcpath);
            assert_eq!(paths(&settings), [wanted], "{list}");
            let place = format!("/s{}:2: error: ", files.len() - 1);
            assert_eq!(found.len(), parts.len(), "{found:?}");
            for (found, part) in found.iter().zip(parts) {
                assert!(found.starts_with(&format!("{place}{part}")), "{found}");
            }
        }
    }
}

#[test]
fn a_mistake_leaves_the_default_and_everything_else() {
    for (line, part) in [
        (
            "order = \"upwards\"",
            "order must be \"highest-first\" or \"lowest-first\", not \"upwards\"; write",
        ),
        ("max-starting = 0", "max-starting must be a whole number of at least 1, not 0"),
        ("max-starting = \"many\"", "max-starting must be a whole number of at least 1"),
        ("launcher = 5", "launcher must be \"auto\", \"systemd\" or \"direct\", not 5"),
        ("boot-groups = []", "boot-groups must be at least one group"),
        ("max-staring = 5", "unknown key max-staring; did you mean max-starting?"),
        ("boot-groups = [\"a/b\", \"c\"]", "an element of boot-groups is ignored"),
        ("lxc.path = [\"relative\", \"/a\"]", "an element of lxc.path is ignored"),
        ("lxc.paths = \"/a\"", "unknown key lxc.paths; did you mean lxc.path?"),
        ("defaults = 5", "defaults is a section"),
        (
            "defaults.start.auto = 5",
            "defaults.start.auto must be true, false or \"last-state\", not 5; write auto = true",
        ),
        ("defaults.start.autos = 5", "unknown key defaults.start.autos; did you mean defaults.start.auto?"),
        ("defaults.order = 5", "unknown key defaults.order; order belongs into the section [defaults.start]"),
        ("defaults.engine = \"x\"", "unknown key defaults.engine"),
    ] {
        let text = format!("\n{line}\n[defaults.stop]\ntimeout = 9\n");
        let text = if line.starts_with("defaults") { format!("\n{line}\n") } else { text };
        let (settings, found) = settle(&[&text], None);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("/s0:2: error: ") && found[0].contains(part), "{line}: {}", found[0]);
        assert_eq!((settings.max_starting, settings.order_is_written), (6, false), "{line}");
        let stop = settings.defaults.stop();
        assert_eq!(stop.timeout.as_secs(), if line.starts_with("defaults") { 60 } else { 9 }, "{line}");
    }
}

#[test]
fn pressure_is_a_percentage_or_false() {
    for (text, memory, io) in [
        ("memory = 1\nio = 100", Some(1), Some(100)),
        ("memory = false", None, None),
        ("io = 60", Some(40), Some(60)),
    ] {
        let (settings, found) = settle(&[&format!("[pressure]\n{text}\n")], None);
        assert_eq!((settings.pressure, found), (Pressure { memory, io }, vec![]), "{text}");
    }
    let (settings, _) =
        settle(&["[pressure]\nmemory = false\nio = 5\n", "[pressure]\nmemory = 9\nio = 0\n"], None);
    assert_eq!(settings.pressure, Pressure { memory: Some(9), io: Some(5) });
    let memory = "pressure.memory must be a whole number of percent from 1 to 100, or false, not";
    for (line, part) in [
        ("memory = 0", memory),
        ("memory = 101", memory),
        ("memory = -1", memory),
        ("memory = 40.5", memory),
        ("memory = true", memory),
        ("memory = \"40%\"", memory),
        (
            "io = 256",
            "pressure.io must be a whole number of percent from 1 to 100, or false, not 256; write io = 40",
        ),
        ("memry = 5", "unknown key pressure.memry; did you mean pressure.memory?"),
        ("cpu = 5", "unknown key pressure.cpu; known here: memory, io"),
    ] {
        let (settings, found) = settle(&[&format!("[pressure]\n{line}\n")], None);
        assert_eq!((settings.pressure, found.len()), (Pressure::default(), 1), "{line}: {found:?}");
        assert!(found[0].starts_with(&format!("/s0:2: error: {part}")), "{line}: {}", found[0]);
    }
    let (_, found) = settle(&["pressure = 40\n"], None);
    assert!(found[0].contains("pressure is a section; write [pressure]"), "{found:?}");
}

#[test]
fn defaults_hold_what_guests_share() {
    let (settings, found) = settle(
        &["[defaults.ready]\nwhen = \"notify\"\n[defaults.restart]\npolicy = \"always\"\n\
           [defaults.start]\nauto = \"last-state\"\n"],
        None,
    );
    assert_eq!(found, [""; 0]);
    let defaults = settings.defaults;
    assert_eq!(defaults.ready.settled().when, Condition::Notify);
    assert_eq!(defaults.restart.settled().policy, RestartPolicy::Always);
    assert_eq!(defaults.start().auto, Auto::LastState);
    for (line, part) in [
        (
            "health.file = \"/x\"",
            "unknown key defaults.health; health is each guest's own: write it into guests/NAME.toml",
        ),
        ("hooks.pre-start = []", "unknown key defaults.hooks; hooks is each guest's own"),
        ("owner = \"cluster\"", "unknown key defaults.owner; owner is each guest's own"),
        ("tcp = \"db:1\"", "unknown key defaults.tcp; tcp belongs into the section [defaults.ready]"),
        ("ready.whn = 5", "unknown key defaults.ready.whn; did you mean defaults.ready.when?"),
        ("ready.when = 5", "defaults.ready.when must be \"started\" or"),
    ] {
        let (settings, found) = settle(&[&format!("[defaults]\n{line}\n")], None);
        assert_eq!((settings.defaults, found.len()), (Layer::default(), 1), "{line}: {found:?}");
        assert!(found[0].starts_with("/s0:2: error: ") && found[0].contains(part), "{line}: {}", found[0]);
    }
    let (_, found) = settle(&["[defaults.ready]\nwhen = \"started\"\ntcp = \"db:1\"\n"], None);
    let both = "/s0:3: error: defaults.ready.tcp contradicts defaults.ready.when (line 2)";
    assert!(found[0].starts_with(both), "{found:?}");
}

#[test]
fn a_bad_later_file_does_not_undo_a_good_earlier_one() {
    let (settings, found) = settle(&["order = \"lowest-first\"\n", "order = 5\n"], None);
    assert_eq!((settings.order, found.len()), (Order::LowestFirst, 1));
}

#[test]
fn vservers_have_a_folder_and_a_helper() {
    let (settings, found) = settle(&[], None);
    assert_eq!((found, &*settings.vserver_path), (vec![], Path::new("/etc/vservers")));
    assert_eq!((settings.vserver_path_origin, settings.vserver_helper), (None, None));
    let (settings, found) =
        settle(&["[vserver]\npath = \"/srv/vservers/\"\nhelper = \"/sbin/vshelper\"\n"], None);
    assert_eq!((found, &*settings.vserver_path), (vec![], Path::new("/srv/vservers")));
    assert_eq!(settings.vserver_path_origin.unwrap().to_string(), "/s0:2");
    assert_eq!(settings.vserver_helper, Some(PathBuf::from("/sbin/vshelper")));
    let (_, found) = settle(&["[vserver]\npath = \"vservers\"\nhelper = 1\nhlper = \"/x\"\n"], None);
    for (found, expected) in
        found.iter().zip(["/s0:2: error: ", "/s0:3: error: ", "/s0:4: error: unknown key"])
    {
        assert!(found.starts_with(expected), "{found}");
    }
    assert_eq!(found.len(), 3);
}
