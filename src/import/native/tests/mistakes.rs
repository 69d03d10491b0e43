//! What is said of mistakes: each is named with its line, and keeps the guest from being started.

use super::{ROOT, define, spec};

/// Lines with one mistake each, and what is said of it.
#[track_caller]
fn mistakes(lines: &[(&str, &str)]) {
    for (lines, part) in lines {
        let (defined, found) = define(&[&format!("{ROOT}{lines}\n[start]\norder = 4\n")]);
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        let line = 2 + lines.lines().count();
        let start = format!("/0.toml:{line}: error: {part}");
        assert!(found[0].starts_with(&start), "{lines}: {} is not {start}", found[0]);
        let refused =
            format!("/0.toml:{line}: what is written there cannot be used; \"guestctl check\" tells why");
        assert_eq!(spec(&defined).refused, Some(refused), "{lines}");
        assert_eq!(defined.imported.unwrap().guest.start.order, 4, "{lines}");
    }
}

#[test]
fn in_the_init() {
    let signal = "signal must be a signal such as \"SIGTERM\", \"SIGRTMIN+3\" or 15, not";
    mistakes(&[
        ("init = \"/sbin/init\"", "init must be a list of texts, a program and its arguments"),
        ("init = [\"init\"]", "a command of init is ignored: the program of a command is an absolute path"),
        ("init = []", "a command of init is ignored"),
        ("halt-signal = \"PWR\"", &format!("halt-{signal} \"PWR\"; write halt-signal = \"SIGRTMIN+3\"")),
        ("halt-signal = 0", &format!("halt-{signal} 0")),
        ("reboot-signal = 65", &format!("reboot-{signal} 65")),
        ("halt-command = [\"poweroff\"]", "a command of halt-command is ignored"),
        ("directory = \"srv\"", "directory must be an absolute path inside the guest, without \"..\""),
        ("directory = \"/srv/..\"", "directory must be an absolute path inside the guest"),
        ("user = \"root\"", "user must be the numbers of a user and a group"),
        ("user = \"1000\"", "user must be the numbers of a user and a group"),
        ("user = 1000", "user must be the numbers of a user and a group"),
        ("user = \"0:4294967295\"", "user must be the numbers"),
        ("user = \"0:+1\"", "user must be the numbers"),
        ("hostname = \"a b\"", "hostname must be a name of letters, digits, \"-\", \"_\" and \".\""),
        ("hostname = \"\"", "hostname must be a name"),
        ("domainname = \"a/b\"", "domainname must be a name"),
        ("environment = 5", "environment is a section; write [environment]"),
        ("[environment]\n1A = \"b\"", "environment.1A is no name of a variable: it has letters"),
        ("[environment]\n\"A=B\" = \"b\"", "environment.A=B is no name of a variable"),
        ("[environment]\nA = 5", "environment.A must be a text without NUL characters, not 5"),
        ("[environment]\nA = \"\\u0000\"", "environment.A must be a text without NUL"),
        ("initt = [\"/sbin/init\"]", "unknown key initt; did you mean init?"),
        ("nofile = 5", "unknown key nofile; nofile belongs into the section [limits]"),
    ]);
}

const IN_MOUNTS: &[(&str, &str)] = &[
    ("mount = \"/a\"", "mount is a list, one table for each mount; write [[mount]] with two brackets"),
    ("[mount]", "mount is a list"),
    ("mount = [5]", "mount is a section"),
    (
        "[[mount]]\nsource = \"/a\"\ntarget = \"b\"",
        "mount.target must be an absolute path inside the guest, below",
    ),
    ("[[mount]]\nsource = \"/a\"\ntarget = \"/\"", "mount.target must be an absolute path"),
    ("[[mount]]\nsource = \"/a\"\ntarget = \"/b/../..\"", "mount.target must be an absolute path"),
    ("[[mount]]\nsource = \"/a\"\ntarget = \"/b\\n\"", "mount.target must be an absolute path"),
    ("[[mount]]\nsource = \"\"", "mount.source must be a path of the host, a device"),
    ("[[mount]]\ntarget = \"/b\"\ntype = \"a/b\"", "mount.type must be a type of file system"),
    (
        "[[mount]]\ntarget = \"/b\"\ntype = \"tmpfs\"\noptions = 5",
        "mount.options must be a list of texts, not 5",
    ),
    (
        "[[mount]]\ntarget = \"/b\"\ntype = \"tmpfs\"\noptions = [\"ro\", \"a,,b\"]",
        "an element of mount.options is ignored: an option",
    ),
    ("[[mount]]\ntarget = \"/b\"\ntype = \"tmpfs\"\noptional = 1", "mount.optional must be true or false"),
    (
        "[[mount]]\ntarget = \"/b\"\ntype = \"tmpfs\"\noption = \"ro\"",
        "unknown key mount.option; did you mean mount.options?",
    ),
    ("mount = [{ source = \"/a\" }]", "this mount is ignored: it has no target; write target = \"/data\""),
    (
        "mount = [{ source = \"x\", target = \"/b\" }]",
        "this mount is ignored: it has no type and its source is no",
    ),
    (
        "mount = [{ source = \"/a/..\", target = \"/b\" }]",
        "this mount is ignored: it has no type and its source",
    ),
    (
        "mount = [{ target = \"/b\", type = \"bind\" }]",
        "this mount is ignored: its type is \"bind\", which needs",
    ),
    (
        "mount = [{ source = \"/a\", target = \"/b\", options = [\"r0\"] }]",
        "this mount is ignored: its type is \"bind\", which has no option r0; did you mean ro?",
    ),
    (
        "mount = [{ source = \"/a\", target = \"/b\", options = [\"size=64m\"] }]",
        "this mount is ignored: its type is \"bind\", which has no option size=64m; known are ro, rw",
    ),
    ("target = \"/b\"", "unknown key target; target belongs into the section [[mount]]"),
];

