//! The timeline of a run: a lane a session, a row a step, so that one sees who stood where when it went wrong.
//!
//! ```text
//! step  a1                            r
//!    0  ┏ append.begin
//!    1  ┃ append.read_status           a transaction is drawn thick from its BEGIN to its COMMIT: what
//!       ┃   → rebuilding               another session does beside it stands in the same rows
//!    2  ┃                             ┏ rebuild.begin
//!    3  ┃                             ┃ rebuild.flip
//!       ┃                             ┋   waits for a1
//!    4  ┗ append.commit               ┋
//!                                     ┃ rebuild.flip goes on
//! ```
//!
//! More lanes than fit side by side are told one below the other, with the session's name in each row.

use std::fmt::Write;

use skiptrace::{Answer, DbError, SqlState, Statement, Tag, Value};

use super::failure;
use super::paint::{Paint, Tone};
use super::text::{clip, list, wrap};
use crate::explore::RunEnd;
use crate::explore::history::{Effect, History, StepRecord};
use crate::explore::schedule::Act;

/// No line is longer.
const WIDTH: usize = 118;
/// `  12  `.
const NUMBER_WIDTH: usize = 6;
const LANE_WIDTH_MIN: usize = 20;
const LANE_WIDTH_MAX: usize = 56;
/// A statement, and its result, take at most so many lines.
const LINES_MAX: usize = 4;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a> {
    /// The lanes' names, by the numbers that choices have.
    pub lanes: &'a [String],
    /// What happened.
    pub history: &'a History,
    /// How it ended.
    pub end: &'a RunEnd,
}

impl Timeline<'_> {
    /// As text; each line ends with a newline.
    pub fn render(&self, paint: Paint) -> String {
        let mut lanes: Vec<Lane> = self.lanes.iter().map(|name| Lane::new(name)).collect();
        for (step, record) in self.history.steps.iter().enumerate() {
            let woken = record.woken.iter().map(|(actor, _)| *actor);
            for actor in std::iter::once(record.choice.actor).chain(woken) {
                let lane = &mut lanes[usize::from(actor)];
                lane.first.get_or_insert(step);
                lane.last = step;
            }
        }
        let shown: Vec<usize> = (0..lanes.len()).filter(|lane| lanes[*lane].first.is_some()).collect();
        let width = (WIDTH - NUMBER_WIDTH) / shown.len().max(1);
        let narrow = width < LANE_WIDTH_MIN;
        let width = if narrow { WIDTH - NUMBER_WIDTH } else { width.min(LANE_WIDTH_MAX) };
        let mut page = Page { text: String::new(), paint, width, narrow, shown };
        page.header(&lanes);
        for (step, record) in self.history.steps.iter().enumerate() {
            page.step(step, record, &mut lanes, self.violated_at() == Some(step));
        }
        page.footer();
        page.end(self.end);
        page.text
    }

    fn violated_at(&self) -> Option<usize> {
        match self.end {
            RunEnd::Violated(violation) => Some(violation.step as usize),
            _ => None,
        }
    }
}

/// What a lane has come to.
struct Lane {
    name: String,
    first: Option<usize>,
    last: usize,
    /// A transaction is open.
    open: bool,
    /// The statement that waits.
    waiting: Option<Statement>,
}

impl Lane {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), first: None, last: 0, open: false, waiting: None }
    }

    /// How the lane looks beside another's step, or `after` it, beside those whom it woke.
    fn line(&self, step: usize, after: bool) -> &'static str {
        let ended = if after { self.last <= step } else { self.last < step };
        let alive = self.first.is_some_and(|first| first <= step) && !ended;
        match (self.waiting.is_some(), self.open) {
            (true, _) => "┋",
            (false, true) => "┃",
            (false, false) if alive => "│",
            (false, false) => " ",
        }
    }
}

/// One line of one lane: the mark at its left, the text behind it.
struct Cell {
    mark: &'static str,
    text: String,
    tone: Tone,
}

struct Page {
    text: String,
    paint: Paint,
    /// Of a lane, with the space behind it.
    width: usize,
    /// All lanes in one column.
    narrow: bool,
    shown: Vec<usize>,
}

impl Page {
    fn header(&mut self, lanes: &[Lane]) {
        let mut names = format!("{:NUMBER_WIDTH$}", "step");
        if !self.narrow {
            for lane in &self.shown {
                let _ = write!(names, "{:width$}", clip(&lanes[*lane].name, self.width - 2), width = self.width);
            }
        }
        self.line(Tone::Strong, names.trim_end());
    }

