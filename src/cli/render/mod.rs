//! Data into text for people: pure functions; the width, the colours and the time are passed in.

use std::io::IsTerminal;

use clap::builder::styling::{AnsiColor, Style as Paint};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, presets};

pub mod deps;
pub mod finding;
pub mod guest;
pub mod job;
pub mod plan;
pub mod time;
mod upkeep;
pub mod usage;

/// The columns of a terminal that does not tell.
pub const USUAL_WIDTH: u16 = 80;

/// For whom text is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Columns that there are; none for a pipe or a file: nothing is cut.
    pub width: Option<u16>,
    /// Whether colours are understood and wanted.
    pub colour: bool,
    /// Whether the locale has no more than ASCII.
    pub ascii: bool,
    /// Without headings and totals, for scripts.
    pub bare: bool,
}

impl Style {
    /// What standard output is. `NO_COLOR` and `TERM=dumb` switch colours off, `COLUMNS` sets the width.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = set("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        // A serial line knows no size.
        let known = || terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| width.0);
        let width = terminal.then(|| columns.unwrap_or_else(known));
        // The first that is set decides, as setlocale(3) has it; none is the C locale.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let ascii = !["utf-8", "utf8"].iter().any(|name| locale.to_ascii_lowercase().contains(name));
        Self { width, colour: Self::colours(&std::io::stdout()), ascii, bare: false }
    }

    /// Whether a stream understands colours, and they are wanted.
    pub fn colours(stream: &impl IsTerminal) -> bool {
        stream.is_terminal() && set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
    }

    /// The same, without headings and totals.
    #[must_use]
    pub fn without_legend(self, bare: bool) -> Self {
        Self { bare, ..self }
    }

    /// The line that ends a list, where a person reads it.
    pub fn total(self, words: &str) -> String {
        if self.bare || self.width.is_none() { String::new() } else { format!("\n{words}\n") }
    }

    /// The dot before a guest or the daemon, in the colour of a word.
    pub fn dot(self, word: &str) -> String {
        self.paint(colour_of(word), if self.ascii { "*" } else { "●" })
    }

    /// What stands at the end of text that was cut.
    fn cut_mark(self) -> &'static str {
        if self.ascii { "..." } else { "…" }
    }

    /// What stands above what a guest prints: bold where that is understood.
    pub fn heading(self, guest: &str) -> String {
        let bold = Paint::new().bold();
        if self.colour { format!("{bold}{guest}:{bold:#}") } else { format!("{guest}:") }
    }

    /// Text in a colour, where colours are wanted.
    pub fn paint(self, colour: Option<AnsiColor>, text: &str) -> String {
        match colour.filter(|_| self.colour) {
            Some(colour) => {
                let paint: Paint = colour.on_default().bold();
                format!("{paint}{text}{paint:#}")
            }
            None => text.to_owned(),
        }
    }
}

/// A variable of the environment; an empty one counts as not set.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What stands for the phase of a guest that is up and does not serve.
const NOT_READY: &str = "up, not ready";

/// The colour of a phase, or of a job's state.
pub fn colour_of(word: &str) -> Option<AnsiColor> {
    match word {
        "up" | "done" => Some(AnsiColor::Green),
        "failed" => Some(AnsiColor::Red),
        "frozen" => Some(AnsiColor::Cyan),
        "waiting" | "starting" | "stopping" | "backing-off" | "running" | "canceled" | NOT_READY => {
            Some(AnsiColor::Yellow)
        }
        _ => None,
    }
}

/// Text that cannot do anything to a terminal: no control characters, no changes of direction. What guests and files
/// say goes through here.
pub fn plain(text: &str) -> String {
    let harmful = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(' '),
            c if harmful(c) => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// A count with its noun: `1 guest`, `2 guests`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// What stands in a cell that has nothing to say.
const NOTHING: &str = "-";

/// One column of a table.
pub struct Column {
    title: &'static str,
    numeric: bool,
    /// Columns with a higher number are left out first where there is no room; 0 is never left out.
    dispensable: u8,
    cells: Vec<String>,
}

impl Column {
    /// A column with its cells; control characters are made harmless.
    pub fn new(title: &'static str, cells: impl IntoIterator<Item = String>) -> Self {
        let cells = cells.into_iter().map(|cell| match plain(&cell) {
            cell if cell.is_empty() => NOTHING.to_owned(),
            cell => cell,
        });
        Self { title, numeric: false, dispensable: 0, cells: cells.collect() }
    }

    /// The same, with numbers.
    #[must_use]
    pub fn numeric(mut self) -> Self {
        self.numeric = true;
        self
    }

    /// The same; left out where there is no room, the higher the earlier.
    #[must_use]
    pub fn dispensable(mut self, rank: u8) -> Self {
        self.dispensable = rank;
        self
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(self.title.len())
    }
}

/// The least width that the last column keeps before others are left out.
const LAST_COLUMN_LEAST: usize = 20;
/// The least width that a column is cut to.
const CUT_COLUMN_LEAST: usize = 12;
/// Blanks between columns.
const GAP: usize = 2;

/// What becomes of text that is too long for the last column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Long {
    /// It is cut: one line for each row.
    Cut,
    /// It goes on in further lines.
    Wrap,
}

