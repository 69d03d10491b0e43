//! What `after`, `wants` and `requires` do to a start.

use super::*;

/// The names of the steps that a step waits for, and of those that must have ended well.
fn waits(plan: &Plan, name: &str) -> (String, String) {
    let step = plan.steps.iter().find(|step| step.guest.as_str() == name).unwrap();
    let list = |places: &[usize]| {
        let names: Vec<_> = places.iter().map(|&place| plan.steps[place].guest.as_str()).collect();
        names.join(" ")
    };
    (list(&step.after), list(&step.requires))
}

#[test]
fn dependencies_win_over_order() {
    for dependency in ["after", "requires"] {
        let host = Host::new(&format!("web order=100 {dependency}=db\n zoo order=50\n db order=1"));
        let plan = host.all(Action::Start);
        assert_eq!(places(&plan), "db:0:1 web:0:2 zoo:1:3", "{dependency}");
        assert_eq!(reason(&plan, "db"), "all groups, order 1; brought forward for web");
        assert_eq!(reason(&plan, "web"), "all groups, order 100; after db");
        // Lowest first, db stands in its own tier.
        let plan = host.lowest_first().all(Action::Start);
        assert_eq!(places(&plan), "db:0:1 zoo:1:2 web:2:3", "{dependency}");
        assert_eq!(reason(&plan, "db"), "all groups, order 1");
    }
}

#[test]
fn dependencies_win_over_groups() {
    let host = Host::new("a group=x requires=c\n b group=x\n c group=y\n d group=y");
    let plan = host.plan(Action::Start, &groups(&["x,y"]));
    assert_eq!(places(&plan), "c:0:1 a:0:2 b:0:1 d:1:3");
    assert_eq!(reason(&plan, "c"), "group y, order 0; brought forward for a");
}

#[test]
fn requires_implies_after_and_is_the_only_one_to_need_success() {
    let host = Host::new("a after=b,c requires=c,d wants=e\n b\n c\n d\n e");
    assert_eq!(waits(&host.all(Action::Start), "a"), ("b c d".into(), "c d".into()));
}

#[test]
fn requires_and_wants_start_others_too_even_if_nobody_selected_them() {
    let host = Host::new(
        "web order=100 requires=db wants=cache
         db manual group=other requires=disk
         disk manual
         cache manual after=log
         log manual
         zoo order=100",
    );
    let plan = host.plan(Action::Start, &Selection::default());
    assert_eq!(places(&plan), "disk:0:1 db:0:2 web:0:3 cache:0:1 zoo:0:1");
    assert_eq!(reason(&plan, "db"), "required by web; after disk");
    assert_eq!(reason(&plan, "disk"), "required by db");
    assert_eq!(reason(&plan, "cache"), "wanted by web");
    // Nobody wants log: after alone starts nothing.
    assert_eq!(waits(&plan, "cache"), (String::new(), String::new()));
    assert!(plan.already.is_empty() && plan.refused.is_empty());
}

#[test]
fn after_counts_only_for_those_that_are_to_run() {
    let host = Host::new("a after=b,c,nobody\n b manual\n c up");
    let plan = host.all(Action::Start);
    assert_eq!(places(&plan), "a:0:1");
    assert_eq!(reason(&plan, "a"), "all groups, order 0");
}

#[test]
fn wants_orders_nothing_unless_after_does() {
    let host = Host::new("a wants=b order=2\n b order=1");
    assert_eq!(places(&host.all(Action::Start)), "a:0:1 b:1:2");
    let host = Host::new("a wants=b after=b order=2\n b order=1");
    assert_eq!(places(&host.all(Action::Start)), "b:0:1 a:0:2");
    // The one that is wanted may itself wait for the one that wants it.
    let host = Host::new("a wants=b\n b manual after=a");
    assert_eq!(places(&host.all(Action::Start)), "a:0:1 b:0:2");
    let host = Host::new("a wants=b\n b wants=a");
    assert_eq!(places(&host.all(Action::Start)), "a:0:1 b:0:1");
    let host = Host::new("a wants=a,nobody");
    assert_eq!(places(&host.all(Action::Start)), "a:0:1");
}

