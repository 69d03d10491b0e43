//! Bad arguments over D-Bus.

use std::collections::HashMap;

use guestd::dbus::{errors::Error, proxy::ManagerProxy};
use zbus::{Variant, connection::Builder};

use super::{Host, host, nothing_else_is_affected, told};

/// Asks the daemon of a host something over its bus.
fn ask<T>(host: &Host, question: impl AsyncFnOnce(ManagerProxy<'_>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = host.bus_address();
        let connection = Builder::address(address.as_str()).build().await.expect("a connection");
        question(ManagerProxy::new(&connection).await.expect("a proxy")).await
    })
}

/// What the daemon finds wrong, in the form of `guestctl check`.
pub fn diagnostics(host: &Host) -> Vec<String> {
    let rows = ask(host, async |manager| manager.diagnostics().await).expect("an answer");
    let line = |(severity, _, file, line, message): (String, String, String, u32, String)| match line {
        0 => format!("{file}: {severity}: {message}"),
        line => format!("{file}:{line}: {severity}: {message}"),
    };
    rows.into_iter().map(line).collect()
}

#[test]
fn guests_that_do_not_exist_and_names_that_cannot_be() {
    let mut host = host();
    host.start_daemon();
    let (long, none) = ("n".repeat(300), HashMap::new());
    for name in ["nix", "", "a/b", "nul\u{1}", &long] {
        for answer in ask(&host, async |manager| {
            [
                manager.start(name, &none).await.map(drop),
                manager.kill(name, &none).await.map(drop),
                manager.get_guest(name).await.map(drop),
            ]
        }) {
            let Err(Error::NoSuchGuest(message)) = answer else { panic!("{name}: {answer:?}") };
            assert!(message.starts_with("no guest is named \""), "{message}");
            assert!(message.len() < 200, "{message}");
        }
        if !name.is_empty() {
            for command in ["start", "status", "cat"] {
                let refused = host.guestctl(&[command, name]);
                let said = told(&refused);
                assert_eq!(refused.status.code(), Some(4), "{command} {name}: {said}");
                assert!(said.starts_with("guestctl: ") && said.len() < 200, "{said}");
            }
        }
    }
    nothing_else_is_affected(&host);
}

#[test]
fn arguments_are_named_in_the_refusal() {
    let mut host = host();
    host.start_daemon();
    let long = "g".repeat(10_000);
    for (group, words) in [("a/b", "holds '/'"), ("a b", "holds ' '"), (&*long, "10000 characters; at most")]
    {
        let answer = ask(&host, async |manager| manager.autostart("start", &[group], &HashMap::new()).await);
        let Err(Error::InvalidArgument(message)) = answer else { panic!("{answer:?}") };
        assert!(
            message.starts_with("argument \"groups\": the name ") && message.contains(words),
            "{message}"
        );
        let refused = host.autostart(&["-g", group]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(told(&refused).contains(words) && told(&refused).contains("-g"), "{}", told(&refused));
    }
    let many = (0..257).map(|n| format!("g{n}")).collect::<Vec<_>>().join(",");
    let refused = host.autostart(&["-g", &many]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("has 257 elements; at most 256 are taken"), "{}", told(&refused));
    let endless = "/x".repeat(5 * 1024 * 1024);
    let cut = format!("lxcpath {}… is not managed by guestd", &endless[..300]);
    for (key, value, words) in [
        ("lxcpath", Variant::from(endless.as_str()), &*cut),
        ("lxcpath", Variant::from("/no/such/path"), "lxcpath /no/such/path is not managed by guestd"),
        ("lxcpath", 7u32.into(), "option \"lxcpath\" must be a string"),
        ("colour", true.into(), "option \"colour\" is unknown"),
    ] {
        let options = HashMap::from([(key, value)]);
        let answer = ask(&host, async |manager| manager.autostart("start", &[], &options).await);
        let message = answer.expect_err("it is refused").to_string();
        assert!(message.contains(words) && message.len() < 1000, "{message:.1000}");
    }
    nothing_else_is_affected(&host);
}
