//! Programs of several sessions, stepped on both: rows, counts, SQLSTATEs and messages, who waits for whom, who goes on and in which order.
//!
//! A program that differs is shrunk to a spec, which `skiptrace spec --on model,postgres` and isolationtester itself can run.
//!
//! Several waiters for a row that its holder has changed race on the server (see `tests/suite/agreement.rs`); so a program that differs is
//! run again, and must differ in every one of [`ATTEMPTS_MAX`] runs. Some of these races are as good as always won by the same one, and not by
//! the one that the model lets go first. So what differs while several wait is left open, and counted: few may be.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::TestCaseError;
use skiptrace::{Answer, DbError, Statement, Tag};
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::{AcquireOptions, TestBed};
use skiptrace_sim::backend::{BackendError, Database, Outcome};
use skiptrace_sim::spec::Spec;

use super::program::{ENDS, Schema, Step, looks, steps};
use super::{judge, runner, watchdog};
use crate::runner::{layout, show_all};

/// Programs of one schema: to set one up takes longer than to run ten.
const PROGRAMS: usize = 10;
const CASES: u32 = 30;
const ATTEMPTS_MAX: u32 = 8;
const STEPS_MAX: usize = 24;

/// What a program did on a database: a line a step, and whom each step that was sent belongs to.
#[derive(Default)]
struct Run {
    lines: Vec<String>,
    /// For each line: how many waited when its step was sent.
    waiters: Vec<usize>,
    sent: Vec<Step>,
    refused: Option<String>,
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
    let mut rows: Vec<String> = answer.rows.iter().map(|row| format!(" ({})", show_all(&row.0))).collect();
    // The order of a WITH query's rows says nothing about the statement's.
    if !sql.rsplit(')').next().is_some_and(|outer| outer.contains("ORDER BY")) {
        rows.sort();
    }
    format!("{tag}{}{}", answer.affected, rows.concat())
}

struct Stepping<'d> {
    database: &'d mut dyn Database,
    run: Run,
    /// The statement that each session waits with.
    waiting: Vec<Option<String>>,
    /// By their texts.
    statements: &'d mut Statements,
    /// By session and statement.
    prepared: &'d mut BTreeSet<(usize, u32)>,
}

type Statements = BTreeMap<String, Statement>;

