//! Every figure of the project: measured, against its target, in one run on one machine.

use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

use crate::facts::Facts;

mod big;
mod effects;
mod house;
mod quorum;
mod rows;

pub use house::House;
pub use quorum::Quorum;
pub use rows::ROWS;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server to measure; built if absent.
    pub binary: Option<PathBuf>,
    /// Where the data goes while it is measured: its file system is what is measured.
    pub dir: PathBuf,
    /// Small counts, about two minutes: shows that everything works, not how fast it is.
    pub quick: bool,
    /// Only these rows; all if empty.
    pub only: Vec<String>,
    /// For everything that is drawn.
    pub seed: u64,
}

/// What a figure must reach.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Less than this.
    Under(f64),
}

impl Target {
    /// Whether the value reaches it.
    pub fn reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(target) => value >= target,
            Self::AtMost(target) => value <= target,
            Self::Under(target) => value < target,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(target) => write!(f, ">= {}", Number(*target)),
            Self::AtMost(target) => write!(f, "<= {}", Number(*target)),
            Self::Under(target) => write!(f, "< {}", Number(*target)),
        }
    }
}

/// One number that was measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// Of what.
    pub what: String,
    /// The number.
    pub value: f64,
    /// In this unit; `x` for a ratio.
    pub unit: &'static str,
    /// What it must reach; a number without one explains the others.
    pub target: Option<Target>,
    /// Whether it does.
    pub reached: Option<bool>,
}

impl Figure {
    /// A number that must reach something.
    pub fn aim(what: &str, value: f64, unit: &'static str, target: Target) -> Self {
        Self { what: what.to_owned(), value, unit, target: Some(target), reached: Some(target.reached(value)) }
    }

    /// A number that explains.
    pub fn note(what: &str, value: f64, unit: &'static str) -> Self {
        Self { what: what.to_owned(), value, unit, target: None, reached: None }
    }
}

/// One line of the table.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What was done.
    pub what: &'static str,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Why something of it was not run.
    pub not_run: Option<String>,
    /// What else a reader should know, such as answers that were failures.
    pub remarks: Vec<String>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The machine.
    pub facts: Facts,
    /// Whether the counts were small.
    pub quick: bool,
    /// PostgreSQL's version and settings, or why it did not run.
    pub postgres: String,
    /// The table.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether every figure with a target reached it, and every row ran.
    pub fn all_reached(&self) -> bool {
        self.rows.iter().all(|row| row.not_run.is_none() && row.figures.iter().all(|one| one.reached != Some(false)))
    }
}

/// Measures; each row is shown by `progress` as soon as it is there.
///
/// # Errors
/// Where the house can not be set up, or a name of `only` is no row. A row that fails says so and the others go on.
pub fn run(options: Options, mut progress: impl FnMut(&Row)) -> io::Result<Report> {
    if let Some(name) = options.only.iter().find(|name| !ROWS.iter().any(|row| row.name == **name)) {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        return Err(io::Error::other(format!("no row {name}; there are: {}", names.join(" "))));
    }
    let (quick, only) = (options.quick, options.only.clone());
    let mut house = House::set_up(options)?;
    let facts = Facts::of(house.dir());
    let mut rows = Vec::new();
    for line in ROWS.iter().filter(|line| only.is_empty() || only.iter().any(|name| name == line.name)) {
        let mut row = Row { name: line.name, what: line.what, figures: Vec::new(), not_run: None, remarks: Vec::new() };
        if let Err(error) = (line.measure)(&mut house, &mut row) {
            row.not_run = Some(error.to_string());
        }
        progress(&row);
        rows.push(row);
    }
    Ok(Report { facts, quick, postgres: house.postgres_facts(), rows })
}

/// A number at a reader's precision.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            size if size >= 1_000.0 => f.write_str(&grouped(self.0)),
            size if size >= 100.0 => write!(f, "{:.0}", self.0),
            size if self.0.fract() == 0.0 && size >= 1.0 => write!(f, "{}", self.0),
            size if size >= 10.0 => write!(f, "{:.1}", self.0),
            _ => write!(f, "{:.2}", self.0),
        }
    }
}

fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12} {}", self.name, self.what)?;
        for figure in &self.figures {
            let value = format!("{} {}", Number(figure.value), figure.unit);
            write!(f, "  {:<52} {value:>20}", figure.what)?;
            if let (Some(target), Some(reached)) = (figure.target, figure.reached) {
                write!(f, "   {:<10} {}", target.to_string(), if reached { "reached" } else { "NOT REACHED" })?;
            }
            writeln!(f)?;
        }
        for remark in &self.remarks {
            writeln!(f, "  note: {remark}")?;
        }
        if let Some(why) = &self.not_run {
            writeln!(f, "  NOT RUN: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = &self.facts;
        writeln!(f, "machine    {} cores, {}, {} MiB", facts.cores, facts.cpu, facts.memory_mib)?;
        writeln!(f, "kernel     {}", facts.kernel)?;
        writeln!(f, "disk       {}", facts.file_system)?;
        writeln!(f, "command    {}", facts.command)?;
        writeln!(f, "postgres   {}", self.postgres)?;
        if self.quick {
            writeln!(f, "quick      small counts: this shows that everything works, not how fast it is")?;
        }
        let aims = || self.rows.iter().flat_map(|row| &row.figures).filter_map(|figure| figure.reached);
        let missed: Vec<_> = self.rows.iter().filter(|row| row.not_run.is_some()).map(|row| row.name).collect();
        write!(f, "figures    {} of {} reached", aims().filter(|reached| *reached).count(), aims().count())?;
        if missed.is_empty() { Ok(()) } else { write!(f, "; not run, or not all of it: {}", missed.join(" ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_was_reached() {
        let row = Row {
            name: "http-64",
            what: "one transfer per request",
            figures: vec![
                Figure::aim("against PostgreSQL", 5.25, "x", Target::AtLeast(5.0)),
                Figure::aim("p99", 10.0, "ms", Target::Under(10.0)),
                Figure::note("transfers a second", 41_234.4, "/s"),
            ],
            not_run: None,
            remarks: vec!["3 failures".to_owned()],
        };
        expect_test::expect![[r"
            http-64      one transfer per request
              against PostgreSQL                                                 5.25 x   >= 5       reached
              p99                                                                 10 ms   < 10       NOT REACHED
              transfers a second                                              41,234 /s
              note: 3 failures
        "]]
        .assert_eq(&row.to_string());
    }
}
