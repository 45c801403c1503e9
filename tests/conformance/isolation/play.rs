//! Random transactions of some sessions, played on the model or a server, step by step, and their history.

use std::collections::BTreeMap;

use skiptrace::{Answer, DbError, SqlState, Statement as Sql, Tag, Value};
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::TestBed;
use skiptrace_sim::backend::{BackendError, Database, Outcome};
use skiptrace_sim::spec::Spec;

use super::command::{Command, Ground};
use super::history::{History, Statement, Transaction};
use super::judge::Level;
use crate::differential::choices::Choices;
use crate::runner::{layout, show_all};

/// What the steps of a run came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) statements: u32,
    pub(crate) waits: u32,
    pub(crate) committed: u32,
    pub(crate) rolled_back: u32,
    pub(crate) partly: u32,
    /// By SQLSTATE.
    pub(crate) errors: BTreeMap<String, u32>,
}

#[derive(Clone, Debug)]
enum Step {
    Begin,
    Commit,
    Rollback,
    Savepoint,
    RollbackTo,
    Release,
    Data(Command, i64),
}

#[derive(Default)]
struct Seat {
    /// The transaction, and the statements it had at its savepoint.
    open: Option<Transaction>,
    in_block: bool,
    failed: bool,
    savepoint: Option<usize>,
    /// What it waits with, and since when.
    waits: Option<(Step, usize)>,
}

/// A database with its tables, for many runs.
pub(crate) struct Stage<'bed> {
    database: Box<dyn Database + 'bed>,
    /// By their texts.
    statements: BTreeMap<String, Sql>,
    ground: Ground,
    level: Level,
}

pub(crate) struct Run {
    pub(crate) history: History,
    pub(crate) log: Vec<String>,
    pub(crate) tally: Tally,
    /// An error that no transaction here can have.
    pub(crate) unexpected: Option<String>,
}

struct Play<'s, 'bed> {
    stage: &'s mut Stage<'bed>,
    seats: Vec<Seat>,
    run: Run,
    time: usize,
    value: i64,
}

