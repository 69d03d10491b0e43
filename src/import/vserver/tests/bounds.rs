//! Whatever stands in any file: nobody panics, and nothing grows beyond its bounds.

use proptest::prelude::*;

use super::*;
use crate::import::vserver::files::{DEFAULTS, GUEST, Shape};

/// The paths of all text files and programs.
fn paths() -> Vec<String> {
    let texts = GUEST.iter().filter(|row| row.shape != Shape::Folder && row.path != "vdir");
    let own = texts.map(|row| row.path.replace("**", "x").replace('*', "x"));
    let more =
        ["rlimits/nproc.hard", "rlimits/rss.soft", "ulimits/nofile", "cgroup/cpu.max", "cgroup/memory.max"];
    own.chain(more.map(str::to_owned)).collect()
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        "[ -~\n]{0,200}".prop_map(String::into_bytes),
        "([0-9]{1,20}[KMkm]?|inf|~?!?(CAP_)?[A-Z_]{1,12}|\\^[0-9]{1,3}|/[a-z./]{0,20}|[a-z0-9.:/]{1,20}|,| |\n){0,40}"
            .prop_map(String::into_bytes),
        "(/[a-z./]{0,9}|none|UUID=x) /[a-z./]{0,9} (ext4|none|auto|proc|tmpfs) (bind|ro|noauto|defaults) [0-9] [0-9]\n"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_files_are_survived(
        contents in proptest::collection::vec((any::<prop::sample::Index>(), content(), any::<bool>()), 1..8),
        defaults in proptest::collection::vec((any::<prop::sample::Index>(), content()), 0..3),
    ) {
        let paths = paths();
        let file = |bytes: &[u8], executable| What::File { text: excerpt::of(bytes), executable };
        let entries = contents.iter().map(|(at, bytes, executable)| (at.get(&paths).as_str(), file(bytes, *executable)));
        let rows: Vec<_> = DEFAULTS.iter().map(|row| row.path.replace("**", "x").replace('*', "x")).collect();
        let others = defaults.iter().map(|(at, bytes)| (at.get(&rows).as_str(), file(bytes, true)));
        let config = read_both(entries.collect(), others.collect());
        prop_assert!(config.diagnostics.len() <= 151);
        for found in &config.diagnostics {
            prop_assert!(found.message.len() < 2000, "{}", found.message);
            prop_assert!(!found.message.chars().any(char::is_control), "{:?}", found.message);
        }
        if let Some(guest) = config.guest(name(), &Layer::default(), Layer::default()) {
            let EngineSpec::Native(spec) = &guest.engine else { panic!("not native") };
            prop_assert!(spec.lifecycle.before.len() < 1000);
            let json = serde_json::to_string(&**spec).unwrap();
            prop_assert_eq!(&serde_json::from_str::<NativeSpec>(&json).unwrap(), &**spec);
            for step in &spec.lifecycle.before {
                if let Deed::Mount(mount) | Deed::RemoteMount(mount) = &step.what {
                    prop_assert!(mount.target.starts_with('/') && !mount.target.split('/').any(|part| part == ".."));
                }
            }
        }
    }
}

#[test]
fn long_lists_are_cut() {
    let lines = |line: &str| line.repeat(5000);
    let config = read(vec![
        ("fstab", text(&lines("/srv/x /data none bind\n"))),
        ("apps/init/mark", text(&(0..5000).map(|at| format!("m{at}\n")).collect::<String>())),
        ("apps/init/depends", text(&(0..5000).map(|at| format!("g{at}\n")).collect::<String>())),
        ("apps/init/environment", text(&lines("A=1\n"))),
        ("bcapabilities", text(&lines("x\n"))),
        ("apps/init/killseq", text(&lines("15 1 "))),
    ]);
    let guest = guest(&config);
    assert_eq!((guest.start.groups.names().len(), guest.start.requires.len()), (256, 256));
    let spec = spec(&config);
    assert_eq!(spec.lifecycle.before.iter().filter(|step| matches!(step.what, Deed::Mount(_))).count(), 256);
    assert!(spec.environment.len() <= 258);
    assert!(config.diagnostics.len() <= 151);
}
