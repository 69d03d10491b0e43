//! The list that `-L` prints.

use std::time::Duration;

use super::Plan;
use crate::model::{Action, GuestName};

/// The lines of `-L`, in order, as `lxc-autostart` writes them: `NAME DELAY` for start and reboot, `NAME` for shutdown
/// and kill. The delay is in seconds, with a fraction only where it has one. Guests that a dependency draws in are
/// listed like the others, at their places.
pub fn listing(plan: &Plan, action: Action) -> Vec<String> {
    plan.steps.iter().map(|step| line(&step.guest, step.delay, action)).collect()
}

/// One line of `-L`, for who has a plan's steps by other ways: see [`listing`].
pub fn line(guest: &GuestName, delay: Duration, action: Action) -> String {
    match action {
        Action::Start | Action::Reboot => format!("{guest} {}", seconds(delay)),
        Action::Shutdown | Action::Kill => guest.to_string(),
    }
}

/// A length of time in seconds, exactly, without needless digits.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if time.subsec_nanos() == 0 {
        return whole.to_string();
    }
    let fraction = format!("{:09}", time.subsec_nanos());
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_where_they_can_be() {
        for (time, shown) in [
            (Duration::ZERO, "0"),
            (Duration::from_secs(5), "5"),
            (Duration::from_millis(500), "0.5"),
            (Duration::from_millis(1250), "1.25"),
            (Duration::from_millis(12_050), "12.05"),
            (Duration::from_nanos(1), "0.000000001"),
            (Duration::from_secs(u64::from(u32::MAX)), "4294967295"),
        ] {
            assert_eq!(seconds(time), shown, "{time:?}");
        }
    }
}