/// A database that is not there any more, or cannot do what is sent here.
fn alive<T>(result: Result<T, BackendError>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

impl<'bed> Stage<'bed> {
    pub(crate) fn on_the_model(ground: Ground, level: Level) -> Self {
        let spec = Spec { setups: vec![ground.setup()], ..Spec::default() };
        Self::new(Box::new(alive(ModelDatabase::new(&layout(&spec)))), ground, level)
    }

    pub(crate) fn on_a_server(bed: &'bed TestBed, ground: Ground, level: Level) -> Self {
        let spec = Spec { setups: vec![ground.setup()], ..Spec::default() };
        Self::new(Box::new(alive(PostgresDatabase::open(bed, &layout(&spec)))), ground, level)
    }

    fn new(database: Box<dyn Database + 'bed>, ground: Ground, level: Level) -> Self {
        Self { database, statements: BTreeMap::new(), ground, level }
    }

    /// Plays steps, each of a session and of numbers that say what it sends; one of a session that waits is left out.
    pub(crate) fn play(&mut self, sessions: usize, steps: &[(u8, Vec<u16>)]) -> Run {
        alive(self.database.reset());
        (0..sessions).for_each(|session| alive(self.database.connect(session)));
        let seats = (0..sessions).map(|_| Seat::default()).collect();
        let history = History { kind: self.ground.kind, transactions: Vec::new() };
        let run = Run { history, log: Vec::new(), tally: Tally::default(), unexpected: None };
        let mut play = Play { stage: self, seats, run, time: 0, value: 0 };
        for (seat, numbers) in steps {
            let seat = usize::from(*seat) % sessions;
            if play.seats[seat].waits.is_none() {
                let step = play.draw(seat, &mut Choices::new(numbers));
                play.send(seat, step);
            }
        }
        play.end()
    }
}

impl Play<'_, '_> {
    fn draw(&mut self, seat: usize, choices: &mut Choices<'_>) -> Step {
        let Seat { in_block, failed, savepoint, .. } = self.seats[seat];
        if failed && savepoint.is_some() && choices.below(2) == 0 {
            return Step::RollbackTo;
        }
        if failed {
            return Step::Rollback;
        }
        // A statement of its own has the level that a session begins with.
        if !in_block && (self.stage.level != Level::ReadCommitted || choices.below(8) > 0) {
            return Step::Begin;
        }
        let data = |play: &mut Self, choices: &mut Choices<'_>| {
            play.value += 1;
            Step::Data(play.stage.ground.draw(choices), play.value)
        };
        if !in_block {
            return data(self, choices);
        }
        match choices.below(28) {
            20..=23 => Step::Commit,
            24 => Step::Rollback,
            25..=27 if savepoint.is_none() => Step::Savepoint,
            25 => Step::Release,
            26 | 27 => Step::RollbackTo,
            _ => data(self, choices),
        }
    }

    fn now(&mut self) -> usize {
        self.time += 1;
        self.time
    }

    fn sql(&self, step: &Step) -> String {
        let level = match self.stage.level {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        };
        match step {
            Step::Begin => format!("BEGIN ISOLATION LEVEL {level}"),
            Step::Commit => "COMMIT".to_owned(),
            Step::Rollback => "ROLLBACK".to_owned(),
            Step::Savepoint => "SAVEPOINT a".to_owned(),
            Step::RollbackTo => "ROLLBACK TO a".to_owned(),
            Step::Release => "RELEASE a".to_owned(),
            Step::Data(command, _) => command.sql.clone(),
        }
    }

    fn send(&mut self, seat: usize, step: Step) {
        let sql = self.sql(&step);
        let params = match &step {
            Step::Data(command, value) if command.writes() => vec![Value::Int(*value)],
            _ => Vec::new(),
        };
        let statement = self.stage.statements.entry(sql).or_insert_with_key(|sql| Sql::new("step", sql)).clone();
        let from = self.now();
        let outcome = match self.stage.database.execute(seat, &statement, &params) {
            // To the transaction it is an error like any other.
            Err(BackendError::Refused { construct, .. }) => {
                Outcome::Answered(Err(DbError::new(SqlState::FEATURE_NOT_SUPPORTED, construct)))
            }
            outcome => alive(outcome),
        };
        self.run.tally.statements += 1;
        self.run.log.push(format!("{from}: session {seat}: {} {params:?}", statement.sql()));
        match outcome {
            Outcome::Waits => {
                self.run.tally.waits += 1;
                self.run.log.push(format!("    session {seat} waits"));
                self.seats[seat].waits = Some((step, from));
            }
            Outcome::Answered(answer) => self.answered(seat, &step, from, answer),
            Outcome::HasSnapshot => unreachable!("nobody asks for it"),
        }
        while let Some((seat, answer)) = alive(self.stage.database.next_woken()) {
            let (step, from) = self.seats[seat].waits.take().expect("only who waits is woken");
            self.answered(seat, &step, from, answer);
        }
    }

    fn answered(&mut self, seat: usize, step: &Step, from: usize, answer: Result<Answer, DbError>) {
        let answered = self.now();
        self.run.log.push(format!("{answered}: to {from}: {}", show(&answer)));
        match answer {
            Ok(answer) => self.done(seat, step, from, answered, &answer),
            Err(error) => self.failed(seat, step, from, answered, &error),
        }
    }

    fn done(&mut self, seat: usize, step: &Step, from: usize, answered: usize, answer: &Answer) {
        match step {
            Step::Begin => {
                self.seats[seat].open = Some(begun(from));
                self.seats[seat].in_block = true;
            }
            Step::Commit => self.close(seat, from, answered, answer.tag == Tag::Commit),
            Step::Rollback => self.close(seat, from, answered, false),
            Step::Savepoint => {
                let statements = self.seats[seat].open.as_ref().map_or(0, |open| open.statements.len());
                self.seats[seat].savepoint = Some(statements);
            }
            Step::Release => self.seats[seat].savepoint = None,
            Step::RollbackTo => {
                self.seats[seat].failed = false;
                let first = self.seats[seat].savepoint.expect("a savepoint");
                let open = self.seats[seat].open.as_mut().expect("a transaction");
                for statement in &mut open.statements[first..] {
                    statement.undone.get_or_insert(from);
                    self.run.tally.partly += u32::from(statement.undone == Some(from));
                }
            }
            Step::Data(command, value) => {
                let (locks, ops) = (command.locks(), command.done(answer, *value));
                self.note(seat, Statement { sent: from, answered, undone: None, locks, ops });
                if !self.seats[seat].in_block {
                    self.close(seat, from, answered, true);
                }
            }
        }
    }

    fn failed(&mut self, seat: usize, step: &Step, from: usize, answered: usize, error: &DbError) {
        let is_refusal = error.sqlstate() == SqlState::FEATURE_NOT_SUPPORTED;
        let is_expected = error.sqlstate().is_retryable() || is_refusal;
        if !is_expected {
            self.run.unexpected.get_or_insert_with(|| format!("{error:?}"));
        }
        *self.run.tally.errors.entry(error.sqlstate().code().to_owned()).or_default() += 1;
        if let Step::Data(command, value) = step {
            let ops = command.intended(*value);
            self.note(seat, Statement { sent: from, answered, undone: Some(from), locks: false, ops });
        }
        if !self.seats[seat].in_block || matches!(step, Step::Commit) {
            return self.close(seat, from, answered, false);
        }
        // What the model cannot judge is left out: the transaction is given up, and not from a savepoint on.
        if is_refusal {
            self.seats[seat].savepoint = None;
        }
        self.seats[seat].failed = true;
    }

    fn note(&mut self, seat: usize, statement: Statement) {
        let open = self.seats[seat].open.get_or_insert_with(|| begun(statement.sent));
        open.statements.push(statement);
    }

    fn close(&mut self, seat: usize, ending: usize, ended: usize, committed: bool) {
        let seat = &mut self.seats[seat];
        (seat.in_block, seat.failed, seat.savepoint) = (false, false, None);
        let Some(open) = seat.open.take() else { return };
        let count = if committed { &mut self.run.tally.committed } else { &mut self.run.tally.rolled_back };
        *count += 1;
        self.run.history.transactions.push(Transaction { ending, ended, committed, ..open });
    }

    /// Everybody commits, each after the one that he waits for; then one reads all.
    fn end(mut self) -> Run {
        while let Some(seat) = self.seats.iter().position(|seat| seat.in_block && seat.waits.is_none()) {
            self.send(seat, Step::Commit);
        }
        if self.seats.iter().any(|seat| seat.waits.is_some()) {
            self.run.unexpected = Some("somebody waits for ever".to_owned());
            return self.run;
        }
        let look = self.stage.ground.look();
        self.send(0, Step::Data(look, 0));
        self.run
    }
}

fn begun(begun: usize) -> Transaction {
    Transaction { begun, ending: begun, ended: begun, committed: false, statements: Vec::new() }
}

fn show(answer: &Result<Answer, DbError>) -> String {
    match answer {
        Ok(answer) => {
            let rows: Vec<String> = answer.rows.iter().map(|row| format!(" ({})", show_all(row.values()))).collect();
            format!("{:?} {}{}", answer.tag, answer.affected, rows.concat())
        }
        Err(error) => format!("ERROR {}: {}", error.sqlstate().code(), error.message()),
    }
}
