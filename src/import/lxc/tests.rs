//! Tests of the reader over files in memory.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::*;
use crate::import::{Files, ReadError, Text, excerpt};

/// Files in memory; a path that others lie below is a folder.
#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Vec<u8>>);

impl Memory {
    fn with(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.0.insert(path.into(), content.as_ref().to_vec());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<Text, ReadError> {
        if self.is_folder(path) {
            return Err(ReadError::NotRegular);
        }
        self.0.get(path).map(|bytes| excerpt::of(bytes)).ok_or(ReadError::Missing)
    }

    fn list(&self, folder: &Path, suffix: &str) -> Result<Vec<PathBuf>, ReadError> {
        if !self.is_folder(folder) {
            return Err(ReadError::Missing);
        }
        let inside =
            |path: &&PathBuf| path.parent() == Some(folder) && path.to_string_lossy().ends_with(suffix);
        Ok(self.0.keys().filter(inside).cloned().collect())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.0.keys().any(|known| known != path && known.starts_with(path))
    }
}

/// Reads the container `c` with this configuration, and everything found wrong.
fn read(files: Memory, config: impl AsRef<[u8]>) -> (Config, Vec<String>) {
    let files = files.with("/lxc/c/config", config);
    let mut reader = Reader::new(&files, "/base");
    let config = reader.read(Path::new("/lxc"), &GuestName::new("c").unwrap()).unwrap();
    let mut found: Vec<_> = config.diagnostics.iter().map(ToString::to_string).collect();
    found.extend(reader.take_diagnostics().iter().map(ToString::to_string));
    (config, found)
}

fn guest(config: Config) -> Guest {
    config.guest(GuestName::new("c").unwrap(), Path::new("/lxc").into(), &Layer::default(), Layer::default())
}

fn groups(config: &Config) -> Vec<&str> {
    config.layer.groups.iter().flat_map(|groups| groups.value.names()).map(|group| group.as_str()).collect()
}

#[test]
fn every_setting_reaches_the_guest() {
    let (config, found) = read(
        Memory::default(),
        "lxc.start.auto = 1\nlxc.start.order = -0x10\nlxc.start.delay = 5\nlxc.group = web onboot\n\
         lxc.group = \"web\tdb\"\nlxc.signal.halt = SIGRTMIN+4\nlxc.signal.reboot = sigterm\nlxc.signal.stop = 15\n\
         lxc.hook.version = 1\nlxc.ephemeral = 1\nlxc.rootfs.path = dir:/srv/c\nlxc.log.file = '/var/log/c.log'\n",
    );
    assert_eq!(found, [""; 0]);
    assert_eq!(groups(&config), ["web", "onboot", "db"]);
    let guest = guest(config);
    assert_eq!(guest.start.auto, Auto::Yes);
    assert_eq!((guest.start.order, guest.start.delay.as_secs()), (-16, 5));
    let EngineSpec::Lxc(spec) = guest.engine else { panic!("no container") };
    assert_eq!((spec.halt_signal, spec.reboot_signal, spec.stop_signal), (Some(38), Some(15), Some(15)));
    assert_eq!((spec.hook_version, spec.ephemeral), (1, true));
    assert_eq!(spec.rootfs.as_deref(), Some("dir:/srv/c"));
    assert_eq!((spec.log_file.as_deref(), spec.own_console), (Some("/var/log/c.log"), false));
}

#[test]
fn the_last_value_counts_and_an_empty_one_resets() {
    let (config, found) = read(
        Memory::default(),
        "lxc.start.auto = 1\nlxc.start.auto =\nlxc.start.order = 5\nlxc.start.order = 7\nlxc.group = a\nlxc.group =\n\
         lxc.group = b\nlxc.signal.halt = SIGPWR\nlxc.signal.halt =\nlxc.hook = \nlxc.include =\n",
    );
    assert_eq!(found, [""; 0]);
    assert_eq!(groups(&config), ["b"]);
    assert_eq!(config.own.halt, None);
    let order = config.layer.order.clone().unwrap();
    assert_eq!((order.value, order.origin.to_string()), (7, "/lxc/c/config:4".into()));
    assert_eq!(guest(config).start.auto, Auto::No);
}

#[test]
fn each_bad_value_is_named_with_its_line_and_costs_only_itself() {
    for (line, part) in [
        ("lxc.start.order = abc", "lxc.start.order must be a whole number such as 10 or -1, not \"abc\""),
        ("lxc.start.auto = yes", "lxc.start.auto must be 0 or 1, not \"yes\""),
        ("lxc.start.auto = 2", "lxc.start.auto must be 0 or 1, not \"2\""),
        ("lxc.start.delay = -1", "lxc.start.delay must be a whole number of seconds, not \"-1\""),
        ("lxc.start.delay = 5s", "not \"5s\": LXC refuses the whole container; mend the value"),
        ("lxc.group = a/b web", "a group of lxc.group is ignored: the name \"a/b\" holds '/'"),
        ("lxc.signal.halt = SIGFOO", "lxc.signal.halt must be a signal such as SIGPWR"),
        ("lxc.signal.stop = PWR", "a spelling for which LXC refuses the whole container; write SIGPWR"),
        ("lxc.signal.stop = SIGFOO", "not \"SIGFOO\": LXC refuses the whole container; mend"),
        ("lxc.signal.halt = 65", "not \"65\": LXC takes the number, and the kernel has no such signal; mend"),
        ("lxc.signal.halt = +9", "not \"+9\": LXC refuses the whole container; mend"),
        ("lxc.signal.halt = 2147483648", "not \"2147483648\": LXC refuses the whole container; mend"),
        ("lxc.signal.halt = 08", "not \"08\": LXC refuses the whole container; mend"),
        (
            "lxc.hook.version = 7",
            "lxc.hook.version must be 0 or 1, not \"7\": LXC refuses the whole container; mend",
        ),
        (
            "lxc.hook.version = 08",
            "lxc.hook.version must be 0 or 1, not \"08\": LXC leaves the line out; mend",
        ),
        (
            "lxc.hook.version = 1 # new",
            "lxc.hook.version is followed by a comment: LXC leaves the line out; put",
        ),
        ("lxc.ephemeral = x", "lxc.ephemeral must be 0 or 1"),
        ("lxc.start.auto", "\"lxc.start.auto\" has no \"=\""),
        ("lxc.include = /none", "/none does not exist, for which LXC refuses the whole container"),
    ] {
        let config = format!("lxc.start.order = 3\n{line}\nlxc.start.delay = 9\nlxc.group = web\n");
        let (config, found) = read(Memory::default(), config);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("/lxc/c/config:2: error: ") && found[0].contains(part), "{}", found[0]);
        assert_eq!(groups(&config), ["web"], "{line}");
        let guest = guest(config);
        assert_eq!((guest.start.order, guest.start.delay.as_secs()), (3, 9), "{line}");
        let EngineSpec::Lxc(spec) = guest.engine else { panic!("no container") };
        assert_eq!(spec.hook_version, 0, "{line}");
    }
}

