//! A guest's network, from its settings to what it reaches; in a host's network namespace of each test's own.

use std::process::Command;

use guestd::{
    engine::{Engine, ErrorKind, Request},
    model::{Deed, Network, Step, native::Security},
};

use super::native_host::{Bench, shell};

/// Parts this test's thread, and what it starts, from the machine's network.
fn apart() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
}

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Interfaces as they travel to the monitor.
fn links(text: &str) -> Network {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn veth() -> Network {
    links(include_str!("veth.json"))
}

#[tokio::test]
async fn a_guest_talks_over_a_bridge_and_leaves_nothing_there() {
    for user_namespace in [true, false] {
        apart();
        ip("link add gbr0 type bridge");
        ip("addr add 10.78.0.1/24 dev gbr0");
        ip("link set gbr0 up");
        let before = ip("-o link");
        let mut bench = Bench::new();
        let guest = bench.guest("net", |spec| {
            spec.user_namespace = user_namespace;
            spec.security = Security::usual(user_namespace);
            spec.network = veth();
            spec.init.program = shell("trap 'exit 0' TERM; while :; do sleep 1; done");
            spec.init.halt_signal = Some(15);
        });
        for _ in 0..2 {
            bench.up(&guest).await;
            assert!(bench.says(&guest, "ip addr show eth0").contains("10.78.0.5/24"));
            assert!(bench.says(&guest, "ip route").contains("default via 10.78.0.1"));
            let ping = Command::new("ping").args(["-c1", "-W5", "10.78.0.5"]).output().unwrap();
            assert!(ping.status.success(), "{ping:?}");
            bench.engine.request(&guest, Request::Stop).await.unwrap();
            bench.ends(&guest, 0x0).await;
            assert_eq!(ip("-o link").lines().count(), before.lines().count(), "an interface is left");
            assert!(!bench.folder().join(format!("run/network/{}.json", guest.name)).exists());
        }
    }
}

#[tokio::test]
async fn a_guest_has_its_loopback_or_the_hosts_network() {
    apart();
    let mut bench = Bench::new();
    let alone = bench.shell("alone", "while :; do sleep 1; done");
    bench.up(&alone).await;
    assert!(bench.says(&alone, "ip link show lo").contains("UP"));
    assert_eq!(bench.says(&alone, "ip -o link | wc -l"), "1");
    ip("link add seen0 type bridge");
    let shares = bench.guest("shares", |spec| {
        spec.user_namespace = false;
        spec.security = Security::usual(false);
        spec.network = Network::Host;
        spec.init.program = shell("while :; do sleep 1; done");
    });
    bench.up(&shares).await;
    assert!(bench.says(&shares, "ip -o link").contains("seen0"));
}

#[tokio::test]
async fn steps_before_the_init_see_the_interfaces_and_run_on_the_host() {
    apart();
    ip("link add gbr0 type bridge");
    ip("addr add 10.78.0.1/24 dev gbr0");
    ip("link set gbr0 up");
    let mut bench = Bench::new();
    let seen = bench.folder().join("seen");
    let step = |name: &str, what| Step { name: name.into(), what, must_succeed: true };
    let look = format!("ip -o link > {}", seen.display());
    let guest = bench.guest("steps", |spec| {
        spec.user_namespace = false;
        spec.security = Security::usual(false);
        spec.network = veth();
        spec.lifecycle.before = vec![
            step("interfaces", Deed::Network),
            step(
                "pre-start",
                Deed::Run {
                    argv: ["/bin/sh", "-c", &look].map(str::to_owned).to_vec(),
                    directory: guestd::model::Place::Root,
                    success: vec![],
                },
            ),
        ];
        spec.init.program = shell("while :; do sleep 1; done");
    });
    bench.up(&guest).await;
    assert!(std::fs::read_to_string(&seen).unwrap().contains("gbr0"), "it ran in the guest's network");
    assert!(bench.says(&guest, "ip addr show eth0").contains("10.78.0.5/24"));
    assert!(Command::new("ping").args(["-c1", "-W5", "10.78.0.5"]).output().unwrap().status.success());
    bench.engine.kill(&guest).await.unwrap();
    bench.ends(&guest, 0x9).await;
}

#[tokio::test]
async fn a_network_that_cannot_be_made_fails_the_start_and_leaves_nothing() {
    apart();
    let mut bench = Bench::new();
    let guest = bench.guest("nobridge", |spec| spec.network = veth());
    let before = ip("-o link");
    let error = bench.engine.start(&guest).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.reason.contains("gbr0"), "{error}");
    assert_eq!(ip("-o link"), before);
}