#[test]
fn a_pulled_guest_stands_with_the_first_that_pulls_it() {
    let host = Host::new(
        "a order=9
         b order=5 wants=x
         c order=7 wants=y
         x manual order=1000
         y manual wants=x",
    );
    let plan = host.all(Action::Start);
    assert_eq!(places(&plan), "a:0:1 c:1:2 y:1:2 x:1:2 b:2:3");
    assert_eq!(reason(&plan, "x"), "wanted by y");
    // Required comes before wanted, in words too.
    let host = Host::new("a wants=x order=1\n b requires=x\n x manual");
    let plan = host.all(Action::Start);
    assert_eq!(places(&plan), "a:0:1 x:0:1 b:1:2");
    assert_eq!(reason(&plan, "x"), "required by b");
}

#[test]
fn a_running_guest_is_not_started_and_pulls_in_nobody() {
    let host = Host::new("a up requires=b\n b\n c manual requires=d,e\n d up\n e manual wants=f\n f up");
    let plan = host.operation(Verb::Start, "a,c");
    assert_eq!(places(&plan), "e:0:1 c:0:2");
    assert_eq!(shown(&plan.already), "a");
    assert_eq!(waits(&plan, "c"), ("e".into(), "e".into()));
}

#[test]
fn equals_that_are_needed_come_by_order_and_name() {
    let host = Host::new("a after=z,y,x order=9\n x\n y order=5\n z");
    let plan = host.all(Action::Start);
    assert_eq!(places(&plan), "y:0:1 x:0:1 z:0:1 a:0:2");
    assert_eq!(reason(&plan, "a"), "all groups, order 9; after y, x, z");
    assert_eq!(order_of(&host.lowest_first().all(Action::Start)), "x z y a");
}

#[test]
fn long_lists_of_names_are_shortened() {
    let host = Host::new("a after=b,c,d,e,f\n b\n c\n d\n e\n f");
    assert_eq!(reason(&host.all(Action::Start), "a"), "all groups, order 0; after b, c, d and 2 more");
}

#[test]
fn a_named_request_has_tiers_too() {
    let host = Host::new("a order=1 group=x\n b order=2 manual\n c order=2");
    let plan = host.operation(Verb::Start, "a,c,b,a");
    assert_eq!(places(&plan), "b:0:1 c:0:1 a:1:2");
}

#[test]
fn restart_reboot_and_the_rest_are_about_the_named_ones_only() {
    let host = Host::new("web requires=db wants=cache order=9\n db\n cache\n app requires=web").all_up();
    for verb in [Verb::Restart, Verb::Reboot] {
        assert_eq!(places(&host.operation(verb, "web")), "web:0:1", "{verb}");
        assert_eq!(places(&host.operation(verb, "web,db")), "db:0:1 web:0:2", "{verb}");
    }
    for verb in [Verb::Freeze, Verb::Thaw, Verb::Reset, Verb::Hold, Verb::Release] {
        assert_eq!(places(&host.operation(verb, "web,db,web")), "web:0:1 db:0:1", "{verb}");
    }
    assert_eq!(waits(&host.operation(Verb::Restart, "web,db"), "web"), ("db".into(), "db".into()));
    assert_eq!(waits(&host.operation(Verb::Reboot, "web,db"), "web"), ("db".into(), String::new()));
}

#[test]
fn a_chain_of_ten_thousand_is_no_matter() {
    let mut text = String::from("g00000\n");
    for number in 1..10_000 {
        text += &format!("g{number:05} manual requires=g{:05}\n", number - 1);
    }
    let host = Host::new(&text);
    let plan = host.operation(Verb::Start, "g09999");
    assert_eq!(plan.steps.len(), 10_000);
    assert!(plan.steps.iter().zip(1..).all(|(step, wave)| step.wave == wave && step.tier == 0));
    let plan = host.all_up().operation(Verb::Stop, "g00000");
    assert_eq!(plan.steps.len(), 10_000);
    assert_eq!((plan.steps[0].guest.as_str(), plan.steps[9_999].guest.as_str()), ("g09999", "g00000"));
}
