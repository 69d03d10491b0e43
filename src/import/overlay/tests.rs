//! Overlays, key by key.

mod mistakes;
mod sections;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{import::excerpt, model::Resources};

fn parse(text: impl AsRef<[u8]>) -> (Overlay, Vec<String>) {
    let overlay = read(Path::new("/o"), &excerpt::of(text.as_ref()));
    let found = overlay.diagnostics.iter().map(ToString::to_string).collect();
    (overlay, found)
}

#[test]
fn every_setting_is_read_with_its_line() {
    let (overlay, found) = parse(
        "[start]\nauto = true\norder = -5\ndelay = \"1m 30s\"\ngroup = [\"web\", \"web\", \"db\"]\nafter = [\"a\"]\n\
         wants = \"b\"\nrequires = [\"c\"]\ntimeout = 30\nnetwork-online = true\n[reboot]\naction = \"/bin/decide\"\nlimit = \"3/10s\"\n\
         [stop]\ntimeout = 0\n[resources]\nMemoryMax = \"1.5G\"\nMemoryHigh = \"infinity\"\nMemorySwapMax = 0\n\
         CPUWeight = \"idle\"\nCPUQuota = \"150%\"\nTasksMax = 500\nIOWeight = 200\n",
    );
    assert_eq!(found, [""; 0]);
    let written = overlay.layer.effective().into_iter().filter(|row| row.origin.is_some());
    let shown: Vec<_> = written.map(|row| row.to_string()).collect();
    assert_eq!(
        shown,
        [
            "start.auto = true  # /o:2",
            "start.order = -5  # /o:3",
            "start.delay = \"1m 30s\"  # /o:4",
            "start.group = [\"web\", \"db\"]  # /o:5",
            "start.after = [\"a\"]  # /o:6",
            "start.wants = [\"b\"]  # /o:7",
            "start.requires = [\"c\"]  # /o:8",
            "start.timeout = \"30s\"  # /o:9",
            "start.network-online = true  # /o:10",
            "reboot.action = \"/bin/decide\"  # /o:12",
            "reboot.limit = \"3/10s\"  # /o:13",
            "stop.timeout = \"0s\"  # /o:15",
            "resources.MemoryMax = \"1536M\"  # /o:17",
            "resources.MemoryHigh = \"infinity\"  # /o:18",
            "resources.MemorySwapMax = \"0\"  # /o:19",
            "resources.CPUWeight = \"idle\"  # /o:20",
            "resources.CPUQuota = \"150%\"  # /o:21",
            "resources.TasksMax = 500  # /o:22",
            "resources.IOWeight = 200  # /o:23",
        ]
    );
}