#[test]
fn a_comment_behind_a_value_is_an_error_and_the_value_is_used() {
    let (config, found) = read(
        Memory::default(),
        "lxc.start.auto = 1 # at boot\nlxc.start.order = 5# x\nlxc.signal.halt = SIGPWR # x\nlxc.group = web # main\n",
    );
    assert_eq!(found.len(), 4, "{found:?}");
    for (number, message) in found[..3].iter().enumerate() {
        assert!(message.starts_with(&format!("/lxc/c/config:{}: error: ", number + 1)), "{message}");
        assert!(message.contains("put the comment on a line of its own"), "{message}");
    }
    // LXC takes these as names.
    assert!(found[3].starts_with("/lxc/c/config:4: warning: lxc.group has a \"#\""), "{}", found[3]);
    assert_eq!(groups(&config), ["web", "#", "main"]);
    assert_eq!(config.own.halt.as_ref().map(|halt| halt.value), Some(30));
    let guest = guest(config);
    assert_eq!((guest.start.auto, guest.start.order), (Auto::Yes, 5));
}

#[test]
fn commas_separate_groups_with_a_warning() {
    let (config, found) = read(Memory::default(), "lxc.group = web,onboot, db\n");
    assert_eq!(groups(&config), ["web", "onboot", "db"]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("/lxc/c/config:1: warning: lxc.group has a comma"), "{}", found[0]);
    assert!(found[0].ends_with("write \"web onboot db\""), "{}", found[0]);
}