    fn line(&mut self, tone: Tone, line: &str) {
        let painted = self.paint.tone(tone, line);
        self.text.push_str(&painted);
        self.text.push('\n');
    }

    fn step(&mut self, step: usize, record: &StepRecord, lanes: &mut [Lane], violated: bool) {
        let actor = usize::from(record.choice.actor);
        let names: Vec<String> = lanes.iter().map(|lane| lane.name.clone()).collect();
        let room = self.width - 3 - if self.narrow { self.name_width(lanes) } else { 0 };
        let cells = own_cells(record, &mut lanes[actor], &names, room);
        self.row(Some((step, violated)), step, actor, &cells, lanes);
        for (woken, answer) in &record.woken {
            let lane = &mut lanes[usize::from(*woken)];
            let cells = woken_cells(lane, answer, room);
            self.row(None, step, usize::from(*woken), &cells, lanes);
        }
        for milestone in &record.milestones {
            let text = format!("{:NUMBER_WIDTH$}◆ {milestone}", "");
            self.line(Tone::Good, &text);
        }
    }

    fn name_width(&self, lanes: &[Lane]) -> usize {
        self.shown.iter().map(|lane| lanes[*lane].name.chars().count()).max().unwrap_or(0) + 2
    }

    fn row(&mut self, number: Option<(usize, bool)>, step: usize, actor: usize, cells: &[Cell], lanes: &[Lane]) {
        let after = number.is_none();
        for (index, cell) in cells.iter().enumerate() {
            let number = number.filter(|_| index == 0);
            match number {
                Some((step, violated)) => {
                    let mark = if violated { "✗" } else { " " };
                    let number = format!("{mark}{step:>3}  ");
                    let tone = if violated { Tone::Bad } else { Tone::Quiet };
                    self.text.push_str(&self.paint.tone(tone, &number));
                }
                None => self.text.push_str(&" ".repeat(NUMBER_WIDTH)),
            }
            if self.narrow {
                self.narrow_cell(index == 0, actor, cell, lanes);
            } else {
                self.beside(step, after, actor, cell, lanes);
            }
            self.text.push('\n');
        }
    }

    fn narrow_cell(&mut self, first: bool, actor: usize, own: &Cell, lanes: &[Lane]) {
        let width = self.name_width(lanes);
        let name = format!("{:width$}", if first { lanes[actor].name.as_str() } else { "" });
        self.text.push_str(&self.paint.tone(Tone::Strong, &name));
        let cell = format!("{} {}", own.mark, own.text);
        self.text.push_str(&self.paint.tone(own.tone, cell.trim_end()));
    }

    fn beside(&mut self, step: usize, after: bool, actor: usize, own: &Cell, lanes: &[Lane]) {
        let mut pending = 0;
        for lane in self.shown.clone() {
            let (cell, tone) = if lane == actor {
                (format!("{} {}", own.mark, own.text), own.tone)
            } else {
                (lanes[lane].line(step, after).to_owned(), Tone::Plain)
            };
            let cell = cell.trim_end();
            if !cell.is_empty() {
                self.text.push_str(&" ".repeat(pending));
                self.text.push_str(&self.paint.tone(tone, cell));
                pending = 0;
            }
            pending += self.width - cell.chars().count().min(self.width);
        }
    }

    fn footer(&mut self) {
        let legend =
            "┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone";
        self.text.push('\n');
        self.line(Tone::Quiet, legend);
    }

    fn end(&mut self, end: &RunEnd) {
        let (title, message) = match end {
            RunEnd::Completed => ("✓ every actor is done, and every invariant held".to_owned(), String::new()),
            RunEnd::Violated(violation) => {
                let title = format!("✗ {} is violated after step {}", violation.invariant, violation.step);
                (title, violation.message.clone())
            }
            RunEnd::Stuck(stuck) => ("✗ the run is stuck".to_owned(), stuck.message.clone()),
            RunEnd::Misfit { step, message } => {
                (format!("✗ the schedule does not fit its scenario any more, at step {step}"), message.clone())
            }
            RunEnd::Nondeterministic(message) => ("✗ the same schedule gave two histories".to_owned(), message.clone()),
            RunEnd::Failed(error) => ("✗ the backend failed".to_owned(), failure(error)),
        };
        let tone = if *end == RunEnd::Completed { Tone::Good } else { Tone::Bad };
        self.line(tone, &title);
        for paragraph in message.lines() {
            for line in wrap(paragraph, WIDTH - 20, usize::MAX) {
                self.line(Tone::Plain, &format!("  {line}"));
            }
        }
    }
}