#[test]
fn in_mounts() {
    mistakes(IN_MOUNTS);
}

#[test]
fn in_the_network() {
    mistakes(&[
        (
            "network = \"nat\"",
            "network must be \"none\", \"host\", or a table [[network]] for each interface",
        ),
        ("[network]", "network is a list, one table for each interface; write [[network]]"),
        (
            "[[network]]\ntype = \"veth\"\nbridg = \"br0\"",
            "unknown key network.bridg; did you mean network.bridge?",
        ),
        ("network = [{ type = \"veth\" }, { type = \"macvlan\" }]", "this interface is ignored, since type"),
        ("network = [{ type = \"veth\", mtu = 5 }]", "network.mtu must be bytes from 68 to 65535, not 5"),
        ("bridge = \"br0\"", "unknown key bridge; bridge belongs into the section [[network]]"),
        ("type = \"veth\"", "unknown key type; type belongs into the section [[mount]] or [[network]]"),
    ]);
}

#[test]
fn in_rights() {
    let capability =
        "an element of capabilities.drop is ignored: the kernel has no capability \"CAP_X\"; write one of";
    mistakes(&[
        ("[capabilities]\ndrop = [\"CAP_X\", \"CAP_KILL\"]", capability),
        ("[capabilities]\nadd = 5", "capabilities.add must be a list of texts, not 5"),
        ("[capabilities]\nkeep = []", "unknown key capabilities.keep; known here: add, drop"),
        ("no-new-privileges = \"yes\"", "no-new-privileges must be true or false"),
        ("seccomp = false", "seccomp must be \"default\" or \"off\", not false"),
        (
            "devices = [\"/dev/fuse\", \"/etc/x\"]",
            "an element of devices is ignored: \"/etc/x\" is no path below /dev",
        ),
        ("devices = [\"/dev/fuse\", \"/dev/../etc/x\"]", "an element of devices is ignored"),
        ("devices = [\"/dev/fuse\", \"/dev\"]", "an element of devices is ignored"),
        ("user-namespace = 1", "user-namespace must be true or false, not 1"),
        ("read-only = \"\"", "read-only must be true or false"),
        ("read-onyl = true", "unknown key read-onyl; did you mean read-only?"),
    ]);
}

#[test]
fn in_how_processes_are_treated() {
    let host = "is the whole host's, not a guest's; here are net.*, kernel.msg*, kernel.sem";
    mistakes(&[
        ("nice = 20", "nice must be a whole number from -20 to 19, not 20; write nice = 10"),
        ("nice = \"5\"", "nice must be a whole number"),
        ("scheduler = \"rr\"", "scheduler must be \"other\", \"batch\", \"idle\", or"),
        ("scheduler = \"rr:100\"", "scheduler must be"),
        ("scheduler = \"batch:1\"", "scheduler must be"),
        ("io = \"best-effort:8\"", "io must be \"realtime:\" or \"best-effort:\" and a level from 0"),
        ("io = \"idle:1\"", "io must be"),
        ("io = 4", "io must be"),
        ("oom-score-adjust = -1001", "oom-score-adjust must be a whole number from -1000 to 1000"),
        ("personality = \"linux64\"", "personality must be \"linux\", \"linux32\" or a number"),
        ("personality = -1", "personality must be"),
        (
            "umask = 22",
            "umask must be a text of octal digits, from \"0000\" to \"0777\", not 22; write umask = \"0022\"",
        ),
        ("umask = \"0888\"", "umask must be"),
        ("umask = \"1777\"", "umask must be"),
        ("processors = \"3-0\"", "processors must be numbers of processors and ranges of them"),
        ("processors = \"0,\"", "processors must be"),
        ("processors = 9999", "processors must be"),
        ("[limits]\nnofiles = 5", "unknown key limits.nofiles; did you mean limits.nofile?"),
        ("[limits]\nnofile = -1", "limits.nofile must be a whole number, \"unlimited\", or two of these"),
        ("[limits]\nnofile = \"5:4\"", "limits.nofile must be"),
        ("[limits]\nnofile = \"unlimited:4\"", "limits.nofile must be"),
        ("[limits]\nnofile = \"+5\"", "limits.nofile must be"),
        ("[limits]\nnofile = \"18446744073709551615\"", "limits.nofile must be"),
        ("[sysctl]\n\"kernel.panic\" = 1", &format!("sysctl kernel.panic {host}")),
        ("[sysctl]\nvm.swappiness = 1", &format!("sysctl vm.swappiness {host}")),
        ("[sysctl]\nkernel.semaphore = 1", &format!("sysctl kernel.semaphore {host}")),
        ("[sysctl]\n\"net.//.//.kernel.panic\" = 1", "\"net.//.//.kernel.panic\" is no name of a sysctl"),
        ("[sysctl]\n\"net..x\" = 1", "\"net..x\" is no name of a sysctl"),
        ("[sysctl]\n\"net.x\\u0000\" = 1", "\"net.x\\0\" is no name of a sysctl"),
        ("[sysctl]\nkernel.hostname = \"x\"", "sysctl.kernel.hostname has a key of its own; write hostname"),
        ("[sysctl]\nnet.x = \"a\\nb\"", "sysctl.net.x must be a number or a text in one line"),
        ("[sysctl]\nnet.x = true", "sysctl.net.x must be a number or a text"),
    ]);
}

