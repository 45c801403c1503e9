//! What footprints promise: two steps that stand side by side and do not meet can change places, and nobody can tell.
//!
//! Random programs of three sessions are run step by step. Wherever two neighbours of different sessions do not meet, the program is
//! run again with the two exchanged: every statement must be answered the same, and what is committed in the end must be the same.

use std::cell::{Cell, RefCell};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skiptrace_model::{Footprint, Outcome, Server, SessionId};

const SESSIONS: usize = 3;

const SETUP: [&str; 9] = [
    "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, u int UNIQUE)",
    "CREATE TABLE s (k text, v int)",
    "CREATE INDEX ON s (k, v)",
    "INSERT INTO t VALUES (1, 10, 100), (2, 20, NULL), (3, 30, 300)",
    "INSERT INTO s VALUES ('a', 1), ('a', 2), ('b', 3)",
    "CREATE TABLE c (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE)",
    "CREATE TABLE d (id int PRIMARY KEY, u int REFERENCES t (u) ON UPDATE SET NULL)",
    "INSERT INTO c VALUES (1, 1), (2, 3)",
    "INSERT INTO d VALUES (1, 100), (2, 300)",
];

/// Statements over few rows, so that they get in each other's way. No SELECT shows rows in the order of their places.
const STATEMENTS: [&str; 43] = [
    "BEGIN",
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "COMMIT",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT sp",
    "ROLLBACK TO sp",
    "SELECT * FROM t ORDER BY id",
    "SELECT n FROM t WHERE id = 1",
    "SELECT u FROM t WHERE id = 2",
    "SELECT count(*), sum(v) FROM s WHERE k = 'a'",
    "SELECT count(*) FROM s",
    "SELECT n FROM t WHERE id = 1 FOR UPDATE",
    "SELECT n FROM t WHERE id = 2 FOR NO KEY UPDATE",
    "SELECT n FROM t WHERE id = 1 FOR SHARE",
    "SELECT n FROM t WHERE id = 2 FOR KEY SHARE NOWAIT",
    "SELECT id FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
    "UPDATE t SET n = n + 1 WHERE id = 1",
    "UPDATE t SET n = n + 1 WHERE id = 2 RETURNING n",
    "UPDATE t SET u = 200 WHERE id = 2",
    "UPDATE t SET id = 4 WHERE id = 3",
    "UPDATE t SET n = 0 WHERE n > 20",
    "UPDATE s SET v = v + 1 WHERE k = 'b'",
    "UPDATE s SET k = 'b' WHERE k = 'a' AND v = 2",
    "DELETE FROM t WHERE id = 3",
    "DELETE FROM s WHERE k = 'a'",
    "INSERT INTO t VALUES (4, 40, 400)",
    "INSERT INTO t VALUES (3, 31, 200) ON CONFLICT DO NOTHING",
    "INSERT INTO t VALUES (4, 41, NULL) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    "INSERT INTO s VALUES ('b', 4)",
    "INSERT INTO s SELECT 'c', n FROM t WHERE id = 1",
    "INSERT INTO c VALUES (3, 3)",
    "INSERT INTO c VALUES (4, 4), (5, 1)",
    "UPDATE c SET t = 2 WHERE id = 1",
    "DELETE FROM c WHERE t = 3",
    "SELECT * FROM c ORDER BY id",
    "INSERT INTO d VALUES (3, 200)",
    "UPDATE d SET u = 100 WHERE id = 2",
    "UPDATE t SET u = 101 WHERE id = 1",
    "SELECT u FROM d WHERE id = 1 FOR UPDATE",
    "LOCK TABLE s IN SHARE MODE",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
];

type Step = (usize, &'static str);

fn program() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..SESSIONS, prop::sample::select(&STATEMENTS[..])), 2..14)
}

/// What a program came to: by session, what its statements were answered; and the tables in the end.
#[derive(Debug, PartialEq)]
struct Came {
    answers: Vec<Vec<String>>,
    tables: Vec<String>,
}

