//! Shutdown and kill: the start order backwards, with those who require what stops.

use super::*;

#[test]
fn everything_is_reversed() {
    let text = "
        a group=x order=5
        b group=x order=5
        c group=x order=9
        d group=y
        e";
    let host = Host::new(text).all_up();
    for action in [Action::Shutdown, Action::Kill] {
        let plan = host.plan(action, &groups(&["x,y,"]));
        assert_eq!(places(&plan), "e:0:1 d:1:2 b:2:3 a:2:3 c:3:4", "{action}");
        assert_eq!(reason(&plan, "a"), "group x, order 5");
        assert_eq!(places(&host.all(action)), "e:0:1 d:0:1 b:1:2 a:1:2 c:2:3", "{action}");
    }
    let plan = host.lowest_first().all(Action::Shutdown);
    assert_eq!(places(&plan), "c:0:1 b:1:2 a:1:2 e:2:3 d:2:3");
}

#[test]
fn a_guest_stops_before_those_it_comes_after() {
    let host = Host::new("web after=db order=5\n db order=1\n zoo order=3\n app requires=web").all_up();
    assert_eq!(places(&host.all(Action::Start)), "");
    let plan = host.all(Action::Shutdown);
    // As started: db, web, zoo, app.
    assert_eq!(places(&plan), "app:0:1 zoo:1:2 web:2:3 db:2:4");
    assert_eq!(plan.steps[2].after, [0]);
    assert_eq!(plan.steps[3].after, [2]);
    assert_eq!(reason(&plan, "db"), "all groups, order 1; after web");
    assert!(plan.steps.iter().all(|step| step.requires.is_empty()));
}

#[test]
fn dependents_are_drawn_in_and_stop_first() {
    let host = Host::new(
        "db
         web manual requires=db
         shop manual requires=web
         idle manual requires=db
         log manual after=db
         fan manual wants=db",
    )
    .all_up();
    for plan in [host.plan(Action::Shutdown, &Selection::default()), host.operation(Verb::Kill, "db")] {
        assert_eq!(places(&plan), "shop:0:1 web:0:2 idle:0:1 db:0:3");
        assert_eq!(reason(&plan, "web"), "requires db, which stops; after shop");
        assert_eq!(reason(&plan, "shop"), "requires web, which stops");
        assert!(reason(&plan, "db").ends_with(", order 0; after web, idle"));
    }
}

#[test]
fn only_running_dependents_are_drawn_in() {
    let host = Host::new("db up\n web requires=db\n shop manual requires=web up\n app manual requires=db up");
    let plan = host.plan(Action::Shutdown, &Selection::default());
    assert_eq!(places(&plan), "app:0:1 db:0:2");
    assert_eq!(shown(&plan.already), "web");
    // Who is down already stops nobody.
    assert_eq!(places(&host.operation(Verb::Stop, "web")), "");
}

#[test]
fn a_dependent_stops_before_the_first_guest_that_it_requires() {
    let host = Host::new(
        "early order=9
         late order=1
         last
         app manual requires=early,late order=50
         tail manual requires=app after=last",
    )
    .all_up();
    let plan = host.all(Action::Shutdown);
    // Neither late nor last stop later than they would without app and tail.
    assert_eq!(places(&plan), "tail:0:1 last:0:2 app:1:3 late:1:4 early:2:5");
    assert_eq!(reason(&plan, "app"), "requires late, which stops; after tail");
    assert_eq!(reason(&plan, "tail"), "requires app, which stops");
}

#[test]
fn order_holds_through_a_dependent() {
    // front comes after app, which is drawn in and requires db: so front stops before db.
    let host = Host::new("front order=9 after=app\n db\n mid order=5\n app manual requires=db").all_up();
    assert_eq!(places(&host.all(Action::Shutdown)), "front:0:1 app:0:2 db:0:3 mid:1:4");
}

#[test]
fn stopping_and_starting_again_are_mirror_images() {
    let text =
        "a after=e order=7\n b order=7\n c group=x requires=b\n d order=-1 wants=a\n e group=x order=3";
    let down = Host::new(text);
    let start = down.all(Action::Start);
    let stop = down.all_up().all(Action::Shutdown);
    let last = start.steps.last().unwrap().tier;
    let mirrored: Vec<_> = start.steps.iter().rev().map(|step| (&step.guest, last - step.tier)).collect();
    let stopped: Vec<_> = stop.steps.iter().map(|step| (&step.guest, step.tier)).collect();
    assert_eq!(stopped, mirrored);
}

#[test]
fn a_reboot_draws_in_nobody_and_keeps_the_order_of_a_start() {
    let host =
        Host::new("web order=9 requires=db wants=cache\n db up\n cache up manual\n app requires=db up");
    let plan = host.all(Action::Reboot);
    assert_eq!(places(&plan), "db:0:1 app:0:2");
    let host = host.all_up();
    let plan = host.all(Action::Reboot);
    assert_eq!(places(&plan), "db:0:1 web:0:2 app:1:3");
    assert_eq!(reason(&plan, "db"), "all groups, order 0; brought forward for web");
    assert!(plan.steps.iter().all(|step| step.requires.is_empty()));
}
