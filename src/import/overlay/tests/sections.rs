//! `[ready]`, `[restart]`, `[health]`, `[hooks]` and `owner`, key by key.

use std::time::Duration;

use super::parse;
use crate::{
    import::Layer,
    model::{
        Argv, Condition, EngineSpec, Guest, Health, HealthAction, HookStage, Hooks, Limit, LxcSpec,
        OnTimeout, Owner, Probe, Ready, Restart, RestartPolicy,
    },
};

pub(super) fn guest(layer: &Layer) -> Guest {
    let spec = LxcSpec::new(std::path::Path::new("/lxc").into());
    layer.guest("web".parse().unwrap(), EngineSpec::Lxc(spec), 0)
}

/// What an overlay without mistakes makes of a guest.
#[track_caller]
pub(super) fn good(text: &str) -> Guest {
    let (overlay, found) = parse(text);
    assert_eq!(found, [""; 0], "{text}");
    assert_eq!(overlay.layer.findings().collect::<Vec<_>>(), [], "{text}");
    guest(&overlay.layer)
}

fn tcp(host: &str, port: u16) -> Probe {
    Probe::Tcp { host: host.into(), port }
}

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

const PROBES: [&str; 4] = [
    "tcp = \"[fe80::1]:22\"",
    "exec = [\"/bin/test\", \"-e\", \"/x\"]",
    "socket = \"/run/x.sock\"",
    "file = \"/run/ready\"",
];

fn probes() -> [Probe; 4] {
    [
        tcp("fe80::1", 22),
        Probe::Exec(words(&["/bin/test", "-e", "/x"])),
        Probe::Socket("/run/x.sock".into()),
        Probe::File("/run/ready".into()),
    ]
}

#[test]
fn nothing_said_gives_the_defaults_of_the_design() {
    for text in ["", "[ready]\n[restart]\n[health]\n[hooks]\n"] {
        let guest = good(text);
        assert_eq!(
            guest.ready,
            Ready {
                when: Condition::Started,
                timeout: Duration::from_secs(60),
                on_timeout: OnTimeout::Continue,
                interval: Duration::from_secs(1)
            }
        );
        assert_eq!(
            guest.restart,
            Restart {
                policy: RestartPolicy::OnFailure,
                delay: Duration::from_millis(100),
                max_delay: Duration::from_secs(60),
                limit: Limit { count: 5, window: Duration::from_secs(300) }
            }
        );
        assert_eq!((guest.health, guest.hooks, guest.owner), (None, Hooks::default(), Owner::Guestd));
    }
}

#[test]
fn every_condition_and_probe_is_read() {
    let mut conditions = vec![
        ("when = \"started\"", Condition::Started),
        ("when = \"notify\"", Condition::Notify),
        ("tcp = \"db.example:5432\"", Condition::Probe(tcp("db.example", 5432))),
    ];
    conditions.extend(PROBES.into_iter().zip(probes().map(Condition::Probe)));
    for (line, when) in conditions {
        assert_eq!(good(&format!("[ready]\n{line}\n")).ready, Ready { when, ..Ready::default() }, "{line}");
    }
    for (line, probe) in PROBES.into_iter().zip(probes()) {
        assert_eq!(good(&format!("[health]\n{line}\n")).health, Some(Health::new(probe)), "{line}");
    }
}

