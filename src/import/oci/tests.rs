//! Bundles: what `runc spec` writes, one with everything, and broken ones.

use proptest::prelude::*;

use super::*;
use crate::import::native::Definition;

const RUNC: &[u8] = include_bytes!("../../../tests/fixtures/oci/runc/config.json");
const EVERYTHING: &[u8] = include_bytes!("../../../tests/fixtures/oci/everything/config.json");

fn text(bytes: &[u8]) -> Text {
    Text { bytes: bytes.to_vec(), cut: false }
}

/// What a guest of this bundle is, as `guestctl cat` shows it, and what is said of it.
fn shown(toml: &str, bundle: &[u8]) -> String {
    let mut definition = Definition::new("web".parse().unwrap());
    let toml = Text { bytes: format!("engine = \"native\"\nbundle = \"/b\"\n{toml}").into(), cut: false };
    let overlay = crate::import::overlay::read(Path::new("/web.toml"), &toml);
    assert_eq!(overlay.diagnostics, []);
    definition.lay(Path::new("/web.toml"), &toml, overlay);
    let file = definition.bundle().unwrap();
    assert_eq!(file, Path::new("/b/config.json"));
    definition.lay_bundle(&file, Ok(text(bundle)));
    let defined = definition.finish(&Layer::default());
    let imported = defined.imported.unwrap();
    let written = imported.effective.iter().filter(|row| row.origin.is_some());
    let mut lines: Vec<_> = written.map(ToString::to_string).collect();
    lines.extend(defined.diagnostics.iter().map(ToString::to_string));
    let crate::model::EngineSpec::Native(spec) = imported.guest.engine else { unreachable!() };
    lines.push(format!(
        "capabilities: {:?}",
        spec.security.capabilities.iter().map(|c| c.to_string()).collect::<Vec<_>>()
    ));
    lines.push(format!("refused: {:?}", spec.refused));
    lines.join("\n")
}

#[test]
fn what_runc_writes_is_a_guest() {
    insta::assert_snapshot!(shown("", RUNC));
}

#[test]
fn everything_is_taken_or_told() {
    insta::assert_snapshot!(shown("", EVERYTHING));
}

#[test]
fn the_guests_own_file_wins() {
    let toml = "hostname = \"mine\"\nread-only = false\nuser = \"5:5\"\ncapabilities.add = [\"CAP_SYS_BOOT\"]\n\
                environment = { TERM = \"linux\" }\nlimits = { nofile = 5 }\n[resources]\nTasksMax = 5\n";
    insta::assert_snapshot!(shown(toml, RUNC));
}

#[test]
fn paths_that_stay_in_sight_are_told() {
    let paths = |key: &str, path: &str| {
        let part = format!(
            "\"linux\": {{ \"{key}\": [\"/proc/kcore\", \"/proc/sys\", \"/sys/firmware/efi\", \"{path}\"] }}"
        );
        shown("", &with(&part).into_bytes())
    };
    for (key, path, is_told) in [
        ("readonlyPaths", "/proc/irq/0", false),
        ("readonlyPaths", "/sys/kernel", false),
        ("readonlyPaths", "/proc/irqs", true),
        // It can be read.
        ("maskedPaths", "/proc/sys", true),
    ] {
        let told = format!("warning: not used: linux.{key}:");
        assert_eq!(paths(key, path).contains(&told), is_told, "{key} {path}: {}", paths(key, path));
    }
}

#[test]
fn without_a_network_namespace_it_has_the_hosts_network() {
    let namespaces = |kinds: &str| with(&format!("\"linux\": {{ \"namespaces\": [{kinds}] }}"));
    for (json, toml, row) in [
        (with("\"hostname\": \"x\""), "", "network = \"host\"  # /b/config.json"),
        (namespaces("{ \"type\": \"pid\" }"), "", "network = \"host\"  # /b/config.json"),
        (namespaces("{ \"type\": \"pid\" }"), "network = \"none\"\n", "network = \"none\"  # /web.toml:3"),
        (
            namespaces("{ \"type\": \"network\" }"),
            "network = \"host\"\n",
            "network = \"host\"  # /web.toml:3",
        ),
    ] {
        let shown = shown(toml, json.as_bytes());
        assert!(shown.lines().any(|line| line == row), "{json} {toml}: {shown}");
    }
    let shown = shown("", namespaces("{ \"type\": \"network\" }").as_bytes());
    assert!(!shown.contains("network = "), "{shown}");
}

