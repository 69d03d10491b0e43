//! 10,000 guests in several shapes, for planning.

use std::{path::Path, sync::Arc, time::Duration};

use guestd::{
    model::{Auto, EngineSpec, GroupName, Groups, Guest, GuestName, LxcSpec, Selection, Start},
    plan::Guests,
};

const GUESTS: usize = 10_000;

fn name(number: usize) -> GuestName {
    GuestName::new(&format!("guest-{number:05}")).expect("a good name")
}

fn group(number: usize) -> GroupName {
    GroupName::new(&format!("group-{number}")).expect("a good name")
}

/// A host whose guests have the settings that `start` makes of their numbers.
fn host(start: impl Fn(usize) -> Start) -> Guests {
    let lxcpath: Arc<Path> = Path::new("/var/lib/lxc").into();
    let guests = (0..GUESTS).map(|number| {
        let spec = LxcSpec::new(Arc::clone(&lxcpath));
        let start = Start { auto: Auto::Yes, ..start(number) };
        let guest = Guest { start, ..Guest::new(name(number), EngineSpec::Lxc(spec)) };
        (guest.name.clone(), Arc::new(guest))
    });
    guests.collect()
}

/// What is selected of the guests of a shape: all, or for "groups" 200 groups.
pub fn selection(shape: &str) -> Selection {
    match shape {
        "groups" => {
            Selection { groups: (0..200).rev().map(|n| Some(group(n))).collect(), ..Selection::default() }
        }
        _ => Selection { all: true, ..Selection::default() },
    }
}

/// Every shape with its name.
pub fn all() -> Vec<(&'static str, Guests)> {
    let order = |number: usize| i32::try_from(number % 1_000).expect("small");
    let none = Start::default;
    vec![
        ("flat", host(|_| none())),
        ("tiers", host(|n| Start { order: order(n), delay: Duration::from_secs((n % 3) as u64), ..none() })),
        (
            "groups",
            host(|n| Start { groups: Groups::In((n..n + 50).map(|g| group(g % 200)).collect()), ..none() }),
        ),
        ("chain", host(|n| Start { requires: n.checked_sub(1).map(name).into_iter().collect(), ..none() })),
        (
            "backward-chain",
            host(|n| Start {
                requires: (n + 1 < GUESTS).then(|| name(n + 1)).into_iter().collect(),
                ..none()
            }),
        ),
        (
            "dense",
            host(|n| Start {
                after: (n.saturating_sub(20)..n).map(name).collect(),
                order: order(n),
                ..none()
            }),
        ),
        ("ring", host(|n| Start { requires: vec![name((n + 1) % GUESTS)], ..none() })),
        (
            "hub",
            host(|n| Start {
                after: if n == 0 { (1..GUESTS).map(name).collect() } else { vec![name(0)] },
                ..none()
            }),
        ),
    ]
}
