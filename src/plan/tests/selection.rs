//! Who is selected, and in which order.

use std::path::PathBuf;

use super::*;

const P1_AND_P2: &str = "
    p1 group=ubuntu
    p2 delay=5 order=100
";

#[test]
fn the_example_of_lxc_1_0() {
    let host = Host::new(P1_AND_P2);
    let default = host.plan(Action::Start, &Selection::default());
    assert_eq!(places(&default), "p2:0:1");
    let all = host.all(Action::Start);
    assert_eq!(places(&all), "p2:0:1 p1:1:2");
    assert_eq!(all.steps[0].delay, Duration::from_secs(5));
    assert_eq!(listing(&all, Action::Start), ["p2 5", "p1 0"]);
    let reboot = host.all_up().plan(Action::Reboot, &groups(&["ubuntu"]));
    assert_eq!(places(&reboot), "p1:0:1");
    assert_eq!(listing(&reboot, Action::Reboot), ["p1 0"]);
}

#[test]
fn candidates_have_start_auto_unless_it_is_ignored() {
    let host = Host::new("a\n b manual\n c group=x last-state was-up\n d group=x manual\n e group=x cluster");
    for (lists, all, ignore_auto, order) in [
        (&[][..], false, false, "a"),
        (&[], false, true, "a b"),
        (&["x"], false, false, "c"),
        (&["x"], false, true, "c d"),
        (&[], true, false, "a c"),
        (&["x"], true, true, "a b c d"),
    ] {
        let selection = Selection { all, ignore_auto, ..groups(lists) };
        assert_eq!(order_of(&host.plan(Action::Start, &selection)), order, "{selection:?}");
    }
}

#[test]
fn last_state_counts_who_was_up() {
    let host = Host::new("a last-state\n b last-state was-up\n c manual was-up");
    assert_eq!(order_of(&host.all(Action::Start)), "b");
    let everybody = Selection { all: true, ignore_auto: true, ..Selection::default() };
    assert_eq!(order_of(&host.plan(Action::Start, &everybody)), "a b c");
}

#[test]
fn a_cluster_s_guests_are_no_bulk_request_s() {
    let host = Host::new(
        "db cluster up\n web requires=db\n vip cluster\n app wants=vip up\n ha cluster requires=app up",
    );
    let everybody = Selection { all: true, ignore_auto: true, ..Selection::default() };
    for (action, order) in
        [(Action::Start, "web"), (Action::Shutdown, "app"), (Action::Kill, "app"), (Action::Reboot, "app")]
    {
        assert_eq!(order_of(&host.plan(action, &everybody)), order, "{action}");
    }
    assert_eq!(order_of(&host.operation(Verb::Start, "vip")), "vip", "by name");
    assert_eq!(order_of(&host.operation(Verb::Stop, "app")), "ha app", "by name, with who requires it");
}

#[test]
fn whom_a_cluster_has_not_started_is_missed() {
    let host = Host::new("db cluster\n web requires=db\n app wants=db");
    let start = host.all(Action::Start);
    assert_eq!(order_of(&start), "app", "and db is not drawn in");
    let why = "web: it requires db, which cannot start: it is down, and its cluster manager starts it";
    assert_eq!(refused(&start), [why]);
    assert_eq!(refused(&host.operation(Verb::Start, "web")), [why]);
    assert_eq!(order_of(&host.operation(Verb::Start, "db,web")), "db web", "named together");
}

#[test]
fn groups_are_walked_in_the_order_given_and_each_guest_is_taken_once() {
    let host = Host::new(
        "a group=web
         b group=web,db
         c group=db order=9
         d
         e group=webserver",
    );
    for (lists, order) in [
        (&["web,db"][..], "a b c"),
        (&["db,web"], "c b a"),
        (&["db", "web"], "c b a"),
        (&["db,web,db"], "c b a"),
        (&["web"], "a b"),
        (&["webserver"], "e"),
        (&["webserver,web"], "e a b"),
        (&["we"], ""),
        (&["unknown"], ""),
        (&["db,,web"], "c b d a"),
        (&[",db"], "d c b"),
        (&["db,"], "c b d"),
        (&[""], "d"),
        (&[], "d"),
    ] {
        let plan = host.plan(Action::Start, &groups(lists));
        assert_eq!(order_of(&plan), order, "{lists:?}");
    }
}