/// The lines of a step in its actor's lane.
fn own_cells(record: &StepRecord, lane: &mut Lane, names: &[String], room: usize) -> Vec<Cell> {
    let sent = record.sent.as_ref().map(|(statement, params)| call_text(statement, params));
    match &record.effect {
        Effect::Answered(answer) => {
            let before = lane.open;
            let waited = lane.waiting.take();
            let statement = record.sent.as_ref().map(|(statement, _)| statement).or(waited.as_ref());
            let (mark, lines) = answered(lane, statement, answer, room);
            let call = sent.unwrap_or_else(|| goes_on(waited.as_ref()));
            let mark = mark.unwrap_or(if before { "┃" } else { "│" });
            let mut own = block(&call, mark, if before { "┃" } else { lane_mark(lane) }, Tone::Plain, room);
            join_block(&mut own, lines, mark, room);
            own
        }
        Effect::Waits(blockers) => {
            let mark = if lane.open { "┃" } else { "│" };
            let call = sent.unwrap_or_default();
            let names: Vec<&str> = blockers.iter().map(|actor| names[usize::from(*actor)].as_str()).collect();
            lane.waiting = record.sent.as_ref().map(|(statement, _)| statement.clone());
            let mut lines = block(&call, mark, "┋", Tone::Plain, room);
            lines.extend(block(&format!("  waits for {}", list(&names)), "┋", "┋", Tone::Notable, room));
            lines
        }
        Effect::HasSnapshot => {
            let mark = lane_mark(lane);
            lane.waiting = record.sent.as_ref().map(|(statement, _)| statement.clone());
            let mut lines = block(&sent.unwrap_or_default(), mark, mark, Tone::Plain, room);
            lines.extend(block("  has its snapshot", mark, mark, Tone::Notable, room));
            lines
        }
        Effect::AnswerLost => {
            lane.open = false;
            lane.waiting = None;
            let mut lines = block(&sent.unwrap_or_default(), "┗", " ", Tone::Plain, room);
            lines.extend(block(
                "  ✗ done, but the connection breaks and its answer is lost",
                " ",
                " ",
                Tone::Notable,
                room,
            ));
            lines
        }
        Effect::Crashed => {
            let rolled_back = if lane.open { "; its transaction is rolled back" } else { "" };
            lane.open = false;
            lane.waiting = None;
            block(&format!("crashes{rolled_back}"), "✗", " ", Tone::Notable, room)
        }
        Effect::Restarted => block("starts again, with an empty memory", "○", "│", Tone::Notable, room),
        Effect::PauseEnded => {
            debug_assert_eq!(record.choice.act, Act::Step);
            block("looks again", lane_mark(lane), lane_mark(lane), Tone::Quiet, room)
        }
    }
}

/// The lines of a statement that waited and goes on.
fn woken_cells(lane: &mut Lane, answer: &Result<Answer, DbError>, room: usize) -> Vec<Cell> {
    let statement = lane.waiting.take();
    let before = lane_mark(lane);
    let (mark, lines) = answered(lane, statement.as_ref(), answer, room);
    let mark = mark.unwrap_or(before);
    let mut own = block(&goes_on(statement.as_ref()), mark, before, Tone::Plain, room);
    join_block(&mut own, lines, mark, room);
    own
}

fn goes_on(statement: Option<&Statement>) -> String {
    statement.map_or_else(|| "goes on".to_owned(), |statement| format!("{} goes on", statement.name()))
}

fn lane_mark(lane: &Lane) -> &'static str {
    if lane.open { "┃" } else { "│" }
}

/// The answer stands behind the call if there is room; a transaction's end stands at the end of it all.
fn join_block(call: &mut Vec<Cell>, answer: Vec<Cell>, mark: &'static str, room: usize) {
    match (call.as_mut_slice(), answer.as_slice()) {
        ([only], [line]) if only.text.chars().count() + line.text.chars().count() <= room => {
            only.text.push_str(&line.text[1..]);
            only.tone = if line.tone == Tone::Bad { Tone::Bad } else { only.tone };
        }
        _ => call.extend(answer),
    }
    if let (true, [before @ .., last]) = (mark == "┗", call.as_mut_slice()) {
        for cell in before {
            cell.mark = "┃";
        }
        last.mark = "┗";
    }
}

