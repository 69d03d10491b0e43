//! What guests use: `guestctl top`, and a few lines of `guestctl status`.

use std::time::SystemTime;

use super::{Column, Long, Style, table, time};
use crate::cli::usage::UsageView;

/// A guest that runs, in a table.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What is, and whether it serves.
    pub phase: String,
    /// How much of one processor it has had since the last look, in percent.
    pub cpu_percent: Option<f64>,
    /// What it uses.
    #[serde(flatten)]
    pub usage: UsageView,
    /// Since when it runs, as RFC 3339 writes it.
    pub since: Option<String>,
}

/// The table of what guests use.
pub fn top(style: Style, rows: &[Row], now: SystemTime) -> String {
    let column = |title, cell: &dyn Fn(&Row) -> String| Column::new(title, rows.iter().map(cell));
    let percent = |row: &Row| row.cpu_percent.map_or(String::new(), |percent| format!("{percent:.1}"));
    let bytes = |bytes: Option<u64>| bytes.map_or(String::new(), size);
    let tasks = |row: &Row| row.usage.tasks.map_or(String::new(), |tasks| tasks.to_string());
    let columns = vec![
        column("NAME", &|row| row.name.clone()),
        column("PHASE", &|row| row.phase.clone()),
        column("CPU%", &percent).numeric(),
        column("MEMORY", &|row| bytes(row.usage.memory)).numeric(),
        column("LIMIT", &|row| bytes(row.usage.memory_limit)).numeric().dispensable(2),
        column("TASKS", &tasks).numeric().dispensable(1),
        column("UPTIME", &|row| row.since.as_deref().map_or(String::new(), |at| time::since(at, now))),
    ];
    table(style, columns, "PHASE", Long::Cut)
}

/// What one guest uses, as lines of its status.
pub fn fields(usage: &UsageView) -> Vec<(&'static str, String)> {
    let limit = usage.memory_limit.map_or(String::new(), |limit| format!(" of {}", size(limit)));
    let memory = usage.memory.map(|memory| format!("{}{limit}", size(memory)));
    let cpu = usage.cpu.map(|cpu| match cpu.as_secs() {
        // A length of time has whole seconds.
        ..60 => format!("{:.1}s", cpu.as_secs_f64()),
        _ => time::length(cpu),
    });
    let tasks = usage.tasks.map(|tasks| tasks.to_string());
    let all = [("Memory", memory), ("CPU time", cpu), ("Tasks", tasks)];
    all.into_iter().filter_map(|(label, words)| Some((label, words?))).collect()
}

/// An amount of memory, with its unit: `512`, `4.0K`, `123M`, `1.5G`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    const STEP: f64 = 1024.0;
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut amount = bytes as f64 / STEP;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    // What would be rounded up to a thousand and more has the next unit.
    while amount >= 999.5 {
        let Some(next) = units.next() else { break };
        (amount, unit) = (amount / STEP, next);
    }
    if amount < 9.95 { format!("{amount:.1}{unit}") } else { format!("{amount:.0}{unit}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sizes_have_the_unit_that_suits() {
        for (bytes, words) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (10 * 1024, "10K"),
            (1_048_575, "1.0M"),
            (123 << 20, "123M"),
            (3 << 29, "1.5G"),
            (u64::MAX, "16384P"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn a_table_tells_what_is_counted() {
        let usage = UsageView { memory: Some(5 << 20), tasks: Some(3), ..UsageView::default() };
        let since = Some("2026-01-01T00:00:00Z".to_owned());
        let row = Row { name: "web".into(), phase: "up".into(), cpu_percent: Some(12.34), usage, since };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + 61);
        let told = top(Style::default(), &[row], now);
        let cells: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[0], ["NAME", "PHASE", "CPU%", "MEMORY", "LIMIT", "TASKS", "UPTIME"]);
        assert_eq!(cells[1], ["web", "up", "12.3", "5.0M", "-", "3", "1min"]);
    }

    #[test]
    fn a_status_tells_the_limit_beside_the_memory() {
        let usage = UsageView {
            memory: Some(5 << 20),
            memory_limit: Some(1 << 30),
            cpu: Some(Duration::from_millis(1250)),
            tasks: None,
        };
        assert_eq!(fields(&usage), [("Memory", "5.0M of 1.0G".to_owned()), ("CPU time", "1.2s".to_owned())]);
    }
}