fn server() -> Server {
    let mut server = Server::new();
    let setup = server.connect();
    for sql in SETUP {
        assert!(matches!(server.query(setup, sql), Outcome::Done(_)), "{sql}");
    }
    server.disconnect(setup);
    server.keep();
    server.record_footprints(true);
    server
}

/// A step that was taken: its footprint, and which sessions waited before it.
struct Taken {
    footprint: Footprint,
    waited: Vec<bool>,
}

/// Runs a program; a step of a session that waits is left out.
fn run(server: &mut Server, program: &[Step]) -> (Came, Vec<Option<Taken>>) {
    server.reset();
    let sessions: Vec<SessionId> = (0..SESSIONS).map(|_| server.connect()).collect();
    let mut answers = vec![Vec::new(); SESSIONS];
    let mut steps = Vec::new();
    for (session, sql) in program {
        let id = sessions[*session];
        let waited: Vec<bool> = sessions.iter().map(|id| server.is_waiting(*id)).collect();
        if waited[*session] {
            steps.push(None);
            continue;
        }
        let mut tell = |id: SessionId, outcome: Outcome| {
            let session = sessions.iter().position(|other| *other == id).expect("one of ours");
            answers[session].push(text(outcome));
        };
        let outcome = server.query(id, sql);
        tell(id, outcome);
        while let Some((id, outcome)) = server.next_woken() {
            tell(id, outcome);
        }
        steps.push(Some(Taken { footprint: server.take_footprint(), waited }));
    }
    for id in &sessions {
        server.disconnect(*id);
        while server.next_woken().is_some() {}
    }
    let look = server.connect();
    let queries = ["SELECT * FROM t ORDER BY id, n, u", "SELECT * FROM s ORDER BY k, v"];
    let tables = queries.map(|sql| text(server.query(look, sql))).to_vec();
    (Came { answers, tables }, steps)
}

fn text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Done(answer) => {
            format!("{:?} {} {:?}", answer.tag, answer.affected, answer.rows.iter().collect::<Vec<_>>())
        }
        Outcome::Failed(error) => error.to_string(),
        Outcome::Waits => "waits".to_owned(),
        Outcome::Paused => "has its snapshot".to_owned(),
    }
}

#[test]
fn steps_that_do_not_meet_can_change_places() {
    let server = RefCell::new(server());
    let (exchanged, kept) = (Cell::new(0u32), Cell::new(0u32));
    let config = Config { cases: 3_000, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&program(), |program| {
        let (came, steps) = run(&mut server.borrow_mut(), &program);
        for at in 1..program.len() {
            let (Some(first), Some(second)) = (&steps[at - 1], &steps[at]) else { continue };
            // One that could only act because of the other cannot come before it.
            if program[at - 1].0 == program[at].0 || first.waited[program[at].0] {
                continue;
            }
            if first.footprint.meets_but_for_numbers(&second.footprint) {
                kept.set(kept.get() + 1);
                continue;
            }
            exchanged.set(exchanged.get() + 1);
            let mut other = program.clone();
            other.swap(at - 1, at);
            let (instead, _) = run(&mut server.borrow_mut(), &other);
            prop_assert_eq!(&came, &instead, "steps {} and {} of {:#?}", at - 1, at, program);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // Neither is the test vacuous, nor does everything meet everything.
    assert!(exchanged.get() > 1000 && kept.get() > 500, "{} exchanged, {} kept", exchanged.get(), kept.get());
}

/// Who shares a row shares its newer versions, too, and gives them back with it.
#[test]
fn a_share_of_a_row_that_was_updated_since_is_given_back() {
    let program = [
        (1, "BEGIN"),
        (1, "INSERT INTO c VALUES (6, 2)"),
        (2, "UPDATE t SET n = n + 1 WHERE id = 2 RETURNING n"),
        (1, "COMMIT"),
        (2, "UPDATE t SET u = 200 WHERE id = 2"),
    ];
    let (_, steps) = run(&mut server(), &program);
    let footprint = |at: usize| &steps[at].as_ref().expect("nobody waits").footprint;
    assert!(footprint(3).meets_but_for_numbers(footprint(4)), "one step before, the update would have waited");
}