#[test]
fn bad_group_names_are_left_out_and_never_make_the_null_group() {
    let null = Groups::Null;
    let in_groups = |names: &[&str]| Groups::In(names.iter().map(|name| name.parse().unwrap()).collect());
    for (lines, wanted) in [
        ("lxc.group = a/b", in_groups(&[])),
        ("lxc.group = a/b\nlxc.group = c/d", in_groups(&[])),
        ("lxc.group = ,", in_groups(&[])),
        ("lxc.group = a/b web", in_groups(&["web"])),
        ("lxc.group = web\nlxc.group = a/b", in_groups(&["web"])),
        ("lxc.group = a/b\nlxc.group =", null.clone()),
        ("lxc.group = \" \"", null.clone()),
        ("", null),
    ] {
        let (config, found) = read(Memory::default(), lines);
        assert_eq!(found.is_empty(), !lines.contains(['/', ',']), "{lines}: {found:?}");
        assert_eq!(guest(config).start.groups, wanted, "{lines}");
    }
}

#[test]
fn old_and_unknown_keys_are_warned_of_and_old_ones_used() {
    let (config, found) = read(
        Memory::default(),
        "lxc.haltsignal = SIGINT\nlxc.rootfs = /srv/c\nlxc.logfile = /l\nlxc.network.type = veth\nlxc.kmsg = 0\n\
         lxc.frobnicate = 1\nlxc.start.oder = 1\nlxc.cgroup.devices.deny = a\nlxc.cgroup.cpu.shares = 1\n",
    );
    for (message, part) in found.iter().zip([
        ":1: warning: lxc.haltsignal is the old name of lxc.signal.halt",
        ":2: warning: lxc.rootfs is the old name of lxc.rootfs.path",
        ":3: warning: lxc.logfile is the old name of lxc.log.file",
        ":4: warning: lxc.network.type is the old name of lxc.net.N.type",
        ":5: warning: lxc.kmsg is gone",
        ":6: warning: unknown key lxc.frobnicate",
        "did you mean lxc.start.order?",
        ":8: note: LXC 7.0 and newer refuse a container with lxc.cgroup keys",
    ]) {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(found.len(), 8);
    assert_eq!(config.own.halt.map(|halt| halt.value), Some(2));
    assert_eq!(config.own.rootfs.map(|rootfs| rootfs.value).as_deref(), Some("/srv/c"));
    assert_eq!(config.own.log_file.map(|file| file.value).as_deref(), Some("/l"));
}

#[test]
fn whoever_says_anything_of_the_console_has_it_for_himself() {
    for line in ["lxc.console.path = none", "lxc.console.logfile =", "lxc.console = /l", "lxc.include = /i"] {
        let files = Memory::default().with("/i", "lxc.console.buffer.size = auto\n");
        assert!(read(files, line).0.own.console, "{line}");
    }
}

#[test]
fn includes_are_read_in_place_folders_in_order() {
    let files = Memory::default()
        .with("/base/rel.conf", "lxc.group = relative\n")
        .with("/d/b.conf", "lxc.group = b\nlxc.start.order = 2\n")
        .with("/d/a.conf", "lxc.group = a\nlxc.start.order = 1\n")
        .with("/d/c.txt", "lxc.group = c\n");
    let (config, found) = read(
        files,
        "lxc.group = first\nlxc.include = /d\nlxc.include = /none/\nlxc.include = rel.conf\nlxc.group = last\n",
    );
    assert_eq!(groups(&config), ["first", "a", "b", "relative", "last"]);
    let order = config.layer.order.unwrap();
    assert_eq!((order.value, order.origin.to_string()), (2, "/d/b.conf:2".into()));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("/lxc/c/config:4: warning: lxc.include of the relative path"),
        "{}",
        found[0]
    );
    let read: Vec<_> = config.files.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(read, ["/lxc/c/config", "/d/a.conf", "/d/b.conf", "/base/rel.conf"]);
}

