//! Where guestd differs from lxc-autostart on purpose, both side by side.

use guestd::model::{Action, Order, Selection};

use crate::{
    container::{Container, Style},
    host::{Host, Options},
};

/// Checks what LXC and what guestd list.
fn differ(containers: &[Container], options: &Options, lxc: &[&str], ours: &[&str]) {
    let host = Host::new(containers);
    assert_eq!(host.lxc(options), lxc, "lxc-autostart, {options:?}");
    assert_eq!(host.ours(options), ours, "guestd, {options:?}");
    assert_eq!(host.program(options), ours, "autostart, {options:?}");
}

#[test]
fn lxc_takes_a_group_for_another_one_that_it_begins() {
    let set = [Container::named("a").groups(&["on"]), Container::named("b").groups(&["onboot"])];
    differ(&set, &Options::new(Action::Start, &["onboot"]), &["a 0", "b 0"], &["b 0"]);
    differ(&set, &Options::new(Action::Start, &["on"]), &["a 0"], &["a 0"]);
}

#[test]
fn lxc_drops_a_group_that_begins_with_one_before_it() {
    let set = [Container::named("a").groups(&["web"]), Container::named("b").groups(&["webserver"])];
    differ(&set, &Options::new(Action::Start, &["web,webserver"]), &["a 0"], &["a 0", "b 0"]);
    // The other way round nothing is dropped; a is taken in the first pass, by the prefix.
    differ(&set, &Options::new(Action::Start, &["webserver,web"]), &["a 0", "b 0"], &["b 0", "a 0"]);
}

#[test]
fn lxc_drops_every_group_behind_an_empty_one() {
    let set = [
        Container::named("a"),
        Container::named("b").groups(&["onboot"]),
        Container::named("c").groups(&["dns"]),
        Container::named("d").groups(&["web"]),
    ];
    differ(&set, &Options::new(Action::Start, &[",onboot"]), &["a 0"], &["a 0", "b 0"]);
    differ(&set, &Options::new(Action::Start, &["", "onboot"]), &["a 0"], &["a 0", "b 0"]);
    // The example of lxc-autostart's manual page.
    let example = Options::new(Action::Start, &["dns,web,,onboot"]);
    differ(&set, &example, &["c 0", "d 0", "a 0"], &["c 0", "d 0", "a 0", "b 0"]);
    // The default of LXC's boot script is not concerned.
    differ(&set, &Options::new(Action::Start, &["onboot,"]), &["b 0", "a 0"], &["b 0", "a 0"]);
}

#[test]
fn lxc_compares_equals_only_up_to_the_length_of_the_first_name() {
    let set = ["web", "web1", "web1x"].map(|name| Container::named(name).up());
    let start = ["web 0", "web1 0", "web1x 0"];
    differ(&set, &Options::all(Action::Reboot), &start, &start);
    for action in [Action::Shutdown, Action::Kill] {
        differ(&set, &Options::all(action), &["web", "web1", "web1x"], &["web1x", "web1", "web"]);
    }
}

#[test]
fn lxc_takes_groups_with_commas_for_one_name() {
    let style = Style { commas: true, ..Style::default() };
    let set = [Container { style, ..Container::named("a").groups(&["web", "onboot"]) }];
    differ(&set, &Options::new(Action::Start, &["web"]), &[], &["a 0"]);
    differ(&set, &Options::new(Action::Start, &["onboot"]), &[], &["a 0"]);
}

#[test]
fn lxc_walks_the_groups_forward_when_it_stops() {
    let set = [
        Container::named("db").groups(&["base"]).up(),
        Container::named("disk").groups(&["base"]).up().order(-1),
        Container::named("web").groups(&["top"]).up(),
    ];
    for action in [Action::Shutdown, Action::Kill] {
        let options = Options::new(action, &["base,top"]);
        differ(&set, &options, &["db", "disk", "web"], &["web", "db", "disk"]);
    }
}

#[test]
fn lxc_subtracts_orders_and_may_overflow() {
    let set = [
        Container::named("first").order(i32::MIN),
        Container::named("middle"),
        Container::named("second").order(-1),
        Container::named("last").order(i32::MAX),
    ];
    let host = Host::new(&set);
    let options = Options::all(Action::Start);
    assert_eq!(host.ours(&options), ["first 0", "second 0", "middle 0", "last 0"]);
    assert_eq!(host.program(&options), host.ours(&options));
    assert_ne!(host.lxc(&options), host.ours(&options));
}

#[test]
fn lxc_lists_the_longest_delays_as_negative() {
    let set = [Container::named("a").delay(u32::MAX)];
    differ(&set, &Options::all(Action::Start), &["a -1"], &["a 4294967295"]);
}

#[test]
fn lxc_since_1_1_reads_order_the_other_way_than_its_documentation() {
    let set = [Container::named("p1").groups(&["ubuntu"]), Container::named("p2").delay(5).order(100)];
    let host = Host::new(&set);
    let all = Selection { all: true, ..Selection::default() };
    assert_eq!(host.lxc(&Options::all(Action::Start)), ["p1 0", "p2 5"]);
    assert_eq!(host.listing(Action::Start, &all, Order::LowestFirst), ["p1 0", "p2 5"]);
    assert_eq!(host.listing(Action::Start, &all, Order::HighestFirst), ["p2 5", "p1 0"]);
    let default = Options::new(Action::Start, &[]);
    assert_eq!(host.lxc(&default), ["p2 5"]);
    assert_eq!(host.listing(Action::Start, &Selection::default(), Order::HighestFirst), ["p2 5"]);
}