#[test]
fn a_guest_needs_one_root() {
    for (text, said) in [
        (
            "engine = \"native\"\nnice = 5",
            "/0.toml:1: error: web has no root, so that it cannot be a guest; write root = \"/srv/web\"",
        ),
        (
            "engine = \"native\"\nroot = \"srv\"",
            "/0.toml:2: error: root must be the absolute path of a folder, without \"..\", or \"volatile-host\"",
        ),
        (
            "engine = \"native\"\nroot = \"/srv/..\"",
            "/0.toml:2: error: root must be the absolute path of a folder",
        ),
        (
            "engine = \"native\"\nroot = \"/\"",
            "/0.toml:2: error: root = \"/\" is the host itself; write root = \"volatile-host\"",
        ),
        (
            "engine = \"native\"\narchive = \"/\"",
            "/0.toml:2: error: archive must be the absolute path of a tar archive",
        ),
        (
            "engine = \"native\"\nbundle = 5",
            "/0.toml:2: error: bundle must be the absolute path of a folder with a config.json",
        ),
        (
            "engine = \"native\"\nroot = \"/srv\"\narchive = \"/x.tar\"",
            "/0.toml:3: error: archive contradicts root (line 2): only one of them can be; neither counts, remove one",
        ),
    ] {
        let (defined, found) = define(&[text]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(said), "{text}: {}", found[0]);
        assert_eq!(defined.imported, None, "{text}");
    }
}

#[test]
fn what_shows_in_all_files_together() {
    let volatile = "engine = \"native\"\nroot = \"volatile-host\"\n";
    let (defined, found) = define(&[volatile, "user-namespace = true\n"]);
    let said = "/1.toml:1: error: user-namespace = true contradicts root = \"volatile-host\" (/0.toml:2): the host's \
                files belong to the host's users; remove it";
    assert_eq!(found, [said]);
    assert!(spec(&defined).refused.as_ref().unwrap().starts_with("/1.toml:1: "));
    let (defined, found) = define(&[ROOT, "network = \"host\"\n", "[sysctl]\nnet.ipv4.ip_forward = 1\n"]);
    let said = "/2.toml:2: error: sysctl net.ipv4.ip_forward contradicts network = \"host\" (/1.toml:1): it would set \
                the host's own; set that with sysctl.d(5), or give the guest a network of its own";
    assert_eq!(found, [said]);
    assert!(spec(&defined).refused.as_ref().unwrap().starts_with("/2.toml:2: "));
    for (over, said) in [
        (
            "network = [{ type = \"veth\", address = \"10.0.3.5/24\", gateway = \"10.0.4.1\" }]",
            "/1.toml:1: warning: the gateway 10.0.4.1 is in none of the networks of network.address",
        ),
        (
            "halt-signal = 15\nhalt-command = [\"/sbin/poweroff\"]",
            "/1.toml:1: warning: halt-signal has no effect beside halt-command (/1.toml:2), which counts",
        ),
        (
            "[capabilities]\nadd = [\"CAP_KILL\"]\ndrop = [\"CAP_KILL\"]",
            "/1.toml:2: warning: capabilities.add and capabilities.drop (/1.toml:3) both have CAP_KILL, which is dropped",
        ),
    ] {
        let (defined, found) = define(&[ROOT, over]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(said), "{}", found[0]);
        assert_eq!(spec(&defined).refused, None);
    }
}

#[test]
fn mistakes_in_supervision_cost_only_themselves() {
    let (defined, found) = define(&[ROOT, "[start]\nordr = 4\n[stop]\ntimeout = \"x\"\n"]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(spec(&defined).refused, None);
    for broken in ["seccomp = \"default\nnice = 5\n", "[capabilities\ndrop = [\"CAP_KILL\"]\n", "\"\n"] {
        let (defined, _) = define(&[ROOT, broken]);
        assert!(spec(&defined).refused.as_ref().unwrap().starts_with("/1.toml:1: "), "{broken}");
    }
}