/// What is said of a file, which is one thing.
#[track_caller]
fn said(json: &str, start: &str) {
    let found = read(Path::new("/b/config.json"), &text(json.as_bytes())).diagnostics;
    assert_eq!(found.len(), 1, "{json}: {found:?}");
    assert!(found[0].to_string().starts_with(start), "{json}: {}", found[0]);
}

fn with(part: &str) -> String {
    format!("{{\n\"ociVersion\": \"1.0.2\", \"root\": {{ \"path\": \"r\" }}, {part} }}")
}

fn process(part: &str) -> String {
    with(&format!("\"process\": {{ \"user\": {{ \"uid\": 0, \"gid\": 0 }}, \"cwd\": \"/\", {part} }}"))
}

#[test]
fn mistakes_in_the_process_are_named() {
    for (json, start) in [
        (process("\"args\": [\"\"]"), "/b/config.json: error: process.args must be a program"),
        (process("\"args\": []"), "/b/config.json: warning: process.args is empty: /sbin/init is run"),
        (
            process("\"args\": [\"a\"], \"env\": [\"x\"]"),
            "/b/config.json: error: an element of process.env must be",
        ),
        (
            process("\"args\": [\"a\"], \"oomScoreAdj\": 5000"),
            "/b/config.json: error: process.oomScoreAdj must be",
        ),
        (
            process("\"args\": [\"a\"], \"scheduler\": { \"policy\": \"SCHED_DEADLINE\" }"),
            "/b/config.json: error: process.scheduler.policy must be SCHED_OTHER",
        ),
        (
            process("\"args\": [\"a\"], \"scheduler\": { \"policy\": \"SCHED_RR\", \"priority\": 100 }"),
            "/b/config.json: error: process.scheduler.priority must be from 1 to 99",
        ),
    ] {
        said(&json, start);
    }
}

#[test]
fn mistakes_elsewhere_are_named() {
    for (json, start) in [
        (
            String::new(),
            "/b/config.json:1: error: not the configuration of an OCI runtime: EOF while parsing",
        ),
        (
            "{\n\n\"root\": 5 }".into(),
            "/b/config.json:3: error: not the configuration of an OCI runtime: invalid type",
        ),
        (with("\"hostname\": \"a b\""), "/b/config.json: error: hostname must be a name of letters"),
        (
            process(
                "\"args\": [\"a\"], \"rlimits\": [{ \"type\": \"RLIMIT_CPU\", \"soft\": 5, \"hard\": 4 }]",
            ),
            "/b/config.json: error: the soft limit of RLIMIT_CPU must be not above the hard one, not \"5\"",
        ),
        (
            "{ \"ociVersion\": \"2.0.0\", \"root\": { \"path\": \"r\" } }".into(),
            "/b/config.json: error: ociVersion must be",
        ),
        ("{ \"ociVersion\": \"1.0.0\" }".into(), "/b/config.json: error: there is no root"),
        (
            "{ \"ociVersion\": \"1.0.0\", \"root\": { \"path\": \"..\" } }".into(),
            "/b/config.json: error: root.path must be",
        ),
        (
            with("\"linux\": { \"resources\": { \"memory\": { \"limit\": 5, \"swap\": 4 } } }"),
            "/b/config.json: error: linux.resources.memory.swap must be memory and swap together",
        ),
        (
            with("\"linux\": { \"resources\": { \"cpu\": { \"cpus\": \"x\" } } }"),
            "/b/config.json: error: linux.resources.cpu.cpus must be processors",
        ),
        (
            with("\"linux\": { \"sysctl\": { \"net.//.//.kernel.panic\": \"1\" } }"),
            "/b/config.json: error: linux.\"net.//.//.kernel.panic\" is no name of a sysctl",
        ),
    ] {
        said(&json, start);
    }
}

#[test]
fn a_file_that_is_too_large_is_ignored() {
    let cut = Text { bytes: RUNC.to_vec(), cut: true };
    let found = read(Path::new("/b/config.json"), &cut).diagnostics;
    assert!(found[0].message.starts_with("the file is larger than 1 MiB"), "{found:?}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0..EVERYTHING.len(), with in proptest::collection::vec(any::<u8>(), 0..8)) {
        let mut bytes = EVERYTHING.to_vec();
        bytes.splice(at..(at + with.len()).min(EVERYTHING.len()), with);
        read(Path::new("/b/config.json"), &text(&bytes));
    }
}