/// A table without borders. Columns keep their full width; the last one takes what is left. `painted` is the column
/// whose words are coloured as phases.
pub fn table(style: Style, mut columns: Vec<Column>, painted: &str, long: Long) -> String {
    make_room(&mut columns, style);
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_truncation_indicator(style.cut_mark());
    match style.colour {
        true => table.enforce_styling(),
        false => table.force_no_tty(),
    };
    if !style.bare {
        table.set_header(columns.iter().map(|column| column.title));
    }
    for row in 0..columns.first().map_or(0, |column| column.cells.len()) {
        let mut cells = cells(&columns, row, style, painted);
        if long == Long::Cut {
            cells.max_height(1);
        }
        table.add_row(cells);
    }
    constrain(&mut table, &columns, style);
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Leaves columns out until the rest has room; when there are none to leave out, the widest is cut.
fn make_room(columns: &mut Vec<Column>, style: Style) {
    let Some(width) = style.width.map(usize::from) else { return };
    let least = |columns: &[Column]| {
        let (last, others) = columns.split_last().expect("a table has columns");
        others.iter().map(|column| column.width() + GAP).sum::<usize>() + last.width().min(LAST_COLUMN_LEAST)
    };
    while least(columns) > width {
        let ranked = columns.iter().enumerate().filter(|(_, column)| column.dispensable > 0);
        let Some((at, _)) = ranked.max_by_key(|(_, column)| column.dispensable) else { break };
        columns.remove(at);
    }
    let excess = least(columns).saturating_sub(width);
    let others = columns.split_last_mut().map_or(&mut [][..], |(_, others)| others);
    if let Some(widest) = others.iter_mut().max_by_key(|column| column.width()).filter(|_| excess > 0) {
        let room = widest.width().saturating_sub(excess).max(CUT_COLUMN_LEAST);
        widest.cells.iter_mut().for_each(|cell| cut(cell, room, style.cut_mark()));
    }
}

/// Cuts text to so many characters, the mark at its end among them.
fn cut(text: &mut String, room: usize, mark: &str) {
    if text.chars().count() > room {
        *text = text.chars().take(room - mark.chars().count()).chain(mark.chars()).collect();
    }
}

fn cells(columns: &[Column], row: usize, style: Style, painted: &str) -> Row {
    let cell = |column: &Column| {
        let cell = Cell::new(&column.cells[row]);
        match colour_of(&column.cells[row]).filter(|_| style.colour && column.title == painted) {
            Some(AnsiColor::Green) => cell.fg(Color::Green),
            Some(AnsiColor::Red) => cell.fg(Color::Red),
            Some(AnsiColor::Cyan) => cell.fg(Color::Cyan),
            Some(_) => cell.fg(Color::Yellow),
            None => cell,
        }
    };
    Row::from(columns.iter().map(cell).collect::<Vec<_>>())
}

fn constrain(table: &mut Table, columns: &[Column], style: Style) {
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let last = columns.len().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        // The gap is the padding of the column before.
        column.set_padding((0, if at == last { 0 } else { GAP as u16 }));
        if at != last {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        if columns[at].numeric {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// Lines of `Label: value`, labels aligned at the colon, values wrapped behind it.
pub fn block(style: Style, fields: &[(&str, String)]) -> String {
    let label_width = fields.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let room =
        style.width.map_or(usize::MAX, |width| usize::from(width).saturating_sub(label_width + 3).max(20));
    let mut out = String::new();
    for (label, value) in fields {
        for (at, line) in wrapped(value, room).into_iter().enumerate() {
            let (label, colon) = if at == 0 { (*label, ':') } else { ("", ' ') };
            out.push_str(format!("{label:>width$}{colon} {line}", width = label_width + 1).trim_end());
            out.push('\n');
        }
    }
    out
}

/// Breaks text at blanks so that lines have at most `room` characters, where words allow it.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
