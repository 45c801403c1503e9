//! SQL from anybody: arbitrary text, soups of tokens and damaged real statements, executed by sessions side by side. Each ends in an answer, a wait or a
//! named error, in bounded time and memory. `SKIPTRACE_FUZZ_CASES=100000 cargo test --release -p skiptrace-model --test fuzz` runs more; the
//! watchdog says which text it was when a case does not end.

mod bounds;
mod corpus;
mod mutate;
mod watchdog;

use mutate::{Damage, apply, damages, words};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skiptrace_model::{Numeric, Outcome, Prepared, Reply, Scalar, Server, SessionId, Type, Value};

/// A database with the tables of all specs, and what is put into statements.
struct Ground {
    server: Server,
    sessions: Vec<SessionId>,
    statements: Vec<String>,
    pool: Vec<String>,
}

fn ground() -> Ground {
    watchdog::start();
    let (setups, statements) = corpus::statements();
    let mut server = Server::new();
    let sessions: Vec<SessionId> = (0..3).map(|_| server.connect()).collect();
    let made = setups.iter().filter(|sql| matches!(server.query(sessions[0], sql), Outcome::Done(_))).count();
    assert!(made >= 40, "only {made} of {} setups could be made", setups.len());
    server.query(sessions[0], "ROLLBACK");
    server.keep();
    let pool = statements.iter().flat_map(|sql| words(sql)).filter(|word| word != " ").collect();
    Ground { server, sessions, statements, pool }
}

fn config(cases: u32) -> Config {
    // What was found stands in `bounds`, by name.
    let asked = std::env::var("SKIPTRACE_FUZZ_CASES").ok().map(|cases| cases.parse().expect("a number of cases"));
    Config { cases: asked.unwrap_or(cases), failure_persistence: None, max_shrink_iters: 3_000, ..Config::default() }
}

/// How a statement comes to the server.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Query,
    Prepare,
    Snapshot,
    Send,
}

#[derive(Clone, Debug)]
struct Step {
    session: u8,
    statement: u16,
    damages: Vec<Damage>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_u8, any::<u16>(), damages());
    prop::collection::vec(step.prop_map(|(session, statement, damages)| Step { session, statement, damages }), 1..=8)
}

fn read(outcome: &Outcome, types: &[Type]) {
    if let Outcome::Done(answer) = outcome {
        for row in answer.rows.iter() {
            row.iter().zip(types).for_each(|(value, ty)| drop(value.to_text(*ty)));
        }
    }
}

fn read_reply(server: &Server, reply: &Reply) {
    for returned in &reply.results {
        for row in returned.rows.iter() {
            row.iter().zip(&returned.columns).for_each(|(value, (_, ty))| drop(server.output(value, *ty)));
        }
    }
}

fn value(ty: Type, number: u16) -> Value {
    match ty {
        _ if number.is_multiple_of(5) => Value::Null,
        Type::Scalar(Scalar::Bool) => Value::Bool(number.is_multiple_of(2)),
        Type::Scalar(Scalar::Int2 | Scalar::Int4 | Scalar::Int8) => Value::Int(i64::from(number % 7)),
        Type::Scalar(Scalar::Text) => Value::Text(format!("{}", number % 9).into()),
        Type::Scalar(Scalar::Numeric) => Value::Numeric(Numeric { digits: i128::from(number), scale: 2 }.into()),
        _ => Value::Null,
    }
}

fn prepare(server: &mut Server, sql: &str) -> Option<(Prepared, Vec<Value>, Vec<Type>)> {
    let prepared = server.prepare(sql).ok()?;
    let values: Vec<Value> =
        server.params(prepared).iter().map(|ty| value(*ty, u16::try_from(sql.len()).unwrap_or(1))).collect();
    let types = server.columns(prepared).map(|(_, ty)| ty).collect();
    Some((prepared, values, types))
}

