//! A program stepped on a database, and what it did there.

use std::collections::{BTreeMap, BTreeSet};

use skiptrace::{Answer, DbError, Statement, Tag};
use skiptrace_sim::backend::{BackendError, Database, Outcome};

use super::program::{ENDS, Schema, Step, looks};
use super::watchdog;
use crate::runner::show_all;

/// What a program did on a database: a line a step, and whom each step that was sent belongs to.
#[derive(Default)]
pub(super) struct Run {
    pub(super) lines: Vec<String>,
    /// For each line: how much had been left to chance when its step was done.
    pub(super) chances: Vec<usize>,
    pub(super) sent: Vec<Step>,
    pub(super) refused: Option<String>,
}

fn show(sql: &str, answer: &Result<Answer, DbError>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("ERROR {}: {}", error.sqlstate(), error.message()),
    };
    let tag = match answer.tag {
        Tag::Begin => "BEGIN",
        Tag::Commit => "COMMIT",
        Tag::Rollback => "ROLLBACK",
        Tag::Other => "",
    };
    let mut rows: Vec<String> = answer.rows.iter().map(|row| format!(" ({})", show_all(row.values()))).collect();
    // The order of a WITH query's rows says nothing about the statement's.
    if !sql.rsplit(')').next().is_some_and(|outer| outer.contains("ORDER BY")) {
        rows.sort();
    }
    format!("{tag}{}{}", answer.affected, rows.concat())
}

struct Stepping<'d, D> {
    database: &'d mut D,
    /// How much the database has left to chance.
    chances: fn(&D) -> usize,
    run: Run,
    /// The statement that each session waits with.
    waiting: Vec<Option<String>>,
    /// Whether the last answer of each session was an error.
    has_failed: Vec<bool>,
    /// By their texts.
    statements: &'d mut Statements,
    /// By session and statement.
    prepared: &'d mut BTreeSet<(usize, u32)>,
}

type Statements = BTreeMap<String, Statement>;

impl<D: Database> Stepping<'_, D> {
    /// Sends a step unless its session waits.
    fn step(&mut self, session: usize, sql: &str) -> Result<(), BackendError> {
        if self.waiting[session].is_some() {
            return Ok(());
        }
        watchdog::now(&format!("session {session}: {sql}, after\n{}", self.run.lines.join("\n")));
        self.run.sent.push(Step { session, sql: sql.to_owned() });
        let statement = self.statement(sql);
        let line = match self.database.execute(session, &statement, &[])? {
            Outcome::Answered(answer) => {
                self.has_failed[session] = answer.is_err();
                show(sql, &answer)
            }
            Outcome::Waits => {
                self.waiting[session] = Some(sql.to_owned());
                let mut blockers = self.database.blockers(session)?;
                blockers.sort_unstable();
                blockers.dedup();
                format!("waits for {blockers:?}")
            }
            Outcome::HasSnapshot => unreachable!("nobody has asked for it"),
        };
        self.run.lines.push(format!("session {session}: {sql}: {line}"));
        let step = session;
        // In which order they go on within one step, nobody can see on a server.
        let mut woken = Vec::new();
        while let Some((session, answer)) = self.database.next_woken()? {
            let sql = self.waiting[session].take().expect("only who waits is woken");
            self.has_failed[session] = answer.is_err();
            if session == step {
                // It closed a circle that the order of a queue made, and was let go first: on a server it is simply answered.
                self.run.lines.pop();
                self.run.lines.push(format!("session {session}: {sql}: {}", show(&sql, &answer)));
                continue;
            }
            woken.push(format!("    session {session} goes on: {}", show(&sql, &answer)));
        }
        woken.sort();
        self.run.lines.extend(woken);
        self.run.chances.resize(self.run.lines.len(), (self.chances)(self.database));
        Ok(())
    }

    fn statement(&mut self, sql: &str) -> Statement {
        self.statements.entry(sql.to_owned()).or_insert_with(|| Statement::new("step", sql)).clone()
    }

    /// A server is sent each statement once beforehand. The first time it is a step of two messages: preparing it takes its tables' locks and
    /// frees them again.
    fn warm_up(&mut self, steps: &[Step]) -> Result<(), BackendError> {
        let ends: Vec<Step> =
            (0..self.waiting.len()).flat_map(|session| ENDS.map(|sql| Step { session, sql: sql.to_owned() })).collect();
        for session in 0..self.waiting.len() {
            self.database.connect(session)?;
            let own = steps.iter().chain(&ends).filter(|step| step.session == session);
            for sql in own.map(|step| step.sql.as_str()).chain(["BEGIN", "ROLLBACK", ENDS[1]]) {
                let statement = self.statement(sql);
                if !self.prepared.insert((session, statement.id())) && sql != "ROLLBACK" && sql != ENDS[1] {
                    continue;
                }
                let is_answered = matches!(self.database.execute(session, &statement, &[])?, Outcome::Answered(_));
                assert!(is_answered, "{sql} waits, but nobody else has done anything");
            }
        }
        Ok(())
    }

    fn program(&mut self, schema: &Schema, steps: &[Step]) -> Result<(), BackendError> {
        self.database.reset()?;
        for session in 0..self.waiting.len() {
            self.database.connect(session)?;
        }
        for step in steps {
            let ends = step.sql.starts_with("ROLLBACK") || step.sql == ENDS[0];
            if self.has_failed[step.session] && !ends {
                // A transaction that takes no commands would use the program up.
                self.step(step.session, "ROLLBACK")?;
                self.step(step.session, "BEGIN")?;
            }
            self.step(step.session, &step.sql)?;
        }
        // Each may have waited for the one before.
        let mut left: Vec<usize> = (0..self.waiting.len()).collect();
        while let Some(at) = left.iter().position(|session| self.waiting[*session].is_none()) {
            let session = left.remove(at);
            for sql in ENDS {
                self.step(session, sql)?;
            }
        }
        for sql in looks(schema) {
            self.step(0, &sql)?;
        }
        Ok(())
    }
}

/// A database, and the statements that it knows.
pub(super) struct Ground<D> {
    pub(super) database: D,
    chances: fn(&D) -> usize,
    statements: Statements,
    prepared: BTreeSet<(usize, u32)>,
}

impl<D: Database> Ground<D> {
    pub(super) fn new(database: D, chances: fn(&D) -> usize) -> Self {
        Self { database, chances, statements: Statements::new(), prepared: BTreeSet::new() }
    }

    fn stepping(&mut self, sessions: usize) -> Stepping<'_, D> {
        let Self { database, chances, statements, prepared } = self;
        let (waiting, has_failed) = (vec![None; sessions], vec![false; sessions]);
        Stepping { database, chances: *chances, run: Run::default(), waiting, has_failed, statements, prepared }
    }

    pub(super) fn warm_up(&mut self, sessions: usize, steps: &[Step]) -> Result<(), BackendError> {
        self.database.reset()?;
        self.stepping(sessions).warm_up(steps)
    }

    pub(super) fn run(&mut self, schema: &Schema, sessions: usize, steps: &[Step]) -> Run {
        let mut stepping = self.stepping(sessions);
        match stepping.program(schema, steps) {
            Ok(()) => {}
            Err(BackendError::Refused { construct, .. }) => stepping.run.refused = Some(construct),
            Err(BackendError::Environment(message)) => panic!("{message}"),
        }
        stepping.run
    }
}
