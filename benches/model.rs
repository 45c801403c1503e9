//! Statements and schedules a second of the model, on one core.
//!
//! `cargo bench --bench model`. In the group `model` an element is one prepared statement; every twentieth the server is put back to
//! what it was kept as, as a run of a schedule does. In the group `standard` an element is one schedule of that scenario: `run` with
//! everything on, as `verify` does it, and beside it its `floor`, in which the model is sent the statements of the same schedules without
//! actors, invariants and hashes. The group `standard_mix` is that floor by its statements.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skiptrace_model::{Outcome, Prepared, Server, SessionId, Value};
use skiptrace_sim::backend::Database;
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::explore::Runner;
use skiptrace_sim::explore::history::{Effect, History};
use skiptrace_sim::protocol;
use skiptrace_sim::scenario::library::Library;
use skiptrace_sim::strategy::RandomWalk;

const STATEMENTS: u32 = 20;

fn server() -> (Server, SessionId) {
    let mut server = Server::new();
    let session = server.connect();
    let mut run = |sql: &str| match server.query(session, sql) {
        Outcome::Done(_) => {}
        other => panic!("{sql}: {other:?}"),
    };
    for table in 0..8 {
        run(&format!("CREATE TABLE t{table} (id bigint PRIMARY KEY, stream text NOT NULL, n bigint NOT NULL)"));
        for id in 0..4 {
            run(&format!("INSERT INTO t{table} VALUES ({id}, 'stream-{id}', 0)"));
        }
    }
    server.keep();
    (server, session)
}

fn execute(server: &mut Server, session: SessionId, prepared: Prepared, params: &[Value]) {
    match server.execute(session, prepared, params) {
        Outcome::Done(_) => {}
        other => panic!("{other:?}"),
    }
}

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("model");
    let (mut server, session) = server();
    let prepared = |server: &mut Server, sql: &str| server.prepare(sql).expect("the model knows this SQL");
    group.bench_function("reset", |bencher| bencher.iter(|| server.reset()));
    group.throughput(Throughput::Elements(u64::from(STATEMENTS)));
    let select = prepared(&mut server, "SELECT n FROM t0 WHERE id = $1");
    let update = prepared(&mut server, "UPDATE t0 SET n = n + 1 WHERE id = $1");
    let insert = prepared(&mut server, "INSERT INTO t0 (id, stream, n) VALUES ($1, 'stream', 1)");
    for (name, statement, first) in [("select", select, 0), ("update", update, 0), ("insert", insert, 1000)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for number in 0..i64::from(STATEMENTS) {
                    let id = if first == 0 { number % 4 } else { first + number };
                    execute(&mut server, session, statement, &[Value::Int(id)]);
                }
                server.reset();
            });
        });
    }
    let (begin, commit) = (prepared(&mut server, "BEGIN"), prepared(&mut server, "COMMIT"));
    group.bench_function("block of begin, 2 updates, insert, commit", |bencher| {
        bencher.iter(|| {
            for number in 0..i64::from(STATEMENTS / 5) {
                execute(&mut server, session, begin, &[]);
                execute(&mut server, session, update, &[Value::Int(number % 4)]);
                execute(&mut server, session, update, &[Value::Int((number + 1) % 4)]);
                execute(&mut server, session, insert, &[Value::Int(1000 + number)]);
                execute(&mut server, session, commit, &[]);
            }
            server.reset();
        });
    });
    group.finish();
}

const SCHEDULES: u64 = 200;

fn schedules(criterion: &mut Criterion) {
    let scenario = Library::built_in().load("standard").expect("a built-in scenario");
    let protocol = protocol::find(&scenario.protocol).expect("its protocol");
    let database = || ModelDatabase::new(&protocol.layout(&scenario)).expect("a model");
    let mut runner = Runner::new(&scenario, protocol, database()).expect("a runner");
    let mut walk = RandomWalk::new();
    let histories: Vec<History> = (0..SCHEDULES)
        .map(|seed| {
            let mut history = History::default();
            runner.run(seed, &mut walk, Some(&mut history));
            history
        })
        .collect();
    let mut group = criterion.benchmark_group("standard");
    group.throughput(Throughput::Elements(SCHEDULES));
    group.bench_function("run", |bencher| {
        bencher.iter(|| (0..SCHEDULES).fold(0, |hash, seed| hash ^ runner.run_checked(seed, &mut walk).hash));
    });
    let mut bare = database();
    group.bench_function("floor", |bencher| bencher.iter(|| histories.iter().for_each(|it| send_again(&mut bare, it))));
    group.finish();
    let sent = histories.iter().flat_map(|it| &it.steps).filter(|step| step.sent.is_some()).count();
    let mut group = criterion.benchmark_group("standard_mix");
    group.throughput(Throughput::Elements(sent as u64));
    group.bench_function("statements", |bencher| {
        bencher.iter(|| histories.iter().for_each(|it| send_again(&mut bare, it)));
    });
    group.finish();
}

/// Sends the statements of a history in their order, breaking connections where it did.
fn send_again(database: &mut ModelDatabase, history: &History) {
    const WORKS: &str = "it did the first time";
    let mut connected = 0_u64;
    database.reset().expect(WORKS);
    for step in &history.steps {
        let (actor, bit) = (usize::from(step.choice.actor), 1 << step.choice.actor);
        if let Some((statement, params)) = &step.sent {
            if connected & bit == 0 {
                database.connect(actor).expect(WORKS);
                connected |= bit;
            }
            database.execute(actor, statement, params).expect(WORKS);
        }
        if matches!(step.effect, Effect::Crashed | Effect::AnswerLost) && connected & bit != 0 {
            database.disconnect(actor).expect(WORKS);
            connected &= !bit;
        }
        while database.next_woken().expect(WORKS).is_some() {}
    }
}

criterion_group!(benches, statements, schedules);
criterion_main!(benches);
