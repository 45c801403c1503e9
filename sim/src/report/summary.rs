//! What `verify` ends in: a table for people, a line of JSON a scenario for programs.

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, presets};
use serde::Serialize;

use super::paint::{Paint, Tone};
use super::text::thousands;
use crate::explore::pool::Tally;
use crate::explore::verdict::{Verdict, counts};
use crate::scenario::{Expected, Scenario};

/// As expected, and not.
const GOOD: &str = "✓";
const BAD: &str = "✗";

/// What exploring one scenario came to.
#[derive(Debug)]
pub struct Summary<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// All its runs.
    pub tally: &'a Tally,
    /// What they say.
    pub verdict: &'a Verdict,
    /// `model` or `postgres`.
    pub on: &'a str,
    /// The strategy's name.
    pub strategy: &'a str,
    /// How long it took.
    pub seconds: f64,
    /// The seed of the run that is told of, if one is.
    pub seed: Option<u64>,
    /// Where its schedule was saved.
    pub schedule_file: Option<&'a str>,
}

/// The line of JSON. Others read it: its keys stay.
#[derive(Serialize)]
struct Line<'a> {
    scenario: &'a str,
    protocol: &'a str,
    on: &'a str,
    strategy: &'a str,
    schedules: u64,
    statements: u64,
    verdict: &'a str,
    expected: &'a str,
    as_expected: bool,
    invariant: Option<&'a str>,
    seed: Option<u64>,
    schedule_file: Option<&'a str>,
    milestones: serde_json::Map<String, serde_json::Value>,
    seconds: f64,
    schedules_per_second: f64,
    statements_per_second: f64,
    history_hash: String,
}

impl Summary<'_> {
    /// Whether the verdict is what the scenario's file says.
    pub fn is_expected(&self) -> bool {
        self.verdict.is_expected(self.scenario)
    }

    /// The line of JSON, without a newline.
    pub fn json(&self) -> String {
        let milestones = counts(self.scenario, self.tally).map(|(name, count)| (name.clone(), count.into())).collect();
        let line = Line {
            scenario: &self.scenario.name,
            protocol: &self.scenario.protocol,
            on: self.on,
            strategy: self.strategy,
            schedules: self.tally.runs,
            statements: self.tally.statements,
            verdict: match self.verdict {
                Verdict::Holds => "holds",
                Verdict::Violated(_) => "violated",
                Verdict::Vacuous(_) => "vacuous",
                Verdict::Stuck => "stuck",
                Verdict::Error(_) => "error",
            },
            expected: match self.scenario.expected {
                Expected::Holds => "holds",
                Expected::Violates { .. } => "violated",
            },
            as_expected: self.is_expected(),
            invariant: match self.verdict {
                Verdict::Violated(invariant) => Some(invariant),
                _ => None,
            },
            seed: self.seed,
            schedule_file: self.schedule_file,
            milestones,
            seconds: round(self.seconds),
            schedules_per_second: self.rate(self.tally.runs),
            statements_per_second: self.rate(self.tally.statements),
            history_hash: format!("{:016x}", self.tally.hash()),
        };
        serde_json::to_string(&line).expect("strings and numbers")
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate, for reading")]
    fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { round(count as f64 / self.seconds) } else { 0.0 }
    }

    /// `append_straddled_cutover 412`.
    fn rarest(&self) -> String {
        let rarest = counts(self.scenario, self.tally).min_by_key(|(_, count)| *count);
        rarest.map_or("-".to_owned(), |(name, count)| format!("{name}: {}", thousands(count)))
    }

    fn row(&self) -> Vec<Cell> {
        let verdict = match self.verdict {
            Verdict::Holds => "holds".to_owned(),
            Verdict::Violated(invariant) => format!("violated {invariant}"),
            Verdict::Vacuous(_) => "vacuous".to_owned(),
            Verdict::Stuck => "stuck".to_owned(),
            Verdict::Error(_) => "error".to_owned(),
        };
        let expected = match &self.scenario.expected {
            Expected::Holds => "holds".to_owned(),
            Expected::Violates { invariant } => format!("violated {invariant}"),
        };
        let mark = if self.is_expected() { GOOD } else { BAD };
        vec![
            Cell::new(&self.scenario.name),
            Cell::new(thousands(self.tally.runs)).set_alignment(CellAlignment::Right),
            Cell::new(format!("{mark} {verdict}")),
            Cell::new(expected),
            Cell::new(self.rarest()),
            Cell::new(format!("{:.1} s", self.seconds)).set_alignment(CellAlignment::Right),
        ]
    }
}

/// Three digits behind the point.
fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The table.
pub fn table(summaries: &[Summary<'_>], paint: Paint) -> String {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(presets::NOTHING.header_separator(rule)).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["scenario", "schedules", "verdict", "expected", "rarest milestone", "time"]);
    table.add_rows(summaries.iter().map(Summary::row));
    let lines: Vec<String> = table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    // After it was laid out: what is painted takes no more room.
    lines.join("\n").replace(GOOD, &paint.tone(Tone::Good, GOOD)).replace(BAD, &paint.tone(Tone::Bad, BAD))
}