fn feed(server: &mut Server, session: SessionId, entry: Entry, sql: &str) -> bool {
    watchdog::now(sql);
    match entry {
        Entry::Send => match server.send(session, sql) {
            None => true,
            Some(reply) => {
                read_reply(server, &reply);
                false
            }
        },
        Entry::Query => server.query(session, sql) == Outcome::Waits,
        Entry::Prepare | Entry::Snapshot => {
            let Some((prepared, params, types)) = prepare(server, sql) else { return false };
            let mut outcome = if matches!(entry, Entry::Snapshot) {
                server.execute_to_snapshot(session, prepared, &params)
            } else {
                server.execute(session, prepared, &params)
            };
            if outcome == Outcome::Paused {
                outcome = server.proceed(session);
            }
            read(&outcome, &types);
            outcome == Outcome::Waits
        }
    }
}

/// Whom the last step has woken, and what it was told.
fn settle(server: &mut Server, entry: Entry, waiting: &mut Vec<SessionId>) {
    loop {
        let woken = match entry {
            Entry::Send => server.next_reply().map(|(session, reply)| {
                read_reply(server, &reply);
                session
            }),
            // One that stopped at its snapshot goes on at once here.
            _ => server.next_woken().map(|(session, outcome)| {
                if outcome == Outcome::Paused && server.proceed(session) == Outcome::Waits {
                    return SessionId(u32::MAX);
                }
                session
            }),
        };
        match woken {
            None => return,
            Some(session) => waiting.retain(|other| *other != session),
        }
    }
}

/// Executes statements on sessions that do not wait; time passes where one does.
fn run(ground: &Ground, entry: Entry, program: &[(u8, String)]) {
    let mut server = ground.server.clone();
    let mut waiting: Vec<SessionId> = Vec::new();
    for (session, sql) in program {
        let session = ground.sessions[usize::from(*session) % ground.sessions.len()];
        if waiting.contains(&session) {
            server.advance_clock(200_000);
            settle(&mut server, entry, &mut waiting);
            continue;
        }
        if feed(&mut server, session, entry, sql) {
            waiting.push(session);
        }
        settle(&mut server, entry, &mut waiting);
    }
    for session in &ground.sessions {
        server.disconnect(*session);
        waiting.retain(|other| other != session);
        settle(&mut server, entry, &mut waiting);
    }
    assert!(waiting.is_empty(), "{waiting:?} wait for nobody");
    server.reset();
    assert!(
        matches!(server.query(ground.sessions[0], "SELECT 1"), Outcome::Done(_)),
        "the server is usable afterwards"
    );
}

/// Every entry in turn, by the case.
fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![Just(Entry::Query), Just(Entry::Prepare), Just(Entry::Snapshot), Just(Entry::Send)]
}

/// A program's texts, so that what is printed of a failure is SQL.
type Program = Vec<(u8, String)>;

fn damaged(ground: &Ground, steps: &[Step]) -> Program {
    let damaged = |step: &Step| {
        let sql = &ground.statements[usize::from(step.statement) % ground.statements.len()];
        (step.session, apply(sql, &step.damages, &ground.pool))
    };
    steps.iter().map(damaged).collect()
}

fn check(cases: u32, ground: &Ground, programs: impl Strategy<Value = Program>) {
    let run = |(entry, program): (Entry, Program)| {
        run(ground, entry, &program);
        Ok(())
    };
    TestRunner::new(config(cases)).run(&(entry(), programs), run).unwrap_or_else(|error| panic!("{error}"));
    watchdog::done();
}

#[test]
fn damaged_statements() {
    let ground = ground();
    check(600, &ground, steps().prop_map(|steps| damaged(&ground, &steps)));
}

#[test]
fn soups_of_tokens() {
    let ground = ground();
    let word = |number: u16| ground.pool[usize::from(number) % ground.pool.len()].clone();
    let soup = |words: Vec<u16>| words.into_iter().map(word).collect::<Vec<_>>().join(" ");
    let soups = prop::collection::vec((0..3_u8, prop::collection::vec(any::<u16>(), 0..30).prop_map(soup)), 1..5);
    check(500, &ground, soups);
}

#[test]
fn arbitrary_text() {
    let ground = ground();
    check(500, &ground, prop::collection::vec((0..3_u8, any::<String>()), 1..5));
}