#[test]
fn whose_groups_cannot_be_used_is_not_in_the_null_group() {
    let host = Host::new("a\n b group=");
    for (selection, order) in [
        (groups(&[]), "a"),
        (groups(&["x,"]), "a"),
        (Selection { boot: true, ..groups(&["onboot,"]) }, "a"),
        (Selection { all: true, ..Selection::default() }, "a b"),
    ] {
        assert_eq!(order_of(&host.plan(Action::Start, &selection)), order, "{selection:?}");
    }
}

#[test]
fn without_boot_groups_left_a_boot_selects_nobody() {
    let host = Host::new("a\n b group=onboot");
    let boot = |lists: &[&str]| Selection { boot: true, ..groups(lists) };
    assert_eq!(order_of(&host.plan(Action::Start, &boot(&[]))), "");
    assert_eq!(order_of(&host.plan(Action::Start, &boot(&["onboot,"]))), "b a");
}

#[test]
fn only_guests_of_the_lxcpath_are_selected() {
    let host = Host::new("a path=/srv/lxc\n b path=/srv/lxc2\n c path=/srv/lxc wants=b");
    for (path, order) in [("/srv/lxc", "a c b"), ("/srv/lxc/", "a c b"), ("/srv", ""), ("/srv/lxc2", "b")] {
        let selection = Selection { lxcpath: Some(PathBuf::from(path)), ..Selection::default() };
        assert_eq!(order_of(&host.plan(Action::Start, &selection)), order, "{path}");
    }
}

#[test]
fn orders_run_either_way_and_names_ascend_in_both() {
    let host = Host::new(
        "b order=10
         a order=10
         c order=-5
         web1
         web
         Web",
    );
    assert_eq!(places(&host.all(Action::Start)), "a:0:1 b:0:1 Web:1:2 web:1:2 web1:1:2 c:2:3");
    let lowest = host.lowest_first();
    assert_eq!(places(&lowest.all(Action::Start)), "c:0:1 Web:1:2 web:1:2 web1:1:2 a:2:3 b:2:3");
}

#[test]
fn the_extremes_of_order_are_in_order() {
    let host = Host::new("low order=-2147483648\n minus order=-1\n high order=2147483647");
    assert_eq!(order_of(&host.all(Action::Start)), "high minus low");
    assert_eq!(order_of(&host.lowest_first().all(Action::Start)), "low minus high");
}

#[test]
fn a_tier_is_one_order_value_at_one_position() {
    let host = Host::new(
        "a group=x order=1
         b group=y order=1
         c group=y order=1
         d group=y order=0",
    );
    assert_eq!(places(&host.plan(Action::Start, &groups(&["x,y"]))), "a:0:1 b:1:2 c:1:2 d:2:3");
    assert_eq!(places(&host.all(Action::Start)), "a:0:1 b:0:1 c:0:1 d:1:2");
}

#[test]
fn who_is_already_as_wanted_is_told_apart() {
    let host = Host::new("a up\n b\n c up\n d manual up");
    let start = host.all(Action::Start);
    assert_eq!((order_of(&start).as_str(), shown(&start.already).as_str()), ("b", "a c"));
    for action in [Action::Shutdown, Action::Kill] {
        let stop = host.all(action);
        assert_eq!((order_of(&stop).as_str(), shown(&stop.already).as_str()), ("c a", "b"));
    }
    let reboot = host.all(Action::Reboot);
    assert_eq!((order_of(&reboot).as_str(), shown(&reboot.already).as_str()), ("a c", ""));
}

#[test]
fn the_reasons_say_how_a_guest_was_selected() {
    let host = Host::new("a group=x order=7\n b order=-1");
    let by_group = host.plan(Action::Start, &groups(&["x,"]));
    assert_eq!(reason(&by_group, "a"), "group x, order 7");
    assert_eq!(reason(&by_group, "b"), "null group, order -1");
    assert_eq!(reason(&host.all(Action::Start), "a"), "all groups, order 7");
    assert_eq!(reason(&host.operation(Verb::Start, "a"), "a"), "named, order 7");
}

#[test]
fn the_listing_has_delays_only_where_something_starts() {
    let host = Host::new("a delay=0.5 order=1\n b delay=10\n c");
    assert_eq!(listing(&host.all(Action::Start), Action::Start), ["a 0.5", "b 10", "c 0"]);
    let host = host.all_up();
    assert_eq!(listing(&host.all(Action::Reboot), Action::Reboot), ["a 0.5", "b 10", "c 0"]);
    assert_eq!(listing(&host.all(Action::Shutdown), Action::Shutdown), ["c", "b", "a"]);
    assert_eq!(listing(&host.all(Action::Kill), Action::Kill), ["c", "b", "a"]);
    assert!(listing(&host.all(Action::Start), Action::Start).is_empty());
}