#[test]
fn each_mistake_is_named_with_its_line_and_costs_only_itself() {
    for (line, part) in [
        ("autos = true", "unknown key start.autos; did you mean start.auto?"),
        ("frobnicate = 1", "unknown key start.frobnicate; known here: auto, order"),
        ("auto = \"yes\"", "start.auto must be true, false or \"last-state\", not \"yes\"; write"),
        ("auto = 'a\\b\tc'", "not 'a\\b\\tc'; write"),
        ("auto = 1", "start.auto must be true, false or \"last-state\", not 1"),
        ("delay = \"5 parsecs\"", "start.delay must be a number of seconds or a duration"),
        ("delay = 1.5", "start.delay must be a number of seconds or a duration"),
        ("delay = -1", "start.delay must be a number of seconds or a duration"),
        ("timeout = 0", "start.timeout must be longer than zero"),
        ("group = [\"a/b\", \"web\"]", "an element of start.group is ignored: the name \"a/b\" holds '/'"),
        ("group = [\"web\", \"c d\"]", "an element of start.group is ignored: the name \"c d\" holds"),
        ("group = [1, \"web\"]", "start.group must be a list of texts, not 1"),
        ("after = 5", "start.after must be a list of texts, not 5"),
        ("requires = [\"-x\", \"z\"]", "an element of start.requires is ignored"),
        ("wants = \"a", "not valid TOML: invalid basic string"),
        ("order 5", "not valid TOML"),
        ("delay = 5s", "not valid TOML"),
    ] {
        let (overlay, found) = parse(format!("[start]\norder = 4\n{line}\n[stop]\ntimeout = 5\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("/o:3: error: ") && found[0].contains(part), "{line}: {}", found[0]);
        let (start, stop) = (overlay.layer.start(), overlay.layer.stop());
        assert_eq!((start.order, stop.timeout), (4, Duration::from_secs(5)), "{line}");
        assert_eq!((start.wants, start.delay), (Vec::new(), Duration::ZERO), "{line}");
        assert!(!line.contains("\"web\"") || start.groups.names().len() == 1, "{line}");
    }
    for (text, part) in [
        ("order = 4", "/o:1: error: unknown key order; order belongs into the section [start]"),
        ("[strat]\nauto = true", "/o:1: error: unknown key strat; did you mean start?"),
        ("start = 5", "/o:1: error: start is a section; write [start]"),
        ("[start]\norder = 2147483648", "/o:2: error: start.order must be a whole number"),
        ("[reboot]\naction = \"script\"", "/o:2: error: reboot.action must be \"restart\", \"stop\" or"),
        ("[reboot]\nlimit = \"0/1m\"", "/o:2: error: reboot.limit must be a count and a time"),
        ("[start]\nauto = true\nauto = false", "/o:3: error: not valid TOML: duplicate key"),
    ] {
        let (_, found) = parse(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(part), "{text}: {}", found[0]);
    }
}

#[test]
fn broken_syntax_costs_the_broken_lines_only() {
    for (text, lines) in [
        ("[start]\norder = 4\nauto\n[stop]\ntimeout = 5\n", &[3][..]),
        ("[start\n[start]\norder = 4\n[stop]\ntimeout = 5\n= 3", &[1, 6]),
        ("[start]\norder = 4\n[stop]\ntimeout = 5\n[reboot]\naction = [\"a\",\n\n", &[6]),
        ("[start]\norder = 4\n[stop]\ntimeout = 5\nx = \"\"\"\n\n", &[5]),
        ("[start]\norder = 4\norder = 5\n[stop]\ntimeout = 5\n", &[3]),
    ] {
        let (overlay, found) = parse(text);
        let at: Vec<_> = overlay.diagnostics.iter().filter_map(|found| found.origin.line).collect();
        assert_eq!(at, lines, "{text:?}: {found:?}");
        let (start, stop) = (overlay.layer.start(), overlay.layer.stop());
        assert_eq!((start.order, stop.timeout), (4, Duration::from_secs(5)), "{text:?}");
    }
    let (overlay, found) = parse("a b c\n".repeat(1000));
    assert_eq!(overlay.layer, Layer::default());
    assert!(found.iter().any(|message| message.contains("the file is not TOML and is ignored")), "{found:?}");
    assert!(found.len() < 60);
}

#[test]
fn a_list_of_which_nothing_can_be_used_is_left_out() {
    let lists = "group = [\"a/b\"]\nrequires = [\"-x\", 5]\n";
    let (overlay, found) = parse(format!("[start]\n{lists}after = []\n"));
    assert_eq!(found.len(), 5, "{found:?}");
    for (line, name) in [(2, "group"), (3, "requires")] {
        let all =
            format!("/o:{line}: error: start.{name} is ignored, since nothing in it can be used; mend that");
        assert!(found.contains(&all), "{found:?}");
    }
    let named = |names: &[&str]| Groups::In(names.iter().map(|name| name.parse().unwrap()).collect());
    // What is below keeps its groups; nobody who wrote some is in the null group.
    for (below, wanted) in [
        ("group = [\"web\"]\nrequires = [\"db\"]\nafter = [\"db\"]", named(&["web"])),
        ("group = []\nrequires = [\"db\"]", named(&[])),
        ("requires = [\"db\"]", named(&[])),
    ] {
        let mut layer = parse(format!("[start]\n{below}\n")).0.layer;
        layer.lay(overlay.layer.clone());
        let start = layer.start();
        assert_eq!(start.groups, wanted, "{below}");
        assert_eq!((start.requires, start.after), (vec!["db".parse().unwrap()], vec![]), "{below}");
    }
    assert_eq!(parse("[start]\ngroup = 5\n").0.layer.start().groups, named(&[]));
    assert_eq!(parse("[start]\ngroup = []\n").0.layer.start().groups, Groups::Null);
}

#[test]
fn resources_are_allowed_what_systemd_allows() {
    for (line, part) in [
        ("MemryMax = 1", "unknown key resources.MemryMax; did you mean resources.MemoryMax?"),
        (
            "memory = 1",
            "unknown key resources.memory; known here: MemoryMax, MemoryHigh, MemorySwapMax, CPUWeight",
        ),
        (
            "MemoryMax = \"50%\"",
            "resources.MemoryMax must be a size such as \"512M\" or \"1.5G\", or \"infinity\"",
        ),
        ("MemoryHigh = 0", "resources.MemoryHigh must be a size such as"),
        (
            "MemorySwapMax = -1",
            "resources.MemorySwapMax must be a size such as 0 or \"512M\", or \"infinity\", not -1",
        ),
        ("CPUWeight = 0", "resources.CPUWeight must be a whole number from 1 to 10000, or \"idle\", not 0"),
        ("CPUQuota = 50", "resources.CPUQuota must be a part of one processor such as \"50%\""),
        ("TasksMax = \"10%\"", "resources.TasksMax must be a whole number of at least 1, or \"infinity\""),
        ("IOWeight = true", "must be a whole number from 1 to 10000, not true; write IOWeight = 100"),
    ] {
        let (overlay, found) = parse(format!("[resources]\n{line}\n[start]\norder = 4\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("/o:2: error: ") && found[0].contains(part), "{line}: {}", found[0]);
        assert_eq!(overlay.layer.resources(), Resources::default(), "{line}");
        assert_eq!(overlay.layer.start().order, 4, "{line}");
    }
    let (_, found) = parse("MemoryMax = 1\n");
    assert!(
        found[0].ends_with("unknown key MemoryMax; MemoryMax belongs into the section [resources]"),
        "{found:?}"
    );
}

#[test]
fn a_broken_heading_costs_its_section_and_gives_nothing_to_another() {
    for heading in ["[stop", "stop]", "  [stop  # the end", "[st op]", "[reboot]"] {
        let text = format!(
            "[reboot]\naction = \"stop\"\n[start]\norder = 4\n{heading}\ntimeout = \"5s\"\n\nlimit = \"ü\"\n\
             [defaults]\n"
        );
        let (overlay, found) = parse(&text);
        assert_eq!(found.len(), 2, "{heading}: {found:?}");
        assert!(found[0].starts_with("/o:5: error: not valid TOML: "), "{heading}: {}", found[0]);
        assert!(found[0].ends_with("; the section is ignored; mend it"), "{heading}: {}", found[0]);
        assert!(found[1].starts_with("/o:9: error: unknown key defaults"), "{heading}: {}", found[1]);
        let (start, reboot, stop) = (overlay.layer.start(), overlay.layer.reboot(), overlay.layer.stop());
        assert_eq!(
            (start.order, start.timeout, reboot.action),
            (4, Duration::from_secs(90), RebootAction::Stop)
        );
        assert_eq!(stop.timeout, Duration::from_secs(60), "{heading}");
    }
}

#[test]
fn an_engine_is_refused_over_a_container_and_without_one() {
    let name = GuestName::new("web").unwrap();
    let (overlay, found) = parse("[start]\nauto = true\n");
    assert_eq!(found, [""; 0]);
    assert_eq!(refuse_engine(&name, "an LXC container", &overlay), None);
    let message = orphan(&name, Path::new("/o"), &overlay).to_string();
    assert!(message.starts_with("/o: warning: no container is named web"), "{message}");
    let (overlay, _) = parse("engine = \"native\"\n");
    let message = refuse_engine(&name, "an LXC container", &overlay).unwrap().to_string();
    assert!(message.starts_with("/o:1: error: engine = \"native\" cannot stand in an overlay"), "{message}");
    for (text, part) in [
        (
            "engine = \"libvirt\"\n",
            "/o:1: error: this version runs LXC containers and native guests only, so that web with",
        ),
        (
            "[start]\n[limits]\n",
            "/o:2: error: limits is a key of native guests, and nothing says that web is one",
        ),
    ] {
        let message = orphan(&name, Path::new("/o"), &parse(text).0).to_string();
        assert!(message.starts_with(part), "{message}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_reported_at_its_line() {
    let (overlay, found) = parse(b"[start]\norder = 4\n# \xff\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("/o:3: error: the file is not valid UTF-8"), "{}", found[0]);
    assert_eq!(overlay.layer.start().order, 4);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (_, found) = parse(bytes);
        prop_assert!(found.iter().all(|message| message.starts_with("/o")));
    }

    #[test]
    fn no_toml_makes_it_panic(
        section in "(start|ready|restart|health|reboot|stop|hooks|resources|x)",
        key in "(auto|order|delay|group|timeout|action|limit|when|tcp|exec|socket|file|interval|threshold|pre-start|MemoryMax|CPUQuota|TasksMax|[a-z-]{1,8})",
        value in "(true|-?[0-9]{1,25}|0x[0-9a-f]{1,20}|\"[^\"\\\\]{0,20}\"|\\[[\\[\\]0-9\", a-z/]{0,20}\\]|[0-9.e]{1,8}|\"[0-9.]{1,25}[KMGE%]?\"|\\{\\})",
    ) {
        let (_, found) = parse(format!("[{section}]\n{key} = {value}\n"));
        prop_assert!(found.iter().all(|message| message.len() < 1000));
    }
}
