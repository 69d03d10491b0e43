//! What the journal is told of guests and jobs, with the fields by which it is found again (systemd.journal-fields(7)),
//! and the ids of what others may wait for. `units/guestd.catalog` explains each id.

use std::fmt::{Arguments, Display};

use crate::{
    launch::unit,
    model::GuestName,
    supervise::{
        effect::{Level, Line, Topic},
        told::JobLine,
    },
};

/// Every id. What it stands for never changes.
const IDS: [(Topic, &str); 10] = [
    (Topic::Up, "4419db2843724f8994371a0fadee3e0f"),
    (Topic::Down, "f6de626329794fbdbc4e80e88cb98c73"),
    (Topic::Failed, "b1a6abce7c14446bae0eefbc4803fe90"),
    (Topic::Rebooted, "f6d237e90a964ef0a7ef6d7a4fbe1325"),
    (Topic::RebootRefused, "8d84dee50ae94d5fbc56588a960b5ec2"),
    (Topic::Ready, "cf71201fe9e546338455c0ea56306766"),
    (Topic::Ill, "4ff637e895b74930bd953675ba7e16c5"),
    (Topic::Retry, "31278c71c4204273a6f187656444b1d7"),
    (Topic::JobBegun, "4244c3ab709d4c2a9a1dfc54f82606df"),
    (Topic::JobEnded, "8c3fe9db66474937a0c432e86e1862d3"),
];

/// The message id of a topic, for those that have one.
pub fn id(topic: Topic) -> Option<&'static str> {
    IDS.iter().find(|(known, _)| *known == topic).map(|(_, id)| *id)
}

/// Tells a line of a guest.
pub fn of_guest(guest: &GuestName, line: &Line) {
    tell(Some(guest), line, &format_args!("{guest} {}", line.text));
}

/// Tells a line of a job.
pub fn of_job(job: &JobLine) {
    tell(job.guest.as_ref(), &job.line, &job.line.text);
}

/// Tells what a guest did or met.
pub fn info(guest: &GuestName, topic: Topic, text: String) {
    of_guest(guest, &Line { level: Level::Info, topic, job: None, text });
}

/// Warns of something about a guest; the text names it.
pub fn warn(guest: &GuestName, text: Arguments<'_>) {
    let line = Line { level: Level::Warning, topic: Topic::Other, job: None, text: String::new() };
    tell(Some(guest), &line, &text);
}

/// Whose lines are what guests write on their consoles; by this they are filtered.
pub const CONSOLE: &str = "console";

/// Tells a line that a guest wrote on its console.
pub fn of_console(guest: &GuestName, text: &str) {
    tracing::info!(
        target: CONSOLE,
        guest = display(guest),
        guest_console = 1,
        object_systemd_unit = unit::name(guest),
        // So "journalctl -t" can tell them from guestd's own.
        syslog_identifier = format!("guest-{guest}"),
        "{text}"
    );
}

fn tell(guest: Option<&GuestName>, line: &Line, text: &dyn Display) {
    macro_rules! at {
        ($level:ident) => {
            tracing::$level!(
                guest = guest.map(display),
                guest_job = line.job.map(display),
                message_id = id(line.topic),
                // By this "journalctl -u" shows the line among those of the guest's unit, whether that exists or not.
                object_systemd_unit = guest.map(unit::name),
                "{text}"
            )
        };
    }
    match line.level {
        Level::Warning => at!(warn),
        Level::Info => at!(info),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_explains_each_id_once() {
        let catalog = include_str!("../../units/guestd.catalog");
        let explained: Vec<&str> = catalog.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(explained, IDS.map(|(_, id)| id));
    }
}
