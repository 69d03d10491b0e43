//! Cycles and missing guests.

use super::*;

const ADVICE: &str = ": take one of them out of after or requires";

fn found(host: &Host) -> Vec<String> {
    cycles(&host.guests).iter().map(ToString::to_string).collect()
}

#[test]
fn cycles_are_found_and_named() {
    for (text, wanted) in [
        ("a\n b after=a\n c requires=b wants=d\n d after=c", &[][..]),
        ("a after=b\n b after=a", &["a → b → a"]),
        ("c after=a\n a requires=b\n b after=c\n d after=a", &["a → b → c → a"]),
        ("a after=a", &["a → a"]),
        ("a requires=a,b\n b", &["a → a"]),
        // Two that touch in b, and one apart.
        (
            "a after=b\n b after=a,c\n c after=b\n x after=y\n y requires=x",
            &["a → b → a", "b → c → b", "x → y → x"],
        ),
        // The shortest through a is told, though a longer one exists.
        ("a after=b\n b after=c,a\n c after=a", &["a → b → a", "a → b → c → a"]),
        ("a wants=b\n b wants=a", &[]),
        ("a after=nobody", &[]),
    ] {
        assert_eq!(found(&Host::new(text)), wanted, "{text}");
    }
}

#[test]
fn long_cycles_are_shortened() {
    let ring: String = (0..1_000).map(|n| format!("g{n:03} requires=g{:03}\n", (n + 1) % 1_000)).collect();
    let host = Host::new(&ring);
    let first = "g000 → g001 → g002 → g003 → g004 → g005 → g006 → g007";
    assert_eq!(found(&host), [format!("{first} → … (992 more) → g000")]);
    assert_eq!(cycles(&host.guests)[0].guests.len(), 1_000);
    assert_eq!(host.all(Action::Start).refused.len(), 1_000);
}

#[test]
fn guests_of_a_knot_without_a_cycle_of_their_own_in_sight_are_told_one() {
    let spokes: Vec<_> = (0..100).map(|n| format!("s{n:02}")).collect();
    let mut text = format!("hub after={}\n", spokes.join(","));
    for spoke in &spokes {
        text += &format!("{spoke} after=hub\n");
    }
    let host = Host::new(&text);
    assert_eq!(cycles(&host.guests).len(), 64);
    let refused = refused(&host.all(Action::Start));
    assert_eq!(refused.len(), 101);
    assert_eq!(refused[1], format!("s00: it is in the dependency cycle hub → s00 → hub{ADVICE}"));
    assert_eq!(refused[100], format!("s99: it is tied to the dependency cycle hub → s00 → hub{ADVICE}"));
}

