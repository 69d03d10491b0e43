//! Showing how far a job is, on standard error.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    output::tell,
    render::{USUAL_WIDTH, plain},
    view::JobView,
};
use crate::systemd::notify;

/// How progress is shown.
#[derive(Debug)]
pub enum Progress {
    /// Not at all.
    Silent,
    /// As lines under the program's name.
    Lines {
        /// The program.
        program: &'static str,
        /// What was shown last.
        last: Option<Box<JobView>>,
    },
    /// As a bar that is wiped off at the end.
    Bar(ProgressBar),
}

impl Progress {
    /// A bar on a terminal, else nothing, else (`forced`) lines.
    pub fn new(program: &'static str, quiet: bool, forced: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal(), forced) {
            (true, ..) | (false, false, false) => Self::Silent,
            (false, false, true) => Self::Lines { program, last: None },
            (false, true, _) => Self::Bar(bar()),
        }
    }

    /// Shows a job's state.
    pub fn show(&mut self, job: &JobView) {
        match self {
            Self::Silent => {}
            Self::Lines { program, last } => {
                for line in news(last.as_deref(), job) {
                    tell(program, &line);
                }
                *last = Some(Box::new(job.clone()));
            }
            Self::Bar(bar) => {
                // Each of these draws; the words come first, so that no number stands without them.
                bar.set_prefix(plain(&job.verb));
                bar.set_message(plain(&job.status));
                bar.set_length(job.total.into());
                bar.set_position(job.done.into());
            }
        }
    }

    /// Says something beside it, to whoever is shown progress, and in a unit's journal.
    pub fn note(&mut self, program: &str, text: &str) {
        self.clear();
        if !matches!(self, Self::Silent) || notify::is_wanted() {
            tell(program, text);
        }
    }

    /// Takes the bar away, until something is shown again.
    pub fn clear(&mut self) {
        if let Self::Bar(shown) = self {
            shown.finish_and_clear();
            *shown = bar();
        }
    }
}

/// Where there are fewer columns, the words need those of the bar.
const BAR_FROM: u16 = 60;

fn bar() -> ProgressBar {
    let columns =
        terminal_size::terminal_size_of(std::io::stderr()).map_or(USUAL_WIDTH, |(width, _)| width.0);
    let template = match columns {
        BAR_FROM.. => "{prefix} [{bar:30}] {pos}/{len} {wide_msg}",
        _ => "{prefix} {pos}/{len} {wide_msg}",
    };
    let style = ProgressStyle::with_template(template).expect("the template is constant and right");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style.progress_chars("=> "))
}

/// What is new in a job since it was last looked at: new results, then what it does now.
pub fn news(last: Option<&JobView>, job: &JobView) -> Vec<String> {
    let counted = |text: &str| format!("{}/{} {text}", job.done, job.total);
    let is_new = |guest: &String| last.is_none_or(|last| !last.results.contains_key(guest));
    let results = job.results.iter().filter(|(guest, _)| is_new(guest));
    let mut lines: Vec<_> = results.map(|(guest, outcome)| counted(&format!("{guest}: {outcome}"))).collect();
    let before = last.map_or("", |last| last.status.as_str());
    if !job.status.is_empty() && job.status != before {
        lines.push(counted(&job.status));
    }
    lines
}

#[cfg(test)]
mod tests {
    use crate::{
        cli::progress::news,
        cli::view::JobView,
        model::{JobId, JobState, Outcome},
    };

    fn job(status: &str, results: &[(&str, Outcome)]) -> JobView {
        JobView {
            id: JobId(1),
            verb: "start".into(),
            state: JobState::Running,
            done: results.len() as u32,
            total: 3,
            status: status.into(),
            results: results.iter().map(|(guest, outcome)| ((*guest).to_owned(), outcome.clone())).collect(),
        }
    }

    #[test]
    fn only_news_are_told() {
        let first = job("starting p2", &[]);
        assert_eq!(news(None, &first), ["0/3 starting p2"]);
        assert!(news(Some(&first), &first).is_empty());
        let second = job("waiting 5s after p2", &[("p2", Outcome::Done)]);
        assert_eq!(news(Some(&first), &second), ["1/3 p2: done", "1/3 waiting 5s after p2"]);
        let failed = Outcome::Failed("no rootfs".into());
        let third = job("", &[("p1", failed), ("p2", Outcome::Done)]);
        assert_eq!(news(Some(&second), &third), ["2/3 p1: failed: no rootfs"]);
    }
}
