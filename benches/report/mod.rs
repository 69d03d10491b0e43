//! The table of results: ours and theirs side by side, the ratio or the amount, and whether the target is met.

use std::fmt::Display;

/// What is measured, in the unit that suits it.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "each benchmark uses its part")]
pub enum Unit {
    Milliseconds,
    Megabytes,
    Kilobytes,
    Times,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds if value < 10.0 => format!("{value:.2} ms"),
            Self::Milliseconds if value < 1000.0 => format!("{value:.1} ms"),
            Self::Milliseconds => format!("{:.2} s", value / 1000.0),
            Self::Megabytes => format!("{value:.2} MB"),
            Self::Kilobytes => format!("{value:.2} kB"),
            Self::Times => format!("{value:.0}"),
        }
    }
}

/// What is asked for.
enum Target {
    /// At most so many times theirs.
    Ratio { theirs: f64, most: f64, shown: &'static str },
    /// The same as a wish: a benchmark that misses it does not fail.
    Aim { theirs: f64, most: f64, shown: &'static str },
    /// At most so much.
    Amount { most: f64 },
}

struct Row {
    what: String,
    unit: Unit,
    ours: f64,
    target: Target,
}

impl Row {
    fn is_met(&self) -> bool {
        match self.target {
            Target::Ratio { theirs, most, .. } | Target::Aim { theirs, most, .. } => {
                self.ours <= theirs * most
            }
            Target::Amount { most } => self.ours <= most,
        }
    }

    fn is_missed(&self) -> bool {
        let is_wish = matches!(self.target, Target::Aim { .. });
        !is_wish && !self.is_met()
    }

    fn cells(&self) -> [String; 6] {
        let (theirs, ratio, target) = match self.target {
            Target::Ratio { theirs, shown, .. } => {
                (self.unit.show(theirs), format!("{:.3}", self.ours / theirs), format!("at most {shown}"))
            }
            Target::Aim { theirs, shown, .. } => {
                (self.unit.show(theirs), format!("{:.3}", self.ours / theirs), format!("aim: {shown}"))
            }
            Target::Amount { most } => ("-".into(), "-".into(), format!("at most {}", self.unit.show(most))),
        };
        let met = match (self.is_met(), self.is_missed()) {
            (true, _) => "yes",
            (false, true) => "NO",
            (false, false) => "no",
        };
        [self.what.clone(), self.unit.show(self.ours), theirs, ratio, target, met.into()]
    }
}

/// The rows so far. Each is printed when it comes, since the whole takes minutes.
#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// A row that compares: `most` is the highest ratio that is allowed, `shown` how it is written.
    pub fn ratio(
        &mut self,
        what: impl Display,
        ours: &mut [f64],
        theirs: &mut [f64],
        (most, shown): (f64, &'static str),
    ) {
        self.beside(what, ours, theirs, |theirs| Target::Ratio { theirs, most, shown });
    }

    /// A row that compares, with a wish.
    #[allow(dead_code, reason = "each benchmark uses its part")]
    pub fn aim(
        &mut self,
        what: impl Display,
        ours: &mut [f64],
        theirs: &mut [f64],
        (most, shown): (f64, &'static str),
    ) {
        self.beside(what, ours, theirs, |theirs| Target::Aim { theirs, most, shown });
    }

    /// Measures beside measures: the medians count.
    fn beside(
        &mut self,
        what: impl Display,
        ours: &mut [f64],
        theirs: &mut [f64],
        target: impl FnOnce(f64) -> Target,
    ) {
        eprintln!("{what}\n    ours   {}\n    theirs {}", spread(ours), spread(theirs));
        let (ours, target) = (median(ours), target(median(theirs)));
        self.0.push(Row { what: what.to_string(), unit: Unit::Milliseconds, ours, target });
    }

    /// A row that compares two amounts.
    #[allow(dead_code, reason = "each benchmark uses its part")]
    pub fn compared(
        &mut self,
        what: impl Display,
        unit: Unit,
        (ours, theirs): (f64, f64),
        (most, shown): (f64, &'static str),
    ) {
        eprintln!("{what}: {} beside {}", unit.show(ours), unit.show(theirs));
        self.0.push(Row {
            what: what.to_string(),
            unit,
            ours,
            target: Target::Ratio { theirs, most, shown },
        });
    }

    /// A row that has a limit.
    pub fn amount(&mut self, what: impl Display, unit: Unit, ours: f64, most: f64) {
        eprintln!("{what}: {}", unit.show(ours));
        self.0.push(Row { what: what.to_string(), unit, ours, target: Target::Amount { most } });
    }

    /// Prints the table, in Markdown; false when a target is missed.
    pub fn print(&self) -> bool {
        let titles = ["what", "guestd", "LXC's tool", "ratio", "target", "met"].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(titles).chain(self.0.iter().map(Row::cells)).collect();
        let widths: [usize; 6] =
            std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
        println!();
        for (number, row) in rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            println!("| {} |", cells.join(" | "));
            if number == 0 {
                println!("|-{}-|", widths.map(|width| "-".repeat(width)).join("-|-"));
            }
        }
        println!();
        !self.0.iter().any(Row::is_missed)
    }
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spread(values: &mut [f64]) -> String {
    let median = median(values);
    let show = |value| Unit::Milliseconds.show(value);
    let (least, most) = (values[0], values[values.len() - 1]);
    format!("{} (median of {}; {} to {})", show(median), values.len(), show(least), show(most))
}

/// A part of a report: its name, and what measures it.
pub type Part = (&'static str, fn(&mut Report));

/// Measures the parts that are named on the command line, or all of them, and prints the report. Ends with 1 when a target
/// is missed.
#[allow(dead_code, reason = "each benchmark uses its part")]
pub fn run(parts: &[Part]) {
    // `cargo bench` says so; anything else only wants to know that it builds.
    if !std::env::args().any(|word| word == "--bench") {
        println!("measures only for \"cargo bench\"");
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut report = Report::default();
    for (name, measure) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            measure(&mut report);
        }
    }
    if !report.print() {
        std::process::exit(1);
    }
}