#[test]
fn a_cycle_refuses_its_guests_and_those_that_require_them_and_the_others_go_on() {
    let host = Host::new(
        "a after=b
         b requires=a
         c requires=a
         d requires=c
         e after=a,d wants=b,c
         f",
    );
    let plan = host.all(Action::Start);
    assert_eq!(places(&plan), "e:0:1 f:0:1");
    let cycle = format!("the dependency cycle a → b → a{ADVICE}");
    assert_eq!(
        refused(&plan),
        [
            format!("a: it is in {cycle}"),
            format!("b: it is in {cycle}"),
            format!("c: it requires a, which cannot start: it is in {cycle}"),
            format!("d: it requires c, which cannot start because of a: it is in {cycle}"),
        ]
    );
    // Also when only named: a refused guest draws in nobody, a wanted one is told.
    assert_eq!(refused(&host.operation(Verb::Start, "d")).len(), 1);
    let plan = host.operation(Verb::Start, "e");
    assert_eq!(order_of(&plan), "e");
    assert_eq!(plan.refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn a_required_guest_that_does_not_exist_refuses_the_guest() {
    let host = Host::new("a requires=y,x,b\n b\n c requires=a\n d after=x wants=x\n e requires=x");
    let plan = host.all(Action::Start);
    assert_eq!(order_of(&plan), "b d");
    let missing = "it requires x, y, which do not exist: define what is missing or take it out of requires";
    assert_eq!(
        refused(&plan),
        [
            format!("a: {missing}"),
            format!("c: it requires a, which cannot start: {missing}"),
            "e: it requires x, which does not exist: define what is missing or take it out of requires"
                .into(),
        ]
    );
}

#[test]
fn what_runs_is_not_refused_and_holds_back_nobody() {
    let host = Host::new("a after=b up\n b after=a\n c requires=a\n d requires=x up\n e requires=d");
    let plan = host.all(Action::Start);
    assert_eq!((order_of(&plan).as_str(), shown(&plan.already).as_str()), ("c e", "a d"));
    assert_eq!(refused(&plan), [format!("b: it is in the dependency cycle a → b → a{ADVICE}")]);
    // c goes on: what it requires runs, though that could not be started now.
    let host = Host::new("a requires=x\n b requires=a up\n c requires=b");
    assert_eq!(order_of(&host.all(Action::Start)), "c");
}

#[test]
fn wanted_guests_that_are_refused_are_told_once_in_order() {
    let host = Host::new(
        "a wants=x,y,z\n b wants=x\n x manual requires=q\n y manual after=y order=5\n z manual requires=q",
    );
    let plan = host.all(Action::Start);
    assert_eq!(order_of(&plan), "a b");
    assert_eq!(plan.refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["y", "x", "z"]);
}

#[test]
fn guests_in_a_cycle_can_be_stopped_and_rebooted_but_not_restarted() {
    let host = Host::new("a after=b\n b requires=a\n c requires=a\n d").all_up();
    assert_eq!(places(&host.all(Action::Shutdown)), "d:0:1 c:0:1 b:0:1 a:0:2");
    assert_eq!(places(&host.all(Action::Kill)), "d:0:1 c:0:1 b:0:1 a:0:2");
    assert_eq!(places(&host.all(Action::Reboot)), "a:0:1 b:0:1 c:0:2 d:0:1");
    // b requires a, so it stops with it, in no certain order; c before a, as ever.
    let stop = host.operation(Verb::Stop, "a");
    assert_eq!(places(&stop), "c:0:1 a:0:2 b:0:1");
    assert_eq!(reason(&stop, "b"), "requires a, which stops");
    let restart = host.operation(Verb::Restart, "a,c,d");
    assert_eq!(order_of(&restart), "d");
    assert_eq!(restart.refused.len(), 2);
    // What c requires runs: c alone comes back.
    assert_eq!(order_of(&host.operation(Verb::Restart, "c")), "c");
}

#[test]
fn held_guests_are_left_alone_and_who_requires_them_is_told() {
    let host =
        Host::new("a held\n b requires=a\n c wants=a\n d after=a\n e requires=h\n f requires=e\n h held up");
    let plan = host.all(Action::Start);
    assert_eq!(order_of(&plan), "c d e f");
    let why = "which cannot start: it is held: repair; \"guestctl release\" ends that";
    assert_eq!(refused(&plan), [format!("b: it requires a, {why}")]);
    assert_eq!(order_of(&host.all(Action::Reboot)), "", "h is held");
    assert_eq!(order_of(&host.clone().all_up().all(Action::Shutdown)), "f e h d c b a", "held or not");
    // A request that names it means it.
    assert_eq!(order_of(&host.operation(Verb::Start, "a")), "a");
    assert_eq!(refused(&host.operation(Verb::Start, "b")), [format!("b: it requires a, {why}")]);
    assert_eq!(order_of(&host.operation(Verb::Start, "a,b")), "a b");
}

#[test]
fn unknown_names_are_refused() {
    let host = Host::new("a");
    let plan = host.operation(Verb::Start, "a,nobody");
    assert_eq!(order_of(&plan), "a");
    assert_eq!(refused(&plan), ["nobody: no guest has this name"]);
}