#[test]
fn every_other_key_is_read() {
    let guest = good(
        "owner = \"cluster\"\n[ready]\ntimeout = \"5m\"\non-timeout = \"fail\"\ninterval = \"10ms\"\n\
         [restart]\npolicy = \"always\"\ndelay = 0\nmax-delay = 1\nlimit = \"3/10m\"\n\
         [health]\nfile = \"/x\"\ninterval = 30\ntimeout = \"2s\"\nthreshold = 1\naction = \"restart\"\n\
         [hooks]\npre-start = [[\"/bin/a\", \"b c\"], [\"/bin/d\"]]\non-failure = []\n",
    );
    let second = Duration::from_secs(1);
    let Ready { timeout, on_timeout, interval, .. } = guest.ready;
    assert_eq!((timeout, on_timeout, interval), (second * 300, OnTimeout::Fail, Duration::from_millis(10)));
    let limit = Limit { count: 3, window: second * 600 };
    let (policy, delay, max_delay) = (RestartPolicy::Always, Duration::ZERO, second);
    assert_eq!(guest.restart, Restart { policy, delay, max_delay, limit });
    let (interval, timeout, action) = (second * 30, second * 2, HealthAction::Restart);
    let probe = Probe::File("/x".into());
    assert_eq!(guest.health, Some(Health { probe, interval, timeout, threshold: 1, action }));
    let command = |line: &[&str]| Argv::new(words(line)).unwrap();
    let pre_start = vec![command(&["/bin/a", "b c"]), command(&["/bin/d"])];
    assert_eq!(guest.hooks, Hooks { pre_start, ..Hooks::default() });
    assert_eq!(guest.owner, Owner::Cluster);
    for policy in RestartPolicy::ALL {
        assert_eq!(good(&format!("[restart]\npolicy = \"{policy}\"\n")).restart.policy, policy);
    }
    for stage in HookStage::ALL {
        assert_eq!(good(&format!("[hooks]\n{stage} = [[\"/x\"]]\n")).hooks.of(stage), [command(&["/x"])]);
    }
}

#[test]
fn an_upper_layer_replaces_the_whole_condition_and_each_other_key_by_itself() {
    let layers = |texts: &[&str]| {
        let mut layer = Layer::default();
        texts.iter().for_each(|text| layer.lay(parse(text).0.layer));
        guest(&layer)
    };
    let below = "[ready]\ntcp = \"db:1\"\ntimeout = 9\n[health]\ntcp = \"db:1\"\nthreshold = 9\n[restart]\ndelay = 9\n\
                 limit = \"9/9s\"\n[hooks]\npre-start = [[\"/a\"]]\npost-stop = [[\"/b\"]]\n";
    let above = "owner = \"cluster\"\n[ready]\nwhen = \"notify\"\ninterval = 2\n[health]\nfile = \"/x\"\n[restart]\ndelay = 1\n\
                 [hooks]\npre-start = []\n";
    let guest = layers(&[below, above]);
    let second = Duration::from_secs(1);
    let ready =
        Ready { when: Condition::Notify, timeout: second * 9, interval: second * 2, ..Ready::default() };
    assert_eq!(guest.ready, ready);
    assert_eq!(guest.health, Some(Health { threshold: 9, ..Health::new(Probe::File("/x".into())) }));
    assert_eq!((guest.restart.delay, guest.restart.limit.count), (second, 9));
    assert_eq!((guest.hooks.pre_start.len(), guest.hooks.post_stop.len()), (0, 1));
    assert_eq!(guest.owner, Owner::Cluster);
    // What cannot be used leaves what is below.
    for broken in ["[ready]\ntcp = 5\n", "[ready]\nwhen = \"notify\"\nfile = \"/x\"\n"] {
        assert_eq!(layers(&[below, broken]).ready.when, Condition::Probe(tcp("db", 1)), "{broken}");
    }
}

#[test]
fn values_are_shown_as_toml_writes_them() {
    let shown = |text: &str| -> Vec<String> {
        let rows = parse(text).0.layer.effective().into_iter().filter(|row| row.origin.is_some());
        rows.map(|row| format!("{} = {}", row.key, row.value)).collect()
    };
    for (section, line) in [
        ("ready", "when = \"notify\""),
        ("ready", "when = \"started\""),
        ("ready", "on-timeout = \"fail\""),
        ("ready", "timeout = \"5m\""),
        ("restart", "policy = \"always\""),
        ("restart", "max-delay = \"1h\""),
        ("restart", "limit = \"3/10m\""),
        ("hooks", "pre-start = [[\"/a\", \"b c\"], [\"/d\"]]"),
        ("start", "auto = \"last-state\""),
    ] {
        assert_eq!(shown(&format!("[{section}]\n{line}\n")), [format!("{section}.{line}")]);
    }
    for (section, line) in ["ready", "health"].iter().flat_map(|section| PROBES.map(|line| (section, line))) {
        assert_eq!(shown(&format!("[{section}]\n{line}\n")), [format!("{section}.{line}")]);
    }
    assert_eq!(
        shown("owner = \"cluster\"\n[health]\nfile = \"/x\"\nthreshold = 2\naction = \"report\"\n"),
        ["health.file = \"/x\"", "health.threshold = 2", "health.action = \"report\"", "owner = \"cluster\"",]
    );
}