#[test]
fn a_slash_at_the_end_is_told_apart_in_every_container() {
    for spellings in [["/x/none/", "/x/none"], ["/x/none", "/x/none/"]] {
        let mut files = Memory::default();
        for (name, included) in ["a", "b"].into_iter().zip(spellings) {
            files = files.with(&format!("/lxc/{name}/config"), format!("lxc.include = {included}\n"));
        }
        let mut reader = Reader::new(&files, "/base");
        for (name, included) in ["a", "b"].into_iter().zip(spellings) {
            let config = reader.read(Path::new("/lxc"), &GuestName::new(name).unwrap()).unwrap();
            let found = config.diagnostics;
            assert_eq!(found.is_empty(), included.ends_with('/'), "{included}: {found:?}");
        }
    }
}

#[test]
fn an_include_loop_is_named_and_cut() {
    let files = Memory::default()
        .with("/a", "lxc.include = /b\nlxc.start.auto = 1\n")
        .with("/b", "lxc.start.order = 4\nlxc.include = /a\nlxc.start.delay = 3\n");
    let (config, found) = read(files, "lxc.include = /a\nlxc.group = web\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "/b:2: error: lxc.include goes round in a circle: /a includes /b includes /a; ";
    assert!(found[0].starts_with(expected), "{}", found[0]);
    assert_eq!(groups(&config), ["web"]);
    let guest = guest(config);
    assert_eq!((guest.start.auto, guest.start.order, guest.start.delay.as_secs()), (Auto::Yes, 4, 3));
}

#[test]
fn includes_without_end_are_bounded() {
    let mut files = Memory::default();
    for n in 0..100 {
        files = files.with(&format!("/f{n}"), format!("lxc.include = /f{0}\nlxc.include = /f{0}\n", n + 1));
    }
    let (config, found) = read(files, "lxc.include = /f0\nlxc.start.auto = 1\n");
    assert!(found.iter().any(|message| message.contains("deeper than 32 files")), "{found:?}");
    assert!(found.iter().any(|message| message.contains("more than 1024 files are included")), "{found:?}");
    assert_eq!(guest(config).start.auto, Auto::Yes);
}

#[test]
fn a_mebibyte_of_mischief_is_read_at_once() {
    let groups = (0..20_000).map(|n| format!("lxc.group = {n} a{n} b{n}\n")).collect::<String>();
    let unknown = (0..40_000).map(|n| format!("lxc.x{n} = {n}\n")).collect::<String>();
    let missing = (0..40_000).map(|n| format!("lxc.include = r{n}\n")).collect::<String>();
    let (_, found) = read(Memory::default(), &groups);
    assert!(
        found[0].starts_with("/lxc/c/config:86: error: lxc.group makes more than 256 groups"),
        "{}",
        found[0]
    );
    for text in [groups, unknown, missing.clone()] {
        let (config, found) = read(Memory::default(), format!("{text}lxc.start.auto = 1\n"));
        assert!(guest(config).start.groups.names().len() <= 256);
        assert!(found.len() <= 102, "{}", found.len());
    }
    let (_, found) = read(Memory::default().with("/shared", missing), "lxc.include = /shared\n");
    assert!(found.len() <= 2100, "{}", found.len());
}

#[test]
fn a_config_that_cannot_be_read_is_an_error() {
    let files = Memory::default().with("/lxc/c/config/x", "");
    let mut reader = Reader::new(&files, "/");
    let name = |name| GuestName::new(name).unwrap();
    assert_eq!(reader.read(Path::new("/lxc"), &name("c")), Err(ReadError::NotRegular));
    assert_eq!(reader.read(Path::new("/lxc"), &name("d")), Err(ReadError::Missing));
}

#[test]
fn the_fingerprint_is_of_everything_that_lxc_reads() {
    let with = |included: &str| Memory::default().with("/a", included).with("/d/x.conf", "");
    let config = "lxc.include = /a\nlxc.include = /d\n";
    let first = read(with("# x"), config).0.fingerprint;
    assert_eq!(read(with("# x"), config).0.fingerprint, first);
    assert_ne!(read(with("# y"), config).0.fingerprint, first);
    assert_ne!(read(with("# x"), format!("{config}\n")).0.fingerprint, first);
    assert_ne!(read(with("# x").with("/d/y.conf", ""), config).0.fingerprint, first);
}

#[test]
fn defaults_lie_below_and_the_overlay_above() {
    let at = |value| Some(Sourced::new(value, Origin::file(Path::new("/t"))));
    let defaults = Layer {
        order: at(1),
        start_timeout: Some(Sourced::new(Duration::from_secs(7), Origin::file(Path::new("/t")))),
        ..Layer::default()
    };
    let overlay =
        Layer { auto: Some(Sourced::new(Auto::No, Origin::file(Path::new("/o")))), ..Layer::default() };
    let (config, _) =
        read(Memory::default(), "lxc.start.auto = 1\nlxc.start.order = 2\nlxc.signal.halt = 30\n");
    let name = GuestName::new("c").unwrap();
    let imported = config.imported(name, Path::new("/lxc").into(), &defaults, overlay, vec!["/o".into()]);
    let start = &imported.guest.start;
    assert_eq!((start.auto, start.order, start.timeout.as_secs()), (Auto::No, 2, 7));
    let shown: Vec<_> = imported.effective.iter().map(ToString::to_string).collect();
    for row in [
        "engine = \"lxc\"  # /lxc/c/config",
        "start.auto = false  # /o",
        "start.order = 2  # /lxc/c/config:2",
        "start.timeout = \"7s\"  # /t",
        "lxc.signal.halt = SIGPWR  # /lxc/c/config:3",
        "lxc.signal.stop = SIGKILL  # default",
    ] {
        assert!(shown.iter().any(|shown| shown == row), "{row}: {shown:#?}");
    }
    assert_eq!(imported.files, [PathBuf::from("/lxc/c/config"), "/o".into()]);
}

/// A line that sets nothing guestd acts on, good or bad.
fn noise() -> impl Strategy<Value = String> {
    prop_oneof![
        "[^\r\n\0l \t][^\r\n\0]{0,40}",
        "#[^\r\n\0]{0,40}",
        "lxc\\.(net\\.0\\.[a-z]{1,6}|cap\\.drop|utsname|x[a-z]{0,9}|network\\.type|cgroup\\.[a-z.]{1,9}) ?= ?[^\r\n\0]{0,20}",
        "lxc\\.[a-z]{1,10}",
        Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (config, found) = read(Memory::default(), &bytes);
        prop_assert!(found.iter().all(|message| message.starts_with("/lxc/c/config")));
        prop_assert_eq!(config.files.len(), 1);
    }

    #[test]
    fn no_value_makes_it_panic(key in "lxc\\.(start\\.(auto|order|delay)|group|signal\\.halt|include|hook\\.version)", value in ".{0,60}") {
        let (_, found) = read(Memory::default(), format!("{key} = {value}\n"));
        prop_assert!(found.iter().all(|message| message.len() < 1000));
    }

    #[test]
    fn start_settings_survive_any_noise(
        before in proptest::collection::vec(noise(), 0..8),
        between in proptest::collection::vec(noise(), 0..8),
        (auto, order, delay) in (any::<bool>(), any::<i32>(), any::<u32>()),
    ) {
        let text = format!(
            "{}\nlxc.start.auto = {}\n{}\nlxc.start.order = {order}\nlxc.start.delay = {delay}\nlxc.group = g",
            before.join("\n"), u8::from(auto), between.join("\n"),
        );
        let (config, _) = read(Memory::default(), text);
        prop_assert_eq!(groups(&config), ["g"]);
        let start = guest(config).start;
        prop_assert_eq!((start.auto, start.order, start.delay.as_secs()), (auto.into(), order, u64::from(delay)));
    }
}
