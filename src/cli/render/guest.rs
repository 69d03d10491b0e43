//! Guests and the daemon: `guestctl list` and `guestctl status`.

use std::time::{Duration, SystemTime};

use super::{Column, Long, Style, block, counted, plain, table, time, upkeep, usage};
use crate::{
    cli::usage::UsageView,
    dbus::describe::{Guest, GuestDetails, HelperRequest, Host},
    model::{Auto, Owner},
};

/// So many of its last ends are shown of a guest.
const PAST_ENDS: usize = 3;
/// What is said of a guest that is not guestd's to start and stop.
const OWNED: &str = "owned by the cluster manager: requests for many guests leave it alone";

/// The table of all guests.
pub fn list(style: Style, guests: &[Guest<'_>], now: SystemTime) -> String {
    let column = |title, cell: &dyn Fn(&Guest<'_>) -> String| Column::new(title, guests.iter().map(cell));
    let since = |guest: &Guest<'_>| guest.since.as_deref().map_or(String::new(), |at| time::since(at, now));
    let columns = vec![
        column("NAME", &|guest| guest.name.to_string()),
        column("PHASE", &|guest| phase_word(guest).to_owned()),
        column("PID", &|guest| guest.init_pid.map_or(String::new(), |pid| pid.to_string()))
            .numeric()
            .dispensable(1),
        column("SINCE", &since).dispensable(2),
        column("ORDER", &|guest| guest.order.to_string()).numeric().dispensable(4),
        column("DELAY", &|guest| delay(guest.delay)).dispensable(5),
        column("GROUPS", &|guest| guest.groups.join(",")).dispensable(3),
        column("REASON", &|guest| reason(guest, now)),
    ];
    table(style, columns, "PHASE", Long::Cut)
}

/// The phase, and whether it serves where that is another matter.
fn phase_word<'a>(guest: &'a Guest<'_>) -> &'a str {
    super::deps::phase(&guest.phase, guest.ready)
}

/// Why it is where it is; first what comes next, which must not be cut off; and why it is held.
fn reason(guest: &Guest<'_>, now: SystemTime) -> String {
    let held = guest.held.as_deref().map(|why| format!("held{}: {why}", held_until(guest)));
    let reason = Some(guest.reason.to_string()).filter(|reason| !reason.is_empty());
    [next_try(guest, now), reason, held].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn held_until(guest: &Guest<'_>) -> String {
    guest.held_until.as_deref().map_or(String::new(), |at| format!(" until {}", time::moment(at)))
}

fn next_try(guest: &Guest<'_>, now: SystemTime) -> Option<String> {
    guest.next_try.as_deref().map(|at| format!("next try {}", time::until(at, now)))
}

/// What stands below the table of all guests: how many there are.
pub fn total(style: Style, guests: &[Guest<'_>]) -> String {
    let failed = guests.iter().filter(|guest| guest.phase == "failed").count();
    let failed = if failed == 0 { String::new() } else { format!(", {failed} of them failed") };
    style.total(&format!("{} listed{failed}.", counted(guests.len(), "guest")))
}

fn delay(seconds: f64) -> String {
    time::delay(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// One guest with everything that is known of it, and what it uses.
pub fn status(style: Style, details: &GuestDetails<'_>, used: Option<&UsageView>, now: SystemTime) -> String {
    let guest = &details.guest;
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut field = |label, value: String| {
        if !value.is_empty() {
            fields.push((label, plain(&value)));
        }
    };
    field("Phase", phase(guest, now));
    field("Intent", guest.intent.to_string());
    field("Reason", guest.reason.to_string());
    field("Init PID", guest.init_pid.map_or(String::new(), |pid| pid.to_string()));
    used.map(usage::fields).into_iter().flatten().for_each(|(label, words)| field(label, words));
    field("Restarts", upkeep::restarts(details, now));
    field("Ready", upkeep::readiness(details));
    field("Health", details.health.as_ref().map_or(String::new(), |health| upkeep::health(guest, health)));
    field("Held", guest.held.as_deref().map_or(String::new(), |why| format!("{why}{}", held_until(guest))));
    field("Last words", details.last_words.join(" | "));
    field("Start", start(guest));
    field("Groups", guest.groups.join(", "));
    field("After", guest.after.join(", "));
    field("Wants", guest.wants.join(", "));
    field("Requires", guest.requires.join(", "));
    field("Required by", some(&details.required_by));
    field("Path", details.lxcpath.as_ref().map_or(String::new(), |path| format!("{path}/{}", guest.name)));
    field("Helper", details.helper.as_ref().map_or(String::new(), |helper| helper_words(helper, now)));
    let notes = [
        (details.adopted && guest.init_pid.is_some(), "started by somebody else and adopted"),
        (details.config_changed, "its configuration changed since it was started"),
        (details.owner == Owner::Cluster.as_str(), OWNED),
    ];
    for end in details.history.iter().rev().take(PAST_ENDS) {
        field("Ended", format!("{}: {}", time::moment(&end.at), end.how));
    }
    notes.into_iter().filter(|(holds, _)| *holds).for_each(|(_, note)| field("Note", note.to_owned()));
    next_steps(details).into_iter().for_each(|step| field("Next", step));
    let dot = style.dot(&guest.phase);
    format!("{dot} {} ({})\n{}", plain(&guest.name), plain(&guest.engine), block(style, &fields))
}

/// What can be done about a guest that is not simply up or down.
fn next_steps(details: &GuestDetails<'_>) -> Vec<String> {
    let guest = &details.guest;
    let name = &guest.name;
    let told = match &*guest.phase {
        "failed" => {
            let again =
                format!("\"guestctl start {name}\" tries again, \"guestctl reset {name}\" forgets it");
            vec![again, format!("\"journalctl -t guestd GUEST={name}\" tells what happened before")]
        }
        "backing-off" => vec![format!(
            "it is started again by itself; \"guestctl start {name}\" does it now, \"guestctl stop {name}\" gives up"
        )],
        "frozen" => vec![format!("\"guestctl thaw {name}\" lets it go on")],
        "stopping" => vec![format!("\"guestctl kill {name}\" does not wait for it")],
        _ => Vec::new(),
    };
    let more = [
        (guest.held.is_some(), format!("\"guestctl release {name}\" ends the hold")),
        (details.config_changed, format!("\"guestctl reboot {name}\" takes the new configuration over")),
    ];
    told.into_iter().chain(more.into_iter().filter(|(holds, _)| *holds).map(|(_, step)| step)).collect()
}

fn phase(guest: &Guest<'_>, now: SystemTime) -> String {
    let next = next_try(guest, now).map_or(String::new(), |next| format!("; {next}"));
    let word = phase_word(guest);
    match &guest.since {
        Some(at) => format!("{word} since {}; {} ago{next}", time::moment(at), time::since(at, now)),
        None => format!("{word}{next}"),
    }
}

fn start(guest: &Guest<'_>) -> String {
    let auto = match guest.auto {
        Auto::No => "by hand",
        Auto::Yes => "auto",
        Auto::LastState => "auto if it was up",
    };
    match delay(guest.delay) {
        none if none.is_empty() => format!("{auto}, order {}", guest.order),
        delay => format!("{auto}, order {}, delay {delay}", guest.order),
    }
}

fn helper_words(helper: &HelperRequest<'_>, now: SystemTime) -> String {
    let HelperRequest { event, decision, reason, at } = helper;
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("asked {event}, answered {decision}{reason} ({} ago)", time::since(at, now))
}

/// The daemon: what it is, how many guests are in which phase, what it does.
pub fn overview(style: Style, overview: &Host<'_>) -> String {
    let daemon = &overview.daemon;
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for guest in &overview.guests {
        match counts.iter_mut().find(|(phase, _)| *phase == guest.phase) {
            Some((_, count)) => *count += 1,
            None => counts.push((&guest.phase, 1)),
        }
    }
    counts.sort_unstable();
    let told: Vec<_> = counts.iter().map(|(phase, count)| format!("{count} {phase}")).collect();
    let failed = overview.guests.iter().filter(|guest| guest.phase == "failed");
    let failed: Vec<&str> = failed.map(|guest| &*guest.name).collect();
    let running = overview.jobs.iter().filter(|job| job.state == "running");
    let jobs: Vec<_> = running
        .map(|job| format!("{} ({} {}/{}{})", job.id, job.verb, job.done, job.total, status_of(&job.status)))
        .collect();
    let findings = match daemon.diagnostics {
        0 => "none".to_owned(),
        count => format!("{count}; \"guestctl check\" shows them"),
    };
    let fields = [
        ("Guests", if told.is_empty() { "none".to_owned() } else { told.join(", ") }),
        ("Failed", some(&failed)),
        ("Jobs", if jobs.is_empty() { "none running".to_owned() } else { jobs.join("; ") }),
        ("Starts", daemon.held_back.as_ref().map_or(String::new(), |what| format!("wait for {what}"))),
        ("Findings", findings),
        ("Not kept", daemon.unkept.as_deref().unwrap_or_default().to_owned()),
        ("Launcher", format!("{}, at most {} starting at once", daemon.launcher, daemon.max_starting)),
        ("Order", daemon.order.to_string()),
        ("Authorization", daemon.authorization.to_string()),
        ("Paths", daemon.lxcpaths.join(", ")),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<_> = fields.map(|(label, value)| (label, plain(&value))).collect();
    let dot = style.dot(if failed.is_empty() { "up" } else { "failed" });
    format!("{dot} guestd {}\n{}", plain(&daemon.version), block(style, &fields))
}

/// Names, as many as a person reads.
fn some<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 10;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn status_of(status: &str) -> String {
    if status.is_empty() { String::new() } else { format!(", {status}") }
}