impl Stepping<'_> {
    /// Sends a step unless its session waits.
    fn step(&mut self, session: usize, sql: &str) -> Result<(), BackendError> {
        if self.waiting[session].is_some() {
            return Ok(());
        }
        watchdog::now(&format!("session {session}: {sql}, after\n{}", self.run.lines.join("\n")));
        let waiters = self.waiting.iter().flatten().count();
        self.run.sent.push(Step { session, sql: sql.to_owned() });
        let statement = self.statement(sql);
        let line = match self.database.execute(session, &statement, &[])? {
            Outcome::Answered(answer) => show(sql, &answer),
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
        self.run.waiters.resize(self.run.lines.len(), waiters);
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
            for sql in own.map(|step| step.sql.as_str()).chain(["ROLLBACK", ENDS[1]]) {
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
struct Ground<D> {
    database: D,
    statements: Statements,
    prepared: BTreeSet<(usize, u32)>,
}

impl<D: Database> Ground<D> {
    fn new(database: D) -> Self {
        Self { database, statements: Statements::new(), prepared: BTreeSet::new() }
    }

    fn stepping(&mut self, sessions: usize) -> Stepping<'_> {
        let Self { database, statements, prepared } = self;
        Stepping { database, run: Run::default(), waiting: vec![None; sessions], statements, prepared }
    }

    fn run(&mut self, schema: &Schema, sessions: usize, steps: &[Step]) -> Run {
        let mut stepping = self.stepping(sessions);
        match stepping.program(schema, steps) {
            Ok(()) => {}
            Err(BackendError::Refused { construct, .. }) => stepping.run.refused = Some(construct),
            Err(BackendError::Environment(message)) => panic!("{message}"),
        }
        stepping.run
    }
}

/// How they differ, and how many waited then.
struct Difference {
    message: String,
    waiters: usize,
}

/// The first line in which they differ; what the model refused ends the comparison.
fn difference(model: &Run, server: &Run) -> Option<Difference> {
    let mut pairs = model.lines.iter().zip(&server.lines);
    if let Some(place) = pairs.position(|(model, server)| model != server) {
        let message = format!("the model:  {}\nPostgreSQL: {}", model.lines[place], server.lines[place]);
        // Where the one has a line more of what went on, the other's is of a later step: the earlier one is where they part.
        return Some(Difference { message, waiters: model.waiters[place].max(server.waiters[place]) });
    }
    let (here, there) = (model.lines.len(), server.lines.len());
    let is_whole = model.refused.is_some() || here == there;
    let message = || format!("the model has {here} lines, PostgreSQL {there}");
    (!is_whole).then(|| Difference { message: message(), waiters: 0 })
}

/// A program as isolationtester's file.
fn spec(schema: &Schema, sessions: usize, sent: &[Step]) -> String {
    let mut text = String::from("setup\n{\n");
    let mut permutation = String::from("permutation");
    for sql in &schema.setup {
        writeln!(text, "    {sql};").expect("to a string");
    }
    text.push_str("}\n\nteardown { DROP SCHEMA public CASCADE; CREATE SCHEMA public; }\n");
    let mut steps = vec![String::new(); sessions];
    for (number, step) in sent.iter().enumerate() {
        let name = format!("s{}_{number}", step.session);
        writeln!(steps[step.session], "step {name} {{ {}; }}", step.sql).expect("to a string");
        write!(permutation, " {name}").expect("to a string");
    }
    for (session, steps) in steps.iter().enumerate().filter(|(_, steps)| !steps.is_empty()) {
        write!(text, "\nsession s{session}\nsetup {{ SET deadlock_timeout = '10ms'; }}\n{steps}").expect("to a string");
    }
    format!("{text}\n{permutation}\n")
}

#[derive(Default)]
struct Tally {
    programs: Cell<u32>,
    steps: Cell<usize>,
    waits: Cell<usize>,
    races: Cell<u32>,
    left_open: Cell<u32>,
    refused: RefCell<Vec<String>>,
}

type Program = (u8, Vec<(u8, Vec<u16>)>);

/// Runs the programs of one schema on both.
fn compare(bed: &TestBed, schema: &Schema, programs: &[Program], tally: &Tally) -> Result<(), TestCaseError> {
    let layout = layout(&Spec { setups: vec![schema.setup.join(";\n")], ..Spec::default() });
    let mut model = match ModelDatabase::new(&layout) {
        Ok(model) => Ground::new(model),
        Err(BackendError::Refused { construct, .. }) => {
            tally.refused.borrow_mut().push(construct);
            return Ok(());
        }
        Err(BackendError::Environment(message)) => panic!("{message}"),
    };
    let server = PostgresDatabase::open(bed, &layout);
    let mut server = Ground::new(server.unwrap_or_else(|error| panic!("{schema:?}: {error:?}")));
    let (so_far, waits) = (tally.programs.get(), tally.waits.get());
    if so_far.is_multiple_of(500) && so_far > 0 {
        println!("{so_far} programs, {} steps, {waits} waits, {} left open", tally.steps.get(), tally.left_open.get());
    }
    for (sessions, numbers) in programs {
        let sessions = [2, 3, 4, 3][usize::from(*sessions) % 4];
        let steps = steps(schema, sessions, numbers);
        let alive = |result: Result<(), BackendError>| result.unwrap_or_else(|error| panic!("{error:?}"));
        alive(server.database.reset());
        alive(server.stepping(sessions).warm_up(&steps));
        for attempt in 1.. {
            alive(model.database.align_with(&mut server.database));
            let here = model.run(schema, sessions, &steps);
            let there = server.run(schema, sessions, &steps);
            let Some(difference) = difference(&here, &there) else {
                tally.programs.set(tally.programs.get() + 1);
                tally.steps.set(tally.steps.get() + here.sent.len());
                tally
                    .waits
                    .set(tally.waits.get() + here.lines.iter().filter(|line| line.contains("waits for")).count());
                tally.refused.borrow_mut().extend(here.refused);
                break;
            };
            if attempt == 1 {
                tally.races.set(tally.races.get() + 1);
            }
            if attempt == ATTEMPTS_MAX && difference.waiters > 1 {
                let (message, lines) = (difference.message, there.lines.join("\n"));
                let (waited, spec) = (difference.waiters, spec(schema, sessions, &there.sent));
                println!("left open, {waited} waited:\n{message}\n\n{lines}\n\n{spec}\n");
                tally.left_open.set(tally.left_open.get() + 1);
                break;
            }
            if attempt == ATTEMPTS_MAX {
                let message = difference.message;
                let lines = there.lines.join("\n");
                let spec = spec(schema, sessions, &there.sent);
                return Err(TestCaseError::fail(format!("{message}\n\n{lines}\n\n{spec}")));
            }
        }
    }
    Ok(())
}

#[test]
fn programs_do_what_they_do_on_a_server() {
    // A server of its own: transaction ids reach rows, and nobody else may take any.
    let bed = TestBed::acquire(AcquireOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    watchdog::start();
    let tally = Tally::default();
    let step = (any::<u8>(), vec(any::<u16>(), 12));
    let program = (any::<u8>(), vec(step, 1..STEPS_MAX));
    let case = (vec(any::<u16>(), 16).prop_map(|numbers| Schema::new(&numbers)), vec(program, PROGRAMS));
    let cases = runner(CASES);
    let found = { cases }.run(&case, |(schema, programs)| compare(&bed, &schema, &programs, &tally));
    judge(found);
    watchdog::done();
    let Tally { programs, steps, waits, races, left_open, refused } = tally;
    let left_open = left_open.get();
    let (programs, steps, waits, races) = (programs.get(), steps.get(), waits.get(), races.get());
    let refused = refused.into_inner();
    println!(
        "{programs} programs, {steps} steps, {waits} waits; {races} programs were run again, {left_open} left open; refused: {refused:?}"
    );
    assert!(refused.len() * 5 < programs as usize, "too much was refused: {refused:?}");
    assert!(waits * 50 > steps, "only {waits} of {steps} steps waited: too little is concurrent here");
    assert!(
        left_open * 100 < programs,
        "{left_open} of {programs} programs differed while several waited: that is no race any more"
    );
    assert!(races * 20 < programs, "{races} of {programs} programs differed at first: that is no race any more");
}
