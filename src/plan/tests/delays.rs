//! Waves and delays.

use super::*;

#[test]
fn equals_share_a_wave_until_a_delay_is_pending() {
    for (text, wanted) in [
        ("a\n b\n c", "a:0:1 b:0:1 c:0:1"),
        ("a\n b delay=5\n c", "a:0:1 b:0:1 c:0:2"),
        ("a delay=5\n b delay=1\n c", "a:0:1 b:0:2 c:0:3"),
        ("a\n b\n c delay=5", "a:0:1 b:0:1 c:0:1"),
        ("a delay=0.001\n b", "a:0:1 b:0:2"),
        ("a delay=5 order=1\n b order=0", "a:0:1 b:1:2"),
        ("a order=2\n b order=1\n c order=1", "a:0:1 b:1:2 c:1:2"),
        // A delay holds back only what is behind it.
        ("a order=1\n b order=1 delay=5\n c\n d", "a:0:1 b:0:1 c:1:2 d:1:2"),
    ] {
        assert_eq!(places(&Host::new(text).all(Action::Start)), wanted, "{text}");
    }
}

#[test]
fn a_delay_holds_back_other_groups_too() {
    let host = Host::new("a group=x delay=5\n b group=y\n c group=y");
    let plan = host.plan(Action::Start, &groups(&["x,y"]));
    assert_eq!(places(&plan), "a:0:1 b:1:2 c:1:2");
    assert_eq!(plan.steps[0].delay, Duration::from_secs(5));
}

#[test]
fn who_runs_already_delays_nobody() {
    let host = Host::new("a delay=5 up\n b\n c");
    assert_eq!(places(&host.all(Action::Start)), "b:0:1 c:0:1");
}

#[test]
fn reboots_keep_their_delays_and_stops_have_none() {
    let host = Host::new("a delay=5\n b delay=5").all_up();
    assert_eq!(places(&host.all(Action::Reboot)), "a:0:1 b:0:2");
    assert_eq!(places(&host.operation(Verb::Restart, "a,b")), "a:0:1 b:0:2");
    for plan in [
        host.all(Action::Shutdown),
        host.all(Action::Kill),
        host.operation(Verb::Stop, "a,b"),
        host.operation(Verb::Freeze, "a,b"),
    ] {
        assert!(plan.steps.iter().all(|step| step.wave == 1 && step.delay.is_zero()), "{plan:#?}");
    }
}

#[test]
fn a_dependency_divides_a_tier_into_waves_without_holding_back_the_others() {
    let host = Host::new("a after=z\n b\n z");
    // In the list z comes where a needs it; b waits for neither.
    assert_eq!(places(&host.all(Action::Start)), "z:0:1 a:0:2 b:0:1");
    let host = Host::new("a after=z delay=1\n b\n z");
    assert_eq!(places(&host.all(Action::Start)), "z:0:1 a:0:2 b:0:3");
    let host = Host::new("a after=z\n b\n z delay=1");
    assert_eq!(places(&host.all(Action::Start)), "z:0:1 a:0:2 b:0:2");
}

#[test]
fn a_tier_waits_for_the_last_wave_of_the_tier_before() {
    let host = Host::new("a after=b order=1\n b after=c order=1\n c order=1\n d order=1\n e");
    assert_eq!(places(&host.all(Action::Start)), "c:0:1 b:0:2 a:0:3 d:0:1 e:1:4");
}