/// What an answer does to its lane: the mark of a transaction's ends, and the lines that tell the answer.
fn answered(
    lane: &mut Lane,
    statement: Option<&Statement>,
    answer: &Result<Answer, DbError>,
    room: usize,
) -> (Option<&'static str>, Vec<Cell>) {
    let mut mark = None;
    match answer.as_ref().map(|answer| answer.tag) {
        Ok(Tag::Begin) => {
            lane.open = true;
            mark = Some("┏");
        }
        Ok(Tag::Commit | Tag::Rollback) if lane.open => {
            lane.open = false;
            mark = Some("┗");
        }
        Err(error) if is_lost(error) && lane.open => {
            lane.open = false;
            mark = Some("┗");
        }
        _ => {}
    }
    let (text, tone) = match answer {
        Ok(answer) => (answer_text(statement, answer), Tone::Quiet),
        Err(error) => (Some(format!("  ✗ {error}")), Tone::Bad),
    };
    let beside = lane_mark(lane);
    (mark, text.map(|text| block(&text, beside, beside, tone, room)).unwrap_or_default())
}

/// The connection is gone, and the transaction with it.
fn is_lost(error: &DbError) -> bool {
    [SqlState::CONNECTION_FAILURE, SqlState::TRANSACTION_RESOLUTION_UNKNOWN, SqlState::ADMIN_SHUTDOWN]
        .contains(&error.sqlstate())
}

/// `text`, wrapped; the first line has one mark, those below another.
fn block(text: &str, mark: &'static str, below: &'static str, tone: Tone, room: usize) -> Vec<Cell> {
    let lines = wrap(text, room, LINES_MAX).into_iter().enumerate();
    lines.map(|(index, text)| Cell { mark: if index == 0 { mark } else { below }, text, tone }).collect()
}

/// `append.bump_stream (s1, 1)`.
fn call_text(statement: &Statement, params: &[Value]) -> String {
    if params.is_empty() {
        return statement.name().to_owned();
    }
    format!("{} ({})", statement.name(), params.iter().map(value_text).collect::<Vec<_>>().join(", "))
}

/// `  → rebuilding, 3`; none where the statement's name says it all.
fn answer_text(statement: Option<&Statement>, answer: &Answer) -> Option<String> {
    let plural = |count: u64| if count == 1 { "row" } else { "rows" };
    match answer.tag {
        Tag::Begin | Tag::Commit => None,
        Tag::Rollback => Some("  → rolled back".to_owned()),
        Tag::Other if statement.is_some_and(has_no_rows) => None,
        Tag::Other => {
            let mut rows =
                answer.rows.iter().map(|row| row.values().iter().map(value_text).collect::<Vec<_>>().join(", "));
            Some(match rows.len() {
                0 => format!("  → {} {}", answer.affected, plural(answer.affected)),
                1 => format!("  → {}", rows.next().unwrap_or_default()),
                count => {
                    let shown: Vec<String> = rows.take(3).map(|row| format!("({row})")).collect();
                    let more = if count > 3 { ", .." } else { "" };
                    format!("  → {count} rows: {}{more}", shown.join(", "))
                }
            })
        }
    }
}

/// Whether a statement neither returns rows nor counts any.
fn has_no_rows(statement: &Statement) -> bool {
    let verb = statement.sql().split_ascii_whitespace().next().unwrap_or_default();
    ["LOCK", "SET", "TRUNCATE"].iter().any(|other| verb.eq_ignore_ascii_case(other))
}

/// A value, as short as it can be and still be told from others.
fn value_text(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(text) if text.is_empty() => "''".to_owned(),
        Value::Text(text) => clip(text, 28),
        Value::Json(json) => clip(&json.to_string(), 28),
        Value::Timestamp(_) => "(time)".to_owned(),
        Value::Array(values) => {
            let shown: Vec<String> = values.iter().take(4).map(value_text).collect();
            format!("[{}{}]", shown.join(", "), if values.len() > 4 { ", .." } else { "" })
        }
    }
}

#[cfg(test)]
mod tests;
