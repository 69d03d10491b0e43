//! What is said of mistakes in `[ready]`, `[restart]`, `[health]`, `[hooks]` and `owner`.

use super::{
    parse,
    sections::{good, guest, words},
};
use crate::{
    import::Layer,
    model::{Argv, Condition, Hooks},
};

/// Lines with one mistake each, and what is said of it: it is named with its line, and costs only itself.
#[track_caller]
fn mistakes(section: &str, lines: &[(&str, &str)]) {
    let rest = good("[stop]\ntimeout = 5\n");
    for (line, part) in lines {
        let (overlay, found) = parse(format!("[{section}]\n\n{line}\n[stop]\ntimeout = 5\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(&format!("/o:3: error: {part}")), "{line}: {}", found[0]);
        assert_eq!(guest(&overlay.layer), rest, "{line}");
    }
}

#[test]
fn mistakes_in_ready_are_named() {
    let when = "ready.when must be \"started\" or \"notify\" (a probe has a key of its own: tcp, exec, socket or file)";
    mistakes(
        "ready",
        &[
            ("when = \"tcp\"", when),
            ("when = true", when),
            ("whn = \"notify\"", "unknown key ready.whn; did you mean ready.when?"),
            ("timeout = 0", "ready.timeout must be longer than zero, not 0; write timeout = \"90s\""),
            ("timeout = \"soon\"", "ready.timeout must be a number of seconds or a duration"),
            (
                "on-timeout = \"stop\"",
                "ready.on-timeout must be \"continue\" or \"fail\", not \"stop\"; write on-timeout",
            ),
            ("on_timeout = \"fail\"", "unknown key ready.on_timeout; did you mean ready.on-timeout?"),
            (
                "interval = \"9ms\"",
                "ready.interval must be at least 10ms, not \"9ms\"; write interval = \"1s\"",
            ),
            (
                "threshold = 3",
                "unknown key ready.threshold; known here: when, tcp, exec, socket, file, timeout",
            ),
        ],
    );
}

#[test]
fn mistakes_in_probes_are_named_in_both_sections() {
    const TCP: &str = "tcp must be an address and a port, such as \"10.0.3.5:5432\", \"[fe80::1]:22\" or";
    const PATH: &str = "must be an absolute path inside the guest, without \"..\"";
    for section in ["ready", "health"] {
        for (line, part) in [
            ("tcp = 5432", TCP.to_owned()),
            ("tcp = \"5432\"", TCP.to_owned()),
            ("tcp = \"fe80::1:22\"", TCP.to_owned()),
            ("tcp = \"db:0\"", TCP.to_owned()),
            ("socket = \"run/x\"", format!("socket {PATH}, not \"run/x\"; write socket = \"/run/")),
            ("socket = \"/run/../x\"", format!("socket {PATH}")),
            ("file = \"\"", format!("file {PATH}")),
            ("file = \"/a\\u0000b\"", format!("file {PATH}")),
            ("file = [\"/x\"]", format!("file {PATH}")),
            (
                "exec = \"/bin/true\"",
                "exec must be a list of texts, a program and its arguments, not \"/bin/true\"; write".into(),
            ),
            ("exec = [\"/bin/true\", 1]", "exec must be a list of texts".into()),
        ] {
            mistakes(section, &[(line, &format!("{section}.{part}"))]);
        }
        let of = format!("a command of {section}.exec is ignored: ");
        for (line, part) in [
            ("exec = []", "a command is a program and its arguments, not an empty list"),
            ("exec = [\"test\", \"-e\"]", "the program of a command is an absolute path such as"),
            ("exec = [\"/bin/a\", \"\\u0000\"]", "a command has no NUL characters"),
        ] {
            mistakes(section, &[(line, &format!("{of}{part}"))]);
        }
        let many = format!("exec = [{}]", "\"/x\",".repeat(Argv::MAX + 1));
        mistakes(section, &[(&many, &format!("{of}a command has at most 64 words"))]);
    }
}

#[test]
fn mistakes_in_the_other_sections_are_named() {
    mistakes(
        "restart",
        &[
            (
                "policy = \"sometimes\"",
                "restart.policy must be \"never\", \"on-failure\" or \"always\", not \"sometimes\"",
            ),
            ("delay = -1", "restart.delay must be a number of seconds or a duration"),
            ("max-delay = 0", "restart.max-delay must be longer than zero"),
            (
                "limit = \"0/5m\"",
                "restart.limit must be a count and a time, neither of them zero, not \"0/5m\"; write limit = \"5/5m\"",
            ),
            ("max_delay = 5", "unknown key restart.max_delay; did you mean restart.max-delay?"),
            ("action = \"stop\"", "unknown key restart.action; known here: policy, delay, max-delay, limit"),
        ],
    );
    mistakes(
        "health",
        &[
            ("when = \"notify\"", "unknown key health.when; known here: tcp, exec, socket, file, interval"),
            ("interval = 0", "health.interval must be at least 10ms"),
            ("timeout = 0", "health.timeout must be longer than zero"),
            (
                "threshold = 0",
                "health.threshold must be a whole number of at least 1, not 0; write threshold = 3",
            ),
            ("threshold = 4294967296", "health.threshold must be a whole number of at least 1"),
            ("action = \"reboot\"", "health.action must be \"restart\" or \"report\", not \"reboot\""),
        ],
    );
}

#[test]
fn mistakes_in_hooks_and_owner_are_named() {
    let list = "hooks.pre-start must be a list of commands, each a list of a program and its arguments";
    let many = format!("post-stop = [{}]", "[\"/x\"],".repeat(Hooks::MAX + 1));
    mistakes(
        "hooks",
        &[
            ("pre-start = \"/bin/a\"", list),
            ("pre-start = [\"/bin/a\", \"b\"]", list),
            ("pre-start = [[\"/bin/a\"], \"b\"]", list),
            (&many, "hooks.post-stop must be at most 16 commands"),
            ("prestart = []", "unknown key hooks.prestart; did you mean hooks.pre-start?"),
            ("on-failur = []", "unknown key hooks.on-failur; did you mean hooks.on-failure?"),
        ],
    );
    for line in ["owner = \"me\"", "owner = 5", "owner = [\"cluster\"]"] {
        let (overlay, found) = parse(line);
        assert!(
            found[0].starts_with("/o:1: error: owner must be \"guestd\" or \"cluster\", not "),
            "{found:?}"
        );
        assert_eq!((overlay.layer, found.len()), (Layer::default(), 1), "{line}");
    }
}

#[test]
fn a_bad_command_leaves_the_others_of_its_stage() {
    let (overlay, found) = parse("[hooks]\npre-stop = [\n  [\"/a\"],\n  [\"b\"],\n  [],\n  [\"/c\"],\n]\n");
    let command = |word: &str| Argv::new(words(&[word])).unwrap();
    assert_eq!(guest(&overlay.layer).hooks.pre_stop, [command("/a"), command("/c")]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("/o:4: error: a command of hooks.pre-stop is ignored: the program"),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("/o:5: error: a command of hooks.pre-stop is ignored: a command is"),
        "{found:?}"
    );
    let (overlay, found) = parse("[hooks]\npre-stop = [[\"b\"]]\n");
    assert_eq!((overlay.layer, found.len()), (Layer::default(), 2), "{found:?}");
    assert!(found[1].contains("hooks.pre-stop is ignored, since nothing in it can be used"), "{found:?}");
}

#[test]
fn two_conditions_contradict_each_other_and_neither_counts() {
    for (section, first, second) in [
        ("ready", "when = \"started\"", "tcp = \"db:1\""),
        ("ready", "file = \"/x\"", "when = \"notify\""),
        ("ready", "exec = [\"/x\"]", "socket = \"/x\""),
        ("health", "file = \"/x\"", "tcp = \"db:1\""),
    ] {
        let (overlay, found) = parse(format!("[{section}]\n{first}\ntimeout = 5\n{second}\n"));
        let key = |line: &str| format!("{section}.{}", line.split(' ').next().unwrap());
        let wanted = format!(
            "/o:4: error: {} contradicts {} (line 2): only one of them can be; neither counts, remove one",
            key(second),
            key(first)
        );
        assert_eq!(found, [wanted]);
        let guest = guest(&overlay.layer);
        assert_eq!((guest.ready.when, guest.health), (Condition::Started, None));
    }
    let (_, found) = parse("[ready]\ntcp = 5\nfile = \"/x\"\nsocket = \"/x\"\n");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn what_can_do_nothing_is_told_once_all_layers_are_there() {
    for (text, wanted) in [
        (
            "[health]\naction = \"restart\"\n",
            "/o:2: warning: health.action has no effect: nothing is asked; write tcp, exec, socket or file in [health]",
        ),
        (
            "[restart]\ndelay = \"2m\"\n",
            "/o:2: warning: restart.delay \"2m\" is longer than restart.max-delay \"1m\", which counts; raise max-delay",
        ),
        (
            "[restart]\nmax-delay = \"50ms\"\n",
            "/o:2: warning: restart.delay \"100ms\" is longer than restart.max-delay \"50ms\", which counts; raise max-delay",
        ),
    ] {
        let (overlay, found) = parse(text);
        assert_eq!(found, [""; 0]);
        let found: Vec<_> = overlay.layer.findings().map(|found| found.to_string()).collect();
        assert_eq!(found, [wanted]);
    }
    let mut layer = parse("[health]\ninterval = 5\n").0.layer;
    layer.lay(parse("[health]\nfile = \"/x\"\n").0.layer);
    assert_eq!(layer.findings().collect::<Vec<_>>(), []);
}

#[test]
fn keys_in_the_wrong_place_are_sent_to_theirs() {
    for (line, part) in [
        ("tcp = \"db:1\"", "unknown key tcp; tcp belongs into the section [ready] or [health]"),
        ("timeout = 5", "timeout belongs into the section [start], [ready], [health] or [stop]"),
        ("pre-start = []", "unknown key pre-start; pre-start belongs into the section [hooks]"),
        ("policy = \"never\"", "unknown key policy; policy belongs into the section [restart]"),
        ("ready = \"notify\"", "ready is a section; write [ready] and its keys below"),
        ("hooks = []", "hooks is a section; write [hooks] and its keys below"),
        ("start.owner = \"cluster\"", "unknown key start.owner; did you mean start.order?"),
    ] {
        let (overlay, found) = parse(line);
        assert_eq!((overlay.layer, found.len()), (Layer::default(), 1), "{line}: {found:?}");
        assert!(found[0].starts_with("/o:1: error: ") && found[0].contains(part), "{line}: {}", found[0]);
    }
}
